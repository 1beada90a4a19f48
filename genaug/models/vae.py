"""Encoders and decoders of variational autoencoders.

conv_vae, and resnet_vae with residual blocks: one vector of latents (Kingma and Welling 2014, arXiv:1312.6114).
ladder_vae: latents at several resolutions, drawn from the coarsest to the finest (Soenderby et al. 2016,
arXiv:1602.02282), each posterior relative to its prior (Vahdat and Kautz 2020, NVAE, arXiv:2007.03898, section 3.2).
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.losses.likelihood import LIKELIHOODS
from genaug.models import Network, Spec, settings
from genaug.models.layers import Conv3x3, check_square, stages
from genaug.models.vae_layers import LogScale, Outputs, downwards, residual, to_outputs, upwards, widths_up

Z = Float[Array, 'b *z']
Label = Int[Array, ' b']


class Normal(NamedTuple):
  """A diagonal Gaussian of latents."""

  mean: Z
  log_var: Z

  def at(self, noise: Z) -> Z:
    """The latents that standard normal noise stands for."""
    return self.mean + jnp.exp(0.5 * self.log_var) * noise


class Level(NamedTuple):
  """Latents of one resolution; drawn from the posterior where there is one, else from the prior."""

  z: Z
  prior: Normal
  posterior: Normal | None


class Encoder(nn.Module):
  """Images in [0, 1] -> the posterior of z."""

  spec: Spec
  width: int = 32
  blocks: int = 0  # residual blocks at each resolution
  z_dim: int = 32
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], label: Label) -> Normal:
    *_, h = downwards(self, x)
    return _posterior(self, h, label)


class Decoder(nn.Module):
  """Noise and what the encoder found -> (outputs of which the likelihood is, its log scale, levels).

  The noise, one array a level, stands for a draw from the posterior, or from the prior if there is no encoder.
  """

  spec: Spec
  outputs: int  # a pixel, see losses.likelihood
  width: int = 32
  blocks: int = 0
  z_dim: int = 32
  has_scale: bool = False
  dtype: jnp.dtype = jnp.float32

  @property
  def latent_shapes(self) -> tuple[tuple[int, ...], ...]:
    return ((self.z_dim,),)

  @nn.compact
  def __call__(
    self, noise: tuple[Z, ...], label: Label, posterior: Normal | None = None
  ) -> tuple[Outputs, LogScale, tuple[Level, ...]]:
    level = _standard_level(noise[0], posterior)
    x = _from_vector(self, level.z, label)
    return *to_outputs(self, upwards(self, x, widths_up(self))), (level,)


class LadderEncoder(nn.Module):
  """Images in [0, 1] -> (mean and log variance of the vector of latents, features of each resolution, finest first)."""

  spec: Spec
  width: int = 32
  blocks: int = 1
  z_dim: int = 32
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], label: Label) -> tuple[Normal, tuple[Float[Array, 'b ...'], ...]]:
    *features, h = downwards(self, x)
    return _posterior(self, h, label), (*features, h)


class LadderDecoder(nn.Module):
  """As `Decoder`, of a vector of latents and of maps of them at every resolution but the images' own."""

  spec: Spec
  outputs: int
  width: int = 32
  blocks: int = 1
  z_dim: int = 32
  map_channels: int = 4  # of the maps
  has_scale: bool = False
  dtype: jnp.dtype = jnp.float32

  @property
  def latent_shapes(self) -> tuple[tuple[int, ...], ...]:
    base, doublings = stages(self.spec.image_shape[0])
    return ((self.z_dim,), *((base * 2**i, base * 2**i, self.map_channels) for i in range(doublings)))

  @nn.compact
  def __call__(
    self,
    noise: tuple[Z, ...],
    label: Label,
    posterior: tuple[Normal, tuple[Float[Array, 'b ...'], ...]] | None = None,
  ) -> tuple[Outputs, LogScale, tuple[Level, ...]]:
    top, seen = posterior or (None, None)
    levels = [_standard_level(noise[0], top)]
    x, widths = _from_vector(self, levels[0].z, label), widths_up(self)
    for i, features in enumerate(widths):
      x = upwards(self, x, widths[max(i - 1, 0) : i + 1])
      prior = _Normal(self.map_channels, self.dtype, name=f'prior_{i}')(x)
      found = None
      if seen:
        relative = _Normal(self.map_channels, self.dtype, name=f'posterior_{i}')(jnp.concatenate([x, seen[-1 - i]], -1))
        found = Normal(prior.at(relative.mean), prior.log_var + relative.log_var)
      levels.append(_level(noise[1 + i], prior, found))  # [b, base * 2^i, ..., map_channels]
      x = x + nn.Dense(features, dtype=self.dtype)(levels[-1].z)
    return *to_outputs(self, residual(self, x)), tuple(levels)


