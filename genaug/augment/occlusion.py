"""Occlusion: hiding parts of an image. What is hidden is still there, so masks, boxes and keypoints stay.

Positions and sizes are fractions, x and width of the image's width, y and height of its height; `fill` is what
shows instead, a number in [0, 1] or one per channel. A pixel is hidden as a whole, if its centre is. uint8 images are
never converted: what is not hidden keeps its bits in every dtype.
"""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray, ScalarLike, UInt32

from genaug.augment.image import (
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_image,
  check_order,
  check_range,
  from_float,
  happens,
  interval,
  log_uniform,
  randomly,
  sample_value,
  symmetric,
  uniform,
  validated,
)
from genaug.augment.resample import Fill

# Zhong et al. 2020, section 3.3: aspect ratios of 0.3 to 1 / 0.3.
MAX_ASPECT = 1 / 0.3


def cutout(
  image: Num[Array, 'h w c'], centre: Float[ArrayLike, '2'], size: ScalarLike, *, fill: Fill = 0.0
) -> Num[Array, 'h w c']:
  """Hides a square of side size * min(h, w) around `centre` = (x, y); what leaves the frame is cut off.

  size and centre lie in [0, 1].
  Source: DeVries & Taylor 2017, "Improved Regularization of Convolutional Neural Networks with Cutout".
  """
  check_range('cutout: centre', centre, 0, 1)
  check_range('cutout: size', size, 0, 1)
  image = check_image(image, 'cutout')
  h, w, _ = image.shape
  side = size * min(h, w)
  return _hide_rectangle('cutout', image, centre[0] * w - side / 2, centre[1] * h - side / 2, side, side, fill)


@validated(size=Parameter(0, 1, 'of the shorter side', 'Side of the square; uniform in a pair.', (0, 1)))
def sample_cutout(key: PRNGKeyArray, shape: ImageShape, size: ScalarLike | Pair = 0.5) -> Params:
  """Samples the centre of `cutout` uniformly in the image, and the size."""
  del shape
  return {'centre': uniform(key, 0, 1, (2,)), 'size': sample_value(key, size)}


def erase(
  image: Num[Array, 'h w c'],
  x: ScalarLike,
  y: ScalarLike,
  width: ScalarLike,
  height: ScalarLike,
  key: PRNGKeyArray | None = None,
  *,
  fill: Fill | str = 0.0,
) -> Num[Array, 'h w c']:
  """Hides the rectangle with top left corner (x, y), width and height, all in [0, 1]: Random Erasing.

  fill = 'noise' is uniform noise from `key`. Raises ValueError for any other string, and for noise without a key.
  Source: Zhong et al. 2020, "Random Erasing Data Augmentation".
  """
  for name, value in {'x': x, 'y': y, 'width': width, 'height': height}.items():
    check_range(f'erase: {name}', value, 0, 1)
  image = check_image(image, 'erase')
  h, w, _ = image.shape
  if isinstance(fill, str):
    if fill != 'noise' or key is None:
      raise ValueError(f"erase: fill = {fill!r}: must be a number, one number per channel, or 'noise' with a key")
    fill = uniform(key, 0, 1, image.shape)
  return _hide_rectangle('erase', image, x * w, y * h, width * w, height * h, fill)


@validated(
  max_area=Parameter(0, 1, 'of the image', 'Largest area; in between it is uniform.'),
  min_area=Parameter(0, 1, 'of the image', 'Least area.'),
  max_aspect=Parameter(1, 100, '', 'Largest ratio of the sides, either way; the ratio is log-uniform.'),
)
def sample_erase(
  key: PRNGKeyArray,
  shape: ImageShape,
  max_area: ScalarLike = 0.33,
  min_area: ScalarLike = 0.02,
  max_aspect: ScalarLike = MAX_ASPECT,
) -> Params:
  """Samples a rectangle uniformly in the image, its aspect ratio among those that fit, so that none is rejected."""
  check_order('erase: (min_area, max_area)', min_area, max_area)
  h, w, _ = shape
  keys = jax.random.split(key, 5)
  area = uniform(keys[0], min_area, max_area)
  # Both sides fit into the image if height / width, as fractions of its sides, lies in [area, 1 / area].
  limit = 1 / jnp.maximum(area, 1e-6)
  low, high = (jnp.clip(aspect * w / h, 1 / limit, limit) for aspect in (1 / max_aspect, max_aspect))
  relation = log_uniform(keys[1], low, high)
  height, width = jnp.minimum(jnp.sqrt(area * relation), 1), jnp.minimum(jnp.sqrt(area / relation), 1)
  x, y = uniform(keys[2], 0, 1 - width), uniform(keys[3], 0, 1 - height)
  return {'x': x, 'y': y, 'width': width, 'height': height, 'key': keys[4]}


