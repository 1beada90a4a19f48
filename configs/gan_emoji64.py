"""DCGAN on 3,415 emoji of 64x64 pixels in colour, mirrored half the time.

make data DATASET=emoji64/google && make train CONFIG=configs/gan_emoji64.py

configs/gan_emoji64.py:diffaug and :ada augment what the discriminator sees.
"""

from configs.families import gan


def get_config(variant=''):
  c = gan.get_config(variant)
  c.data.name = 'emoji64/google'  # or emoji64/twitter
  c.augment.hflip.p = 0.5
  c.model.width = 32
  c.eval.samples = 1000
  return c
