"""DCGAN on Fashion-MNIST (networks of Radford et al. 2016, arXiv:1511.06434).

make data DATASET=fashion_mnist && make train CONFIG=configs/gan_fashion_mnist.py

configs/gan_fashion_mnist.py:diffaug and :ada augment what the discriminator sees.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.dcgan(variant)
  c.data.name = 'fashion_mnist'
  c.eval.metrics = ('distances', 'coverage', 'diversity')  # not memorisation: AuthPct takes minutes
  return c
