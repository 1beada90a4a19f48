"""Geometric operations: flips and quarter turns, which reorder pixels, and moves by a matrix, which resample.

Every `op(image, ...)` has a twin `op_matrix(size, ...)` in `matrices`, whose docstring defines units and directions.
Masks, boxes and keypoints are moved by that matrix: `warp(mask, matrix, interpolation='nearest')`, `transform_boxes`,
`transform_points`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_image,
  check_range,
  from_zero,
  interval,
  log_uniform,
  operation,
  randomly,
  reciprocal,
  sample_nothing,
  symmetric,
  uniform,
  validated,
)
from genaug.augment.matrices import (
  MIDDLE,
  Corners,
  Point,
  affine_matrix,
  perspective_matrix,
  rotate_matrix,
  scale_matrix,
  shear_matrix,
  translate_matrix,
  zoom_matrix,
)
from genaug.augment.resample import Fill, clip_overshoot, warp

LIMITS = {  # ranges of the operations' arguments; beyond them, float32 coordinates begin to miss pixels
  **dict.fromkeys(('angle',), (-3600, 3600)),
  **dict.fromkeys(('dx', 'dy', 'corners'), (-100, 100)),
  **dict.fromkeys(('sx', 'sy', 'factor', 'zoom'), (0.001, 1000)),
  **dict.fromkeys(('x', 'y', 'shear_x', 'shear_y'), (-89, 89)),
}


# Operations that only reorder pixels


def hflip(image: Num[Array, 'h w c']) -> Num[Array, 'h w c']:
  """Mirrors the image left to right."""
  return check_image(image, 'hflip')[:, ::-1]


def vflip(image: Num[Array, 'h w c']) -> Num[Array, 'h w c']:
  """Mirrors the image top to bottom."""
  return check_image(image, 'vflip')[::-1]


def transpose(image: Num[Array, 'h w c']) -> Num[Array, 'w h c']:
  """Mirrors the image about the diagonal from its top left corner, which swaps height and width."""
  return check_image(image, 'transpose').swapaxes(0, 1)


def antitranspose(image: Num[Array, 'h w c']) -> Num[Array, 'w h c']:
  """Mirrors the image about the diagonal from its top right corner, which swaps height and width."""
  return check_image(image, 'antitranspose')[::-1, ::-1].swapaxes(0, 1)


def rot90(image: Num[Array, 'h w c'], k: Int[ScalarLike, ''] = 1) -> Num[Array, 'H W c']:
  """Rotates the image by k times 90 degrees counter-clockwise; an odd k exchanges height and width.

  Raises ValueError where k is a JAX array and the image is not square, because the shape would depend on k.
  """
  image = check_image(image, 'rot90')
  if not isinstance(k, jax.Array):
    return jnp.rot90(image, k)
  _check_square(image.shape)
  image = jnp.where(k % 2 == 1, jnp.rot90(image), image)
  return jnp.where(k % 4 >= 2, image[::-1, ::-1], image)


def sample_transpose(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """Samples nothing. Raises ValueError where the image is not square."""
  del key
  _check_square(shape)
  return {}


def sample_rot90(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """Samples k uniformly from 0 to 3. Raises ValueError where the image is not square."""
  _check_square(shape)
  return {'k': jax.random.randint(key, (), 0, 4)}


def _check_square(shape: ImageShape) -> None:
  h, w, _ = shape
  if h != w:
    raise ValueError(f'an image of {h} x {w}: must be square for random transpose, antitranspose and rot90')


random_hflip = randomly(hflip, sample_nothing)
random_vflip = randomly(vflip, sample_nothing)
random_transpose = randomly(transpose, sample_transpose)
random_antitranspose = randomly(antitranspose, sample_transpose)
random_rot90 = randomly(rot90, sample_rot90)


# Operations that resample


@operation
def rotate(
  image: Float[Array, 'h w c'],
  angle: ScalarLike,
  *,
  centre: Point = MIDDLE,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Rotates the image by `angle` degrees in [-3600, 3600], counter-clockwise about `centre`; its size stays."""
  return _move(image, rotate_matrix, {'angle': angle, 'centre': centre}, interpolation, border, fill)


