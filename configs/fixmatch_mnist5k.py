"""FixMatch on MNIST digits, 10 labels a class and 3,900 images without (Sohn et al. 2020, arXiv:2001.07685).

make train CONFIG=configs/fixmatch_mnist5k.py

Test accuracy on 1,000 other digits; the same network without unlabelled images, also for as many steps: few labels in
experiments/results/README.md.
"""

from configs.families import fixmatch


def get_config():
  return fixmatch.get_config()
