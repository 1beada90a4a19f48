"""R3GAN on 4,000 MNIST digits, small enough for a CPU (Huang et al. 2024, arXiv:2501.05441).

make train CONFIG=configs/r3_mnist5k.py

R1 and R2 are computed at every 4th step. Score: experiments/results/README.md.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.small_r3(variant)
  c.train.steps = 3000
  c.eval.update({'every': 1000, 'samples': 1000})  # as many as there are test images
  return c
