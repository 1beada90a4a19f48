"""Blurring and sharpening: every pixel becomes a function of its neighbourhood.

Kernels have a static odd size `ksize`; their weights may be traced. A filter is a sum of shifted slices of a padded
image, one dimension after the other where it is separable: XLA turns that into one loop per pass, without im2col.
Gaussians too wide for that are two matrix products.
"""

import math
from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  ImageShape,
  Pair,
  Parameter,
  Params,
  Static,
  check_image,
  check_range,
  clip,
  from_zero,
  interval,
  operation,
  randomly,
  sample_factor,
  sample_value,
  to_float,
  uniform,
  validated,
)

MEDIANS = (3, 5)
LEAST_SIGMA = 0.05  # in float32 all of its weight is already on the middle pixel; a sigma of 0 would divide by 0
FEW_TAPS = 11  # a Gaussian's window up to which slices are summed; beyond, matrix products soon run and compile faster


# Blurs


@operation
def gaussian_blur(
  image: Float[Array, 'h w c'], sigma: ScalarLike, *, ksize: int | None = None
) -> Float[Array, 'h w c']:
  """Blurs by a Gaussian of `sigma` >= 0 pixels; 0 changes nothing.

  The kernel is cut off at ksize // 2 pixels, or nowhere if ksize is 0. By default it is cut off where less than 1
  percent of its weight is left, and nowhere if that is cheaper (wide kernels) or sigma is traced and so not known.
  The border mirrors about the outermost pixel, as OpenCV's BORDER_REFLECT_101 does.
  """
  check_range('gaussian_blur: sigma', sigma, 0, np.inf)
  return _blurred('gaussian_blur', image, sigma, ksize)


@operation
def box_blur(image: Float[Array, 'h w c'], amount: ScalarLike = 1.0, *, ksize: int = 3) -> Float[Array, 'h w c']:
  """Blurs by the mean of ksize x ksize pixels, blended in by `amount` in [0, 1]; border as in `gaussian_blur`."""
  check_range('box_blur: amount', amount, 0, 1)
  _check_ksize('box_blur', ksize)
  return image + amount * (_separable(image, jnp.full(ksize, 1 / ksize, image.dtype)) - image)


@operation
def motion_blur(
  image: Float[Array, 'h w c'], angle: ScalarLike, length: ScalarLike, *, ksize: int = 9
) -> Float[Array, 'h w c']:
  """Blurs by the mean of `ksize` exposures, the first and last `length` - 1 pixels apart; length 1 changes nothing.

  The camera moves in a straight line at `angle` degrees (counter-clockwise from the right); exposures between pixels
  are interpolated bilinearly. `length` lies in [1, ksize]; border as in `gaussian_blur`.
  """
  check_range('motion_blur: length', length, 1, ksize)
  _check_ksize('motion_blur', ksize)
  radius = ksize // 2
  away = (jnp.minimum(length, ksize) - 1) * jnp.linspace(-0.5, 0.5, ksize)
  x, y = away * jnp.cos(jnp.deg2rad(angle)), -away * jnp.sin(jnp.deg2rad(angle))
  # Weights are summed before the division by ksize, so that a length of 1 gives a single weight of exactly 1.
  weights = (_tent(y, radius)[:, :, None] * _tent(x, radius)[:, None, :]).sum(0) / ksize
  padded = _pad(image, radius, radius, 'reflect')
  return _symmetric_sum(weights.reshape(-1), _neighbours(padded, ksize, image.shape)).reshape(image.shape)


