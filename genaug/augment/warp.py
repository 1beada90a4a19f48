"""Displacement fields: geometric operations that no matrix can express, applied by the one resampler.

A field d [h, w, 2] holds (x, y) in pixels: the output pixel with its centre at p shows the input at p + d(p).
Fields add up; after a matrix M, the source of p is M^-1 (p + d(p)), and a point moves to
`invert_points(field, M point)`. Lengths are fractions of the side, as for every move: of the width along x,
of the height along y. `op(image, ...)` has a twin `op_field(size, ...)` with the same arguments and size = (h, w).
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_range,
  interval,
  operation,
  randomly,
  symmetric,
  uniform,
  validated,
)
from genaug.augment.matrices import Matrix, Size, transform_points
from genaug.augment.resample import Fill, clip_overshoot, resample

Field = Float[Array, 'h w 2']
IDENTITY = np.eye(3, dtype=np.float32)


def displaced(
  image: Num[Array, 'h w c'],
  field: Field,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'h w c']:
  """Resamples an image in [0, 1] once by the field, kept in that range; keywords and errors are those of `resample`."""
  x, y = _centres(field.shape[:2])
  moved = resample(image, x + field[..., 0], y + field[..., 1], interpolation=interpolation, border=border, fill=fill)
  return clip_overshoot(moved, interpolation)


def _centres(size: Size) -> tuple[Float[np.ndarray, ' w'], Float[np.ndarray, 'h 1']]:
  h, w = size
  return np.arange(w, dtype=np.float32) + 0.5, np.arange(h, dtype=np.float32)[:, None] + 0.5


def _fractions(side: int) -> Float[np.ndarray, ' side']:
  """Returns the pixel centres as fractions of the side."""
  return ((np.arange(side) + 0.5) / side).astype(np.float32)


def _pixels(fractions: Float[Array, '... 2'], size: Size) -> Float[Array, '... 2']:
  return fractions * jnp.array(size[::-1], jnp.float32)


def _field(subscripts: str, *operands: ArrayLike) -> Field:
  # x and y are separate planes in memory, because the resampler reads them one at a time.
  return jnp.moveaxis(_einsum(subscripts, *operands), 0, -1)


def _einsum(subscripts: str, *operands: ArrayLike) -> Array:
  # By default accelerators multiply float32 matrices in lower precision: wrong by pixels here.
  return jnp.einsum(subscripts, *operands, precision=jax.lax.Precision.HIGHEST)


# Points and boxes


NEWTON_STEPS = 6  # four are exact to float32 at the default parameters


@jax.jit  # outside jit, the loop would be compiled at every call
def invert_points(field: Field, points: Float[Array, 'n 2']) -> Float[Array, 'n 2']:
  """Returns where content at the points moves to under the field: q with q + d(q) = point, by Newton's method.

  Between pixel centres the field is bilinear, beyond the frame it continues as at the nearest point of the frame.
  Exact to 0.05 pixels unless the field folds; where it does, some point comes back, finite for finite ones.
  """
  field, points = jnp.asarray(field), jnp.asarray(points, jnp.float32)
  known = jnp.isfinite(points).all(-1, keepdims=True)  # points behind the camera of a perspective are infinite

  def solve(point):
    def step(_, q):
      displacement, slopes = _at(field, q)
      (a, b), (c, d) = slopes + jnp.eye(2)
      x, y = q + displacement - point
      determinant = jnp.maximum(a * d - b * c, 0.01)  # positive unless the field folds
      return q - jnp.stack([d * x - b * y, a * y - c * x]) / determinant

    return jax.lax.fori_loop(0, NEWTON_STEPS, step, point)

  return jnp.where(known, jax.vmap(solve)(jnp.where(known, points, 0)), points)


def move_boxes(field: Field, boxes: Float[Array, 'n 4'], matrix: Matrix = IDENTITY) -> Float[Array, 'n 4']:
  """Returns the smallest upright boxes around outlines moved by a matrix, then the field; they may leave the frame."""
  outlines = outline(boxes)
  moved = invert_points(field, transform_points(matrix, outlines.reshape(-1, 2))).reshape(outlines.shape)
  return jnp.concatenate([moved.min(1), moved.max(1)], axis=-1)


def outline(boxes: Float[Array, 'n 4'], per_side: int = 16) -> Float[Array, 'n k 2']:
  """Returns k = 4 per_side evenly spaced points along the sides of every box (x_min, y_min, x_max, y_max)."""
  t = np.arange(per_side) / per_side
  zero, one = np.zeros(per_side), np.ones(per_side)
  x, y = np.concatenate([t, one, 1 - t, zero]), np.concatenate([zero, t, one, 1 - t])
  low, high = jnp.asarray(boxes, jnp.float32)[:, None, :2], jnp.asarray(boxes, jnp.float32)[:, None, 2:]
  return low + np.stack([x, y], axis=-1).astype(np.float32) * (high - low)


def _at(field: Field, point: Float[Array, '2']) -> tuple[Float[Array, '2'], Float[Array, '2 2']]:
  """Returns the displacement at one point, and its derivatives along x and y (second axis).

  It is bilinear, and linear in the half pixel from the outermost centres to the frame.
  """
  h, w, _ = field.shape
  nearest = jnp.clip(point, 0, jnp.array([w, h], jnp.float32))
  x, y = nearest - 0.5
  column, row = (jnp.clip(jnp.floor(v).astype(int), 0, max(n - 2, 0)) for v, n in ((x, w), (y, h)))
  right, below = jnp.minimum(column + 1, w - 1), jnp.minimum(row + 1, h - 1)
  top, bottom = field[row, column], field[below, column]
  along_top, along_bottom = field[row, right] - top, field[below, right] - bottom
  top, bottom = top + (x - column) * along_top, bottom + (x - column) * along_bottom
  slopes = jnp.stack([along_top + (y - row) * (along_bottom - along_top), bottom - top], axis=-1)
  return top + (y - row) * (bottom - top), slopes * (nearest == point)


# Elastic


def elastic_field(size: Size, control: Float[Array, 'rows columns 2'], sigma: ScalarLike = 0.1) -> Field:
  """Returns the displacement field of `elastic`."""
  rows, columns, _ = np.shape(control)
  check_range('elastic: control', control, -1, 1)
  _check_sigma(sigma, rows, columns, np.inf)
  h, w = size
  return _field('hr,rcd,wc->dhw', _splines(h, rows, sigma), _pixels(control, size), _splines(w, columns, sigma))


def _check_sigma(sigma: ScalarLike, rows: int, columns: int, most: float) -> None:
  """Raises ValueError where the control points, sqrt(3) sigma apart, do not cover the image."""
  least = 1 / (3**0.5 * (min(rows, columns) - 3)) if min(rows, columns) > 3 else np.inf
  check_range(f'elastic: sigma with {rows} x {columns} control points', sigma, least, most)


def _splines(side: int, count: int, sigma: ScalarLike) -> Float[Array, 'side count']:
  """Returns uniform cubic B-splines about the middle, at the pixel centres, with a deviation of `sigma` sides each."""
  knots = np.arange(count, dtype=np.float32) - (count - 1) / 2
  t = jnp.abs((_fractions(side)[:, None] - 0.5) / (3**0.5 * sigma) - knots)
  return (jnp.maximum(2 - t, 0) ** 3 - 4 * jnp.maximum(1 - t, 0) ** 3) / 6


@operation
def elastic(
  image: Num[Array, 'h w c'],
  control: Float[Array, 'rows columns 2'],
  sigma: ScalarLike = 0.1,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'h w c']:
  """Distorts the image elastically, by control displacements in [-1, 1] of the side, smoothed by `sigma` of the side.

  The smoothing is a uniform cubic B-spline of standard deviation sigma, so control points are sqrt(3) sigma apart,
  centred on the image. Their number bounds sigma from below (16: 0.045); raises ValueError if it is less.
  Control points that move by less than 0.83 sigma never fold the image (Choi & Lee 2000, Injectivity
  conditions of 2D and 3D uniform cubic B-spline functions).
  Source: Simard, Steinkraus & Platt 2003, Best practices for convolutional neural networks, section 2.
  """
  field = elastic_field(image.shape[:2], control, sigma)
  return displaced(image, field, interpolation=interpolation, border=border, fill=fill)


@validated(
  alpha=Parameter(
    0, 1, 'of the side', 'Control displacements are uniform in [-alpha, alpha] or the pair, before smoothing.', (-1, 1)
  ),
  sigma=Parameter(
    0.0025, 1, 'of the side', 'Standard deviation of the smoothing; at least 0.577 / (size - 3), 0.045 for 16 points.'
  ),
  size=Parameter(4, 256, 'points', 'Control points per side; static.'),
)
def sample_elastic(
  key: PRNGKeyArray, shape: ImageShape, alpha: ScalarLike | Pair = 0.05, sigma: ScalarLike = 0.1, size: int = 16
) -> Params:
  """Samples size x size control displacements of `elastic`.

  The displacement has zero mean, standard deviation 0.277 alpha, and never exceeds alpha. That of Simard et al.,
  uniform noise smoothed by a Gaussian of `sigma` and multiplied by A, has this deviation for A = 1.7 alpha sigma (A and
  sigma in pixels for alpha in pixels).
  """
  _check_sigma(sigma, size, size, 1)
  del shape
  return {
    'control': uniform(key, *interval(alpha, symmetric), (size, size, 2)),
    'sigma': jnp.asarray(sigma, jnp.float32),
  }


random_elastic = randomly(elastic, sample_elastic)


# Grid


def grid_distort_field(size: Size, stretch: Float[Array, '2 steps']) -> Field:
  """Returns the displacement field of `grid_distort`."""
  check_range('grid_distort: stretch', stretch, -0.99, 1)
  h, w = size
  x, y = (_along(side, side_stretch) for side, side_stretch in zip((w, h), jnp.asarray(stretch, jnp.float32)))
  return jnp.stack(jnp.broadcast_arrays(x, y[:, None]), axis=-1)


def _along(side: int, stretch: Float[Array, ' steps']) -> Float[Array, ' side']:
  (steps,) = stretch.shape
  # The share of every cell that lies before each pixel centre, and each cell's relative excess in width over 1 / steps.
  passed = np.clip(_fractions(side)[:, None] * steps - np.arange(steps), 0, 1).astype(np.float32)
  excess = (stretch - stretch.mean()) / (1 + stretch.mean())  # sums to 0
  return _einsum('xs,s->x', passed, excess) * side / steps


@operation
def grid_distort(
  image: Num[Array, 'h w c'],
  stretch: Float[Array, '2 steps'],
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'h w c']:
  """Makes columns and rows of a steps x steps grid wider or narrower; the frame stays, and every cell is linear.

  Column i of the output shows a part of the input 1 + stretch[0, i] wide in proportion to the others, row i a part
  1 + stretch[1, i] high; stretch in [-0.99, 1].
  """
  field = grid_distort_field(image.shape[:2], stretch)
  return displaced(image, field, interpolation=interpolation, border=border, fill=fill)


@validated(
  limit=Parameter(0, 0.99, '', 'The stretch is uniform in [-limit, limit] or the pair.', (-0.99, 0.99)),
  steps=Parameter(1, 256, 'cells', 'Columns and rows of the grid; static. 1 changes nothing.'),
)
def sample_grid_distort(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.3, steps: int = 5) -> Params:
  """Samples the stretch of `steps` columns and rows of `grid_distort`."""
  del shape
  return {'stretch': uniform(key, *interval(limit, symmetric), (2, steps))}


random_grid_distort = randomly(grid_distort, sample_grid_distort)


# Thin plate spline


def thin_plate_spline_field(size: Size, offsets: Float[Array, 'rows columns 2']) -> Field:
  """Returns the displacement field of `thin_plate_spline`."""
  check_range('thin_plate_spline: offsets', offsets, -1, 1)
  h, w = size
  rows, columns, _ = np.shape(offsets)
  if min(rows, columns) < 2:
    raise ValueError(f'thin_plate_spline: offsets of {rows} x {columns} control points: must be at least 2 x 2')
  return _field('rcd,rchw->dhw', _pixels(offsets, size), _thin_plates(h, w, rows, columns))


@lru_cache(maxsize=8)
def _thin_plates(h: int, w: int, rows: int, columns: int) -> Float[np.ndarray, 'rows columns h w']:
  """Returns the spline at every pixel centre for an offset of 1 at one control point; it is linear in all offsets."""
  unit = max(h, w)  # keeps the system well-conditioned, and changes nothing else
  x, y = _centres((h, w))
  pixels = _grid(x / unit, y.ravel() / unit)
  control = _grid(np.linspace(0, w / unit, columns), np.linspace(0, h / unit, rows))
  sides = np.column_stack([np.ones(len(control)), control])
  system = np.block([[_thin_plate(control, control), sides], [sides.T, np.zeros((3, 3))]])
  basis = np.column_stack([_thin_plate(pixels, control), np.ones(len(pixels)), pixels])
  weights = np.linalg.solve(system, basis.T)[: len(control)]  # the system is symmetric
  return weights.reshape(rows, columns, h, w).astype(np.float32)


def _grid(x: Float[np.ndarray, ' w'], y: Float[np.ndarray, ' h']) -> Float[np.ndarray, 'hw 2']:
  return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float64)


def _thin_plate(points: Float[np.ndarray, 'n 2'], centres: Float[np.ndarray, 'm 2']) -> Float[np.ndarray, 'n m']:
  squared = ((points[:, None] - centres) ** 2).sum(-1)
  return squared * np.log(np.where(squared == 0, 1, squared))


@operation
def thin_plate_spline(
  image: Num[Array, 'h w c'],
  offsets: Float[Array, 'rows columns 2'],
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'h w c']:
  """Warps the image by the thin plate spline with given offsets at a rows x columns grid of control points.

  At control point c the output shows the input at c + offset, with offsets in [-1, 1] of the side; the grid includes
  the corners and sides of the image.
  Source: Bookstein 1989, Principal warps: thin-plate splines and the decomposition of deformations.
  """
  field = thin_plate_spline_field(image.shape[:2], offsets)
  return displaced(image, field, interpolation=interpolation, border=border, fill=fill)


@validated(
  limit=Parameter(0, 1, 'of the side', 'Offsets are uniform in [-limit, limit] or the pair.', (-1, 1)),
  size=Parameter(2, 16, 'points', 'Control points per side; static.'),
)
def sample_thin_plate_spline(
  key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.1, size: int = 3
) -> Params:
  """Samples the offsets of size x size control points of `thin_plate_spline`.

  Larger limits than 0.1 with 3 x 3 points, or than 0.06 with 4 x 4, can fold the image.
  """
  del shape
  return {'offsets': uniform(key, *interval(limit, symmetric), (size, size, 2))}


random_thin_plate_spline = randomly(thin_plate_spline, sample_thin_plate_spline)


# Lens


def lens_distort_field(size: Size, k1: ScalarLike, k2: ScalarLike = 0.0) -> Field:
  """Returns the displacement field of `lens_distort`."""
  check_range('lens_distort: k1', k1, -1, 1)
  check_range('lens_distort: k2', k2, -1, 1)
  h, w = size
  x, y = (centres - side / 2 for centres, side in zip(_centres(size), (w, h)))
  squared = (x**2 + y**2) / ((w**2 + h**2) / 4)
  growth = squared * (k1 + k2 * squared)
  return jnp.stack([x * growth, y * growth], axis=-1)


@operation
def lens_distort(
  image: Num[Array, 'h w c'],
  k1: ScalarLike,
  k2: ScalarLike = 0.0,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'h w c']:
  """Distorts the image radially, as a lens does: the output at radius r shows the input at r (1 + k1 r^2 + k2 r^4).

  r is 0 in the middle and 1 at the corners. Positive values give a barrel, negative ones a pincushion. Both lie in
  [-1, 1]; the image does not fold if 1 + 3 k1 r^2 + 5 k2 r^4 > 0. It is OpenCV's `undistort` for a camera of focal
  length half the diagonal. Source: Brown 1966, Decentering distortion of lenses.
  """
  field = lens_distort_field(image.shape[:2], k1, k2)
  return displaced(image, field, interpolation=interpolation, border=border, fill=fill)


@validated(limit=Parameter(0, 1 / 3, '', 'k1 is uniform in [-limit, limit] or the pair.', (-1 / 3, 1 / 3)))
def sample_lens_distort(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.3) -> Params:
  """Samples k1 of `lens_distort` from a range without folds; k2 stays 0."""
  del shape
  return {'k1': uniform(key, *interval(limit, symmetric))}


random_lens_distort = randomly(lens_distort, sample_lens_distort)
