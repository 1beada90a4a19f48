"""Colour changes by a factor: 0 removes the property, 1 changes nothing to the bit, above 1 exaggerates it.

Images have 1 or 3 channels (grey or RGB), anything else raises ValueError; results are clipped to [0, 1]. The
definitions are those of PIL's ImageEnhance and torchvision.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike


def brightness(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Nearer to black, or further away from it, by a factor >= 0."""
  return _blend(0.0, image, factor)


def contrast(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Nearer to the image's mean luma, or further away from it, by a factor >= 0."""
  # Luma is linear, so the mean may come first: rows add up as vectors, several times faster on CPU.
  row = _at_least_float32(image).mean(0, keepdims=True)
  return _blend(luma(row).mean(), image, factor)


def saturation(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Nearer to every pixel's luma, or further away from it, by a factor >= 0; grey images stay as they are."""
  return _blend(luma(image), image, factor)


def random_brightness(key: PRNGKeyArray, image: Float[Array, 'h w c'], limit: ScalarLike) -> Float[Array, 'h w c']:
  """`brightness` by a factor uniform in [1 - limit, 1 + limit]."""
  return brightness(image, random_factor(key, limit))


def random_contrast(key: PRNGKeyArray, image: Float[Array, 'h w c'], limit: ScalarLike) -> Float[Array, 'h w c']:
  """`contrast` by a factor uniform in [1 - limit, 1 + limit]."""
  return contrast(image, random_factor(key, limit))


def random_saturation(key: PRNGKeyArray, image: Float[Array, 'h w c'], limit: ScalarLike) -> Float[Array, 'h w c']:
  """`saturation` by a factor uniform in [1 - limit, 1 + limit]."""
  return saturation(image, random_factor(key, limit))


def random_factor(key: PRNGKeyArray, limit: ScalarLike) -> Float[Array, '']:
  """A factor uniform in [1 - limit, 1 + limit]; limit lies in [0, 1]."""
  return 1 + jax.random.uniform(key, minval=-limit, maxval=limit)


def luma(image: Float[Array, 'h w c']) -> Float[Array, 'h w 1']:
  """Perceived lightness of every pixel, in at least float32 (ITU-R BT.601)."""
  check_channels(image.shape[-1])
  image = _at_least_float32(image)
  if image.shape[-1] == 1:
    return image
  red, green, blue = jnp.split(image, 3, axis=-1)
  return 0.299 * red + 0.587 * green + 0.114 * blue


def check_channels(channels: int) -> None:
  """Raises ValueError unless an image of so many channels is grey or RGB."""
  if channels not in (1, 3):
    raise ValueError(f'{channels} channels: colour changes need 1 (grey) or 3 (RGB)')


def _blend(zero, image, factor):
  check_channels(image.shape[-1])
  x = _at_least_float32(image)
  # In this form a factor of 1 adds exactly nothing.
  return _clip(x + (factor - 1) * (x - zero)).astype(image.dtype)


def _clip(x):
  # jnp.clip halves the gradient of a value that sits on a bound, and black and white pixels do.
  return jnp.where(x < 0, 0.0, jnp.where(x > 1, 1.0, x))


def _at_least_float32(image):
  return image.astype(jnp.promote_types(image.dtype, jnp.float32))
