"""Encoders and decoders of variational autoencoders.

conv_vae, and resnet_vae with residual blocks: one latent vector (Kingma and Welling 2014, arXiv:1312.6114).
ladder_vae: latents at several resolutions, drawn from the coarsest to the finest (Soenderby et al. 2016,
arXiv:1602.02282), each posterior predicted relative to its prior (Vahdat and Kautz 2020, NVAE, arXiv:2007.03898,
section 3.2).
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.losses.likelihood import LIKELIHOODS
from genaug.models import Network, Spec, settings
from genaug.models.layers import Conv3x3, base_and_doublings, check_square
from genaug.models.vae_layers import LogScale, Outputs, decoder_stack, encoder_features, residual, to_outputs, widths_up

Z = Float[Array, 'b *z']
Label = Int[Array, ' b']


class Normal(NamedTuple):
  """Diagonal Gaussian over latents."""

  mean: Z
  log_var: Z

  def at(self, noise: Z) -> Z:
    """Maps standard normal noise to latents: the mean plus the standard deviation times the noise."""
    return self.mean + jnp.exp(0.5 * self.log_var) * noise


class Level(NamedTuple):
  """Latents of one resolution, drawn from the posterior if there is one, else from the prior."""

  z: Z
  prior: Normal
  posterior: Normal | None


class Encoder(nn.Module):
  """Images in [0, 1] and labels -> the posterior over z."""

  spec: Spec
  width: int = 32
  blocks: int = 0  # residual blocks at each resolution
  z_dim: int = 32
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], label: Label) -> Normal:
    *_, h = encoder_features(self, x)
    return _posterior(self, h, label)


class Decoder(nn.Module):
  """Noise, labels and the encoder's output -> (parameters of the likelihood, its log scale if it has one, levels).

  The standard normal noise, one array per level, is mapped to latents by the posterior, or without one by the prior.
  """

  spec: Spec
  outputs: int  # numbers per pixel, see losses.likelihood
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
    return *to_outputs(self, decoder_stack(self, x, widths_up(self))), (level,)


class LadderEncoder(nn.Module):
  """Images in [0, 1] and labels -> (posterior over the latent vector, features at each resolution, finest first)."""

  spec: Spec
  width: int = 32
  blocks: int = 1
  z_dim: int = 32
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], label: Label) -> tuple[Normal, tuple[Float[Array, 'b ...'], ...]]:
    *features, h = encoder_features(self, x)
    return _posterior(self, h, label), (*features, h)


class LadderDecoder(nn.Module):
  """Decoder of a latent vector and maps of latents at every resolution below the images' own; called like `Decoder`."""

  spec: Spec
  outputs: int
  width: int = 32
  blocks: int = 1
  z_dim: int = 32
  map_channels: int = 4  # channels of the maps of latents
  has_scale: bool = False
  dtype: jnp.dtype = jnp.float32

  @property
  def latent_shapes(self) -> tuple[tuple[int, ...], ...]:
    base, doublings = base_and_doublings(self.spec.image_shape[0])
    return ((self.z_dim,), *((base * 2**i, base * 2**i, self.map_channels) for i in range(doublings)))

  @nn.compact
  def __call__(
    self,
    noise: tuple[Z, ...],
    label: Label,
    posterior: tuple[Normal, tuple[Float[Array, 'b ...'], ...]] | None = None,
  ) -> tuple[Outputs, LogScale, tuple[Level, ...]]:
    top, taps = posterior or (None, None)
    levels = [_standard_level(noise[0], top)]
    x, widths = _from_vector(self, levels[0].z, label), widths_up(self)
    for i, features in enumerate(widths):
      x = decoder_stack(self, x, widths[max(i - 1, 0) : i + 1])
      prior = _Normal(self.map_channels, self.dtype, name=f'prior_{i}')(x)
      map_posterior = None
      if taps:
        relative = _Normal(self.map_channels, self.dtype, name=f'posterior_{i}')(jnp.concatenate([x, taps[-1 - i]], -1))
        map_posterior = Normal(prior.at(relative.mean), prior.log_var + relative.log_var)
      levels.append(_level(noise[1 + i], prior, map_posterior))  # [b, base * 2^i, ..., map_channels]
      x = x + nn.Dense(features, dtype=self.dtype)(levels[-1].z)
    return *to_outputs(self, residual(self, x)), tuple(levels)


class _Normal(nn.Module):
  """Features -> a map of Gaussians, standard normal at first.

  The standard deviation is a softplus, which can't explode as an exponential can.
  """

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
  """Returns the posterior over the latent vector, from the lowest feature map and the label."""
  h = h.reshape(h.shape[0], -1)
  if net.spec.num_classes:
    h = jnp.concatenate([h, jax.nn.one_hot(label, net.spec.num_classes, dtype=h.dtype)], axis=-1)
  h = nn.relu(nn.Dense(8 * net.width, dtype=net.dtype)(h)).astype(jnp.float32)
  return Normal(*jnp.split(nn.Dense(2 * net.z_dim)(h), 2, axis=-1))


def _from_vector(net, z: Float[Array, 'b z'], label: Label) -> Float[Array, 'b base base n']:
  """Returns the decoder's lowest feature map, from the latent vector and the label."""
  base, _ = base_and_doublings(net.spec.image_shape[0])
  lowest = widths_up(net)[0]
  if net.spec.num_classes:
    z = jnp.concatenate([z, jax.nn.one_hot(label, net.spec.num_classes)], axis=-1)
  h = nn.relu(nn.Dense(8 * net.width, dtype=net.dtype)(z))
  return nn.relu(nn.Dense(base * base * lowest, dtype=net.dtype)(h)).reshape(-1, base, base, lowest)


def _builder(encoder: type[nn.Module], decoder: type[nn.Module], *extra_keys: str):
  """Returns the `build` of a `Network` whose modules also take these keys of config.model."""

  def build(config, spec: Spec, axis_name: str | None):
    del axis_name  # no batch norm
    model, likelihood = config.model, LIKELIHOODS[config.vae.likelihood]
    shared = settings(config, spec) | {'width': model.width, 'z_dim': model.z_dim}
    shared |= {'blocks': model.blocks} if 'blocks' in extra_keys else {}
    outputs = {'outputs': likelihood.outputs(spec.image_shape[-1]), 'has_scale': likelihood.has_scale}
    maps = {'map_channels': model.map_channels} if 'map_channels' in extra_keys else {}
    return {'encoder': encoder(**shared), 'decoder': decoder(**shared, **outputs, **maps)}

  return build


_ROLES = ('encoder', 'decoder')
CONV_VAE = Network(_ROLES, _builder(Encoder, Decoder), check_square)
RESNET_VAE = Network(_ROLES, _builder(Encoder, Decoder, 'blocks'), check_square)
LADDER_VAE = Network(_ROLES, _builder(LadderEncoder, LadderDecoder, 'blocks', 'map_channels'), check_square)