class _Normal(nn.Module):
  """A map of standard normals at first; variances are squares of softplus, which can't explode."""

  channels: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x) -> Normal:
    conv = Conv3x3(2 * self.channels, kernel_init=nn.initializers.zeros, dtype=self.dtype)
    mean, raw = jnp.split(conv(nn.silu(x)).astype(jnp.float32), 2, axis=-1)
    return Normal(mean, 2 * jnp.log(nn.softplus(raw + math.log(math.e - 1))))


def _level(noise: Z, prior: Normal, posterior: Normal | None) -> Level:
  return Level((posterior or prior).at(noise), prior, posterior)


def _standard_level(noise: Z, posterior: Normal | None) -> Level:
  return _level(noise, Normal(jnp.zeros_like(noise), jnp.zeros_like(noise)), posterior)


def _posterior(net, h, label: Label) -> Normal:
  """Of the vector of latents."""
  h = h.reshape(h.shape[0], -1)
  if net.spec.num_classes:
    h = jnp.concatenate([h, jax.nn.one_hot(label, net.spec.num_classes, dtype=h.dtype)], axis=-1)
  h = nn.relu(nn.Dense(8 * net.width, dtype=net.dtype)(h)).astype(jnp.float32)
  return Normal(*jnp.split(nn.Dense(2 * net.z_dim)(h), 2, axis=-1))


def _from_vector(net, z: Float[Array, 'b z'], label: Label) -> Float[Array, 'b base base n']:
  base, _ = stages(net.spec.image_shape[0])
  lowest = widths_up(net)[0]
  if net.spec.num_classes:
    z = jnp.concatenate([z, jax.nn.one_hot(label, net.spec.num_classes)], axis=-1)
  h = nn.relu(nn.Dense(8 * net.width, dtype=net.dtype)(z))
  return nn.relu(nn.Dense(base * base * lowest, dtype=net.dtype)(h)).reshape(-1, base, base, lowest)


def _builder(encoder: type[nn.Module], decoder: type[nn.Module], *own: str):
  """Of networks that take these keys of config.model besides."""

  def build(config, spec: Spec, axis_name: str | None):
    del axis_name  # no batch norm
    model, likelihood = config.model, LIKELIHOODS[config.vae.likelihood]
    shared = settings(config, spec) | {'width': model.width, 'z_dim': model.z_dim}
    shared |= {'blocks': model.blocks} if 'blocks' in own else {}
    outputs = {'outputs': likelihood.outputs(spec.image_shape[-1]), 'has_scale': likelihood.has_scale}
    maps = {'map_channels': model.map_channels} if 'map_channels' in own else {}
    return {'encoder': encoder(**shared), 'decoder': decoder(**shared, **outputs, **maps)}

  return build


_ROLES = ('encoder', 'decoder')
CONV_VAE = Network(_ROLES, _builder(Encoder, Decoder), check_square)
RESNET_VAE = Network(_ROLES, _builder(Encoder, Decoder, 'blocks'), check_square)
LADDER_VAE = Network(_ROLES, _builder(LadderEncoder, LadderDecoder, 'blocks', 'map_channels'), check_square)
