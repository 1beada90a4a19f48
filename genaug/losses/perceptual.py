"""Perceptual losses: distances between activations of a pretrained network; and total variation."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

Taps = Sequence[Float[Array, 'b h w c']]


def feature_distance(a: Float[Array, 'b h w c'], b: Float[Array, 'b h w c']) -> Float[Array, ' b']:
  """Returns the mean squared difference of activations: Johnson et al. 2016 (arXiv:1603.08155), eq. 2."""
  return ((a - b) ** 2).mean((1, 2, 3))


def gram(x: Float[Array, 'b h w c']) -> Float[Array, 'b c c']:
  """Returns the Gram matrix: products of channels, averaged over pixels and divided by the number of channels.

  Johnson et al. 2016, eq. 3.
  """
  b, h, w, c = x.shape
  x = x.reshape(b, h * w, c)
  return jnp.einsum('bnc,bnd->bcd', x, x) / (h * w * c)


def style_distance(a: Taps, grams: Sequence[Float[Array, 'b c c']]) -> Float[Array, ' b']:
  """Returns squared Frobenius norms of differences of Gram matrices, summed over layers: Johnson et al. 2016, eq. 4."""
  return sum(((gram(x) - other) ** 2).sum((1, 2)) for x, other in zip(a, grams, strict=True))


def total_variation(images: Float[Array, 'b h w c']) -> Float[Array, ' b']:
  """Returns the mean squared difference of vertical neighbours plus that of horizontal neighbours.

  The regulariser of Johnson et al. 2016, section 3.2, after Mahendran and Vedaldi 2015 (arXiv:1412.0035), eq. 4 with
  beta = 2, but with a mean where they take a sum.
  """
  down, across = jnp.diff(images, axis=1), jnp.diff(images, axis=2)
  return (down**2).mean((1, 2, 3)) + (across**2).mean((1, 2, 3))
