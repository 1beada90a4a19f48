"""Crops, pads and resizes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  ImageShape,
  Parameter,
  Params,
  check_image,
  check_order,
  check_range,
  clip,
  happens,
  operation,
  random_form,
  uniform,
  validated,
)
from genaug.augment.matrices import Matrix, Size
from genaug.augment.resample import BORDERS, Fill, clip_overshoot, warp

TRIES = 10  # number of windows sampled, of which the first that fits into the frame is taken, as in torchvision
_LEAST = 0.001  # smallest width and height of a window, as fractions of the image's


# Windows and margins in whole pixels; masks take them too


def crop(
  image: Num[Array, 'h w c'], top: Int[ScalarLike, ''], left: Int[ScalarLike, ''], height: int, width: int
) -> Num[Array, 'height width c']:
  """Crops a window of static size, in pixels, with its top left corner at row `top` and column `left`.

  A window that leaves the frame is moved back into it. Raises ValueError where it is larger than the image.
  """
  image = check_image(image, 'crop', masks=True)
  h, w, c = image.shape
  check_fits(h, w, height, width)
  corner = jnp.clip(top, 0, h - height), jnp.clip(left, 0, w - width)  # a negative index would count from the end
  return jax.lax.dynamic_slice(image, (*corner, 0), (height, width, c))


def center_crop(image: Num[Array, 'h w c'], height: int, width: int) -> Num[Array, 'height width c']:
  """Crops a window of static size, in pixels, from the middle of the image, or half a pixel above or left of it.

  Raises ValueError where the window is larger than the image.
  """
  image = check_image(image, 'center_crop', masks=True)
  h, w, _ = image.shape
  check_fits(h, w, height, width)
  top, left = (h - height) // 2, (w - width) // 2
  return image[top : top + height, left : left + width]


def random_crop(key: PRNGKeyArray, image: Num[Array, 'h w c'], height: int, width: int) -> Num[Array, 'height width c']:
  """Crops a window of static size, in pixels, at a uniformly random place in the image.

  Raises ValueError where the window is larger than the image.
  """
  return crop(image, **sample_crop(key, image.shape, height, width), height=height, width=width)


def sample_crop(key: PRNGKeyArray, shape: ImageShape, height: int, width: int) -> Params:
  """Samples `top` and `left` of `crop`, in pixels, uniformly among those that keep the window in the frame."""
  h, w, _ = shape
  check_fits(h, w, height, width)
  down, across = jax.random.split(key)
  return {
    'top': jax.random.randint(down, (), 0, h - height + 1),
    'left': jax.random.randint(across, (), 0, w - width + 1),
  }


def pad(
  image: Num[Array, 'h w c'],
  top: int,
  bottom: int,
  left: int,
  right: int,
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'H W c']:
  """Pads the image by whole pixels on each side, with the borders of `resample`; `fill` is in the image's units.

  Raises ValueError for an unknown border or fewer than 0 pixels.
  """
  image = check_image(image, 'pad', masks=True)
  if border not in BORDERS:
    raise ValueError(f'border = {border!r}: must be one of {", ".join(BORDERS)}')
  if min(top, bottom, left, right) < 0:
    raise ValueError(f'pad by {(top, bottom, left, right)!r} pixels: must be at least 0; use crop to remove pixels')
  _, w, c = image.shape
  if border == 'constant':
    # Concatenated, not written into a canvas: XLA then makes a single copy of the image.
    margin = lambda height, width: jnp.broadcast_to(jnp.asarray(fill, image.dtype), (height, width, c))
    column = jnp.concatenate([margin(top, w), image, margin(bottom, w)])
    return jnp.concatenate([margin(len(column), left), column, margin(len(column), right)], axis=1)
  _, mode = BORDERS[border]
  return jnp.pad(image, ((top, bottom), (left, right), (0, 0)), mode)


def check_fits(h: int, w: int, height: int, width: int) -> None:
  """Raises ValueError unless a window of height x width fits into an image of h x w."""
  if not (0 < height <= h and 0 < width <= w):
    raise ValueError(f'a window of {height} x {width} does not fit into an image of {h} x {w}')


# Windows of any size, resampled to a size of choice


@operation
def resized_crop(
  image: Float[Array, 'h w c'],
  x: ScalarLike,
  y: ScalarLike,
  width: ScalarLike,
  height: ScalarLike,
  *,
  size: Size | None = None,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'H W c']:
  """Crops the window with top left corner (x, y) and size (width, height), fractions of the side, and resizes it.

  x and y lie in [0, 1], width and height in [0.001, 1]. The output has `size`, (height, width) in pixels, the input's
  by default. Nothing is antialiased: a window more than twice as large as the output skips pixels, unlike `resize`.
  Source of the random windows: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6.
  """
  for name, value, low in (('x', x, 0), ('y', y, 0), ('width', width, _LEAST), ('height', height, _LEAST)):
    check_range(f'resized_crop: {name}', value, low, 1)
  if jnp.issubdtype(image.dtype, jnp.floating):  # in masks, which are integers, the fill is a label
    check_range('resized_crop: fill', fill, 0, 1)
  size = size or image.shape[:2]
  matrix = resized_crop_matrix(image.shape[:2], x, y, width, height, size)
  shown = warp(image, matrix, size=size, interpolation=interpolation, border=border, fill=fill)
  return clip_overshoot(shown, interpolation)


def resized_crop_matrix(
  size: Size, x: ScalarLike, y: ScalarLike, width: ScalarLike, height: ScalarLike, output: Size | None = None
) -> Matrix:
  """Returns the matrix of `resized_crop`, from points of an image of `size` to points of the output."""
  h, w = size
  h_out, w_out = output or size
  return jnp.array(
    [[w_out / w / width, 0, -x / width * w_out], [0, h_out / h / height, -y / height * h_out], [0, 0, 1]], jnp.float32
  )


@validated(
  scale_low=Parameter(0.001, 1, 'of the area', 'Least area of the window.'),
  scale_high=Parameter(0.001, 1, 'of the area', 'Largest area; in between it is uniform.'),
  ratio_low=Parameter(0.01, 100, '', 'Least ratio of width to height, in pixels.'),
  ratio_high=Parameter(0.01, 100, '', 'Largest ratio; in between it is log-uniform.'),
)
def sample_random_resized_crop(
  key: PRNGKeyArray,
  shape: ImageShape,
  scale_low: ScalarLike = 0.08,
  scale_high: ScalarLike = 1.0,
  ratio_low: ScalarLike = 3 / 4,
  ratio_high: ScalarLike = 4 / 3,
) -> Params:
  """Samples a window anywhere in the frame; where none of ten fits, takes the largest one with an allowed ratio."""
  check_order('random_resized_crop: (scale_low, scale_high)', scale_low, scale_high)
  check_order('random_resized_crop: (ratio_low, ratio_high)', ratio_low, ratio_high)
  h, w, _ = shape
  size, form, place = jax.random.split(key, 3)
  area = uniform(size, scale_low, scale_high, (TRIES,))
  ratio = jnp.exp(uniform(form, jnp.log(ratio_low), jnp.log(ratio_high), (TRIES,))) * h / w
  width = jnp.append(jnp.sqrt(area * ratio), jnp.minimum(1, ratio_high * h / w))
  height = jnp.append(jnp.sqrt(area / ratio), jnp.minimum(1, w / (ratio_low * h)))
  width, height = jnp.maximum(width, _LEAST), jnp.maximum(height, _LEAST)
  first = jnp.argmax((width <= 1) & (height <= 1))
  width, height = width[first], height[first]
  left, top = uniform(place, 0, 1, (2,))
  return {'x': left * (1 - width), 'y': top * (1 - height), 'width': width, 'height': height}


def _random_resized_crop(key, image, parameters, p, interpolation, **options):
  image = check_image(image, 'random_resized_crop', masks=interpolation == 'nearest')
  on, how = jax.random.split(key)
  window = sample_random_resized_crop(how, image.shape, **parameters)
  whole = {'x': 0.0, 'y': 0.0, 'width': 1.0, 'height': 1.0}
  on = happens(on, p)
  window = {name: jnp.where(on, window[name], whole[name]) for name in whole}
  return resized_crop(image, **window, interpolation=interpolation, **options)


# The output has a fixed size, so with probability 1 - p the whole image is resized instead of returned as it is.
random_resized_crop = random_form(
  'random_resized_crop', resized_crop.__doc__, resized_crop, sample_random_resized_crop, _random_resized_crop, p=1.0
)


# Sizes


def resize(
  image: Num[Array, 'h w c'],
  height: int,
  width: int,
  interpolation: str = 'bilinear',
  antialias: bool = True,
  border: str | None = None,
) -> Num[Array, 'height width c']:
  """Resizes the image to height x width pixels, as PIL's `Image.resize` does.

  interpolation: 'nearest', which takes integers and booleans too (label masks), 'bilinear', or 'cubic', here the
  kernel of Keys 1981 with a = -0.5. With `antialias` the last two average over the pixels that a smaller output
  would skip. Beyond the frame they see the image continued by `border`: 'edge', 'reflect' or 'wrap', as in `resample`;
  None, the default, gives pixels out there no weight. 'cubic' with 'edge' has the weights of the MATLAB imresize that
  super-resolution data sets were made with; later versions of MATLAB mirror the image ('reflect').
  Raises ValueError for an unknown interpolation or border, or a size below 1.
  """
  image = check_image(image, 'resize', masks=interpolation == 'nearest')
  if interpolation not in RESIZES:
    raise ValueError(f'interpolation = {interpolation!r}: must be one of {", ".join(RESIZES)}')
  if height < 1 or width < 1:
    raise ValueError(f'resize to {height} x {width}: must be at least 1 x 1')
  if border not in (None, 'edge', 'reflect', 'wrap'):
    raise ValueError(f'border = {border!r}: must be None or one of edge, reflect, wrap')
  if interpolation == 'nearest':
    h, w, _ = image.shape
    return image[_nearest(h, height)][:, _nearest(w, width)]
  return _weighted(image, height, width, interpolation, antialias, border)


@operation
def _weighted(image, height, width, *how):
  h, w, _ = image.shape
  # A few gathers of whole rows, then of pixels: several times faster on CPU than multiplying by matrices of weights.
  rows = sum(image[tap] * weight[:, None, None] for tap, weight in _taps(h, height, *how))
  rows = jax.lax.optimization_barrier(rows)  # otherwise XLA sums the rows again for every tap of a column
  return clip(sum(rows[:, tap] * weight[:, None] for tap, weight in _taps(w, width, *how)))


def _nearest(side: int, goal: int) -> np.ndarray:
  return (2 * np.arange(goal) + 1) * side // (2 * goal)


def _taps(
  side: int, goal: int, interpolation: str, antialias: bool, border: str | None
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Returns for every tap the input pixel that each of `goal` output pixels reads, [goal], and its weight, [goal]."""
  radius, kernel = RESIZES[interpolation]
  step = side / goal
  spread = max(step, 1) if antialias else 1
  centre = (np.arange(goal) + 0.5) * step
  count = math.ceil(2 * radius * spread)
  pixels = np.floor(centre - radius * spread + 0.5).astype(int) + np.arange(count)[:, None]
  weights = kernel(np.abs(pixels + 0.5 - centre) / spread)
  if border is None:
    weights *= (pixels >= 0) & (pixels < side)
    pixels = pixels.clip(0, side - 1)
  else:
    _, mode = BORDERS[border]
    pixels = np.pad(np.arange(side), count, mode)[pixels + count]
  weights = (weights / weights.sum(0)).astype(np.float32)
  return [(pixel, weight) for pixel, weight in zip(pixels, weights) if weight.any()]


def _triangle(x: np.ndarray) -> np.ndarray:
  return np.maximum(1 - x, 0)


def _keys(x: np.ndarray) -> np.ndarray:
  return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


RESIZES = {'nearest': None, 'bilinear': (1, _triangle), 'cubic': (2, _keys)}  # name -> kernel radius in pixels, kernel
