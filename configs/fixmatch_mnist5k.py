"""FixMatch on MNIST digits, 10 labels per class and 3,900 unlabelled images (Sohn et al. 2020, arXiv:2001.07685).

make train CONFIG=configs/fixmatch_mnist5k.py

Scored by test accuracy on 1,000 other digits. The same network without unlabelled images, also trained for as many
steps: few labels in experiments/results/README.md.
"""

from configs.families import fixmatch


def get_config():
  return fixmatch.get_config()
