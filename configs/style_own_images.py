"""Style transfer by a network of your own images, for experiments.stylize (Johnson et al. 2016, arXiv:1603.08155).

make train CONFIG=configs/style_own_images.py ARGS="--config.data.folder=PATH --config.style.images=\"('a.jpg',)\""

A folder of photographs, any, cropped square and resized to 128x128; one network learns all styles that are named. The
weight of style is the first to tune (--config.style.style_weight). 2,000 steps of 4 images show a style well, with more
than twice the loss that 100 of Gatys' steps reach: experiments/results/README.md.
"""

from configs.families import style


def get_config():
  c = style.get_config()
  c.data.name = 'image_folder'
  c.data.image_size = 128
  c.augment.hflip.p = 0.5
  return c
