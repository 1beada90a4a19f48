"""GAN for few images of your own: a folder of class/file.png (or .jpg, ...), cropped square and resized to 64x64.

make train CONFIG=configs/gan_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

DCGAN's networks with DiffAugment (Zhao et al. 2020, arXiv:2006.10738), or after the colon ada (Karras et al. 2020,
arXiv:2006.06676): of the generators compared at 100 and 200 images of clothes and 217 photographs these two have the
lowest FD and KID, and neither is clearly ahead; flow matching copies so few. See experiments/results/README.md.
"""

from configs.families import gan


def get_config(variant='diffaug'):
  c = gan.dcgan(variant)
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.model.conditional = False  # True: a class for each folder
  c.eval.samples = 1000
  return c
