"""Images from your captions: text-conditional flow matching with guidance (Ho and Salimans 2022, arXiv:2207.12598).

make train CONFIG=configs/text_to_image_own_images.py \\
  ARGS="--config.data.folder=PATH --config.data.captions=FILE --workdir runs/NAME"

FILE has a line NAME<tab>CAPTION for every image in PATH. Images are cropped square and resized to 64x64. Time and
score: not yet measured.
"""

from configs.families import text_to_image


def get_config():
  c = text_to_image.get_config()
  c.data.name = 'image_captions'
  c.model.dropout = 0.1
  c.eval.samples = 500
  return c
