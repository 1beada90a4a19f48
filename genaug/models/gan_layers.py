"""Parts of generators and discriminators: widths, resampling, minibatch standard deviation, conditional logit."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from genaug.models.layers import base_and_doublings


def widths(side: int, width: int, max_width: int) -> list[int]:
  """Returns the channels at each resolution, from the image's to the lowest: doubled per halving, up to `max_width`."""
  _, doublings = base_and_doublings(side)
  return [min(width * 2**i, max_width) for i in range(doublings + 1)]


def smooth_down(x: Float[Array, 'n h w c']) -> Float[Array, 'n h/2 w/2 c']:
  """Filters with [1, 2, 1] / 4 along both axes, zero-padded, and keeps every second pixel."""
  for axis in (1, 2):
    size = x.shape[axis]
    padded = jnp.pad(x, [(1, 0) if i == axis else (0, 0) for i in range(4)])
    left, here, right = (lax.slice_in_dim(padded, i, i + size - 1, 2, axis) for i in range(3))
    x = (left + 2 * here + right) / 4
  return x


def smooth_up(x: Float[Array, 'n h w c']) -> Float[Array, 'n 2*h 2*w c']:
  """Upsamples bilinearly, zero-padded: four times the transpose of `smooth_down`."""
  for axis in (1, 2):
    after = jnp.pad(lax.slice_in_dim(x, 1, None, 1, axis), [(0, 1) if i == axis else (0, 0) for i in range(4)])
    shape = [2 * size if i == axis else size for i, size in enumerate(x.shape)]
    x = jnp.stack([x, (x + after) / 2], axis + 1).reshape(shape)
  return x


def minibatch_stddev(x: Float[Array, 'n h w c']) -> Float[Array, 'n h w c+1']:
  """Appends the standard deviation within groups of 4 consecutive examples, averaged over pixels and channels.

  Karras et al. 2018 (arXiv:1710.10196), section 3. Groups never span devices, so the result does not depend on the
  number of devices where each has a multiple of 4 images; for other batch sizes groups have 2 images or 1.
  """
  n, h, w, c = x.shape
  groups = x.reshape(-1, math.gcd(n, 4), h, w, c).astype(jnp.float32)
  deviation = jnp.sqrt(groups.var(1) + 1e-8).mean((1, 2, 3))
  feature = jnp.broadcast_to(jnp.repeat(deviation, groups.shape[1])[:, None, None, None], (n, h, w, 1))
  return jnp.concatenate([x, feature.astype(x.dtype)], axis=-1)


class Logit(nn.Module):
  """Features -> one logit each; with classes, a projection head (Miyato and Koyama 2018, arXiv:1802.05637, eq. 3)."""

  num_classes: int

  @nn.compact
  def __call__(self, h: Float[Array, 'b d'], label: Int[Array, ' b']) -> Float[Array, ' b']:
    h = h.astype(jnp.promote_types(h.dtype, jnp.float32))
    self.sow('intermediates', 'representation', h)
    logit = nn.Dense(1)(h)[:, 0]
    if self.num_classes:
      embedding = nn.Embed(self.num_classes, h.shape[-1], name='label')(label)
      logit += (embedding * h).sum(-1)
    return logit
