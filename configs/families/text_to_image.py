"""Flow matching conditioned on captions: the keys of task `text_to_image`, which are those of `flow`."""

from ml_collections import ConfigDict

from configs.families import flow


def get_config() -> ConfigDict:
  c = flow.get_config().unlock()
  c.task = 'text_to_image'
  c.data.name = 'emoji_captions/google'
  c.data.captions = ''  # image_captions: file with lines NAME<tab>CAPTION, names relative to data.folder
  c.model.conditional = False
  c.flow.guidance = 2.0
  c.eval.features = 'vgg16'
  c.eval.metrics = ('retrieval', 'distances')
  return c.lock()
