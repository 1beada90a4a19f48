"""Layers that encoders and decoders of VAEs and FSQ share; `net` is the module that calls them and has the settings."""

import math
from collections.abc import Iterator, Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genaug.models.layers import Conv3x3, ConvDown, ConvUp, base_and_doublings
from genaug.models.norms import GroupNorm

Map = Float[Array, 'b side side n']
Outputs = Float[Array, 'b h w n']
LogScale = Float[Array, ' c'] | None


def residual(net: nn.Module, x: Map) -> Map:
  """Applies `net.blocks` residual blocks of two 3x3 convolutions, the second of which starts at zero."""
  features = x.shape[-1]
  # At least 4 channels per group: a group of one channel would cancel the bias of the convolution before it.
  norm = lambda: GroupNorm(math.gcd(features, max(1, features // 4)), dtype=net.dtype)
  for _ in range(net.blocks):
    h = Conv3x3(features, dtype=net.dtype)(nn.silu(norm()(x)))
    x = x + Conv3x3(features, kernel_init=nn.initializers.zeros, dtype=net.dtype)(nn.silu(norm()(h)))
  return x


def encoder_features(net: nn.Module, x: Float[Array, 'b h w c']) -> Iterator[Map]:
  """Yields the encoder's features at half the side of the images, a quarter and so on."""
  _, doublings = base_and_doublings(net.spec.image_shape[0])
  x = 2 * x - 1
  for i in range(doublings):
    x = residual(net, nn.relu(ConvDown(net.width * 2**i, dtype=net.dtype)(x)))
    yield x  # [b, side / 2^(i+1), ..., width * 2^i]


def decoder_stack(net: nn.Module, x: Map, widths: Sequence[int]) -> Map:
  """Decodes from the first of these widths to the last: residual blocks at each, doubled sides in between."""
  for features in widths[1:]:
    x = nn.relu(ConvUp(features, dtype=net.dtype)(residual(net, x)))
  return residual(net, x)


def widths_up(net: nn.Module) -> list[int]:
  """Returns the channels at every resolution below the images' own, lowest first."""
  _, doublings = base_and_doublings(net.spec.image_shape[0])
  return [net.width * 2**i for i in reversed(range(doublings))]


def to_outputs(net: nn.Module, x: Map) -> tuple[Outputs, LogScale]:
  """Returns the parameters of the likelihood at full resolution, and its log scale if it has one."""
  outputs = ConvUp(net.outputs, dtype=net.dtype)(x).astype(jnp.float32)  # [b, side, side, outputs]
  channels = net.spec.image_shape[-1]
  return outputs, net.param('log_scale', nn.initializers.constant(-2.0), (channels,)) if net.has_scale else None