def grid_mask(
  image: Num[Array, 'h w c'],
  unit: ScalarLike,
  ratio: ScalarLike,
  offset: Float[ArrayLike, '2'] = (0.0, 0.0),
  angle: ScalarLike = 0.0,
  *,
  fill: Fill = 0.0,
) -> Num[Array, 'h w c']:
  """Hides a grid of squares: one in every unit of side unit * min(h, w), `ratio` of the unit's side wide.

  unit lies in [0.001, 1], ratio and offset (of the grid to the right and down, in units) in [0, 1]; the angle is in
  degrees, counter-clockwise. Source: Chen et al. 2020, "GridMask Data Augmentation"; its r, the part of a side that is
  kept, is 1 - ratio.
  """
  check_range('grid_mask: unit', unit, 0.001, 1)
  check_range('grid_mask: ratio', ratio, 0, 1)
  check_range('grid_mask: offset', offset, 0, 1)
  image = check_image(image, 'grid_mask')
  h, w, _ = image.shape
  x, y = jnp.arange(w) + 0.5, jnp.arange(h)[:, None] + 0.5
  angle = jnp.deg2rad(angle)
  cos, sin, side = jnp.cos(angle), jnp.sin(angle), unit * min(h, w)
  across = (cos * x - sin * y) / side - offset[0]
  down = (sin * x + cos * y) / side - offset[1]
  hidden = (across - jnp.floor(across) < ratio) & (down - jnp.floor(down) < ratio)
  return _hide('grid_mask', image, hidden, fill)


@validated(
  ratio=Parameter(0, 1, 'of the unit', 'Side of a square; uniform in a pair.', (0, 1)),
  min_unit=Parameter(0.01, 1, 'of the shorter side', 'Least unit; at least 2 pixels.'),
  max_unit=Parameter(0.01, 1, 'of the shorter side', 'Largest unit; in between it is uniform.'),
  max_degrees=Parameter(
    0, 180, 'degrees', 'The angle is uniform in [-max_degrees, max_degrees] or the pair.', (-180, 180)
  ),
)
def sample_grid_mask(
  key: PRNGKeyArray,
  shape: ImageShape,
  ratio: ScalarLike | Pair = 0.5,
  min_unit: ScalarLike = 0.4,
  max_unit: ScalarLike = 1.0,
  max_degrees: ScalarLike | Pair = 0.0,
) -> Params:
  """Samples unit, ratio, offset and angle of `grid_mask`."""
  check_order('grid_mask: (min_unit, max_unit)', min_unit, max_unit)
  h, w, _ = shape
  # Finer grids alias: they show squares that are not there, or hide the whole image.
  check_range(f'grid_mask: min_unit for an image of {h} x {w}', min_unit, min(1, 2 / min(h, w)), 1)
  keys = jax.random.split(key, 3)
  return {
    'unit': uniform(keys[0], min_unit, max_unit),
    'ratio': sample_value(key, ratio),
    'offset': uniform(keys[1], 0, 1, (2,)),
    'angle': uniform(keys[2], *interval(max_degrees, symmetric)),
  }


def pixel_dropout(
  image: Num[Array, 'h w c'], key: PRNGKeyArray, rate: ScalarLike, *, fill: Fill = 0.0
) -> Num[Array, 'h w c']:
  """Hides every pixel, with all its channels, with probability `rate` in [0, 1]."""
  check_range('pixel_dropout: rate', rate, 0, 1)
  image = check_image(image, 'pixel_dropout')
  return _hide('pixel_dropout', image, happens(key, rate, image.shape[:2]), fill)


