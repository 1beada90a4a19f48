"""Lossy compression: the keys of task `hyperprior`."""

from ml_collections import ConfigDict

from configs import base


def get_config(weight: str = '0.013') -> ConfigDict:
  """Returns the config for a weight of distortion, from about 0.0018 (few bits) to 0.0483 (many), as in CompressAI."""
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'hyperprior'
  c.model.network = 'hyperprior'
  c.model.width = 48
  c.model.latent_width = 64             # channels of the latents
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.clip = 1.0
  c.optim.schedule = 'cosine'
  c.optim.update(base.optimizer_overrides('analysis', 'synthesis', 'hyper_analysis', 'hyper_synthesis', 'prior'))
  c.eval.metrics = ('rate_distortion', 'reconstruction')

  c.hyperprior = ConfigDict()
  c.hyperprior.weight = float(weight)   # weight of the mean squared error (white is 255) against bits per pixel
  # fmt: on
  return c.lock()
