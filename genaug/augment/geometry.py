"""Moves of an image: 3x3 matrices, and the one resampler that carries them out.

The pixel frame, used everywhere: points are continuous (x, y) in pixels, x to the right and y down. The image
spans [0, w] x [0, h]; the centre of the pixel [row r, column c] is (c + 0.5, r + 0.5); a box is
(x_min, y_min, x_max, y_max). Angles are degrees, counter-clockwise as seen on the screen. Lengths are
fractions of the side: dx = 0.25 moves content right by a quarter of the width, dy = 0.25 down by a quarter
of the height, and the centre (0.5, 0.5) is the middle. Coordinates are float32 whatever the image is.

`op(image, ...)` has a twin `op_matrix(shape, ...)` with the same arguments and shape = (h, w). The matrix
maps input points to output points; `compose` chains several, so that a chain of moves costs one resample.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray, ScalarLike

Matrix = Float[Array, '3 3']
Shape = tuple[int, int]
Point = tuple[ScalarLike, ScalarLike] | Float[ArrayLike, '2']

MIDDLE = (0.5, 0.5)


# Matrices


def compose(*matrices: Matrix) -> Matrix:
  """One matrix that does what `matrices` do in turn, the first first; the identity if there are none."""
  return reduce(lambda done, following: _matmul(following, done), matrices, jnp.eye(3))


def inverse(matrix: Matrix) -> Matrix:
  """The way back of an affine matrix; not finite where the matrix flattens the plane."""
  (a, b, x), (c, d, y), _ = matrix
  determinant = a * d - b * c
  a, b, c, d = d / determinant, -b / determinant, -c / determinant, a / determinant
  return _affine(a, b, -(a * x + b * y), c, d, -(c * x + d * y))


def hflip_matrix(shape: Shape) -> Matrix:
  _, w = shape
  return _affine(-1, 0, w, 0, 1, 0)


def vflip_matrix(shape: Shape) -> Matrix:
  h, _ = shape
  return _affine(1, 0, 0, 0, -1, h)


def transpose_matrix(shape: Shape) -> Matrix:
  del shape  # the main diagonal starts at the origin, whatever the size
  return _affine(0, 1, 0, 1, 0, 0)


def antitranspose_matrix(shape: Shape) -> Matrix:
  h, w = shape
  return _affine(0, -1, h, -1, 0, w)


def rot90_matrix(shape: Shape, k: int = 1) -> Matrix:
  h, w = shape
  return (
    jnp.eye(3),
    _affine(0, 1, 0, -1, 0, w),
    _affine(-1, 0, w, 0, -1, h),
    _affine(0, -1, h, 1, 0, 0),
  )[k % 4]


def rotate_matrix(shape: Shape, angle: ScalarLike, centre: Point = MIDDLE) -> Matrix:
  """See `rotate`. Exact at multiples of 90 degrees."""
  cos, sin = _cos_sin(angle)
  return _about(shape, centre, cos, sin, -sin, cos)


def translate_matrix(shape: Shape, dx: ScalarLike, dy: ScalarLike) -> Matrix:
  """See `translate`."""
  h, w = shape
  return _affine(1, 0, dx * w, 0, 1, dy * h)


def scale_matrix(shape: Shape, sx: ScalarLike, sy: ScalarLike, centre: Point = MIDDLE) -> Matrix:
  """See `scale`."""
  return _about(shape, centre, sx, 0, 0, sy)


def _affine(a, b, x, c, d, y) -> Matrix:
  return jnp.array([[a, b, x], [c, d, y], [0, 0, 1]], jnp.float32)


def _about(shape: Shape, centre: Point, a, b, c, d) -> Matrix:
  """The linear map [[a, b], [c, d]] with `centre`, a fraction of the shape, as its fixed point."""
  h, w = shape
  x, y = centre[0] * w, centre[1] * h
  return _affine(a, b, x - (a * x + b * y), c, d, y - (c * x + d * y))


def _cos_sin(angle: ScalarLike) -> tuple[Float[Array, ''], Float[Array, '']]:
  # cos(pi / 2) is not 0 in floating point: take the quarter turns out while the angle is still in degrees.
  angle = jnp.asarray(angle, jnp.float32)
  quarters = jnp.round(angle / 90)
  rest = jnp.deg2rad(angle - 90 * quarters)
  cos, sin = jnp.cos(rest), jnp.sin(rest)
  turn = quarters.astype(jnp.int32) % 4
  real, imaginary = jnp.array([1, 0, -1, 0])[turn], jnp.array([0, 1, 0, -1])[turn]
  return cos * real - sin * imaginary, sin * real + cos * imaginary


def _matmul(a: Float[Array, 'i j'], b: Float[Array, 'j k']) -> Float[Array, 'i k']:
  # Accelerators multiply float32 matrices in fewer bits by default: good for a layer, wrong by pixels here.
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


# Points and boxes


def transform_points(matrix: Matrix, points: Float[Array, 'n 2']) -> Float[Array, 'n 2']:
  """Where the matrix takes the points; they may leave the frame."""
  return _matmul(points, matrix[:2, :2].T) + matrix[:2, 2]


def transform_boxes(matrix: Matrix, boxes: Float[Array, 'n 4']) -> Float[Array, 'n 4']:
  """Smallest upright boxes around the moved corners; they may leave the frame (see `clip_boxes`)."""
  corners = boxes[:, jnp.array([[0, 1], [2, 1], [2, 3], [0, 3]])]  # [n, 4, 2]
  moved = jax.vmap(transform_points, (None, 0))(matrix, corners)
  return jnp.concatenate([moved.min(1), moved.max(1)], axis=-1)


def points_inside(points: Float[Array, 'n 2'], shape: Shape) -> Bool[Array, ' n']:
  """Which points lie in the frame [0, w) x [0, h), that is on some pixel."""
  h, w = shape
  return jnp.all((points >= 0) & (points < jnp.array([w, h])), axis=-1)


def clip_boxes(boxes: Float[Array, 'n 4'], shape: Shape) -> tuple[Float[Array, 'n 4'], Bool[Array, ' n']]:
  """The part of every box inside the frame, and which boxes have any; the others come back with no area."""
  h, w = shape
  clipped = jnp.clip(boxes, 0, jnp.array([w, h, w, h]))
  return clipped, jnp.all(clipped[:, 2:] > clipped[:, :2], axis=-1)


# The resampler


def warp(
  image: Num[Array, 'h w c'],
  matrix: Matrix,
  *,
  shape: Shape | None = None,
  method: str = 'bilinear',
  border: str = 'constant',
  fill: Float[ArrayLike, '*c'] = 0.0,
) -> Num[Array, 'H W c']:
  """The image moved by a matrix; `shape` is the output's (height, width), the input's by default.

  method: 'bilinear', or 'nearest', which also takes integers (masks).
  border: 'constant' continues the image with `fill` (a number, or one a channel), 'edge' with its outermost
    pixels, 'reflect' with its mirror image, outermost pixels repeated. SciPy calls them 'grid-constant',
    'nearest' and 'reflect'; PyTorch's grid_sample (align_corners=False) 'zeros', 'border' and 'reflection'.

  A matrix that is not finite or has no inverse leaves the pixel values undefined, but nothing outside the
  image is ever read. Raises ValueError for an unknown method or border, and for bilinear interpolation of
  integers.
  """
  x, y = source_points(matrix, shape or image.shape[:2])
  return resample(image, x, y, method=method, border=border, fill=fill)


def source_points(matrix: Matrix, shape: Shape) -> tuple[Float[Array, 'h w'], Float[Array, 'h w']]:
  """The input point (x, y) that every pixel centre of an output of that shape shows."""
  h, w = shape
  (a, b, left), (c, d, top), _ = inverse(matrix)
  x, y = jnp.arange(w) + 0.5, jnp.arange(h)[:, None] + 0.5
  return a * x + b * y + left, c * x + d * y + top


def resample(
  image: Num[Array, 'h w c'],
  x: Float[Array, 'H W'],
  y: Float[Array, 'H W'],
  *,
  method: str = 'bilinear',
  border: str = 'constant',
  fill: Float[ArrayLike, '*c'] = 0.0,
) -> Num[Array, 'H W c']:
  """The image read at the points (x, y); the options are those of `warp`."""
  image = jnp.asarray(image)
  h, w, _ = image.shape
  read, cover = _choose('method', method, METHODS)
  continuation = _choose('border', border, BORDERS)
  value = read(image, continuation(x, w), continuation(y, h))
  if border == 'constant':
    inside = (cover(x, w) * cover(y, h))[..., None].astype(value.dtype)
    value = value * inside + jnp.asarray(fill, value.dtype) * (1 - inside)
  return value.astype(image.dtype)


def _read_nearest(image, x, y):
  return _pixels(image, _floor(x), _floor(y))


def _read_bilinear(image, x, y):
  if not jnp.issubdtype(image.dtype, jnp.floating):
    raise ValueError(f'bilinear interpolation of {image.dtype}: convert to float, or use method="nearest"')
  image = image.astype(jnp.promote_types(image.dtype, x.dtype))
  x, y = x - 0.5, y - 0.5
  column, row = _floor(x), _floor(y)
  across, down = (x - jnp.floor(x))[..., None], (y - jnp.floor(y))[..., None]
  above = _mix(_pixels(image, column, row), _pixels(image, column + 1, row), across)
  below = _mix(_pixels(image, column, row + 1), _pixels(image, column + 1, row + 1), across)
  return _mix(above, below, down)


def _pixels(image, column, row):
  # One gather a tap from the flat image is the fast form on CPU; the clipping keeps the promise.
  h, w, c = image.shape
  index = jnp.clip(row, 0, h - 1) * w + jnp.clip(column, 0, w - 1)
  return image.reshape(h * w, c).at[index].get(mode='promise_in_bounds')


def _floor(x):
  return jnp.floor(x).astype(jnp.int32)


def _mix(a, b, t):
  # Unlike (1 - t) * a + t * b, this keeps a flat area flat to the bit.
  return a + t * (b - a)


# How much of a point's footprint lies in the frame. Where it is a part, the clipped taps agree on the one
# pixel inside, so that fading the clipped image into the fill is exactly the image padded with the fill.


def _cover_nearest(x, side):
  return (x >= 0) & (x < side)


def _cover_bilinear(x, side):
  return jnp.clip(jnp.minimum(x, side - x) + 0.5, 0, 1)


def _clipped(x, side):
  del side  # `_pixels` clips
  return x


def _reflected(x, side):
  return jnp.abs(x - 2 * side * jnp.round(x / (2 * side)))


METHODS = {'nearest': (_read_nearest, _cover_nearest), 'bilinear': (_read_bilinear, _cover_bilinear)}
BORDERS = {'constant': _clipped, 'edge': _clipped, 'reflect': _reflected}


def _choose(what: str, name: str, choices: dict):
  if name not in choices:
    raise ValueError(f'{what} = {name!r}: must be one of {", ".join(choices)}')
  return choices[name]


# Operations that only reorder pixels


def hflip(image: Num[Array, 'h w c']) -> Num[Array, 'h w c']:
  """Left and right exchanged."""
  return image[:, ::-1]


def vflip(image: Num[Array, 'h w c']) -> Num[Array, 'h w c']:
  """Top and bottom exchanged."""
  return image[::-1]


def transpose(image: Num[Array, 'h w c']) -> Num[Array, 'w h c']:
  """Mirrored in the diagonal from the top left corner."""
  return image.swapaxes(0, 1)


def antitranspose(image: Num[Array, 'h w c']) -> Num[Array, 'w h c']:
  """Mirrored in the diagonal from the top right corner."""
  return image[::-1, ::-1].swapaxes(0, 1)


def rot90(image: Num[Array, 'h w c'], k: int = 1) -> Num[Array, 'H W c']:
  """Turned k times by 90 degrees counter-clockwise; an odd k exchanges height and width."""
  return jnp.rot90(image, k)


# Operations that resample; `options` are the keywords of `warp`


def rotate(image: Float[Array, 'h w c'], angle: ScalarLike, centre: Point = MIDDLE, **options) -> Float[Array, 'h w c']:
  """Turned by `angle` degrees counter-clockwise about `centre`, at constant size."""
  return warp(image, rotate_matrix(image.shape[:2], angle, centre), **options)


def random_rotate(
  key: PRNGKeyArray, image: Float[Array, 'h w c'], max_degrees: ScalarLike, **options
) -> Float[Array, 'h w c']:
  """`rotate` by an angle uniform in [-max_degrees, max_degrees]."""
  angle = jax.random.uniform(key, minval=-max_degrees, maxval=max_degrees)
  return rotate(image, angle, **options)


def translate(image: Float[Array, 'h w c'], dx: ScalarLike, dy: ScalarLike, **options) -> Float[Array, 'h w c']:
  """Moved right by `dx` and down by `dy`, fractions of the width and the height."""
  return warp(image, translate_matrix(image.shape[:2], dx, dy), **options)


def random_translate(
  key: PRNGKeyArray, image: Float[Array, 'h w c'], max_shift: ScalarLike, **options
) -> Float[Array, 'h w c']:
  """`translate` by dx and dy, each uniform in [-max_shift, max_shift]."""
  dx, dy = jax.random.uniform(key, (2,), minval=-max_shift, maxval=max_shift)
  return translate(image, dx, dy, **options)


def scale(
  image: Float[Array, 'h w c'], sx: ScalarLike, sy: ScalarLike, centre: Point = MIDDLE, **options
) -> Float[Array, 'h w c']:
  """Zoomed by (sx, sy) about `centre`, at constant size: above 1 enlarges the content, 0 is not allowed."""
  return warp(image, scale_matrix(image.shape[:2], sx, sy, centre), **options)


def random_scale(
  key: PRNGKeyArray, image: Float[Array, 'h w c'], max_zoom: ScalarLike, **options
) -> Float[Array, 'h w c']:
  """`scale` by one factor for x and y, log-uniform in [1 / (1 + max_zoom), 1 + max_zoom]."""
  zoom = random_zoom(key, max_zoom)
  return scale(image, zoom, zoom, **options)


def random_zoom(key: PRNGKeyArray, max_zoom: ScalarLike) -> Float[Array, '']:
  """A factor log-uniform in [1 / (1 + max_zoom), 1 + max_zoom]: as often in as out."""
  limit = jnp.log1p(max_zoom)
  return jnp.exp(jax.random.uniform(key, minval=-limit, maxval=limit))
