"""Hiding parts of an image."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from genaug.augment.geometry import Point


def cutout(
  image: Float[Array, 'h w c'], centre: Point, size: ScalarLike, fill: Float[ArrayLike, '*c'] = 0.0
) -> Float[Array, 'h w c']:
  """A square of side size * min(h, w) about `centre`, both fractions, hidden by `fill`; cut off at the frame.

  DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout".
  """
  h, w, _ = image.shape
  half = size * min(h, w) / 2
  x = jnp.arange(w) + 0.5 - centre[0] * w
  y = jnp.arange(h)[:, None] + 0.5 - centre[1] * h
  # Half open: a side of n pixels hides n of them wherever it lies, a side of 0 none.
  hidden = (-half <= x) & (x < half) & (-half <= y) & (y < half)
  return jnp.where(hidden[..., None], jnp.asarray(fill, image.dtype), image)


def random_cutout(
  key: PRNGKeyArray, image: Float[Array, 'h w c'], size: ScalarLike, fill: Float[ArrayLike, '*c'] = 0.0
) -> Float[Array, 'h w c']:
  """`cutout` about a point uniform in the image."""
  centre = jax.random.uniform(key, (2,))
  return cutout(image, centre, size, fill)