@validated(rate=Parameter(0, 1, 'of the pixels', 'Probability of every pixel; uniform in a pair.', (0, 1)))
def sample_pixel_dropout(key: PRNGKeyArray, shape: ImageShape, rate: ScalarLike | Pair = 0.05) -> Params:
  """Samples the rate of `pixel_dropout`; the pixels depend on the key."""
  del shape
  return {'key': key, 'rate': sample_value(key, rate)}


def coarse_dropout(
  image: Num[Array, 'h w c'], boxes: Float[ArrayLike, 'n 4'], *, fill: Fill = 0.0
) -> Num[Array, 'h w c']:
  """Hides the boxes (x_min, y_min, x_max, y_max), fractions in [0, 1]; they may overlap."""
  check_range('coarse_dropout: boxes', boxes, 0, 1)
  image = check_image(image, 'coarse_dropout')
  h, w, _ = image.shape
  left, top, right, bottom = (jnp.asarray(boxes, jnp.float32) * jnp.array([w, h, w, h])).T[..., None]
  x, y = jnp.arange(w) + 0.5, jnp.arange(h) + 0.5
  columns, rows = (left <= x) & (x < right), (top <= y) & (y < bottom)  # [n, w], [n, h]
  # A box hides a pixel if it covers both its row and its column. Words hold 32 boxes: one `and` tests them all.
  words = [_bits(rows[i : i + 32])[:, None] & _bits(columns[i : i + 32]) for i in range(0, len(rows), 32)]
  hidden = reduce(jnp.bitwise_or, words, jnp.uint32(0)) != 0
  return _hide('coarse_dropout', image, hidden, fill)


@validated(
  max_side=Parameter(0, 1, 'of the side', 'Sides are uniform in [max_side / 2, max_side] or the pair.', (0, 1)),
  holes=Parameter(1, 256, 'boxes', 'Number of boxes; static.'),
)
def sample_coarse_dropout(
  key: PRNGKeyArray, shape: ImageShape, max_side: ScalarLike | Pair = 0.2, holes: int = 8
) -> Params:
  """Samples the boxes of `coarse_dropout`, anywhere in the image."""
  del shape
  where, how_large = jax.random.split(key)
  side = uniform(how_large, *interval(max_side, lambda side: (side / 2, side)), (holes, 2))
  corner = uniform(where, 0, 1, (holes, 2)) * (1 - side)
  return {'boxes': jnp.concatenate([corner, corner + side], axis=-1)}


def _hide_rectangle(name: str, image, left, top, width, height, fill):
  h, w, c = image.shape
  # Channels are flattened into the columns, because the compiler can't vectorise an axis of three.
  x = jnp.asarray(np.arange(w).repeat(c) + 0.5, jnp.float32) - left
  y = jnp.arange(h)[:, None] + 0.5 - top
  # Half-open intervals: a side of n pixels hides n of them wherever it lies, a side of 0 none.
  hidden = (x >= 0) & (x < width) & (y >= 0) & (y < height)
  shown = jnp.broadcast_to(_shown(name, fill, image.dtype), image.shape)
  return jnp.where(hidden, shown.reshape(h, w * c), image.reshape(h, w * c)).reshape(image.shape)


def _bits(flags: Bool[Array, 'n side']) -> UInt32[Array, ' side']:
  bit = jnp.uint32(1) << jnp.arange(len(flags), dtype=jnp.uint32)
  return jnp.where(flags, bit[:, None], 0).sum(0, dtype=jnp.uint32)


def _hide(name: str, image, hidden: Bool[Array, 'h w'], fill):
  return jnp.where(hidden[..., None], _shown(name, fill, image.dtype), image)


def _shown(name: str, fill, dtype):
  check_range(f'{name}: fill', fill, 0, 1)
  return from_float(jnp.asarray(fill, jnp.float32), dtype)


random_cutout = randomly(cutout, sample_cutout)
random_erase = randomly(erase, sample_erase)
random_grid_mask = randomly(grid_mask, sample_grid_mask)
random_pixel_dropout = randomly(pixel_dropout, sample_pixel_dropout)
random_coarse_dropout = randomly(coarse_dropout, sample_coarse_dropout)
