"""Generative adversarial networks: the keys of task `gan`."""

from ml_collections import ConfigDict

from configs import base

# Variants, named after the colon: `--config configs/gan_mnist5k.py:ada`.
VARIANTS = {'': 'none', 'diffaug': 'diff_augment', 'ada': 'ada'}

# Losses with the settings that go with them, for small DCGANs.
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
  """Returns the config; `variant` is the augmentation of what the discriminator sees. Raises ValueError if unknown."""
  if variant not in VARIANTS:
    raise ValueError(f'variant = {variant!r}: must be one of {", ".join(VARIANTS)[2:]}, or nothing')
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'gan'
  c.model.network = 'dcgan'
  c.model.z_dim = 100                   # size of the latent vector
  c.model.max_width = 512               # resnet, r3: most channels, where their doubling with every halving stops
  c.model.blocks = 2                    # r3: residual blocks at every resolution
  c.model.stride = 1                    # r3: stride next to the image: 1 | 2, with which no layer works at full size
  c.model.d_norm = 'batch'              # discriminator's norm: batch (dcgan; none in the others) | none | spectral
  c.model.minibatch_stddev = False      # tell the discriminator how much images within a group differ
  c.optim.update(base.optimizer_overrides('generator', 'discriminator'))
  c.eval.metrics = ('distances', 'coverage', 'memorisation', 'diversity', 'discriminator')

  c.gan = ConfigDict()
  c.gan.loss = 'non_saturating'         # minimax | non_saturating | least_squares | hinge | wasserstein
                                        # | relativistic
  c.gan.z_prior = 'normal'              # prior of the latents: normal | uniform (in [-1, 1])
  c.gan.ema = 0.999                     # decay per step of the generator's weight average (EMA)
  c.gan.d_steps = 1                     # discriminator updates per generator update; train.steps counts the former

  # Weights of gradient penalties on the discriminator, 0 is off; pairs follow optim.schedule.
  c.gan.r1 = base.number_or_pair(0.0)   # half the squared gradient norm at real images
  c.gan.r2 = base.number_or_pair(0.0)   # the same at generated images
  c.gan.gradient_penalty = base.number_or_pair(0.0)  # (gradient norm - 1)^2 in between (WGAN-GP: 10)
  c.gan.penalty_every = 1               # steps between penalties, whose weights it multiplies (lazy regularisation)
  c.gan.lecam = base.number_or_pair(0.0)  # weight of LeCam regularisation (paper: 0.3); not with loss relativistic

  c.gan.d_augment = VARIANTS[variant]   # augmentation of all that the discriminator sees: none | diff_augment | ada
  c.gan.diff_augment = ('color', 'translation', 'cutout')      # any of these
  c.gan.ada_transforms = ('blit', 'geometry', 'color')         # any of these, filter, noise and cutout
  c.gan.ada_target = 0.6                # ADA's target for r_t, the mean sign of the discriminator's logits on real data
  c.gan.ada_kimg = 500.0                # thousands of images over which ADA's probability can go from 0 to 1
  c.gan.ada_p = 0.0                     # ADA's probability at the start
  # fmt: on
  return c.lock()


def dcgan(variant: str = '') -> ConfigDict:
  """Returns the config with the best settings of small DCGANs within minutes, on a validation split of MNIST-5k."""
  c = get_config(variant)
  c.model.update({'width': 32, 'conditional': True})
  c.optim.update({'lr': 8e-4, 'schedule': 'cosine'})
  if variant == 'ada':
    c.gan.ada_kimg = 100.0  # in runs as short as these, 500 would take the probability only halfway
  return c


def r3(variant: str = '') -> ConfigDict:
  """Returns the config with the settings of all R3GANs (Huang et al. 2024, arXiv:2501.05441, section 4, appendix D)."""
  c = get_config(variant)
  c.model.update({'network': 'r3', 'd_norm': 'none', 'z_dim': 64})
  c.optim.update({'lr': (2e-4, 5e-5), 'b1': 0.0, 'b2': (0.9, 0.99), 'schedule': 'cosine'})
  c.gan.update({'loss': 'relativistic', 'r1': 1.0, 'r2': 1.0, 'penalty_every': 4})
  return c


def small_r3(variant: str = '') -> ConfigDict:
  """Returns the config of an R3GAN that is small enough for a CPU: no layer works at full resolution."""
  c = r3(variant)
  c.model.update({'width': 32, 'max_width': 128, 'blocks': 1, 'stride': 2, 'conditional': True})
  c.optim.lr = 8e-4
  return c
