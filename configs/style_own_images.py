"""Style transfer by a network trained on your images, for experiments.stylize (Johnson et al. 2016, arXiv:1603.08155).

make train CONFIG=configs/style_own_images.py ARGS="--config.data.folder=PATH --config.style.images=\"('a.jpg',)\""

A folder of any photographs, cropped square and resized to 128x128; one network learns all styles in style.images. Tune
--config.style.style_weight first. 2,000 steps of 4 images show a style well, at more than twice the loss that 100 steps
of Gatys' optimisation reach: experiments/results/README.md.
"""

from configs.families import style


def get_config():
  c = style.get_config()
  c.data.name = 'image_folder'
  c.data.image_size = 128
  c.augment.hflip.p = 0.5
  return c
