"""Moves of an image: flips, turns, and what resamples.

Every `op(image, ...)` has a twin `op_matrix(shape, ...)` in `matrices`, which says what units and directions mean.
Masks, boxes and keypoints follow by that matrix: `warp(mask, matrix, method='nearest')`, `transform_boxes`,
`transform_points`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  Params,
  check_image,
  check_range,
  log_uniform,
  operation,
  randomly,
  sample_nothing,
  uniform,
  validated,
)
from genaug.augment.image import Shape as ImageShape
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
from genaug.augment.resample import in_range, warp

LIMITS = {  # of the arguments of operations: beyond, float32 coordinates begin to miss pixels
  **dict.fromkeys(('angle',), (-3600, 3600)),
  **dict.fromkeys(('dx', 'dy', 'corners'), (-100, 100)),
  **dict.fromkeys(('sx', 'sy', 'factor', 'zoom'), (0.001, 1000)),
  **dict.fromkeys(('x', 'y', 'shear_x', 'shear_y'), (-89, 89)),
}


# Operations that only reorder pixels


def hflip(image: Num[Array, 'h w c']) -> Num[Array, 'h w c']:
  """Left and right exchanged."""
  return check_image(image, 'hflip')[:, ::-1]


def vflip(image: Num[Array, 'h w c']) -> Num[Array, 'h w c']:
  """Top and bottom exchanged."""
  return check_image(image, 'vflip')[::-1]


def transpose(image: Num[Array, 'h w c']) -> Num[Array, 'w h c']:
  """Mirrored in the diagonal from the top left corner."""
  return check_image(image, 'transpose').swapaxes(0, 1)


def antitranspose(image: Num[Array, 'h w c']) -> Num[Array, 'w h c']:
  """Mirrored in the diagonal from the top right corner."""
  return check_image(image, 'antitranspose')[::-1, ::-1].swapaxes(0, 1)


def rot90(image: Num[Array, 'h w c'], k: Int[ScalarLike, ''] = 1) -> Num[Array, 'H W c']:
  """Turned k times by 90 degrees counter-clockwise; an odd k exchanges height and width.

  Raises ValueError where k is a JAX array and the image is not square, because k decides the shape then.
  """
  image = check_image(image, 'rot90')
  if not isinstance(k, jax.Array):
    return jnp.rot90(image, k)
  _check_square(image.shape)
  image = jnp.where(k % 2 == 1, jnp.rot90(image), image)
  return jnp.where(k % 4 >= 2, image[::-1, ::-1], image)


def sample_transpose(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """taking no parameter; ValueError where the image is not square."""
  del key
  _check_square(shape)
  return {}


def sample_rot90(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """a k from 0 to 3, all as likely; ValueError where the image is not square."""
  _check_square(shape)
  return {'k': jax.random.randint(key, (), 0, 4)}


def _check_square(shape: ImageShape) -> None:
  h, w, _ = shape
  if h != w:
    raise ValueError(f'an image of {h} x {w}: must be square, for transpose, antitranspose or rot90 at random')


random_hflip = randomly(hflip, sample_nothing)
random_vflip = randomly(vflip, sample_nothing)
random_transpose = randomly(transpose, sample_transpose)
random_antitranspose = randomly(antitranspose, sample_transpose)
random_rot90 = randomly(rot90, sample_rot90)


# Operations that resample; `options` are the keywords of `warp`


@operation
def rotate(image: Float[Array, 'h w c'], angle: ScalarLike, centre: Point = MIDDLE, **options) -> Float[Array, 'h w c']:
  """Turned by `angle` degrees counter-clockwise about `centre`, at constant size."""
  return _move(image, rotate_matrix, {'angle': angle, 'centre': centre}, options)


@operation
def translate(image: Float[Array, 'h w c'], dx: ScalarLike, dy: ScalarLike, **options) -> Float[Array, 'h w c']:
  """Moved right by `dx` and down by `dy`, fractions of the width and the height."""
  return _move(image, translate_matrix, {'dx': dx, 'dy': dy}, options)


@operation
def scale(
  image: Float[Array, 'h w c'], sx: ScalarLike, sy: ScalarLike, centre: Point = MIDDLE, **options
) -> Float[Array, 'h w c']:
  """Stretched by (sx, sy), each in [0.001, 1000], about `centre`, at constant size: above 1 enlarges the content."""
  return _move(image, scale_matrix, {'sx': sx, 'sy': sy, 'centre': centre}, options)


@operation
def zoom(image: Float[Array, 'h w c'], factor: ScalarLike, centre: Point = MIDDLE, **options) -> Float[Array, 'h w c']:
  """`scale` by one factor for both axes."""
  return _move(image, zoom_matrix, {'factor': factor, 'centre': centre}, options)


@operation
def shear(
  image: Float[Array, 'h w c'], x: ScalarLike, y: ScalarLike, centre: Point = MIDDLE, **options
) -> Float[Array, 'h w c']:
  """Sheared about `centre`: uprights lean right by `x` degrees, then levels rise to the right by `y`; up to +-89."""
  return _move(image, shear_matrix, {'x': x, 'y': y, 'centre': centre}, options)


@operation
def affine(
  image: Float[Array, 'h w c'],
  angle: ScalarLike,
  dx: ScalarLike,
  dy: ScalarLike,
  zoom: ScalarLike,
  shear_x: ScalarLike,
  shear_y: ScalarLike,
  centre: Point = MIDDLE,
  **options,
) -> Float[Array, 'h w c']:
  """`zoom`, `shear`, `rotate` and `translate` in turn, in one resample; the order is torchvision's."""
  params = {'angle': angle, 'dx': dx, 'dy': dy, 'zoom': zoom, 'shear_x': shear_x, 'shear_y': shear_y}
  return _move(image, affine_matrix, params | {'centre': centre}, options)


