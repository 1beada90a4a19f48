"""Residual generator and discriminator of SNGAN (Miyato et al. 2018, arXiv:1802.05957, tables 3 and 4) and BigGAN.

For square images of any side that `layers.base_and_doublings` takes. The discriminator has no batch norm;
`model.d_norm` can give it spectral norm.
"""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.models import Network, Spec, settings
from genaug.models.gan_layers import Logit, minibatch_stddev, widths
from genaug.models.layers import Conv3x3, ConvPool, UpsampleConv, base_and_doublings, check_square

_init = nn.initializers.xavier_uniform()


class _BatchNorm(nn.Module):
  """Batch norm; with classes, a scale and a shift for each class (Dumoulin et al. 2017, arXiv:1610.07629, eq. 5)."""

  num_classes: int
  dtype: jnp.dtype
  axis_name: str | None

  @nn.compact
  def __call__(self, x, label, train: bool):
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
      axis_name=self.axis_name if train else None,
      use_scale=not self.num_classes,
      use_bias=not self.num_classes,
    )(x)
    if self.num_classes:
      embed = partial(nn.Embed, self.num_classes, x.shape[-1], dtype=self.dtype)
      scale = embed(embedding_init=nn.initializers.ones, name='scale')(label)
      x = x * scale[:, None, None] + embed(embedding_init=nn.initializers.zeros, name='shift')(label)[:, None, None]
    return x


class Generator(nn.Module):
  """z -> images in [-1, 1]; with classes, batch norm has a scale and a shift for each class."""

  spec: Spec
  width: int = 64
  max_width: int = 512
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, z: Float[Array, 'b d'], label: Int[Array, ' b'], train: bool) -> Float[Array, 'b h w c']:
    side, _, channels = self.spec.image_shape
    base, _ = base_and_doublings(side)
    *upwards, lowest = widths(side, self.width, self.max_width)
    norm = partial(_BatchNorm, self.spec.num_classes, self.dtype, self.axis_name)
    options = {'kernel_init': _init, 'dtype': self.dtype}
    x = nn.Dense(base * base * lowest, **options)(z).reshape(-1, base, base, lowest)
    unbiased = options | {'use_bias': False}  # the batch norm that follows would cancel a bias
    for features in reversed(upwards):
      h = nn.relu(norm()(x, label, train))
      h = nn.relu(norm()(UpsampleConv(features, **unbiased)(h), label, train))
      h = Conv3x3(features, **unbiased)(h)
      # A 1x1 convolution and nearest upsampling commute; in this order the convolution has a quarter of the pixels.
      x = h + nn.Dense(features, **unbiased)(x).repeat(2, 1).repeat(2, 2)  # [b, base * 2^i, ..., features]
    x = nn.relu(norm()(x, label, train))
    return jnp.tanh(Conv3x3(channels, **options)(x).astype(jnp.float32))


class Discriminator(nn.Module):
  """Images in [-1, 1] -> one logit each, from features summed over pixels; with classes, a projection head."""

  spec: Spec
  width: int = 64
  max_width: int = 512
  minibatch_stddev: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], label: Int[Array, ' b']) -> Float[Array, ' b']:
    *downwards, lowest = widths(self.spec.image_shape[0], self.width, self.max_width)
    options = {'kernel_init': _init, 'dtype': self.dtype}
    pool = partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2))
    x = x.astype(self.dtype)
    for i, features in enumerate(downwards):
      h = Conv3x3(features, **options)(nn.relu(x) if i else x)
      h = ConvPool(features, **options)(nn.relu(h))
      x = h + nn.Dense(features, **options)(pool(x))  # [b, side / 2^(i+1), ..., features]
    if self.minibatch_stddev:
      x = minibatch_stddev(x)
    h = Conv3x3(lowest, **options)(nn.relu(x))
    x = Conv3x3(lowest, **options)(nn.relu(h)) + nn.Dense(lowest, **options)(x)
    return Logit(self.spec.num_classes)(nn.relu(x).sum((1, 2)), label)


def _build(config, spec: Spec, axis_name: str | None):
  model = config.model
  shared = settings(config, spec) | {'width': model.width, 'max_width': model.max_width}
  return {
    'generator': Generator(**shared, axis_name=axis_name),
    'discriminator': Discriminator(**shared, minibatch_stddev=model.minibatch_stddev),
  }


RESNET_GAN = Network(('generator', 'discriminator'), _build, check_square)
