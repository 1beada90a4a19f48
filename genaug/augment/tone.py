"""Tone operations: every value is mapped by a curve, given in closed form or computed from the image's histogram.

`gamma`, `invert`, `posterize`, `solarize` and `tone_curve` are pointwise, for any number of channels. A chain of them
may therefore run on `RAMP`, the 256 levels as an image [256, 1, c]: the result is the curve of the chain, and `lookup`
maps every pixel by it at once. `autocontrast` and `equalize` read the image first, to compute `autocontrast_curve` and
`equalize_curve`. `clahe` is local, with one curve per tile.

8-bit images come out as from PIL's ImageOps (`autocontrast` to one level of 255). Values between two 8-bit levels are
interpolated by `lookup`, and counted as the nearest level by histograms.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.color import luma
from genaug.augment.image import (
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_channels,
  check_image,
  check_range,
  clip,
  interval,
  log_uniform,
  operation,
  randomly,
  reciprocal,
  sample_nothing,
  sample_value,
  symmetric,
  to_float,
  uniform,
  validated,
)

Curve = Float[Array, '256 c']  # the values that the levels 0, 1/255 ... 1 are mapped to

RAMP = np.arange(256, dtype=np.float32) * np.float32(1 / 255)  # the levels, with the same bits as from `to_float`


def lookup(image: Num[Array, 'h w c'], curve: Curve) -> Num[Array, 'h w c']:
  """Maps an image by one curve per channel, linear between levels for float images; `RAMP` keeps all bits."""
  if image.dtype != jnp.uint8:
    return _between_levels(image, curve)
  table = _settled(_to_levels, curve).reshape(-1)
  return table.at[_indices(image)].get(mode='promise_in_bounds').astype(jnp.uint8)


@operation
def _between_levels(image, curve):
  channels = curve.shape[1]
  changes = _settled(_less_ramp, curve).reshape(-1)
  # From the nearest level towards the other neighbour, so that on a level the rounding of x * 255 does not matter.
  level = _levels(image)
  beyond = (image - level * np.float32(1 / 255)) * 255
  step = jnp.where((level == 0) | (beyond >= 0) & (level < 255), 1, -1)
  index = _indices(image)
  nearest, next_one = (changes.at[i].get(mode='promise_in_bounds') for i in (index, index + step * channels))
  return clip(image + nearest + beyond * step * (next_one - nearest))


def _to_levels(curve):
  return jnp.clip(jnp.round(curve * 255), 0, 255)


def _less_ramp(curve):
  return curve - RAMP[:, None]


@partial(jax.jit, static_argnums=0)  # outside jit, a loop is compiled at every call
def _settled(last, *tables):
  """Returns last(*tables), of the shape of the first table, and makes XLA put it in memory before it is read."""
  # On CPU, XLA fuses a table into the gather that reads it and recomputes it for every pixel, in spite of an
  # optimization_barrier. It does not fuse a loop, but would unroll one of a single iteration: `last` runs in the first
  # of two.
  first, *others = tables
  return jax.lax.fori_loop(0, 2, lambda turn, table: jnp.where(turn == 0, last(table, *others), table), first)


# Pointwise


@operation
def gamma(image: Float[Array, 'h w c'], gamma: ScalarLike) -> Float[Array, 'h w c']:
  """Raises values to the power gamma >= 0: above 1 darkens, below 1 lightens, 1 keeps every bit."""
  check_range('gamma: gamma', gamma, 0, np.inf)
  # A root is infinitely steep at black: below this value, less than any 8-bit level but 0, a line replaces the power.
  foot = 1e-5
  power = jnp.exp(gamma * jnp.log(jnp.maximum(image, foot)))
  power = jnp.where(gamma == 0, 1.0, power * jnp.minimum(image / foot, 1))  # 0 ** 0 is 1, as in NumPy
  return jnp.where(gamma == 1, image, power)


@validated(
  limit=Parameter(0, 10, '', 'The exponent is log-uniform in [1 / (1 + limit), 1 + limit] or the pair.', (1 / 11, 11))
)
def sample_gamma(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.5) -> Params:
  """Samples the exponent of `gamma`."""
  del shape
  return {'gamma': log_uniform(key, *interval(limit, reciprocal))}


@operation
def invert(image: Float[Array, 'h w c'], amount: ScalarLike) -> Float[Array, 'h w c']:
  """Fades the image into its negative by an amount in [0, 1]: 1 is PIL's invert, 0 keeps every bit."""
  check_range('invert: amount', amount, 0, 1)
  return clip(image + amount * (1 - 2 * image))


