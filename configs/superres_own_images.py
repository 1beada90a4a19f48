"""Super-resolution of photographs (Lim et al. 2017, EDSR, arXiv:1707.02921), for experiments.upscale.

make train CONFIG=configs/superres_own_images.py:gan ARGS="--config.data.folder=PATH --workdir runs/NAME"

After the colon: nothing (lowest error), gan (textures), blind or blind_gan (blurred, noisy, compressed images).
A folder of class/file.png (or .jpg, ...), cropped square and resized to 96x96, which hides noise and JPEG artefacts of
photographs of a few hundred pixels a side; --config.data.resize=False takes pixels as they are. Random patches are
cropped on the device. With --config.data.image_size=160 on BSDS500's photographs, 4,000 steps of x2 are 2.3 dB above
bicubic on Set14; sr_blind of that table was trained as blind_gan: experiments/results/README.md.
"""

from configs.families import superres


def get_config(variant=''):
  c = superres.get_config(variant)
  c.data.update({'name': 'image_folder', 'image_size': 96})
  c.augment.hflip.p = 0.5
  c.train.batch_size = 16
  return c
