"""Flow matching: the keys of task `flow`."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
  c = base.get_config().unlock()
  # fmt: off
  c.task = 'flow'
  c.model.network = 'unet'
  c.model.width = 32
  c.model.blocks = 1                    # residual blocks at each resolution, both in the encoder and in the decoder
  c.model.dropout = 0.0                 # dropout probability of activations
  c.model.conditional = True
  c.optim.lr = 2e-3
  c.optim.b1 = 0.9
  c.optim.clip = 1.0
  c.optim.schedule = 'cosine'
  c.optim.warmup_steps = 100
  c.optim.update(base.optimizer_overrides('denoiser'))
  c.eval.metrics = ('held_out', 'distances')

  c.flow = ConfigDict()
  c.flow.ema = 0.999                    # decay per step of the weight average (EMA)
  c.flow.label_dropout = 0.1            # share of labels (or captions, or image features) dropped in training; guidance
                                        # other than 1 needs more than 0

  # Non-leaky augmentation: the network is conditioned on its parameters, so that samples are not augmented. Any of
  # hflip, vflip, rot90, rotate, translate, scale, zoom, shear, brightness, contrast, saturation and hue, with their
  # parameters in c.augment.
  c.flow.augment = ()
  c.flow.augment_p = 0.15               # probability of each of these operations

  c.flow.sample_steps = 12              # steps of Heun's method: two network evaluations each, one in the last
  c.flow.guidance = 1.0                 # classifier-free guidance: 1 is none, higher is more faithful and less diverse
  # fmt: on
  return c.lock()


def augmented() -> ConfigDict:
  """Returns a config for few images: non-leaky augmentation (Karras et al. 2022, arXiv:2206.00364, app. F), dropout."""
  c = get_config()
  c.augment.border = 'reflect'
  c.model.dropout = 0.2
  c.flow.augment = ('translate', 'zoom', 'rotate', 'brightness', 'contrast')
  return c
