"""DCGAN on 4,000 MNIST digits (Radford et al. 2016, arXiv:1511.06434): the default experiment.

make train

configs/gan_mnist5k.py:diffaug and :ada augment what the discriminator sees.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.dcgan(variant)
  c.train.steps = 4000
  c.eval.every = 1000
  c.eval.samples = 1000  # as many as there are test images
  return c
