"""Lossy compression of photographs (Balle et al. 2018, arXiv:1802.01436), for experiments.compress.

make train CONFIG=configs/hyperprior_own_images.py:0.013 ARGS="--config.data.folder=PATH --workdir runs/NAME"

The number after the colon is the weight of distortion: 0.0018 (few bits), 0.0067, 0.013, 0.0483 (many). A folder of
class/file.png (or .jpg, ...), cropped square and resized to 64x64. Bytes and PSNR beside JPEG and WebP:
experiments/results/README.md.
"""

from configs.families import hyperprior


def get_config(weight='0.013'):
  c = hyperprior.get_config(weight)
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.train.batch_size = 16
  return c
