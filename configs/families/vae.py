"""Variational autoencoders: the keys of task `vae`."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'vae'
  c.model.network = 'conv_vae'
  c.model.width = 32
  c.model.z_dim = 32                    # size of the latent vector
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.optim.update(base.own_optimizers('encoder', 'decoder'))
  c.eval.metrics = ('elbo',)

  c.vae = ConfigDict()
  c.vae.likelihood = 'bernoulli'        # bernoulli (dynamically binarised) | gaussian | discretized_logistic
  c.vae.beta = 1.0                      # weight of the KL term
  c.vae.kl_warmup_steps = 0             # steps over which the weight grows from 0 to beta
  # fmt: on
  return c.lock()
