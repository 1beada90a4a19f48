"""Super-resolution of photographs (Lim et al. 2017, EDSR, arXiv:1707.02921), for experiments.upscale.

make train CONFIG=configs/superres_own_images.py:gan ARGS="--config.data.folder=PATH --workdir runs/NAME"

What follows the colon: nothing (least error), gan (textures) or blind (blurred, noisy, compressed images). A folder of
class/file.png (or .jpg, ...), cropped square and resized to 96x96, which hides the noise and JPEG of photographs of a
few hundred pixels a side; --config.data.resize=False takes pixels as they are. Patches are cut at random on the device.
x2 with --config.data.image_size=160, 4,000 steps on BSDS500's photographs: 2.2 dB above bicubic on Set14:
experiments/results/README.md.
"""

from configs.families import superres


def get_config(variant=''):
  c = superres.get_config(variant)
  c.data.update({'name': 'image_folder', 'image_size': 96})
  c.augment.hflip.p = 0.5
  c.train.batch_size = 16
  return c
