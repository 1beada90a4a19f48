"""Your own pairs with pix2pix (Isola et al. 2017, arXiv:1611.07004), or any two folders with :cut or :cyclegan.

make train CONFIG=configs/translate_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

PATH holds folders trainA, trainB, testA, testB, or images whose targets are in --config.data.target_folder. Images are
cropped square and resized to 64x64. Scores with the labels of facades: experiments/results/README.md.
"""

from configs.families import translation


def get_config(method='pix2pix'):
  c = translation.get_config(method)
  c.data.name = 'image_pairs'
  c.augment.hflip.p = 0.5
  c.augment.zoom.update({'p': 1.0, 'limit': 0.1})  # jitter: appendix 6.2 of pix2pix's paper
  c.augment.translate.update({'p': 1.0, 'fraction': 0.06})
  c.augment.border = 'reflect'
  return c
