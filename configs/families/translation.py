"""From image to image: the keys of tasks `pix2pix`, `cut` and `cyclegan`."""

from ml_collections import ConfigDict

from configs import base

METHODS = ('pix2pix', 'cut', 'cyclegan')


def get_config(method: str = 'pix2pix') -> ConfigDict:
  if method not in METHODS:
    raise ValueError(f'method = {method!r}: must be one of {", ".join(METHODS)}')
  c = base.get_config().unlock()
  paired = method == 'pix2pix'
  # fmt: off
  c.task = method
  c.data.name = 'emoji64/google_to_twitter'
  c.data.target_folder = ''             # image_pairs: of the targets, named as their images in data.folder;
                                        # '' is folders trainA, trainB, testA, testB in data.folder
  c.data.paired = paired                # False: targets of training images are shuffled, image_pairs takes any images
  c.model.network = 'unet_translator' if paired else 'resnet_translator'
  c.model.width = 32
  c.model.blocks = 6                    # resnet_translator: residual blocks at the lowest resolution
  c.model.d_width = 32                  # channels of the discriminator's first layer
  c.model.halvings = 2                  # of its sides: patches of 12, 26, 54, 110, ... pixels are judged
  c.optim.lr = 5e-4
  c.optim.schedule = 'linear'
  roles = {
    'pix2pix': ('translator', 'discriminator'),
    'cut': ('translator', 'discriminator', 'projector'),
    'cyclegan': ('translator', 'discriminator', 'inverse', 'inverse_discriminator'),
  }
  c.optim.update(base.own_optimizers(*roles[method]))
  c.train.batch_size = 16
  c.eval.metrics = ('translation',)

  c.translation = ConfigDict()
  c.translation.loss = 'least_squares'  # as gan.loss
  c.translation.diff_augment = ()       # of all that discriminators see: any of color, translation, cutout
  c.translation.ema = 0.999             # decay of the averaged generators, per step
  if method == 'pix2pix':
    c.translation.l1 = 100.0            # weight of the mean absolute difference from the target
  # The generator's part of `least_squares` is half of what the authors of CUT and CycleGAN train with, so that these
  # weights are half of theirs too (CUT: 1 and 1 in the paper, of whose sum its code takes half; CycleGAN: 10 and 5).
  if method == 'cut':
    c.translation.nce = 0.25            # weight of the contrast of patches of an image with its translation
    c.translation.identity = 0.25       # and of a target with its own
    c.translation.patches = 128         # of an image, in each of five layers
  if method == 'cyclegan':
    c.translation.cycle = 5.0           # weight of the mean absolute difference after there and back
    c.translation.identity = 2.5        # and of a target from its own translation
  # fmt: on
  return c.lock()