@operation
def translate(
  image: Float[Array, 'h w c'],
  dx: ScalarLike,
  dy: ScalarLike,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Moves the image right by `dx` and down by `dy`, fractions of width and height in [-100, 100]."""
  return _move(image, translate_matrix, {'dx': dx, 'dy': dy}, interpolation, border, fill)


@operation
def scale(
  image: Float[Array, 'h w c'],
  sx: ScalarLike,
  sy: ScalarLike,
  *,
  centre: Point = MIDDLE,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Scales the content by (sx, sy), factors in [0.001, 1000], about `centre`; above 1 enlarges, the size stays."""
  return _move(image, scale_matrix, {'sx': sx, 'sy': sy, 'centre': centre}, interpolation, border, fill)


@operation
def zoom(
  image: Float[Array, 'h w c'],
  factor: ScalarLike,
  *,
  centre: Point = MIDDLE,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Scales both axes of the content by one factor in [0.001, 1000] about `centre`; above 1 enlarges."""
  return _move(image, zoom_matrix, {'factor': factor, 'centre': centre}, interpolation, border, fill)


@operation
def shear(
  image: Float[Array, 'h w c'],
  x: ScalarLike,
  y: ScalarLike,
  *,
  centre: Point = MIDDLE,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Shears the image about `centre`, by angles in [-89, 89] degrees.

  Verticals lean right by `x` degrees, then horizontals rise to the right by `y`.
  """
  return _move(image, shear_matrix, {'x': x, 'y': y, 'centre': centre}, interpolation, border, fill)


@operation
def affine(
  image: Float[Array, 'h w c'],
  angle: ScalarLike,
  dx: ScalarLike,
  dy: ScalarLike,
  zoom: ScalarLike,
  shear_x: ScalarLike,
  shear_y: ScalarLike,
  *,
  centre: Point = MIDDLE,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Applies `zoom`, `shear`, `rotate` and `translate` in turn, in one resample; the order is torchvision's."""
  params = {'angle': angle, 'dx': dx, 'dy': dy, 'zoom': zoom, 'shear_x': shear_x, 'shear_y': shear_y}
  return _move(image, affine_matrix, params | {'centre': centre}, interpolation, border, fill)


@operation
def perspective(
  image: Float[Array, 'h w c'],
  corners: Corners,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Applies the perspective transform that moves the corners by `corners`, a (dx, dy) each, in fractions of the side.

  Corners are in the order top left, top right, bottom right, bottom left, and move by up to 100 sides. Pixels that
  would show points behind the camera are `fill`, if the border is constant.
  """
  return _move(image, perspective_matrix, {'corners': corners}, interpolation, border, fill, projective=True)


def _move(image, matrix, params, interpolation, border, fill, projective=False):
  operation = matrix.__name__.removesuffix('_matrix')
  for name, value in params.items():
    if name in LIMITS:
      check_range(f'{operation}: {name}', value, *LIMITS[name])
  if jnp.issubdtype(image.dtype, jnp.floating):  # in masks, which are integers, the fill is a label
    check_range(f'{operation}: fill', fill, 0, 1)
  matrix = matrix(image.shape[:2], **params)
  moved = warp(image, matrix, projective=projective, interpolation=interpolation, border=border, fill=fill)
  return clip_overshoot(moved, interpolation)


@validated(
  degrees=Parameter(0, 180, 'degrees', 'The angle is uniform in [-degrees, degrees] or the pair.', (-180, 180))
)
def sample_rotate(key: PRNGKeyArray, shape: ImageShape, degrees: ScalarLike | Pair = 30.0) -> Params:
  """Samples the angle of `rotate`."""
  del shape
  return {'angle': uniform(key, *interval(degrees, symmetric))}


FRACTION = Parameter(0, 1, 'of the side', 'dx and dy are uniform in [-fraction, fraction] or the pair.', (-1, 1))
LIMIT = Parameter(0, 9, '', 'Factors are log-uniform in [1 / (1 + limit), 1 + limit] or the pair.', (0.1, 10))
SHEAR = Parameter(0, 60, 'degrees', 'Both angles are uniform in [-{0}, {0}] or the pair.', (-60, 60))


@validated(fraction=FRACTION)
def sample_translate(key: PRNGKeyArray, shape: ImageShape, fraction: ScalarLike | Pair = 0.1) -> Params:
  """Samples dx and dy of `translate`."""
  del shape
  return dict(zip(('dx', 'dy'), uniform(key, *interval(fraction, symmetric), (2,))))


@validated(limit=LIMIT)
def sample_scale(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.25) -> Params:
  """Samples sx and sy of `scale`, independently."""
  return {name: sample_zoom(k, shape, limit)['factor'] for name, k in zip(('sx', 'sy'), jax.random.split(key))}


@validated(limit=LIMIT)
def sample_zoom(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.25) -> Params:
  """Samples the factor of `zoom`."""
  del shape
  return {'factor': log_uniform(key, *interval(limit, reciprocal))}


@validated(degrees=SHEAR._replace(doc=SHEAR.doc.format('degrees')))
def sample_shear(key: PRNGKeyArray, shape: ImageShape, degrees: ScalarLike | Pair = 15.0) -> Params:
  """Samples x and y of `shear`."""
  del shape
  return dict(zip(('x', 'y'), uniform(key, *interval(degrees, symmetric), (2,))))


@validated(
  degrees=Parameter(0, 180, 'degrees', 'The angle is uniform in [-degrees, degrees] or the pair.', (-180, 180)),
  fraction=FRACTION,
  limit=LIMIT._replace(doc=LIMIT.doc.replace('Factors are', 'The zoom is')),
  shear=SHEAR._replace(doc=SHEAR.doc.format('shear')),
)
def sample_affine(
  key: PRNGKeyArray,
  shape: ImageShape,
  degrees: ScalarLike | Pair = 15.0,
  fraction: ScalarLike | Pair = 0.1,
  limit: ScalarLike | Pair = 0.2,
  shear: ScalarLike | Pair = 10.0,
) -> Params:
  """Samples the arguments of `affine`."""
  turn, move, size, lean = jax.random.split(key, 4)
  sheared = sample_shear(lean, shape, shear)
  return {
    **sample_rotate(turn, shape, degrees),
    **sample_translate(move, shape, fraction),
    'zoom': sample_zoom(size, shape, limit)['factor'],
    'shear_x': sheared['x'],
    'shear_y': sheared['y'],
  }


@validated(
  distortion=Parameter(
    0, 0.99, '', 'Every corner moves inwards by half of what is uniform in [0, distortion] or the pair.', (0, 0.99)
  )
)
def sample_perspective(key: PRNGKeyArray, shape: ImageShape, distortion: ScalarLike | Pair = 0.3) -> Params:
  """Samples the corners of `perspective` as torchvision does.

  With a distortion of up to 2/3, all of the image is in front of the camera.
  """
  del shape
  inwards = jnp.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], jnp.float32)
  low, high = interval(distortion, from_zero)
  return {'corners': inwards * uniform(key, low / 2, high / 2, (4, 2))}


random_rotate = randomly(rotate, sample_rotate)
random_translate = randomly(translate, sample_translate)
random_scale = randomly(scale, sample_scale)
random_zoom = randomly(zoom, sample_zoom)
random_shear = randomly(shear, sample_shear)
random_affine = randomly(affine, sample_affine)
random_perspective = randomly(perspective, sample_perspective)
