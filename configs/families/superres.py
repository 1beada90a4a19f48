"""Super-resolution: the keys of task `superres`."""

from ml_collections import ConfigDict

from configs import base

# What follows the colon in `--config configs/superres_own_images.py:gan`.
VARIANTS = {
  '': {},
  'gan': {'l1': 1.0, 'perceptual': 0.01, 'adversarial': 0.005, 'l1_steps': 3000},
  'blind': {'degradation': 'blind'},
  'blind_gan': {'degradation': 'blind', 'l1': 1.0, 'perceptual': 0.01, 'adversarial': 0.002, 'l1_steps': 2500},
}


def get_config(variant: str = '') -> ConfigDict:
  """By L1 alone, or with textures (gan), or for blurred, noisy, compressed images (blind, blind_gan)."""
  if variant not in VARIANTS:
    raise ValueError(f'variant = {variant!r}: must be one of {", ".join(VARIANTS)[2:]}, or nothing')
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'superres'
  c.data.resize = True                  # image_folder: False takes the image_size pixels in the middle as they are
  c.model.network = 'edsr'
  c.model.width = 32
  c.model.blocks = 6                    # residual blocks
  c.model.scale = 2                     # how many times the sides are enlarged: 2 | 3 | 4
  c.optim.lr = 1e-3
  c.optim.b1 = 0.9
  c.optim.schedule = 'cosine'
  c.optim.update(base.own_optimizers('upscaler', 'discriminator'))
  c.eval.metrics = ('super_resolution',)

  c.superres = ConfigDict()
  c.superres.patch = 48                 # side in pixels of what is cropped of a training image; 0 is all of it
  c.superres.degradation = 'bicubic'    # how images are made small: bicubic, as MATLAB's imresize | blind
  c.superres.blur = (0.2, 1.5)          # blind: sigma of the Gaussian blur, in pixels of the large image
  c.superres.noise = 0.03               # blind: largest standard deviation of the noise; white is 1
  c.superres.jpeg_quality = (50.0, 95.0)  # blind

  # Weights of the losses, 0 is off.
  c.superres.l1 = 1.0                   # mean absolute error; white is 1
  c.superres.perceptual = 0.0           # squared difference of features of VGG16 (relu2_2)
  c.superres.adversarial = 0.0          # of a discriminator of patches
  c.superres.loss = 'relativistic'      # minimax | non_saturating | least_squares | hinge | wasserstein | relativistic
  c.superres.l1_steps = 0               # first steps, with L1 alone
  c.superres.ema = 0.999                # decay of the averaged network, per step
  # fmt: on
  c.superres.update(VARIANTS[variant])
  return c.lock()
