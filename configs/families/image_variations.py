"""Flow matching conditioned on features of an image: the keys of task `image_variations`, those of `flow`."""

from ml_collections import ConfigDict

from configs.families import flow


def get_config() -> ConfigDict:
  c = flow.get_config().unlock()
  c.task = 'image_variations'
  c.model.conditional = False
  c.flow.guidance = 2.0
  return c.lock()
