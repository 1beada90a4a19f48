"""U-Net for diffusion and flow models, conditioned on time, class, caption, image features and augmentation parameters.

Blocks and modulation after Ho et al. 2020 (arXiv:2006.11239), appendix B, and Dhariwal and Nichol 2021
(arXiv:2105.05233), section 3. It begins with space to depth, so that no layer works at full resolution.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from genaug.models import ImageShape, Network, Spec, settings
from genaug.models.layers import Conv3x3, ConvDown, ConvUp
from genaug.models.norms import GroupNorm

_FREQUENCIES = 16  # of the Fourier features of time
_HEAD = 64  # channels per attention head


def space_to_depth(x: Float[Array, 'b H W c'], patch: int) -> Float[Array, 'b h w d']:
  """Turns every patch x patch block of pixels into the channels of one pixel."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // patch, patch, w // patch, patch, c)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // patch, w // patch, -1)


def depth_to_space(x: Float[Array, 'b h w d'], patch: int) -> Float[Array, 'b H W c']:
  """Inverts `space_to_depth`."""
  b, h, w, d = x.shape
  x = x.reshape(b, h, w, patch, patch, d // patch**2)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * patch, w * patch, -1)


def patch_and_resolutions(shape: ImageShape) -> tuple[int, int]:
  """Returns (patch, number of resolutions) for an image shape: patches of 2 pixels, for sides from 48 on of 4.

  The side in patches is halved once, and again while it is more than 8: 28 -> 14, 7; 64 -> 16, 8. Raises ValueError for
  images that are not square or not divisible accordingly.
  """
  height, width, _ = shape
  patch = 2 if height < 48 else 4
  count = 2
  while height > 8 * patch * 2 ** (count - 1):
    count += 1
  multiple = patch * 2 ** (count - 1)
  if height != width or not height or height % multiple:
    raise ValueError(f'images of {height} x {width} pixels: must be square, of a side that is a multiple of {multiple}')
  return patch, count


def pool_tokens(tokens: Float[Array, 'b l d'], known: Bool[Array, 'b l']) -> Float[Array, 'b d']:
  """Returns the sum of a caption's tokens over the square root of their number; zero for an empty caption.

  It is as large as one token, however long the caption; a mean of many would have little weight beside the features of
  time.
  """
  known = known[..., None]
  return (tokens * known).sum(1) / jnp.sqrt(jnp.maximum(known.sum(1), 1))


class UNet(nn.Module):
  """(noisy images in about [-1, 1], time in [0, 1], label, ...) -> the network's prediction, of the images' shape.

  With classes, `label` may also be `spec.num_classes`, the null class of classifier-free guidance; with a vocabulary,
  a caption of zeros is empty. `augment` holds the n >= 0 parameters of non-leaky augmentation, zeros for images without
  it. `keys`, one per image, are for dropout; None turns it off. `features` describe what an image should look like;
  zeros leave that open. The last convolution starts at zero.
  """

  spec: Spec
  width: int = 32
  blocks: int = 1  # at each resolution, on the way down and on the way up
  dropout: float = 0.0
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'b h w c'],
    t: Float[Array, ' b'],
    label: Int[Array, ' b'],
    augment: Float[Array, 'b n'],
    keys: Key[Array, ' b'] | None = None,
    caption: Int[Array, 'b l'] | None = None,
    features: Float[Array, 'b f'] | None = None,
  ) -> Float[Array, 'b h w c']:
    patch, count = patch_and_resolutions(self.spec.image_shape)
    condition = nn.Dense(4 * self.width, name='time')(_time_features(t))
    if self.spec.num_classes:
      # As large as the features of time; Flax's default is an eighth of that, with little effect at first.
      init = nn.initializers.normal(1.0)
      condition += nn.Embed(self.spec.num_classes + 1, 4 * self.width, embedding_init=init, name='label')(label)
    if self.spec.vocabulary:
      tokens = nn.Embed(self.spec.vocabulary + 1, 4 * self.width, embedding_init=nn.initializers.normal(1.0))(caption)
      condition += nn.Dense(4 * self.width, name='caption')(pool_tokens(tokens, caption > 0))
    if features is not None:
      condition += nn.Dense(4 * self.width, name='features')(features)
    if augment.shape[-1]:
      condition += nn.Dense(4 * self.width, use_bias=False, name='augment')(augment)
    condition = nn.silu(nn.Dense(4 * self.width, name='condition')(nn.silu(condition)))
    block_number = 0

    def block(x, features):
      nonlocal block_number
      block_number += 1
      block_keys = None if keys is None else jax.vmap(lambda key: jax.random.fold_in(key, block_number))(keys)
      return _Block(features, self.dropout, self.dtype)(x, condition, block_keys)

    widths = [self.width * 2**i for i in range(count)]
    x = Conv3x3(self.width, dtype=self.dtype, name='first')(space_to_depth(x, patch))
    skips = []
    for i, features in enumerate(widths):
      for _ in range(self.blocks):
        x = block(x, features)
        skips.append(x)  # [b, side / patch / 2^i, ..., width * 2^i]
      if i < count - 1:
        x = ConvDown(widths[i + 1], dtype=self.dtype)(x)
    x = block(_Attention(self.dtype)(block(x, widths[-1])), widths[-1])
    self.sow('intermediates', 'representation', x.mean((1, 2)).astype(jnp.float32))
    for i, features in reversed(list(enumerate(widths))):
      for _ in range(self.blocks):
        x = block(jnp.concatenate([x, skips.pop()], axis=-1), features)
      if i:
        x = ConvUp(widths[i - 1], dtype=self.dtype)(x)
    x = nn.silu(_norm(x, self.dtype))
    channels = self.spec.image_shape[-1] * patch**2
    x = Conv3x3(channels, kernel_init=nn.initializers.zeros, dtype=self.dtype, name='last')(x)
    return depth_to_space(x.astype(jnp.float32), patch)


