"""DCGAN on Fashion-MNIST.

make data DATASET=fashion_mnist && make train CONFIG=configs/gan_fashion_mnist.py
"""

from configs import base


def get_config():
  c = base.get_config()
  c.data.name = 'fashion_mnist'
  return c
