"""Autoencoder with finite scalar quantisation (FSQ: latents rounded to a few levels, Mentzer et al. 2023,
arXiv:2309.15505), and a causal transformer (Radford et al. 2019) as the prior over its codes.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from genaug.losses.likelihood import LIKELIHOODS
from genaug.models import Network, Spec, settings
from genaug.models.layers import check_square
from genaug.models.vae_layers import LogScale, Outputs, decoder_stack, encoder_features, to_outputs, widths_up

Cache = Float[Array, 'layers 2 b n heads d']  # attention keys and values of every layer

_SLACK = 1e-3  # fraction by which the range exceeds the levels, so that the outermost ones can be reached


def bounded(z: Float[Array, '... d'], levels: Sequence[int]) -> Float[Array, '... d']:
  """Squashes each latent to the range from -(L // 2) to (L - 1) // 2, which holds L integers: section 3.1.

  An even L has one more integer below zero than above. The shift that maps zero to zero is an atanh; the paper's
  listing has a tan there.
  """
  count = jnp.asarray(levels, jnp.float32)
  half = (count - 1) * (1 + _SLACK) / 2
  offset = jnp.where(count % 2 == 0, 0.5, 0.0)
  return jnp.tanh(z + jnp.arctanh(offset / half)) * half - offset


def quantized(z: Float[Array, '... d'], levels: Sequence[int]) -> Float[Array, '... d']:
  """Rounds latents to their levels, scaled to [-1, 1]; gradients pass straight through the rounding."""
  inside = bounded(z, levels)
  rounded = inside + jax.lax.stop_gradient(jnp.round(inside) - inside)
  return rounded / _half(levels)


def codes_of(z: Float[Array, '... d'], levels: Sequence[int]) -> Int[Array, '...']:
  """Returns the code of each latent vector that `quantized` returned: its index in the codebook, from 0."""
  digits = jnp.round(z * _half(levels)).astype(jnp.int32) + _half(levels)
  return (digits * _place_values(levels)).sum(-1)


def latents_of(codes: Int[Array, '...'], levels: Sequence[int]) -> Float[Array, '... d']:
  """Returns the quantised latent vectors that have these codes: the inverse of `codes_of`."""
  digits = codes[..., None] // _place_values(levels) % jnp.asarray(levels)
  return (digits - _half(levels)) / _half(levels)


def _half(levels: Sequence[int]) -> Int[Array, ' d']:
  """Returns L // 2 for each latent: what the rounded values are scaled by, and the digit that stands for zero."""
  return jnp.asarray([count // 2 for count in levels])


def _place_values(levels: Sequence[int]) -> Int[Array, ' d']:
  """Returns the weight of each latent's digit in a code: mixed radix, the first digit the least significant."""
  return jnp.asarray(np.cumprod([1, *levels[:-1]]))


class Encoder(nn.Module):
  """Images in [0, 1] -> a map of quantised latents at the lowest resolution."""

  spec: Spec
  levels: tuple[int, ...]
  width: int = 32
  blocks: int = 1
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b side side d']:
    *_, h = encoder_features(self, x)
    return quantized(nn.Dense(len(self.levels))(h.astype(jnp.float32)), self.levels)


class Decoder(nn.Module):
  """A map of latents -> (parameters of the likelihood, its log scale if it has one)."""

  spec: Spec
  outputs: int
  width: int = 32
  blocks: int = 1
  has_scale: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, z: Float[Array, 'b side side d']) -> tuple[Outputs, LogScale]:
    widths = widths_up(self)
    x = nn.relu(nn.Dense(widths[0], dtype=self.dtype)(z))
    return to_outputs(self, decoder_stack(self, x, widths))


class Prior(nn.Module):
  """Codes, one row per image -> logits of each code given those before it and the class; without keys no dropout.

  With a `cache` of the positions before `at`, it returns the logits at that position alone and the cache with that
  position added: n codes are drawn by running the transformer on n positions instead of n^2.
  """

  spec: Spec
  codes: int
  layers: int = 4
  width: int = 128
  heads: int = 4
  dropout: float = 0.1
  dtype: jnp.dtype = jnp.float32

  def empty_cache(self, images: int, count: int) -> Cache:
    """Returns the cache from which the first of `count` codes of that many images is drawn."""
    return jnp.zeros((self.layers, 2, images, count, self.heads, self.width // self.heads), self.dtype)

  @nn.compact
  def __call__(
    self,
    codes: Int[Array, 'b n'],
    label: Int[Array, ' b'],
    keys: Key[Array, ' b'] | None = None,
    cache: Cache | None = None,
    at: Int[Array, ''] | int = 0,
  ) -> Float[Array, 'b n k'] | tuple[Float[Array, 'b 1 k'], Cache]:
    embed = nn.initializers.normal(0.02)
    first = nn.Embed(max(self.spec.num_classes, 1), self.width, embedding_init=embed, name='label')
    token = nn.Embed(self.codes, self.width, embedding_init=embed, name='code')
    x = jnp.concatenate([first(label if self.spec.num_classes else 0 * label)[:, None], token(codes[:, :-1])], axis=1)
    x = x + self.param('position', embed, (codes.shape[1], self.width))
    if cache is not None:
      x = jax.lax.dynamic_slice_in_dim(x, at, 1, axis=1)
    for i in range(self.layers):
      h = nn.LayerNorm(dtype=self.dtype)(x)
      # Without a bias: a bias of the attention keys would have no effect.
      qkv = nn.Dense(3 * self.width, use_bias=False, dtype=self.dtype)(h).reshape(*x.shape[:2], 3, self.heads, -1)
      if cache is None:
        h = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], is_causal=True)
      else:
        cache = jax.lax.dynamic_update_slice(cache, qkv[:, :, 1:].transpose(2, 0, 1, 3, 4)[None], (i, 0, 0, at, 0, 0))
        mask = (jnp.arange(codes.shape[1]) <= at)[None, None, None]
        h = jax.nn.dot_product_attention(qkv[:, :, 0], *cache[i], mask=mask)
      x = x + self._dropped(nn.Dense(self.width, dtype=self.dtype)(h.reshape(x.shape)), keys, 2 * i)
      h = nn.gelu(nn.Dense(4 * self.width, dtype=self.dtype)(nn.LayerNorm(dtype=self.dtype)(x)))
      x = x + self._dropped(nn.Dense(self.width, dtype=self.dtype)(h), keys, 2 * i + 1)
    logits = nn.Dense(self.codes)(nn.LayerNorm()(x).astype(jnp.float32))
    return logits if cache is None else (logits, cache)

  def _dropped(self, x: Float[Array, 'b n d'], keys: Key[Array, ' b'] | None, place: int) -> Float[Array, 'b n d']:
    if keys is None or not self.dropout:
      return x
    draw = lambda key: jax.random.bernoulli(jax.random.fold_in(key, place), 1 - self.dropout, x.shape[1:])
    return jnp.where(jax.vmap(draw)(keys), x / (1 - self.dropout), 0)


def _build(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  model, likelihood = config.model, LIKELIHOODS[config.fsq.likelihood]
  shared = settings(config, spec)
  images = shared | {'width': model.width, 'blocks': model.blocks}
  levels = tuple(config.fsq.levels)
  outputs = {'outputs': likelihood.outputs(spec.image_shape[-1]), 'has_scale': likelihood.has_scale}
  return {
    'tokenizer': Encoder(**images, levels=levels),
    'detokenizer': Decoder(**images, **outputs),
    'prior': Prior(**shared, codes=math.prod(levels), layers=model.layers, dropout=model.dropout),
  }


FSQ = Network(('tokenizer', 'detokenizer', 'prior'), _build, check_square)
