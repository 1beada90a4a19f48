"""Class-conditional R3GAN on CIFAR-10, for a GPU (Huang et al. 2024, arXiv:2501.05441, table 7).

make train CONFIG=configs/r3_cifar10.py:ada

The paper has networks of 768 channels (here 256) and batches of 512 (here 256). Time and score: not yet measured.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.r3(variant)
  c.data.name = 'cifar10'
  c.augment.hflip.p = 0.5
  c.model.update({'conditional': True, 'width': 256, 'max_width': 256})
  c.gan.update({'r1': (0.05, 0.005), 'r2': (0.05, 0.005)})
  c.train.update({'steps': 100_000, 'batch_size': 256})
  return c
