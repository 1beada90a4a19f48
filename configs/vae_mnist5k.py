"""VAE on 4,000 dynamically binarised MNIST digits (Kingma and Welling 2014, arXiv:1312.6114).

make train CONFIG=configs/vae_mnist5k.py
"""

from configs import base


def get_config():
  c = base.get_config()
  c.task = 'vae'
  c.model.width = 32
  c.model.z_dim = 32
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.eval.metrics = ('elbo',)
  c.eval.every = 1000
  return c
