"""Moves (geometric transforms) as 3x3 matrices, and their effect on points and boxes.

The pixel frame, used everywhere: points are continuous (x, y) in pixels, x to the right and y down. The image
spans [0, w] x [0, h]; the centre of the pixel [row r, column c] is (c + 0.5, r + 0.5); a box is
(x_min, y_min, x_max, y_max). Angles are degrees, counter-clockwise as seen on the screen. Lengths are
fractions of the side: dx = 0.25 moves content right by a quarter of the width, dy = 0.25 down by a quarter
of the height, and the centre (0.5, 0.5) is the middle. Coordinates are float32 whatever the image is.

`op_matrix(size, ...)` takes the arguments of the operation `op` in `geometry` and size = (h, w), and maps input
points to output points. `compose` chains several, so that a chain of moves costs one resample.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, ScalarLike

Matrix = Float[Array, '3 3']
Size = tuple[int, int]  # (height, width)
Point = tuple[ScalarLike, ScalarLike] | Float[ArrayLike, '2']
Corners = Float[Array, '4 2']  # top left, top right, bottom right, bottom left

MIDDLE = (0.5, 0.5)


def compose(*matrices: Matrix) -> Matrix:
  """Returns one matrix that applies `matrices` in the given order; the identity if there are none."""
  return reduce(lambda done, following: _matmul(following, done), matrices, jnp.eye(3))


def inverse(matrix: Matrix) -> Matrix:
  """Returns the inverse of a matrix; it is not finite if the matrix is singular."""
  (a, b, c), (d, e, f), (g, h, i) = matrix
  adjugate = jnp.array(
    [
      [e * i - f * h, c * h - b * i, b * f - c * e],
      [f * g - d * i, a * i - c * g, c * d - a * f],
      [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
  )
  return adjugate / (a * adjugate[0, 0] + b * adjugate[1, 0] + c * adjugate[2, 0])


def hflip_matrix(size: Size) -> Matrix:
  """Returns the matrix of `hflip`."""
  _, w = size
  return _matrix(-1, 0, w, 0, 1, 0)


def vflip_matrix(size: Size) -> Matrix:
  """Returns the matrix of `vflip`."""
  h, _ = size
  return _matrix(1, 0, 0, 0, -1, h)


def transpose_matrix(size: Size) -> Matrix:
  """Returns the matrix of `transpose`."""
  del size  # the main diagonal starts at the origin, whatever the size
  return _matrix(0, 1, 0, 1, 0, 0)


def antitranspose_matrix(size: Size) -> Matrix:
  """Returns the matrix of `antitranspose`."""
  h, w = size
  return _matrix(0, -1, h, -1, 0, w)


def rot90_matrix(size: Size, k: Int[ScalarLike, ''] = 1) -> Matrix:
  """Returns the matrix of `rot90`."""
  h, w = size
  turns = _matrix(1, 0, 0, 0, 1, 0), _matrix(0, 1, 0, -1, 0, w), _matrix(-1, 0, w, 0, -1, h), _matrix(0, -1, h, 1, 0, 0)
  return jnp.stack(turns)[k % 4]


def rotate_matrix(size: Size, angle: ScalarLike, centre: Point = MIDDLE) -> Matrix:
  """Returns the matrix of `rotate`, exact at multiples of 90 degrees."""
  cos, sin = _cos_sin(angle)
  return _about(size, centre, cos, sin, -sin, cos)


def translate_matrix(size: Size, dx: ScalarLike, dy: ScalarLike) -> Matrix:
  """Returns the matrix of `translate`."""
  h, w = size
  return _matrix(1, 0, dx * w, 0, 1, dy * h)


def scale_matrix(size: Size, sx: ScalarLike, sy: ScalarLike, centre: Point = MIDDLE) -> Matrix:
  """Returns the matrix of `scale`."""
  return _about(size, centre, sx, 0, 0, sy)


def zoom_matrix(size: Size, factor: ScalarLike, centre: Point = MIDDLE) -> Matrix:
  """Returns the matrix of `zoom`."""
  return scale_matrix(size, factor, factor, centre)


def shear_matrix(size: Size, x: ScalarLike, y: ScalarLike, centre: Point = MIDDLE) -> Matrix:
  """Returns the matrix of `shear`."""
  across, up = jnp.tan(jnp.deg2rad(x)), jnp.tan(jnp.deg2rad(y))
  return _about(size, centre, 1, -across, -up, 1 + across * up)


def affine_matrix(
  size: Size,
  angle: ScalarLike,
  dx: ScalarLike,
  dy: ScalarLike,
  zoom: ScalarLike,
  shear_x: ScalarLike,
  shear_y: ScalarLike,
  centre: Point = MIDDLE,
) -> Matrix:
  """Returns the matrix of `affine`."""
  return compose(
    zoom_matrix(size, zoom, centre),
    shear_matrix(size, shear_x, shear_y, centre),
    rotate_matrix(size, angle, centre),
    translate_matrix(size, dx, dy),
  )


def perspective_matrix(size: Size, corners: Corners) -> Matrix:
  """Returns the matrix of `perspective`: from a square to a quadrilateral in closed form.

  Source: Heckbert 1989, section 2.2.3.
  """
  at_rest = jnp.array([[0, 0], [1, 0], [1, 1], [0, 1]], jnp.float32)
  (x0, y0), (x1, y1), (x2, y2), (x3, y3) = at_rest + corners
  right_x, right_y, bottom_x, bottom_y = x1 - x2, y1 - y2, x3 - x2, y3 - y2
  x, y = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3  # both 0 for a parallelogram, which needs no perspective
  area = right_x * bottom_y - right_y * bottom_x
  g, h = (x * bottom_y - y * bottom_x) / area, (right_x * y - right_y * x) / area
  height, width = size
  return jnp.array(
    [
      [x1 - x0 + g * x1, (x3 - x0 + h * x3) * width / height, x0 * width],
      [(y1 - y0 + g * y1) * height / width, y3 - y0 + h * y3, y0 * height],
      [g / width, h / height, 1],
    ],
    jnp.float32,
  )


def _matrix(a, b, x, c, d, y) -> Matrix:
  return jnp.array([[a, b, x], [c, d, y], [0, 0, 1]], jnp.float32)


def _about(size: Size, centre: Point, a, b, c, d) -> Matrix:
  """Returns the linear map [[a, b], [c, d]] with `centre`, in fractions of the size, as its fixed point."""
  h, w = size
  x, y = centre[0] * w, centre[1] * h
  return _matrix(a, b, x - (a * x + b * y), c, d, y - (c * x + d * y))


def _cos_sin(angle: ScalarLike) -> tuple[Float[Array, ''], Float[Array, '']]:
  # cos(pi / 2) is not 0 in floating point, so quarter turns are taken out while the angle is still in degrees.
  angle = jnp.asarray(angle, jnp.float32)
  quarters = jnp.round(angle / 90)
  rest = jnp.deg2rad(angle - 90 * quarters)
  cos, sin = jnp.cos(rest), jnp.sin(rest)
  turn = quarters.astype(jnp.int32) % 4
  real, imaginary = jnp.array([1, 0, -1, 0])[turn], jnp.array([0, 1, 0, -1])[turn]
  return cos * real - sin * imaginary, sin * real + cos * imaginary


def _matmul(a: Float[Array, 'i j'], b: Float[Array, 'j k']) -> Float[Array, 'i k']:
  # By default accelerators multiply float32 matrices in lower precision: fine for a layer, wrong by pixels here.
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


# Points and boxes


def transform_points(matrix: Matrix, points: Float[Array, 'n 2']) -> Float[Array, 'n 2']:
  """Maps points by the matrix; they may leave the frame, and behind the camera (w <= 0) they become infinite."""
  moved = _matmul(points, matrix[:, :2].T) + matrix[:, 2]
  depth = moved[:, 2:]
  return jnp.where(depth > 0, moved[:, :2] / jnp.where(depth > 0, depth, 1), jnp.inf)


def transform_boxes(matrix: Matrix, boxes: Float[Array, 'n 4']) -> Float[Array, 'n 4']:
  """Returns the smallest upright boxes around the mapped corners; they may leave the frame (see `clip_boxes`).

  A box that is partly behind the camera comes back unbounded, one that is wholly behind it infinitely far away.
  """
  corners = boxes[:, jnp.array([[0, 1], [2, 1], [2, 3], [0, 3]])]  # [n, 4, 2]
  moved = jax.vmap(transform_points, (None, 0))(matrix, corners)
  low, high = moved.min(1), moved.max(1)
  return jnp.concatenate([jnp.where(jnp.isinf(high) & jnp.isfinite(low), -jnp.inf, low), high], axis=-1)


def points_inside(points: Float[Array, 'n 2'], size: Size) -> Bool[Array, ' n']:
  """Returns which points lie in the frame [0, w] x [0, h], border included, so that flips keep points inside."""
  h, w = size
  return jnp.all((points >= 0) & (points <= jnp.array([w, h])), axis=-1)


def clip_boxes(boxes: Float[Array, 'n 4'], size: Size) -> tuple[Float[Array, 'n 4'], Bool[Array, ' n']]:
  """Clips boxes to the frame, and returns which of them have any area left; the others come back with none."""
  h, w = size
  clipped = jnp.clip(boxes, 0, jnp.array([w, h, w, h]))
  return clipped, jnp.all(clipped[:, 2:] > clipped[:, :2], axis=-1)
