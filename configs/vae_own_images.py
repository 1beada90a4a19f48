"""VAE on your own images, for experiments.compress; or :restore, for experiments.restore.

make train CONFIG=configs/vae_own_images.py ARGS="--config.data.folder=PATH --workdir runs/NAME"

A folder of class/file.png (or .jpg, ...), cropped square and resized to 64x64. Results on photographs
of hands (restoration) and MNIST-5k (compression): experiments/results/README.md.
"""

from configs.families import vae


def get_config(variant='lossless'):
  c = vae.get_config(variant)
  c.data.name = 'image_folder'
  c.augment.hflip.p = 0.5
  c.eval.every = 1000
  return c
