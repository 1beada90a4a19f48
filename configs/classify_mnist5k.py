"""A small CNN on MNIST digits, 10 images per class; test accuracy on 1,000 others.

make train CONFIG=configs/classify_mnist5k.py
python -m experiments.sweep --config configs/classify_mnist5k.py --trials 24
"""

from configs import base
from configs.families import classify


def get_config():
  c = classify.get_config()
  c.data.per_class = 10
  return c


def get_sweep(trial):
  return base.augment_sweep(trial)
