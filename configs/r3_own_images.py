"""R3GAN with DiffAugment on your own images: a folder of class/file.png (or .jpg, ...), resized to 64x64.

make train CONFIG=configs/r3_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

Huang et al. 2024 (arXiv:2501.05441), Zhao et al. 2020 (arXiv:2006.10738). Stopped at 1,200 steps, on 200 and
on 1,000 images of Fashion-MNIST, it is far behind DCGAN: experiments/results/README.md.
"""

from configs.families import gan


def get_config(variant='diffaug'):
  c = gan.small_r3(variant)
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.model.conditional = False  # True: a class for each folder
  c.eval.samples = 1000
  return c