@operation
def perspective(image: Float[Array, 'h w c'], corners: Corners, **options) -> Float[Array, 'h w c']:
  """The plane seen from aside: its corners displaced by `corners`, a (dx, dy) each, in fractions of the side.

  What comes to lie behind the camera is not seen.
  """
  return _move(image, perspective_matrix, {'corners': corners}, options | {'projective': True})


def _move(image, matrix, params, options):
  for name, value in params.items():
    if name in LIMITS:
      check_range(f'{matrix.__name__.removesuffix("_matrix")}: {name}', value, *LIMITS[name])
  moved = warp(image, matrix(image.shape[:2], **params), **options)
  return in_range(moved, options.get('method'))


@validated(degrees=(0, 180))
def sample_rotate(key: PRNGKeyArray, shape: ImageShape, degrees: ScalarLike = 30.0) -> Params:
  """an angle uniform in [-degrees, degrees], degrees in [0, 180]."""
  del shape
  return {'angle': uniform(key, -degrees, degrees)}


@validated(fraction=(0, 1))
def sample_translate(key: PRNGKeyArray, shape: ImageShape, fraction: ScalarLike = 0.1) -> Params:
  """dx and dy, each uniform in [-fraction, fraction], fraction in [0, 1]."""
  del shape
  return dict(zip(('dx', 'dy'), uniform(key, -fraction, fraction, (2,))))


@validated(limit=(0, 9))
def sample_scale(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike = 0.25) -> Params:
  """sx and sy, each log-uniform in [1 / (1 + limit), 1 + limit], limit in [0, 9]."""
  return {name: sample_zoom(k, shape, limit)['factor'] for name, k in zip(('sx', 'sy'), jax.random.split(key))}


@validated(limit=(0, 9))
def sample_zoom(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike = 0.25) -> Params:
  """a factor log-uniform in [1 / (1 + limit), 1 + limit], as often in as out, limit in [0, 9]."""
  del shape
  return {'factor': log_uniform(key, 1 / (1 + limit), 1 + limit)}


@validated(degrees=(0, 60))
def sample_shear(key: PRNGKeyArray, shape: ImageShape, degrees: ScalarLike = 15.0) -> Params:
  """x and y, each uniform in [-degrees, degrees], degrees in [0, 60]."""
  del shape
  return dict(zip(('x', 'y'), uniform(key, -degrees, degrees, (2,))))


@validated(degrees=(0, 180), fraction=(0, 1), limit=(0, 9), shear=(0, 60))
def sample_affine(
  key: PRNGKeyArray,
  shape: ImageShape,
  degrees: ScalarLike = 15.0,
  fraction: ScalarLike = 0.1,
  limit: ScalarLike = 0.2,
  shear: ScalarLike = 10.0,
) -> Params:
  """what `rotate`, `translate`, `zoom` and `shear` draw with degrees, fraction, limit, and shear in degrees."""
  turn, move, size, lean = jax.random.split(key, 4)
  sheared = sample_shear(lean, shape, shear)
  return {
    **sample_rotate(turn, shape, degrees),
    **sample_translate(move, shape, fraction),
    'zoom': sample_zoom(size, shape, limit)['factor'],
    'shear_x': sheared['x'],
    'shear_y': sheared['y'],
  }


@validated(distortion=(0, 0.99))
def sample_perspective(key: PRNGKeyArray, shape: ImageShape, distortion: ScalarLike = 0.3) -> Params:
  """every corner moved inwards by up to distortion / 2 of either side, as torchvision does, distortion in [0, 0.99].

  Up to 2/3 all of the image stays in front of the camera.
  """
  del shape
  inwards = jnp.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], jnp.float32)
  return {'corners': inwards * uniform(key, 0, distortion / 2, (4, 2))}


random_rotate = randomly(rotate, sample_rotate)
random_translate = randomly(translate, sample_translate)
random_scale = randomly(scale, sample_scale)
random_zoom = randomly(zoom, sample_zoom)
random_shear = randomly(shear, sample_shear)
random_affine = randomly(affine, sample_affine)
random_perspective = randomly(perspective, sample_perspective)
