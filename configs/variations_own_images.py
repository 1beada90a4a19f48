"""Variations of your images: flow matching conditioned on AlexNet features (Ho and Salimans 2022, arXiv:2207.12598).

make train CONFIG=configs/variations_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"
python -m experiments.sample --workdir runs/NAME --input IMAGE --output variations

A folder of class/file.png (or .jpg, ...), cropped square and resized to 64x64. Time and score: not yet measured.
"""

from configs.families import image_variations


def get_config():
  c = image_variations.get_config()
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.model.dropout = 0.1
  c.eval.samples = 500
  return c
