"""Super-resolution: the keys of task `superres`."""

from ml_collections import ConfigDict

from configs import base

# Variants, named after the colon: `--config configs/superres_own_images.py:gan`.
VARIANTS = {
  '': {},
  'gan': {'l1': 1.0, 'perceptual': 0.01, 'adversarial': 0.005, 'l1_steps': 3000},
  'blind': {'degradation': 'blind'},
  'blind_gan': {'degradation': 'blind', 'l1': 1.0, 'perceptual': 0.01, 'adversarial': 0.002, 'l1_steps': 2500},
}


def get_config(variant: str = '') -> ConfigDict:
  """Returns the config of a variant, which is an entry of VARIANTS. Raises ValueError for any other.

  Without one, training minimises L1 alone; gan adds losses for textures; blind and blind_gan do the same for blurred,
  noisy, compressed images.
  """
  if variant not in VARIANTS:
    raise ValueError(f'variant = {variant!r}: must be one of {", ".join(VARIANTS)[2:]}, or nothing')
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'superres'
  c.data.resize = True                  # image_folder: False crops the central image_size pixels without resizing
  c.model.network = 'edsr'
  c.model.width = 32
  c.model.blocks = 6                    # residual blocks
  c.model.scale = 2                     # factor by which both sides are enlarged: 2 | 3 | 4
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.optim.update(base.optimizer_overrides('upscaler', 'discriminator'))
  c.eval.metrics = ('super_resolution',)

  c.superres = ConfigDict()
  c.superres.patch = 48                 # side in pixels of the random crop of a training image; 0 is the whole image
  c.superres.degradation = 'bicubic'    # how inputs are made: bicubic, as MATLAB's imresize | blind (also damages them)
  c.superres.blur = (0.2, 1.5)          # blind: range of the Gaussian blur's sigma, in pixels of the large image
  c.superres.noise = 0.03               # blind: largest standard deviation of Gaussian noise; white is 1
  c.superres.jpeg_quality = (50.0, 95.0)  # blind: range of the JPEG quality, in [1, 100]

  # Weights of the losses, 0 is off.
  c.superres.l1 = 1.0                   # mean absolute error; white is 1
  c.superres.perceptual = 0.0           # mean squared difference of VGG16 features (relu2_2)
  c.superres.adversarial = 0.0          # adversarial loss of a PatchGAN discriminator
  c.superres.loss = 'relativistic'      # minimax | non_saturating | least_squares | hinge | wasserstein | relativistic
  c.superres.l1_steps = 0               # first steps, which train with L1 alone
  c.superres.ema = 0.999                # decay per step of the weight average (EMA)
  # fmt: on
  c.superres.update(VARIANTS[variant])
  return c.lock()
