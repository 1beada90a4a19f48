"""Convolutional encoder and decoder of a variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.models import Network, Spec, settings
from genaug.models.layers import ConvDown, ConvUp, check_square, stages


class Encoder(nn.Module):
  """Images in [0, 1] -> mean and log variance of q(z | x)."""

  spec: Spec
  width: int = 32
  z_dim: int = 32
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b h w c'], label: Int[Array, ' b']
  ) -> tuple[Float[Array, 'b z'], Float[Array, 'b z']]:
    _, doublings = stages(self.spec.image_shape[0])
    x = 2 * x - 1
    for i in range(doublings):
      x = nn.relu(ConvDown(self.width * 2**i, dtype=self.dtype)(x))  # [b, side / 2^(i+1), ..., width * 2^i]
    h = x.reshape(x.shape[0], -1)
    if self.spec.num_classes:
      h = jnp.concatenate([h, jax.nn.one_hot(label, self.spec.num_classes, dtype=h.dtype)], axis=-1)
    h = nn.relu(nn.Dense(8 * self.width, dtype=self.dtype)(h)).astype(jnp.float32)
    mean, log_var = jnp.split(nn.Dense(2 * self.z_dim)(h), 2, axis=-1)
    return mean, log_var


class Decoder(nn.Module):
  """z -> per-pixel logits, and the log scale of the likelihood (one learned number a channel, if it has one)."""

  spec: Spec
  width: int = 32
  has_scale: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, z: Float[Array, 'b z'], label: Int[Array, ' b']
  ) -> tuple[Float[Array, 'b h w c'], Float[Array, ' c'] | None]:
    side, _, channels = self.spec.image_shape
    base, doublings = stages(side)
    if self.spec.num_classes:
      z = jnp.concatenate([z, jax.nn.one_hot(label, self.spec.num_classes)], axis=-1)
    widths = [self.width * 2**i for i in reversed(range(doublings))]
    h = nn.relu(nn.Dense(8 * self.width, dtype=self.dtype)(z))
    x = nn.relu(nn.Dense(base * base * widths[0], dtype=self.dtype)(h)).reshape(-1, base, base, widths[0])
    for features in widths[1:]:
      x = nn.relu(ConvUp(features, dtype=self.dtype)(x))
    logits = ConvUp(channels, dtype=self.dtype)(x).astype(jnp.float32)  # [b, side, side, channels]
    log_scale = self.param('log_scale', nn.initializers.constant(-2.0), (channels,)) if self.has_scale else None
    return logits, log_scale


def _build(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  shared = settings(config, spec) | {'width': config.model.width}
  return {
    'encoder': Encoder(**shared, z_dim=config.model.z_dim),
    'decoder': Decoder(**shared, has_scale=config.vae.likelihood != 'bernoulli'),
  }


CONV_VAE = Network(('encoder', 'decoder'), _build, check_square)
