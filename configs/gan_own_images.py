"""DCGAN on your own images: a folder of class/file.png (or .jpg, ...), cropped square and resized to 64x64.

make train CONFIG=configs/gan_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

configs/gan_own_images.py:diffaug and :ada augment what the discriminator sees.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.get_config(variant)
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.model.width = 32
  c.eval.samples = 1000
  return c
