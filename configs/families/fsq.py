"""Autoencoders with finite scalar quantisation and a transformer prior over their codes: the keys of task `fsq`."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'fsq'
  c.model.network = 'fsq'
  c.model.width = 32
  c.model.blocks = 1                    # residual blocks at each resolution
  c.model.layers = 4                    # layers of the transformer
  c.model.dropout = 0.1                 # dropout probability in the transformer
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.optim.warmup_steps = 100
  c.optim.update(base.optimizer_overrides('tokenizer', 'detokenizer', 'prior'))
  c.eval.metrics = ('elbo', 'codes')

  c.fsq = ConfigDict()
  c.fsq.levels = (8, 5, 5, 5)           # levels that each dimension of a latent is rounded to; their product is the
                                        # number of codes, at most 65,536
  c.fsq.likelihood = 'bernoulli'        # as vae.likelihood
  # fmt: on
  return c.lock()
