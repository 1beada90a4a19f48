"""Class-conditional flow matching on Fashion-MNIST (Lipman et al. 2023, arXiv:2210.02747).

make data DATASET=fashion_mnist && make train CONFIG=configs/flow_fashion_mnist.py

Time and score: not yet measured.
"""

from configs.families import flow


def get_config():
  c = flow.get_config()
  c.data.name = 'fashion_mnist'
  return c