@validated(amount=Parameter(0, 1, '', 'The amount, 1 is the negative; uniform in a pair.', (0, 1)))
def sample_invert(key: PRNGKeyArray, shape: ImageShape, amount: ScalarLike | Pair = 1.0) -> Params:
  """Samples the amount of `invert`."""
  del shape
  return {'amount': sample_value(key, amount)}


def posterize(image: Num[Array, 'h w c'], bits: ScalarLike) -> Num[Array, 'h w c']:
  """Keeps the highest `bits` of 8 bits, a whole number in [1, 8] (rounded if it is not); 8 changes nothing."""
  check_range('posterize: bits', bits, 1, 8)
  image = check_image(image, 'posterize')
  bits = jnp.round(bits).astype(jnp.int32)
  low_bits = jnp.left_shift(1, jnp.clip(8 - bits, 0, 8)) - 1
  levels = _levels(image).astype(jnp.uint8) & ~low_bits.astype(jnp.uint8)
  return levels if image.dtype == jnp.uint8 else jnp.where(bits >= 8, image, to_float(levels).astype(image.dtype))


@validated(
  bits=Parameter(1, 8, 'bits', 'Bits kept: uniform in bits...7 (8 for 8), or in a pair of whole numbers.', (1, 8))
)
def sample_posterize(key: PRNGKeyArray, shape: ImageShape, bits: int | tuple[int, int] = 4) -> Params:
  """Samples the bits of `posterize`."""
  del shape
  low, high = interval(bits, lambda bits: (bits, 7))
  return {'bits': jax.random.randint(key, (), jnp.round(low).astype(jnp.int32), high + 1)}


@operation
def solarize(image: Float[Array, 'h w c'], threshold: ScalarLike) -> Float[Array, 'h w c']:
  """Inverts values at or above a threshold >= 0; a threshold above 1 keeps every bit."""
  check_range('solarize: threshold', threshold, 0, np.inf)
  # k / 255 in float32 depends on how it is computed; half a millionth of the range is far less than a level.
  return jnp.where(image >= threshold - 5e-7, 1 - image, image)


@validated(
  threshold=Parameter(
    0, 1, '', 'The threshold is uniform in [threshold, 1] or the pair; 1 inverts white alone.', (0, 1)
  )
)
def sample_solarize(key: PRNGKeyArray, shape: ImageShape, threshold: ScalarLike | Pair = 0.5) -> Params:
  """Samples the threshold of `solarize`."""
  del shape
  return {'threshold': uniform(key, *interval(threshold, lambda threshold: (threshold, 1.0)))}


@operation
def tone_curve(image: Float[Array, 'h w c'], points: Float[Array, '2']) -> Float[Array, 'h w c']:
  """Maps values by the cubic Bezier curve from black to white whose inner control points lie `points` above y = x.

  The control points sit at 1/3 and 2/3; points in [-1/3, 1/3], or in [-1/6, 1/6] for a curve that is sure to increase.
  (0, 0) keeps every bit.
  """
  check_range('tone_curve: points', points, -1 / 3, 1 / 3)
  below, above = 3 * image * (1 - image) ** 2, 3 * image**2 * (1 - image)
  return clip(image + points[0] * below + points[1] * above)


@validated(limit=Parameter(0, 1 / 3, '', 'Both points are uniform in [-limit, limit] or the pair.', (-1 / 3, 1 / 3)))
def sample_tone_curve(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.1) -> Params:
  """Samples the points of `tone_curve`."""
  del shape
  return {'points': uniform(key, *interval(limit, symmetric), (2,))}


# From the histogram


def autocontrast(image: Num[Array, 'h w c'], *, cutoff: float = 0.0) -> Num[Array, 'h w c']:
  """Stretches every channel to [0, 1]; `cutoff` percent of its pixels, in [0, 50), may saturate at either end.

  Equals PIL's ImageOps.autocontrast to one level of 255.
  """
  image = check_image(image, 'autocontrast')
  return lookup(image, autocontrast_curve(image, cutoff=cutoff))


def autocontrast_curve(image: Num[Array, 'h w c'], *, cutoff: float = 0.0) -> Curve:
  """Returns the curve of `autocontrast`; a channel with a single level stays as it is."""
  if not 0 <= cutoff < 50:
    raise ValueError(f'autocontrast: cutoff = {cutoff!r}: must lie in [0, 50)')
  low, high = _ends(image, cutoff) if cutoff else _extremes(image)
  return jnp.where(high > low, _stretch(low, high), RAMP[:, None])


