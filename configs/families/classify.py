"""Classification with few images: the keys of task `classify`."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  c = base.get_config().unlock()
  c.task = 'classify'
  c.model.network = 'cnn'  # cnn (model.width channels) | resnet20 | wrn16_4
  c.model.width = 16
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.optim.weight_decay = 1e-2
  c.optim.update(base.optimizer_overrides('classifier'))
  c.train.steps = 500
  c.eval.metrics = ('accuracy',)
  c.eval.every = 500
  return c.lock()
