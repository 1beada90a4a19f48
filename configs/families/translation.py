"""Image-to-image translation: the keys of tasks `pix2pix`, `cut` and `cyclegan`."""

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
  c.data.target_folder = ''             # image_pairs: folder of targets, named as their images in data.folder;
                                        # '' reads trainA, trainB, testA, testB in data.folder
  c.data.paired = paired                # False: targets of training images are shuffled; image_pairs needs no pairs
  c.model.network = 'unet_translator' if paired else 'resnet_translator'
  c.model.width = 32
  c.model.blocks = 6                    # resnet_translator: residual blocks at the lowest resolution
  c.model.d_width = 32                  # channels of the discriminator's first layer
  c.model.halvings = 2                  # times it halves the sides, 1 to 6; it judges patches of 12, 26, 54, ... pixels
  c.optim.lr = 5e-4
  c.optim.schedule = 'linear'
  roles = {
    'pix2pix': ('translator', 'discriminator'),
    'cut': ('translator', 'discriminator', 'projector'),
    'cyclegan': ('translator', 'discriminator', 'inverse', 'inverse_discriminator'),
  }
  c.optim.update(base.optimizer_overrides(*roles[method]))
  c.train.batch_size = 16
  c.eval.metrics = ('translation',)

  c.translation = ConfigDict()
  c.translation.loss = 'least_squares'  # adversarial loss, as gan.loss
  c.translation.diff_augment = ()       # DiffAugment of what discriminators see: any of color, translation, cutout
  c.translation.ema = 0.999             # decay per step of the generators' weight averages (EMA)
  if method == 'pix2pix':
    c.translation.loss = 'non_saturating'  # as in the paper; of few pairs the discriminator wins with least_squares
    c.translation.l1 = 100.0            # weight of the mean absolute difference between translation and target
  # The generator's part of `least_squares` is half of the loss that the authors of CUT and CycleGAN train with, so
  # these weights are half of theirs too (CUT: 1 and 1 in the paper, whose code halves the sum; CycleGAN: 10 and 5).
  if method == 'cut':
    c.translation.nce = 0.25            # weight of the contrastive loss between patches of an image and its translation
    c.translation.identity = 0.25       # weight of the same between a target and its translation
    c.translation.patches = 128         # patches per image in that loss, in each of five layers
  if method == 'cyclegan':
    c.translation.cycle = 5.0           # weight of the mean absolute difference after translating there and back
    c.translation.identity = 2.5        # weight of the same for target and image, each translated to its own kind
  # fmt: on
  return c.lock()
