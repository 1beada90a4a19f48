"""A small CNN on Fashion-MNIST, 10 images per class; test accuracy on 10,000 others.

make data DATASET=fashion_mnist && make train CONFIG=configs/classify_fashion_mnist.py
python -m experiments.sweep --config configs/classify_fashion_mnist.py --trials 24
"""

from configs import base
from configs.families import classify


def get_config():
  c = classify.get_config()
  c.data.name = 'fashion_mnist'
  c.data.per_class = 10
  return c


def get_sweep(trial):
  return base.augment_sweep(trial)