def median_blur(image: Num[Array, 'h w c'], amount: ScalarLike = 1.0, *, ksize: int = 3) -> Num[Array, 'h w c']:
  """Filters by the median of ksize x ksize pixels (3 or 5) in every channel, blended in by `amount` in [0, 1].

  The border repeats the outermost pixels, as in OpenCV. The gradient goes to the pixel that is the median.
  """
  check_range('median_blur: amount', amount, 0, 1)
  if ksize not in MEDIANS:
    raise ValueError(f'median_blur: ksize = {ksize!r}: must be one of {", ".join(map(str, MEDIANS))}')
  image = check_image(image, 'median_blur')
  # Sorted in the image's own dtype, with the same order: an instruction sorts four times as many bytes as floats.
  padded = _pad(image, ksize // 2, ksize // 2, 'edge')
  median = _median9(padded, image.shape) if ksize == 3 else _sort(_neighbours(padded, ksize, image.shape))[12]
  return _faded(image, median.reshape(image.shape), amount)


@operation
def _faded(image, other, amount):
  return image + amount * (to_float(other) - image)


# Sharpening


@operation
def sharpness(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Moves the image away from a smoothed copy (factor > 1) or towards it (factor >= 0); 1 changes nothing.

  The definition of PIL's ImageEnhance.Sharpness: the copy is smoothed by 3 x 3 weights of 1 / 13, 5 / 13 in the
  middle, and the outermost pixels of the image stay.
  """
  check_range('sharpness: factor', factor, 0, np.inf)
  return _sharpened(image, factor - 1)


@operation
def sharpen(image: Float[Array, 'h w c'], amount: ScalarLike) -> Float[Array, 'h w c']:
  """Sharpens by `amount` >= 0, which is `sharpness` with factor 1 + amount; 0 changes nothing."""
  check_range('sharpen: amount', amount, 0, np.inf)
  return _sharpened(image, amount)


@operation
def unsharp_mask(
  image: Float[Array, 'h w c'],
  sigma: ScalarLike,
  amount: ScalarLike,
  *,
  threshold: ScalarLike = 0.0,
  ksize: int | None = None,
) -> Float[Array, 'h w c']:
  """Adds `amount` >= 0 times the detail that `gaussian_blur` removes, where that exceeds `threshold` in [0, 1].

  The definition of PIL's UnsharpMask and skimage's unsharp_mask; an amount of 0 changes nothing.
  """
  check_range('unsharp_mask: sigma', sigma, 0, np.inf)
  check_range('unsharp_mask: amount', amount, 0, np.inf)
  check_range('unsharp_mask: threshold', threshold, 0, 1)
  detail = image - _blurred('unsharp_mask', image, sigma, ksize)
  return clip(image + amount * jnp.where(jnp.abs(detail) > threshold, detail, 0.0))


# Sampling

# `_AMOUNT` is the amount itself, `_UP_TO` the upper limit of a sampled amount.
_AMOUNT = Parameter(0, 1, '', 'The share of the filtered image; uniform in a pair.', (0, 1))
_UP_TO = Parameter(0, 10, '', 'The amount is uniform in [0, amount] or the pair.', (0, 10))


@validated(sigma=Parameter(0, 64, 'pixels', 'Sigma is uniform in [0, sigma] or the pair.', (0, 64)))
def sample_gaussian_blur(key: PRNGKeyArray, shape: ImageShape, sigma: ScalarLike | Pair = 2.0) -> Params:
  """Samples sigma of `gaussian_blur`; the window is wide enough for the largest one."""
  low, high = interval(sigma, from_zero)
  return {'sigma': uniform(key, low, high), 'ksize': _window(high, shape)}


@validated(amount=_AMOUNT)
def sample_box_blur(key: PRNGKeyArray, shape: ImageShape, amount: ScalarLike | Pair = 1.0) -> Params:
  """Samples the amount of `box_blur`."""
  del shape
  return {'amount': sample_value(key, amount)}


@validated(length=Parameter(1, 9, 'pixels', 'The length is uniform in [1, length] or the pair, at any angle.', (1, 9)))
def sample_motion_blur(key: PRNGKeyArray, shape: ImageShape, length: ScalarLike | Pair = 9.0) -> Params:
  """Samples angle and length of `motion_blur`."""
  del shape
  angle, how_long = jax.random.split(key)
  low, high = interval(length, lambda length: (1.0, length))
  return {'angle': uniform(angle, 0.0, 180.0), 'length': uniform(how_long, low, high)}


@validated(amount=_AMOUNT)
def sample_median_blur(key: PRNGKeyArray, shape: ImageShape, amount: ScalarLike | Pair = 1.0) -> Params:
  """Samples the amount of `median_blur`."""
  del shape
  return {'amount': sample_value(key, amount)}


@validated(limit=Parameter(0, 1, '', 'The factor is uniform in [1 - limit, 1 + limit] or the pair.', (0, 11)))
def sample_sharpness(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 1.0) -> Params:
  """Samples the factor of `sharpness`."""
  del shape
  return {'factor': sample_factor(key, limit)}


@validated(amount=_UP_TO)
def sample_sharpen(key: PRNGKeyArray, shape: ImageShape, amount: ScalarLike | Pair = 1.0) -> Params:
  """Samples the amount of `sharpen`."""
  del shape
  return {'amount': uniform(key, *interval(amount, from_zero))}


@validated(amount=_UP_TO._replace(doc=_UP_TO.doc[:-1] + ', sigma in [0.5, 2] pixels.'))
def sample_unsharp_mask(key: PRNGKeyArray, shape: ImageShape, amount: ScalarLike | Pair = 1.0) -> Params:
  """Samples sigma and amount of `unsharp_mask`."""
  how_much, how_wide = jax.random.split(key)
  low, high = 0.5, 2.0
  amount = uniform(how_much, *interval(amount, from_zero))
  return {'sigma': uniform(how_wide, low, high), 'amount': amount, 'ksize': _window(high, shape)}


random_gaussian_blur = randomly(gaussian_blur, sample_gaussian_blur)
random_box_blur = randomly(box_blur, sample_box_blur)
random_motion_blur = randomly(motion_blur, sample_motion_blur)
random_median_blur = randomly(median_blur, sample_median_blur)
random_sharpness = randomly(sharpness, sample_sharpness)
random_sharpen = randomly(sharpen, sample_sharpen)
random_unsharp_mask = randomly(unsharp_mask, sample_unsharp_mask)


# Sums of shifted slices


def _window(sigma: ScalarLike, shape: ImageShape) -> Static:
  """Returns the `ksize` for all sigmas up to this one; 0 if `_unbounded` is cheaper, or sigma is traced."""
  if isinstance(sigma, jax.core.Tracer):
    return Static(0)
  ksize = max(FEW_TAPS, 2 * math.ceil(3 * float(sigma) - 1) + 1)
  return Static(ksize if ksize <= max(FEW_TAPS, max(shape[:2]) // 5) else 0)


def _blurred(name, image, sigma, ksize):
  ksize = _window(sigma, image.shape) if ksize is None else ksize
  sigma = jnp.maximum(sigma, LEAST_SIGMA)
  if ksize == 0:
    return _unbounded(image, sigma)
  _check_ksize(name, ksize)
  weights = jnp.exp(-0.5 * ((jnp.arange(ksize) - ksize // 2) / sigma) ** 2).astype(image.dtype)
  return _separable(image, weights / weights.sum())


def _unbounded(image, sigma):
  """Blurs by a Gaussian without cut-off, mirroring the image at its borders as often as that takes."""
  h, w, _ = image.shape
  down, across = (_gaussian_matrix(side, sigma).astype(image.dtype) for side in (h, w))
  product = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
  blurred = clip(product('ij,kl,jlc->ikc', down, across, image, optimize='optimal'))  # rounding may leave the range
  return jnp.where(sigma > LEAST_SIGMA, blurred, image)


def _gaussian_matrix(side: int, sigma: ScalarLike) -> Float[Array, 'side side']:
  """Returns the matrix that filters a line of pixels, mirrored at its ends, by a Gaussian.

  Its eigenvectors are the cosine waves with whole numbers of half periods, its eigenvalues their gains.
  """
  # The spectrum of a sampled Gaussian is the Gaussian's, repeated every 2 pi (Poisson). At the least sigma, 0.05, the
  # last of the 20 repeats on either side adds less than 1e-8.
  frequency = np.pi * np.arange(side) / max(side - 1, 1)
  repeats = frequency + 2 * np.pi * np.arange(-20, 21)[:, None]
  gain = jnp.exp(-0.5 * (sigma * repeats) ** 2).sum(0)
  waves = np.cos(np.arange(side)[:, None] * frequency)
  back = jnp.asarray(np.linalg.inv(waves), jnp.float32)
  return jnp.matmul(waves.astype(np.float32) * (gain / gain[0]), back, precision=jax.lax.Precision.HIGHEST)


def _separable(image, weights):
  """Filters both dimensions by the same symmetric weights."""
  h, ksize = image.shape[0], len(weights)
  tall = _pad(image, ksize // 2, 0, 'reflect')
  image = _symmetric_sum(weights, [tall[i : i + h] for i in range(ksize)]).reshape(image.shape)
  wide = _pad(image, 0, ksize // 2, 'reflect')
  return _symmetric_sum(weights, _across(wide, ksize, image.shape)).reshape(image.shape)


def _symmetric_sum(weights, slices):
  """Returns the sum of weight * slice for symmetric weights: slices with the same weight share a product."""
  middle = len(slices) // 2
  pairs = [weights[i] * (slices[i] + slices[-1 - i]) for i in range(middle)]
  return reduce(jnp.add, pairs, weights[middle] * slices[middle])


def _sharpened(image, amount):
  smooth = (_separable(image, jnp.ones(3, image.dtype)) + 4 * image) / 13
  inner = np.zeros((*image.shape[:2], 1), np.float32)
  inner[1:-1, 1:-1] = 1
  return clip(image + amount * inner * (image - smooth))


def _pad(image, rows, columns, mode):
  """Pads the image, as [rows, columns * channels]: its slices are then long contiguous runs, which SIMD needs."""
  padded = jnp.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode=mode)
  return padded.reshape(padded.shape[0], -1)


def _across(padded, ksize, shape):
  """Returns the slices [rows, w * c] that start at each of the first `ksize` columns."""
  _, w, c = shape
  return [padded[:, j * c : (j + w) * c] for j in range(ksize)]


def _neighbours(padded, ksize, shape):
  """Returns the ksize * ksize shifted slices [h, w * c] of a padded image, row by row."""
  h, _, _ = shape
  return [run for i in range(ksize) for run in _across(padded[i : i + h], ksize, shape)]


def _tent(centre, radius):
  """Returns the bilinear weights of the pixels -radius ... radius for points at `centre`, [points, pixels]."""
  return jnp.maximum(1 - jnp.abs(jnp.arange(-radius, radius + 1) - centre[:, None]), 0.0)


def _median9(padded, shape):
  """Returns the median of 3 x 3 pixels by sorting columns first (Smith 1996): half the exchanges of sorting all 9."""
  h, _, _ = shape
  columns = _sort([padded[i : i + h] for i in range(3)])
  low, middle, high = (_sort(_across(column, 3, shape)) for column in columns)
  return _sort([low[2], middle[1], high[0]])[1]


def _sort(values):
  """Sorts a list of arrays element by element, by Batcher's odd-even merge sort (Knuth 1998, 5.3.4).

  No data moves: an exchange is a minimum and a maximum, and the compiler drops those that are not used.
  """
  values, n, step = list(values), len(values), 1
  while step < n:
    width = step
    while width:
      for start in range(width % step, n - width, 2 * width):
        for low in range(start, min(start + width, n - width)):
          if low // (2 * step) == (low + width) // (2 * step):
            _exchange(values, low, low + width)
      width //= 2
    step *= 2
  return values


def _exchange(values, low, high):
  a, b = values[low], values[high]
  # jnp.minimum also propagates NaN, which doubles the cost.
  swap = b < a
  values[low], values[high] = jnp.where(swap, b, a), jnp.where(swap, a, b)


def _check_ksize(name, ksize):
  if ksize < 1 or ksize % 2 == 0:
    raise ValueError(f'{name}: ksize = {ksize!r}: must be odd and positive')
