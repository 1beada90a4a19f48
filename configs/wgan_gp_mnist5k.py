"""WGAN-GP on 4,000 MNIST digits (Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1), with DCGAN's networks.

make train CONFIG=configs/wgan_gp_mnist5k.py

Five updates of the critic per update of the generator. Time and score: not yet measured.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.get_config(variant)
  c.model.d_norm = 'none'
  c.optim.update({'lr': 1e-4, 'b1': 0.0, 'b2': 0.9})
  c.gan.update({'loss': 'wasserstein', 'gradient_penalty': 10.0, 'd_steps': 5})
  c.train.steps = 10_000
  c.eval.update({'every': 2500, 'samples': 1000})  # as many as there are test images
  return c
