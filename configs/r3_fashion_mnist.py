"""R3GAN on Fashion-MNIST, small enough for a CPU (Huang et al. 2024, arXiv:2501.05441).

make data DATASET=fashion_mnist && make train CONFIG=configs/r3_fashion_mnist.py

R1 and R2 are computed at every 4th step. Time and score: not yet measured.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.small_r3(variant)
  c.data.name = 'fashion_mnist'
  return c