class _Block(nn.Module):
  """Residual block of two 3x3 convolutions, with scale and shift by the condition in between."""

  features: int
  dropout: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x, condition, keys):
    h = Conv3x3(self.features, dtype=self.dtype)(nn.silu(_norm(x, self.dtype)))
    film = nn.Dense(2 * self.features, dtype=self.dtype)(condition)
    scale, shift = jnp.split(film[:, None, None], 2, axis=-1)
    h = nn.silu(_norm(h, self.dtype) * (1 + scale) + shift)
    if keys is not None and self.dropout:
      kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.dropout, h.shape[1:]))(keys)
      h = jnp.where(kept, h / (1 - self.dropout), 0)
    h = Conv3x3(self.features, kernel_init=nn.initializers.zeros, dtype=self.dtype)(h)
    if x.shape[-1] != self.features:
      x = nn.Dense(self.features, dtype=self.dtype)(x)
    return x + h


class _Attention(nn.Module):
  """Residual self-attention over pixels (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2)."""

  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    b, h, w, c = x.shape
    heads = 1 if c % _HEAD else c // _HEAD
    qkv = nn.Dense(3 * c, dtype=self.dtype)(_norm(x, self.dtype)).reshape(b, h * w, 3, heads, -1)
    attended = jax.nn.dot_product_attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2])
    out = nn.Dense(c, kernel_init=nn.initializers.zeros, dtype=self.dtype)(attended.reshape(b, h, w, c))
    return x + out


def _norm(x, dtype):
  channels = x.shape[-1]  # at least 4 per group: a group of one channel would lose its mean over the image
  return GroupNorm(min(32, math.gcd(channels, max(1, channels // 4))), dtype=dtype)(x)


def _time_features(t):
  """Returns Fourier features of t at frequencies from half a period to 16 periods over [0, 1]."""
  angles = 2 * jnp.pi * t[:, None] * jnp.geomspace(0.5, 16, _FREQUENCIES)
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def _build(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  shared = settings(config, spec) | {'width': config.model.width}
  return {'denoiser': UNet(**shared, blocks=config.model.blocks, dropout=config.model.dropout)}


def _check(model, shape: ImageShape) -> None:
  del model
  patch_and_resolutions(shape)


UNET = Network(('denoiser',), _build, _check)
