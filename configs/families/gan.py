"""Generative adversarial networks: the keys of task `gan`."""

from ml_collections import ConfigDict

from configs import base

# What follows the colon in `--config configs/gan_mnist5k.py:ada`.
VARIANTS = {'': 'none', 'diffaug': 'diff_augment', 'ada': 'ada'}

# Losses with what goes with them, for small DCGANs.
LOSSES = {
  'dcgan': {'gan.loss': 'non_saturating'},
  'sngan': {'gan.loss': 'hinge', 'model.d_norm': 'spectral', 'optim.lr': 4e-4},
  'wgan_gp': {
    'gan.loss': 'wasserstein',
    'gan.gradient_penalty': 10.0,
    'model.d_norm': 'none',
    'optim.lr': 4e-4,
    'optim.b1': 0.0,
    'optim.b2': 0.9,
  },
  'r3': {
    'gan.loss': 'relativistic',
    'gan.r1': 1.0,
    'gan.r2': 1.0,
    'gan.penalty_every': 4,
    'model.d_norm': 'none',
    'optim.b1': 0.0,
    'optim.b2': 0.99,
  },
}


def get_config(variant: str = '') -> ConfigDict:
  """With what the discriminator sees augmented as the variant says."""
  if variant not in VARIANTS:
    raise ValueError(f'variant = {variant!r}: must be one of {", ".join(VARIANTS)[2:]}, or nothing')
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'gan'
  c.model.network = 'dcgan'
  c.model.z_dim = 100                   # size of the latent vector
  c.model.max_width = 512               # resnet, r3: where the doubling of channels with every halving stops
  c.model.blocks = 2                    # r3: residual blocks at every resolution
  c.model.stride = 1                    # r3: of the convolution next to the image; with 2 no layer works at full size
  c.model.d_norm = 'batch'              # of the discriminator: batch (dcgan's; the others have none) | none | spectral
  c.model.minibatch_stddev = False      # show the discriminator how much the images of a group differ
  c.optim.update(base.own_optimizers('generator', 'discriminator'))
  c.eval.metrics = ('distances', 'coverage', 'memorisation', 'diversity', 'discriminator')

  c.gan = ConfigDict()
  c.gan.loss = 'non_saturating'         # minimax | non_saturating | least_squares | hinge | wasserstein
                                        # | relativistic
  c.gan.z_prior = 'normal'              # normal | uniform (in -1..1)
  c.gan.ema = 0.999                     # decay of the averaged generator, per step
  c.gan.d_steps = 1                     # of the discriminator, which train.steps counts, for one of the generator

  # Weights of gradient penalties on the discriminator, 0 is off; pairs follow optim.schedule.
  c.gan.r1 = base.number_or_pair(0.0)   # half the squared gradient norm at real images
  c.gan.r2 = base.number_or_pair(0.0)   # and at generated ones
  c.gan.gradient_penalty = base.number_or_pair(0.0)  # squared distance of its norm from 1 in between (WGAN-GP: 10)
  c.gan.penalty_every = 1               # steps between penalties, which then weigh as many times as much
  c.gan.lecam = base.number_or_pair(0.0)  # of LeCam regularisation (paper: 0.3); not for relativistic

  c.gan.d_augment = VARIANTS[variant]   # augmentation of all that the discriminator sees: none | diff_augment | ada
  c.gan.diff_augment = ('color', 'translation', 'cutout')      # any of these
  c.gan.ada_transforms = ('blit', 'geometry', 'color')         # any of these, filter, noise and cutout
  c.gan.ada_target = 0.6                # of r_t, the mean sign of the discriminator's logits of real images
  c.gan.ada_kimg = 500.0                # thousands of images that take the probability from 0 to 1
  c.gan.ada_p = 0.0                     # probability to start with
  # fmt: on
  return c.lock()


def dcgan(variant: str = '') -> ConfigDict:
  """With the settings that were best for small DCGANs within minutes, on a validation split of MNIST-5k."""
  c = get_config(variant)
  c.model.update({'width': 32, 'conditional': True})
  c.optim.update({'lr': 8e-4, 'schedule': 'cosine'})
  if variant == 'ada':
    c.gan.ada_kimg = 100.0  # in runs as short as these 500 would take the probability half the way
  return c


def r3(variant: str = '') -> ConfigDict:
  """With what is common to all R3GANs (Huang et al. 2024, arXiv:2501.05441, section 4 and appendix D)."""
  c = get_config(variant)
  c.model.update({'network': 'r3', 'd_norm': 'none', 'z_dim': 64})
  c.optim.update({'lr': (2e-4, 5e-5), 'b1': 0.0, 'b2': (0.9, 0.99), 'schedule': 'cosine'})
  c.gan.update({'loss': 'relativistic', 'r1': 1.0, 'r2': 1.0, 'penalty_every': 4})
  return c


def small_r3(variant: str = '') -> ConfigDict:
  """Small enough for a CPU: no layer works at full resolution."""
  c = r3(variant)
  c.model.update({'width': 32, 'max_width': 128, 'blocks': 1, 'stride': 2, 'conditional': True})
  c.optim.lr = 8e-4
  return c
