"""R3GAN (Huang et al. 2024, arXiv:2501.05441, section 3 and appendix B).

For square images of any side that `layers.base_and_doublings` takes, times `stride`. Neither network has normalisation;
both are made for the relativistic loss with R1 and R2.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.models import ImageShape, Network, Spec, settings
from genaug.models.gan_layers import Logit, minibatch_stddev, smooth_down, smooth_up, widths
from genaug.models.layers import Conv3x3, ConvDown, ConvUp, base_and_doublings, check_square

_SLOPE = 0.2  # negative slope of the leaky ReLU
_GROUP = 16  # channels per group of the 3x3 convolution
_EXPANSION = 2  # factor by which a block widens its channels inside

_linear = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')


class _Block(nn.Module):
  """Residual block: 1x1, grouped 3x3 and 1x1 convolution.

  The last one starts at zero; the initial weights of the others are the smaller the more blocks the network has.
  """

  blocks: int  # in the whole network
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    features = x.shape[-1]
    inside = features * _EXPANSION
    init = nn.initializers.variance_scaling(2 / (1 + _SLOPE**2) / math.sqrt(self.blocks), 'fan_in', 'normal')
    h = nn.leaky_relu(nn.Dense(inside, kernel_init=init, dtype=self.dtype)(x), _SLOPE)
    groups = max(1, inside // _GROUP) if inside % _GROUP == 0 else 1
    h = Conv3x3(inside, groups=groups, kernel_init=init, dtype=self.dtype)(h)
    h = nn.leaky_relu(h, _SLOPE)
    return x + nn.Dense(features, use_bias=False, kernel_init=nn.initializers.zeros, dtype=self.dtype)(h)


class Generator(nn.Module):
  """z -> images in about [-1, 1], not clipped. With classes, a learned embedding of the label is appended to z."""

  spec: Spec
  width: int = 64
  max_width: int = 512
  blocks: int = 2
  stride: int = 1
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, z: Float[Array, 'b d'], label: Int[Array, ' b'], train: bool) -> Float[Array, 'b h w c']:
    del train
    side, _, channels = self.spec.image_shape
    base, doublings = base_and_doublings(side // self.stride)
    *upwards, lowest = widths(side // self.stride, self.width, self.max_width)
    if self.spec.num_classes:
      z = jnp.concatenate([z, nn.Embed(self.spec.num_classes, z.shape[-1], name='label')(label)], axis=-1)

    def stage(x):
      for _ in range(self.blocks):
        x = _Block(self.blocks * (doublings + 1), self.dtype)(x)
      return x

    basis = self.param('basis', nn.initializers.normal(1.0), (base, base, lowest))
    z = nn.Dense(lowest, use_bias=False, kernel_init=_linear, dtype=self.dtype)(z)
    x = stage(basis.astype(self.dtype) * z[:, None, None])
    for features in reversed(upwards):
      if features != x.shape[-1]:
        x = nn.Dense(features, use_bias=False, kernel_init=_linear, dtype=self.dtype)(x)
      x = stage(smooth_up(x))  # [b, base * 2^i, ..., features]
    last = nn.Dense if self.stride == 1 else ConvUp
    return last(channels, use_bias=False, kernel_init=_linear, dtype=self.dtype)(x).astype(jnp.float32)


class Discriminator(nn.Module):
  """Images -> one logit each; with classes, a projection head."""

  spec: Spec
  width: int = 64
  max_width: int = 512
  blocks: int = 2
  stride: int = 1
  minibatch_stddev: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], label: Int[Array, ' b']) -> Float[Array, ' b']:
    channels = widths(self.spec.image_shape[0] // self.stride, self.width, self.max_width)
    first = nn.Dense if self.stride == 1 else ConvDown
    x = first(channels[0], use_bias=False, kernel_init=_linear, dtype=self.dtype)(x.astype(self.dtype))
    for i, features in enumerate(channels):
      if i:
        x = smooth_down(x)
      if features != x.shape[-1]:
        x = nn.Dense(features, use_bias=False, kernel_init=_linear, dtype=self.dtype)(x)
      for _ in range(self.blocks):
        x = _Block(self.blocks * len(channels), self.dtype)(x)  # [b, side / stride / 2^i, ..., features]
    if self.minibatch_stddev:
      x = minibatch_stddev(x)
    basis = self.param('basis', nn.initializers.normal(1 / math.sqrt(math.prod(x.shape[1:3]))), x.shape[1:])
    return Logit(self.spec.num_classes)(jnp.einsum('bhwc,hwc->bc', x, basis.astype(x.dtype)), label)


def _build(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  model = config.model
  sizes = {name: model[name] for name in ('width', 'max_width', 'blocks', 'stride')}
  shared = settings(config, spec) | sizes
  return {
    'generator': Generator(**shared),
    'discriminator': Discriminator(**shared, minibatch_stddev=model.minibatch_stddev),
  }


def _check(model, shape: ImageShape) -> None:
  height, width, channels = shape
  if height % model.stride or width % model.stride:
    raise ValueError(f'images of {height} x {width} pixels: must be even for model.stride={model.stride}')
  check_square(model, (height // model.stride, width // model.stride, channels))


R3GAN = Network(('generator', 'discriminator'), _build, _check)
