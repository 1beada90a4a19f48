"""FSQ autoencoder and a transformer over its codes, on 4,000 MNIST digits (Mentzer et al. 2023, arXiv:2309.15505).

make train CONFIG=configs/fsq_mnist5k.py

Time and score: not yet measured.
"""

from configs.families import fsq


def get_config():
  c = fsq.get_config()
  c.eval.every = 1000
  return c
