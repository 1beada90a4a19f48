"""Batch norm with the settings that the networks share; group norm and instance norm, fast on CPU."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def batch_norm(train: bool, dtype: jnp.dtype, axis_name: str | None) -> Callable[[], nn.BatchNorm]:
  """Returns a constructor of modules that in training use batch statistics, averaged over the devices of the axis."""
  axis_name = axis_name if train else None
  settings = {'use_running_average': not train, 'momentum': 0.9, 'epsilon': 1e-5}
  return partial(nn.BatchNorm, dtype=dtype, axis_name=axis_name, **settings)


class GroupNorm(nn.Module):
  """Flax's group norm, computed as one scale and one shift per channel of an image: half the time on CPU."""

  groups: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
    bias = self.param('bias', nn.initializers.zeros, x.shape[-1:])
    return _normalized(x, self.groups, scale, bias).astype(self.dtype)


class InstanceNorm(nn.Module):
  """Instance norm, every channel of every image by its own mean and variance: Ulyanov et al. 2016 (arXiv:1607.08022).

  With `styles`, each style has its own scale and shift: Dumoulin et al. 2017 (arXiv:1610.07629), eq. 5.
  """

  styles: int = 0
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], style: Int[Array, ' b'] | None = None) -> Float[Array, 'b h w c']:
    shape = (self.styles, x.shape[-1]) if self.styles else x.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, shape)
    bias = self.param('bias', nn.initializers.zeros, shape)
    if self.styles:
      scale, bias = scale[style], bias[style]
    return _normalized(x, x.shape[-1], scale, bias).astype(self.dtype)


def _normalized(x, groups: int, scale, bias):
  """Normalises each group of channels of each image, then applies scale and bias, which are [c] or [b, c]."""
  shape = (groups, x.shape[-1] // groups)
  scale, bias = (value.reshape(-1, *shape) for value in (scale, bias))
  group_mean = lambda x: x.mean((1, 2)).reshape(-1, *shape).mean(-1, keepdims=True)  # [b, groups, 1]
  x = x.astype(jnp.float32)
  mean, square = group_mean(x), group_mean(x**2)
  scale = scale * jax.lax.rsqrt(jnp.maximum(square - mean**2, 0) + 1e-5)
  scale, shift = (value.reshape(-1, 1, 1, x.shape[-1]) for value in (scale, bias - mean * scale))
  return x * scale + shift
