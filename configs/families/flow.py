"""Flow matching: the keys of task `flow`."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'flow'
  c.model.network = 'unet'
  c.model.width = 32
  c.model.blocks = 1                    # residual blocks at each resolution, on the way down and on the way up
  c.model.dropout = 0.0                 # probability of a network's value to be dropped in training
  c.model.conditional = True
  c.optim.lr = 2e-3
  c.optim.b1 = 0.9
  c.optim.clip = 1.0
  c.optim.schedule = 'cosine'
  c.optim.warmup_steps = 100
  c.optim.update(base.own_optimizers('denoiser'))
  c.eval.metrics = ('held_out', 'distances')

  c.flow = ConfigDict()
  c.flow.ema = 0.999                    # decay of the averaged network, per step
  c.flow.label_dropout = 0.1            # share of labels that are dropped in training; without any no guidance

  # Non-leaky augmentation: its parameters are an input of the network, so that augmented images never come out. Any of
  # hflip, vflip, rot90, rotate, translate, scale, zoom, shear, brightness, contrast, saturation and hue, with the
  # parameters of c.augment.
  c.flow.augment = ()
  c.flow.augment_p = 0.15               # probability of each

  c.flow.sample_steps = 12              # of Heun's method, two evaluations of the network each
  c.flow.guidance = 1.0                 # classifier-free: 1 is none, higher is more faithful and less diverse
  # fmt: on
  return c.lock()


def augmented() -> ConfigDict:
  """For few images: with non-leaky augmentation (Karras et al. 2022, arXiv:2206.00364, appendix F) and dropout."""
  c = get_config()
  c.augment.border = 'reflect'
  c.model.dropout = 0.2
  c.flow.augment = ('translate', 'zoom', 'rotate', 'brightness', 'contrast')
  return c
