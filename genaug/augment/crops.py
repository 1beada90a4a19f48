"""What part of an image is seen, and at what size: crops, pads and resizes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import Params, check_image, check_range, clip, operation, uniform, validated
from genaug.augment.image import Shape as ImageShape
from genaug.augment.matrices import Matrix, Shape
from genaug.augment.resample import BORDERS, in_range, warp

TRIES = 10  # windows drawn until one fits into the frame, as torchvision does


# Windows and margins in whole pixels; masks take them too


def crop(
  image: Num[Array, 'h w c'], top: Int[ScalarLike, ''], left: Int[ScalarLike, ''], height: int, width: int
) -> Num[Array, 'height width c']:
  """The window of static size with that corner; a corner that would push it over the frame is moved back.

  Raises ValueError where the window is larger than the image.
  """
  h, w, c = image.shape
  check_fits(h, w, height, width)
  return jax.lax.dynamic_slice(image, (top, left, 0), (height, width, c))


def center_crop(image: Num[Array, 'h w c'], height: int, width: int) -> Num[Array, 'height width c']:
  """The window of static size in the middle, half a pixel up and left of it where that is between two.

  Raises ValueError where the window is larger than the image.
  """
  h, w, _ = image.shape
  check_fits(h, w, height, width)
  top, left = (h - height) // 2, (w - width) // 2
  return image[top : top + height, left : left + width]


def random_crop(key: PRNGKeyArray, image: Num[Array, 'h w c'], height: int, width: int) -> Num[Array, 'height width c']:
  """`crop` by a corner drawn by `sample_crop`."""
  return crop(image, **sample_crop(key, image.shape, height, width), height=height, width=width)


def sample_crop(key: PRNGKeyArray, shape: ImageShape, height: int, width: int) -> Params:
  """A corner uniform among those that keep the window in the frame: top and left, in pixels."""
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
  fill: Float[ArrayLike, '*c'] = 0.0,
) -> Num[Array, 'H W c']:
  """The image with so many pixels more on each side, continued as `resample` does; `fill` is in the image's units.

  Raises ValueError for an unknown border or fewer than 0 pixels.
  """
  image = jnp.asarray(image)
  if border not in BORDERS:
    raise ValueError(f'border = {border!r}: must be one of {", ".join(BORDERS)}')
  if min(top, bottom, left, right) < 0:
    raise ValueError(f'pad by {(top, bottom, left, right)!r} pixels: must be at least 0; use crop to take some away')
  _, w, c = image.shape
  if border == 'constant':
    # Joined, not written into a canvas: a copy of the image is all that XLA makes of it.
    margin = lambda height, width: jnp.broadcast_to(jnp.asarray(fill, image.dtype), (height, width, c))
    column = jnp.concatenate([margin(top, w), image, margin(bottom, w)])
    return jnp.concatenate([margin(len(column), left), column, margin(len(column), right)], axis=1)
  _, mode = BORDERS[border]
  return jnp.pad(image, ((top, bottom), (left, right), (0, 0)), mode)


def check_fits(h: int, w: int, height: int, width: int) -> None:
  """Raises ValueError unless a window of that size fits into an image of h x w."""
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
  shape: Shape | None = None,
  **options,
) -> Float[Array, 'H W c']:
  """The window with the top left corner (x, y) and that size, all fractions of the side, at the size `shape`.

  shape is (height, width), the input's by default; `options` are the keywords of `warp`. Where the window is more
  than twice the output, pixels are skipped: `resize` does not.
  """
  for name, value, low in (('x', x, 0), ('y', y, 0), ('width', width, 0.001), ('height', height, 0.001)):
    check_range(f'resized_crop: {name}', value, low, 1)
  shape = shape or image.shape[:2]
  shown = warp(image, resized_crop_matrix(image.shape[:2], x, y, width, height, shape), shape=shape, **options)
  return in_range(shown, options.get('method'))


def resized_crop_matrix(
  shape: Shape, x: ScalarLike, y: ScalarLike, width: ScalarLike, height: ScalarLike, output: Shape | None = None
) -> Matrix:
  """See `resized_crop`; from points of an image of that shape to points of the output."""
  h, w = shape
  h_out, w_out = output or shape
  return jnp.array(
    [[w_out / w / width, 0, -x / width * w_out], [0, h_out / h / height, -y / height * h_out], [0, 0, 1]], jnp.float32
  )


def random_resized_crop(
  key: PRNGKeyArray,
  image: Num[Array, 'h w c'],
  scale_low: ScalarLike = 0.08,
  scale_high: ScalarLike = 1.0,
  ratio_low: ScalarLike = 3 / 4,
  ratio_high: ScalarLike = 4 / 3,
  *,
  p: ScalarLike = 1.0,
  **options,
) -> Num[Array, 'H W c']:
  """`resized_crop`, with probability p, by a window from `sample_random_resized_crop`; else all of the image, resized.

  Szegedy et al. 2015, "Going Deeper with Convolutions", section 6.
  """
  check_range('random_resized_crop: p', p, 0, 1)
  image = check_image(image, 'random_resized_crop')
  on, how = jax.random.split(key)
  drawn = sample_random_resized_crop(how, image.shape, scale_low, scale_high, ratio_low, ratio_high)
  whole = {'x': 0.0, 'y': 0.0, 'width': 1.0, 'height': 1.0}
  on = jax.random.bernoulli(on, p * 1.0)
  return resized_crop(image, **{name: jnp.where(on, drawn[name], whole[name]) for name in whole}, **options)


@validated(scale_low=(0.001, 1), scale_high=(0.001, 1), ratio_low=(0.01, 100), ratio_high=(0.01, 100))
def sample_random_resized_crop(
  key: PRNGKeyArray,
  shape: ImageShape,
  scale_low: ScalarLike = 0.08,
  scale_high: ScalarLike = 1.0,
  ratio_low: ScalarLike = 3 / 4,
  ratio_high: ScalarLike = 4 / 3,
) -> Params:
  """a window of a share of the area uniform in [scale_low, scale_high] and a ratio of width to height in pixels
  log-uniform in [ratio_low, ratio_high], anywhere in the frame; scales in [0.001, 1], ratios in [0.01, 100].

  Where none of ten fits into the frame, the largest window of an allowed ratio.
  """
  h, w, _ = shape
  size, form, place = jax.random.split(key, 3)
  area = uniform(size, scale_low, scale_high, (TRIES,))
  ratio = jnp.exp(uniform(form, jnp.log(ratio_low), jnp.log(ratio_high), (TRIES,))) * h / w
  width = jnp.append(jnp.sqrt(area * ratio), jnp.minimum(1, ratio_high * h / w))
  height = jnp.append(jnp.sqrt(area / ratio), jnp.minimum(1, w / (ratio_low * h)))
  first = jnp.argmax((width <= 1) & (height <= 1))
  width, height = width[first], height[first]
  left, top = uniform(place, 0, 1, (2,))
  return {'x': left * (1 - width), 'y': top * (1 - height), 'width': width, 'height': height}


# Sizes


def resize(
  image: Num[Array, 'h w c'], height: int, width: int, method: str = 'bilinear', antialias: bool = True
) -> Num[Array, 'height width c']:
  """The whole image at another size, as PIL's `Image.resize` has it.

  method: 'nearest', which takes integers and booleans too (label masks), 'bilinear', or 'cubic', here the kernel of
  Keys 1981 with a = -0.5. With `antialias` the last two average over the pixels that a smaller output would skip.
  Raises ValueError for an unknown method or a size below 1.
  """
  image = jnp.asarray(image)
  if method not in RESIZES:
    raise ValueError(f'method = {method!r}: must be one of {", ".join(RESIZES)}')
  if height < 1 or width < 1:
    raise ValueError(f'resize to {height} x {width}: must be at least 1 x 1')
  if method == 'nearest':
    h, w, _ = image.shape
    return image[_nearest(h, height)][:, _nearest(w, width)]
  return _weighted(image, height, width, method, antialias)


@operation
def _weighted(image, height, width, method, antialias):
  h, w, _ = image.shape
  # A few gathers of whole rows, then of pixels: several times faster on CPU than products with matrices of weights.
  rows = sum(image[tap] * weight[:, None, None] for tap, weight in _taps(h, height, method, antialias))
  rows = jax.lax.optimization_barrier(rows)  # else they are added up anew for every tap of a column
  return clip(sum(rows[:, tap] * weight[:, None] for tap, weight in _taps(w, width, method, antialias)))


def _nearest(side: int, goal: int) -> np.ndarray:
  return (2 * np.arange(goal) + 1) * side // (2 * goal)


def _taps(side: int, goal: int, method: str, antialias: bool) -> list[tuple[np.ndarray, np.ndarray]]:
  """The pixels that each output pixel is a mean of, and their weights: one [goal] of each per tap."""
  radius, kernel = RESIZES[method]
  step = side / goal
  spread = max(step, 1) if antialias else 1
  centre = (np.arange(goal) + 0.5) * step
  count = math.ceil(2 * radius * spread)
  pixels = np.floor(centre - radius * spread + 0.5).astype(int) + np.arange(count)[:, None]
  weights = kernel(np.abs(pixels + 0.5 - centre) / spread) * ((pixels >= 0) & (pixels < side))
  weights = (weights / weights.sum(0)).astype(np.float32)
  return [(pixel.clip(0, side - 1), weight) for pixel, weight in zip(pixels, weights) if weight.any()]


def _triangle(x: np.ndarray) -> np.ndarray:
  return np.maximum(1 - x, 0)


def _keys(x: np.ndarray) -> np.ndarray:
  return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


RESIZES = {'nearest': None, 'bilinear': (1, _triangle), 'cubic': (2, _keys)}  # radius in pixels and kernel