def _extremes(image):
  # One channel at a time is four times as fast on CPU as all at once.
  channels = jnp.split(image, image.shape[-1], axis=-1)
  return tuple(_levels(jnp.stack([extreme(channel) for channel in channels])) for extreme in (jnp.min, jnp.max))


def _ends(image, cutoff):
  """Returns every channel's darkest and brightest level, leaving out `cutoff` percent of the pixels at either end."""
  h, w, _ = image.shape
  total = jnp.cumsum(histogram(image), axis=0)
  cut = int(h * w * cutoff // 100)
  return jnp.argmax(total > cut, axis=0), jnp.argmax(total >= h * w - cut, axis=0)


def _stretch(low: Int[Array, ' c'], high: Int[Array, ' c']) -> Curve:
  """Returns the curve from low...high to 0...1, rounded down to whole levels as PIL does.

  PIL's products in float64 may round to one level less.
  """
  level = np.arange(256)[:, None]
  return to_float(jnp.clip(_quotient((level - low) * 255, jnp.maximum(high - low, 1)), 0, 255).astype(jnp.uint8))


def _quotient(a: Int[Array, '...'], b: Int[Array, '...']) -> Int[Array, '...']:
  """Returns a // b, if it is below 2**22."""
  # SIMD can't divide integers. A quotient of floats is off by at most 1, however it is rounded.
  guess = (a.astype(jnp.float32) / b).astype(jnp.int32)
  rest = a - guess * b
  return guess + (rest >= b) - (rest < 0)


def equalize(image: Num[Array, 'h w c']) -> Num[Array, 'h w c']:
  """Flattens every channel's histogram, bit for bit as PIL's ImageOps.equalize does."""
  image = check_image(image, 'equalize')
  return lookup(image, equalize_curve(image))


def equalize_curve(image: Num[Array, 'h w c']) -> Curve:
  """Returns the curve of `equalize`; a channel with at most 254 pixels below its brightest level stays as it is."""
  counts = histogram(image)
  total = jnp.cumsum(counts, axis=0)
  step = jnp.where(total < total[-1], total, 0).max(0) // 255  # the brightest level does not count
  value = jnp.minimum(_quotient(step // 2 + total - counts, jnp.maximum(step, 1)), 255)
  return jnp.where(step > 0, to_float(value.astype(jnp.uint8)), RAMP[:, None])


def histogram(image: Num[Array, 'h w c']) -> Int[Array, '256 c']:
  """Counts the pixels of every channel that are nearest to each of the 256 levels."""
  channels = jnp.split(_levels(image), image.shape[-1], axis=-1)
  return jnp.stack([_count(channel, 256) for channel in channels], axis=-1)


def _indices(image: Num[Array, 'h w c']) -> Int[Array, 'h w c']:
  """Returns the indices of the nearest levels in a flattened table [256, c]."""
  channels = image.shape[-1]
  return _levels(image) * channels + jnp.arange(channels)


def _levels(image: Num[Array, '...']) -> Int[Array, '...']:
  if image.dtype == jnp.uint8:
    return image.astype(jnp.int32)
  return jnp.clip(jnp.round(to_float(image) * 255), 0, 255).astype(jnp.int32)


def _count(numbers: Int[Array, 'h ...'], bins: int) -> Int[Array, ' bins']:
  """Counts how often each of 0...bins - 1 occurs."""
  return jnp.zeros(bins, jnp.int32).at[numbers.reshape(-1)].add(1, mode='promise_in_bounds')


# Local


@operation
def clahe(
  image: Float[Array, 'h w c'], clip_limit: ScalarLike, *, grid: tuple[int, int] = (8, 8)
) -> Float[Array, 'h w c']:
  """Equalizes luma tile by tile, with histogram counts clipped to `clip_limit` >= 1 times their mean.

  Source: Zuiderveld 1994, "Contrast limited adaptive histogram equalization", as in OpenCV: `grid` (rows, columns) of
  tiles, 8-bit levels, and curves interpolated between the centres of tiles. The change of luma is added to all channels
  of an RGB image. Raises ValueError unless there is 1 channel or 3.
  """
  check_channels(image.shape[-1], 'clahe')
  check_range('clahe: clip_limit', clip_limit, 1, np.inf)
  if len(grid) != 2 or min(grid) < 1:
    raise ValueError(f'clahe: grid = {grid!r}: must be (rows, columns), both at least 1')
  levels = _levels(luma(image)[..., 0])
  totals, (height, width) = _tile_totals(levels, clip_limit, grid)
  scale = np.float32(255 / (height * width))
  top, bottom, down = (part[:, None] for part in _neighbours(levels.shape[0], height, grid[0]))
  left, right, across = _neighbours(levels.shape[1], width, grid[1])

  def read(row, column):
    total = totals.at[(row * grid[1] + column) * 256 + levels].get(mode='promise_in_bounds')
    return jnp.minimum(jnp.round(total * scale), 255)

  above = read(top, left) * (1 - across) + read(top, right) * across
  below = read(bottom, left) * (1 - across) + read(bottom, right) * across
  # In memory before it is read, because all channels share it.
  gain = _settled(_gain, above * (1 - down) + below * down, levels)
  return clip(image + gain[..., None] * jnp.float32(1 / 255))


def _gain(mixed, levels):
  return jnp.round(mixed) - levels


def _tile_totals(levels: Int[Array, 'h w'], clip_limit: ScalarLike, grid: tuple[int, int]):
  """Returns the cumulative clipped histograms of the tiles, [tiles * 256], and the (height, width) of a tile."""
  (h, w), (rows, columns) = levels.shape, grid
  if h % rows or w % columns:  # as in OpenCV, a side that does divide then also grows, by one pixel per tile
    levels = jnp.pad(levels, ((0, rows - h % rows), (0, columns - w % columns)), mode='reflect')
  height, width = levels.shape[0] // rows, levels.shape[1] // columns
  tile = np.arange(rows).repeat(height)[:, None] * columns + np.arange(columns).repeat(width)
  counts = _count(tile * 256 + levels, rows * columns * 256).reshape(-1, 256)
  clipped = _clipped(counts, clip_limit * (height * width / 256))
  return _running_sum(clipped.astype(jnp.float32)).reshape(-1), (height, width)


def _running_sum(counts: Float[Array, 'tiles 256']) -> Float[Array, 'tiles 256']:
  # Sixteen at a time by a triangular matrix of ones: four times as fast as jnp.cumsum on CPU, exact for whole numbers.
  blocks, upto = counts.reshape(-1, 16, 16), np.triu(np.ones((16, 16), np.float32))
  before = upto - np.eye(16, dtype=np.float32)
  highest = jax.lax.Precision.HIGHEST
  inside, earlier = (jnp.matmul(a, b, precision=highest) for a, b in ((blocks, upto), (blocks.sum(-1), before)))
  return (inside + earlier[..., None]).reshape(counts.shape)


def _clipped(counts: Int[Array, 'tiles 256'], limit: ScalarLike) -> Int[Array, 'tiles 256']:
  """Clips counts at the limit; the excess goes to all levels alike, its remainder to evenly spaced levels."""
  limit = jnp.maximum(jnp.floor(limit), 1).astype(jnp.int32)
  excess = jnp.maximum(counts - limit, 0).sum(1, keepdims=True)
  share, rest = jnp.divmod(excess, 256)
  step = jnp.maximum(256 // jnp.maximum(rest, 1), 1)
  level = np.arange(256)
  turn = jnp.floor((level + 0.5) / step).astype(jnp.int32)  # level // step, without the slow division of integers
  return jnp.minimum(counts, limit) + share + ((turn * step == level) & (turn < rest))


def _neighbours(side: int, tile: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns for every pixel along a side the tiles with the nearest centres before and after, and where in between."""
  position = np.arange(side, dtype=np.float32) * np.float32(1 / tile) - np.float32(0.5)
  before = np.floor(position).astype(np.int32)
  return before.clip(0), (before + 1).clip(max=tiles - 1), position - before


@validated(
  clip_limit=Parameter(
    1,
    256,
    'mean counts',
    'The limit is uniform in [1, clip_limit] or the pair. Rounded down to whole pixels of '
    'a tile, at least 1, as in OpenCV: below 32 all are alike on images of 32 x 32.',
    (1, 256),
  )
)
def sample_clahe(key: PRNGKeyArray, shape: ImageShape, clip_limit: ScalarLike | Pair = 4.0) -> Params:
  """Samples the limit of `clahe`."""
  del shape
  return {'clip_limit': uniform(key, *interval(clip_limit, lambda limit: (1.0, limit)))}


random_gamma = randomly(gamma, sample_gamma)
random_invert = randomly(invert, sample_invert)
random_posterize = randomly(posterize, sample_posterize)
random_solarize = randomly(solarize, sample_solarize)
random_tone_curve = randomly(tone_curve, sample_tone_curve)
random_autocontrast = randomly(autocontrast, sample_nothing)
random_equalize = randomly(equalize, sample_nothing)
random_clahe = randomly(clahe, sample_clahe)
