"""GAN for few images of your own: a folder of class/file.png (or .jpg, ...), cropped square and resized to 64x64.

make train CONFIG=configs/gan_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

DCGAN's networks, a relativistic loss with R1 and R2 (Huang et al. 2024, arXiv:2501.05441), DiffAugment (Zhao et al.
2020, arXiv:2006.10738): of the generators compared at 200 images and equal time the one with the lowest FD and KID, see
experiments/results/README.md. After the colon diffaug, the default, or ada: what augments what the discriminator sees.
"""

from configs.families import gan


def get_config(variant='diffaug'):
  c = gan.dcgan(variant)
  c.update_from_flattened_dict(gan.LOSSES['r3'])
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.model.conditional = False  # True: a class for each folder
  c.eval.samples = 1000
  return c
