"""The one resampler, which reads an image at points between its pixels.

Points are continuous (x, y) in pixels, in the frame that `matrices` describes. Every move of an image, by a matrix
(`warp`) or point by point (`resample`), reads it once.

interpolations
  nearest   the pixel that holds the point; takes integers and booleans too (label masks), which pass untouched
  bilinear  four pixels around it
  cubic     the cubic B-spline through all pixels, SciPy's order 3: sharper, overshoots beside edges, and is not
            clipped here. It equals SciPy's up to float32 rounding away from the border, to 1e-5 near and beyond it.
borders: how the image continues outside
  constant  `fill`; SciPy 'grid-constant', PyTorch's grid_sample (align_corners=False) 'zeros', OpenCV CONSTANT
  edge      its outermost pixels; SciPy 'nearest', PyTorch 'border', OpenCV REPLICATE
  reflect   its mirror image, outermost pixels repeated; SciPy 'reflect', PyTorch 'reflection', OpenCV REFLECT
  wrap      itself; SciPy 'grid-wrap', OpenCV WRAP
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Num

from genaug.augment.image import clip, from_float, to_float
from genaug.augment.matrices import Matrix, Size, inverse

Fill = Float[ArrayLike, '*c']  # a number, or one per channel
FAR_OUTSIDE = -1e6  # a coordinate that no image reaches and that float32 holds exactly


def warp(
  image: Num[Array, 'h w c'],
  matrix: Matrix,
  *,
  size: Size | None = None,
  projective: bool = False,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'H W c']:
  """Moves the image by a matrix from input points to output points; `size` is the output's, by default the input's.

  Without `projective` the matrix is taken to be affine: its last row is not read, and no pixel costs a division.
  With it, points behind the camera (w <= 0) are far outside: they get the fill, if the border is constant. A matrix
  that is not finite or has no inverse gives undefined values, but nothing outside the image is ever read.
  """
  x, y = source_points(matrix, size or image.shape[:2], projective)
  return resample(image, x, y, interpolation=interpolation, border=border, fill=fill)


def source_points(
  matrix: Matrix, size: Size, projective: bool = False, field: Float[Array, 'h w 2'] | None = None
) -> tuple[Float[Array, 'h w'], Float[Array, 'h w']]:
  """Returns the input point (x, y) that each pixel of an output of `size` shows; `field` displaces its centre first."""
  h, w = size
  column, row = jnp.arange(w) + 0.5, jnp.arange(h)[:, None] + 0.5
  if field is not None:
    column, row = column + field[..., 0], row + field[..., 1]
  x, y, depth = (a * column + b * row + c for a, b, c in inverse(matrix))
  if not projective:
    return x, y
  seen = depth > 0
  zoom = 1 / jnp.where(seen, depth, 1)  # no division by 0, not even where the result is dropped: gradients would see it
  return jnp.where(seen, x * zoom, FAR_OUTSIDE), jnp.where(seen, y * zoom, FAR_OUTSIDE)


def resample(
  image: Num[Array, 'h w c'],
  x: Float[Array, 'H W'],
  y: Float[Array, 'H W'],
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Num[Array, 'H W c']:
  """Reads the image at the points (x, y), in its dtype; gradients reach the image, the points and the fill.

  uint8 is interpolated as float in [0, 1] and rounded, and its `fill` (a number, or one per channel) is in [0, 1] as
  well; 'nearest' reads any dtype as it is, with a fill in the image's own units. Raises ValueError for an unknown
  interpolation or border, and for the interpolation of other integers.
  """
  image = jnp.asarray(image)
  read = _choose('interpolation', interpolation, INTERPOLATIONS)
  fold, _ = _choose('border', border, BORDERS)
  values = image if interpolation == 'nearest' else _interpolable(image, interpolation)
  h, w, _ = image.shape
  fill = jnp.asarray(fill, values.dtype)
  value = read(values, fold(x, w), fold(y, h), border, fill)
  return value if interpolation == 'nearest' else from_float(value, image.dtype)


def clip_overshoot(moved: Num[Array, 'h w c'], interpolation: str) -> Num[Array, 'h w c']:
  """Clips a resampled image in [0, 1] to that range if `interpolation` is cubic; no other one leaves it."""
  return clip(moved) if interpolation == 'cubic' else moved


def _interpolable(image, interpolation):
  if image.dtype != jnp.uint8 and not jnp.issubdtype(image.dtype, jnp.floating):
    raise ValueError(
      f'{interpolation} interpolation of {image.dtype}: convert to float, or use interpolation="nearest"'
    )
  return to_float(image)


def _nearest(image, x, y, border, fill):
  h, w, _ = image.shape
  value = _pixels(image, _floor(x), _floor(y))
  if border != 'constant':
    return value
  inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
  return jnp.where(inside[..., None], value, fill)


def _bilinear(image, x, y, border, fill):
  h, w, _ = image.shape
  if border == 'wrap':  # the neighbours of the outermost pixels lie on the other side
    image, x, y = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), 'wrap'), x + 1, y + 1
  left, top = x - 0.5, y - 0.5
  column, row = _floor(left), _floor(top)
  across, down = (left - jnp.floor(left))[..., None], (top - jnp.floor(top))[..., None]
  above = _mix(_pixels(image, column, row), _pixels(image, column + 1, row), across)
  below = _mix(_pixels(image, column, row + 1), _pixels(image, column + 1, row + 1), across)
  value = _mix(above, below, down)
  if border != 'constant':
    return value
  # Where only a part of the footprint lies in the frame, the clipped taps all read the one pixel inside, so blending
  # the clipped image with the fill is exactly the image padded with the fill.
  inside = (_cover(x, w) * _cover(y, h))[..., None].astype(value.dtype)
  return value * inside + fill * (1 - inside)


def _cover(x, side):
  return jnp.clip(jnp.minimum(x, side - x) + 0.5, 0, 1)


def _cubic(image, x, y, border, fill):
  h, w, _ = image.shape
  base = fill if border == 'constant' else 0.0
  image = jnp.einsum(
    'ih,jw,hwc->ijc', _spline(h, border), _spline(w, border), image - base, precision=jax.lax.Precision.HIGHEST
  )
  left, top = x + (MARGIN - 0.5), y + (MARGIN - 0.5)
  column, row = _floor(left), _floor(top)
  across, down = _spline_weights(left - jnp.floor(left)), _spline_weights(top - jnp.floor(top))
  rows = [
    sum(weight[..., None] * _pixels(image, column + i, row + j) for i, weight in enumerate(across, -1))
    for j in range(-1, 3)
  ]
  return sum(weight[..., None] * value for weight, value in zip(down, rows)) + base


MARGIN = 10  # pixels from the border beyond which it no longer affects a spline: 0.27 ** 10 is 2e-6


@cache
def _spline(side: int, border: str) -> np.ndarray:
  """Returns the matrix [side + 2 MARGIN, side] from pixels to coefficients of their B-spline, in and near the frame.

  Unser 1999, "Splines: A Perfect Fit for Signal and Image Processing": the spline's samples are the coefficients
  filtered by (1, 4, 1) / 6, which is inverted here by solving the linear system.
  """
  _, continuation = BORDERS[border]
  samples = np.pad(np.eye(side), ((2 * MARGIN, 2 * MARGIN), (0, 0)), continuation)
  n = len(samples)
  filtering = (np.eye(n, k=-1) + 4 * np.eye(n) + np.eye(n, k=1)) / 6
  coefficients = np.linalg.solve(filtering, samples)[MARGIN:-MARGIN]
  if border == 'constant':
    coefficients[[0, -1]] = 0  # reads further out are clipped to these, and give exactly the fill
  return coefficients.astype(np.float32)


def _spline_weights(t):
  s = 1 - t
  return s**3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (4 - 6 * s**2 + 3 * s**3) / 6, t**3 / 6


def _pixels(image, column, row):
  # One gather per tap from the flattened image is fast on CPU; the clipping keeps the promise of being in bounds.
  h, w, c = image.shape
  index = jnp.clip(row, 0, h - 1) * w + jnp.clip(column, 0, w - 1)
  return image.reshape(h * w, c).at[index].get(mode='promise_in_bounds')


def _floor(x):
  return jnp.floor(x).astype(jnp.int32)


def _mix(a, b, t):
  # Unlike (1 - t) * a + t * b, this keeps the bits of a flat area.
  return a + t * (b - a)


def _as_it_is(x, side):
  del side  # `_pixels` clips
  return x


def _reflected(x, side):
  return jnp.abs(x - 2 * side * jnp.round(x / (2 * side)))


INTERPOLATIONS = {'nearest': _nearest, 'bilinear': _bilinear, 'cubic': _cubic}
BORDERS = {  # name -> how a coordinate is folded back into the frame, and np.pad's name of that mode
  'constant': (_as_it_is, 'constant'),
  'edge': (_as_it_is, 'edge'),
  'reflect': (_reflected, 'symmetric'),
  'wrap': (jnp.mod, 'wrap'),
}


def _choose(what: str, name: str, choices: dict):
  if name not in choices:
    raise ValueError(f'{what} = {name!r}: must be one of {", ".join(choices)}')
  return choices[name]
