"""Your own pairs with pix2pix (Isola et al. 2017, arXiv:1611.07004), or any two folders with :cut or :cyclegan.

make train CONFIG=configs/translate_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

PATH holds folders trainA, trainB, testA, testB, or images whose targets are in --config.data.target_folder. Images are
cropped square and resized to 64x64. Time and score: not yet measured.
"""

from configs.families import translation


def get_config(method='pix2pix'):
  c = translation.get_config(method)
  c.data.name = 'image_pairs'
  c.augment.hflip.p = 0.5
  return c
