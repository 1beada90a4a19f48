"""A config becomes one augmentation: colour, one resample for all moves, diagonal halves, cutout.

An example is a dict with `image`, float [h, w, c] in [0, 1], and any of
  mask       [h, w, 1], integers: moves with the image, nearest pixel, 0 where nothing was
  boxes      [n, 4], pixels: move, may leave the frame (`geometry.clip_boxes`)
  keypoints  [n, 2], pixels: move, may leave the frame (`geometry.points_inside`)
Other entries pass through untouched. Keeping a diagonal half cuts the mask as well; cutout hides the image
only, because what is hidden is still there.

`sample` turns a key into a draw, `apply` carries a draw out, `augment` does both. Randomness picks
parameters, never branches; what the config turns off is decided while tracing and leaves nothing in the
compiled code.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from genaug.augment import color, geometry, occlusion, slicing

Example = dict[str, Any]
Batch = dict[str, Any]


WHOLE = 4  # the `half` of a draw that keeps everything


class Draw(NamedTuple):
  """The parameters of one augmentation; `tile` to `shift` are the moves, in the order they happen in."""

  tile: Int[Array, '']  # index into the grid, row by row
  transpose: Bool[Array, '']
  antitranspose: Bool[Array, '']
  hflip: Bool[Array, '']
  vflip: Bool[Array, '']
  zoom: Float[Array, '']  # factor
  angle: Float[Array, '']  # degrees, counter-clockwise
  shift: Float[Array, '2']  # (dx, dy), fractions of the side
  brightness: Float[Array, '']  # factor
  contrast: Float[Array, '']  # factor
  saturation: Float[Array, '']  # factor
  half: Int[Array, '']  # index into above, below the diagonal, above, below the antidiagonal, or WHOLE
  cutout: Float[Array, '2']  # centre (x, y), fractions of the side


# A key's position here is its random stream. Append only: then a new one changes no draw of the others.
STREAMS = (
  'hflip',
  'vflip',
  'transpose',
  'antitranspose',
  'rotate',
  'translate',
  'scale',
  'tiles',
  'halves',
  'brightness',
  'contrast',
  'saturation',
  'cutout',
)

# What a key may be, both ends included, infinity not.
RANGES = {
  'hflip': (0, 1),
  'vflip': (0, 1),
  'transpose': (0, 1),
  'antitranspose': (0, 1),
  'rotate': (0, 180),
  'translate': (0, 1),
  'scale': (0, math.inf),
  'halves': (0, 1),
  'brightness': (0, 1),
  'contrast': (0, 1),
  'saturation': (0, 1),
  'cutout': (0, 1),
  'fill': (0, 1),
}
CHOICES = {'border': geometry.BORDERS, 'interpolation': geometry.METHODS}


def check(config: ConfigDict, image_shape: tuple[int, int, int]) -> None:
  """Raises ValueError, with key, value and what is allowed, unless the config suits images [h, w, c]."""
  h, w, channels = image_shape
  for key, (low, high) in RANGES.items():
    if not (low <= config[key] <= high and math.isfinite(config[key])):
      raise ValueError(f'{key} = {config[key]!r}: must lie in [{low}, {high}]')
  for key, choices in CHOICES.items():
    if config[key] not in choices:
      raise ValueError(f'{key} = {config[key]!r}: must be one of {", ".join(choices)}')
  for key in ('transpose', 'antitranspose'):
    if config[key] and h != w:
      raise ValueError(f'{key} = {config[key]!r}: must be 0 for images that are not square, here {h} x {w}')
  if not _is_grid(tuple(config.tiles), h, w):
    raise ValueError(f'tiles = {config.tiles!r}: must be (rows, columns), whole numbers that divide {h} x {w}')
  if _changes_color(config):
    color.check_channels(channels)


def sample(config: ConfigDict, key: PRNGKeyArray, image_shape: tuple[int, int, int]) -> Draw:
  """What the key makes of the config: one independent stream a family. Raises ValueError as `check` does."""
  check(config, image_shape)
  keys = {name: jax.random.fold_in(key, stream) for stream, name in enumerate(STREAMS)}
  return Draw(
    tile=jax.random.randint(keys['tiles'], (), 0, math.prod(config.tiles)),
    transpose=jax.random.bernoulli(keys['transpose'], config.transpose),
    antitranspose=jax.random.bernoulli(keys['antitranspose'], config.antitranspose),
    hflip=jax.random.bernoulli(keys['hflip'], config.hflip),
    vflip=jax.random.bernoulli(keys['vflip'], config.vflip),
    zoom=geometry.random_zoom(keys['scale'], config.scale),
    angle=jax.random.uniform(keys['rotate'], minval=-config.rotate, maxval=config.rotate),
    shift=jax.random.uniform(keys['translate'], (2,), minval=-config.translate, maxval=config.translate),
    brightness=color.random_factor(keys['brightness'], config.brightness),
    contrast=color.random_factor(keys['contrast'], config.contrast),
    saturation=color.random_factor(keys['saturation'], config.saturation),
    half=_random_half(keys['halves'], config.halves),
    cutout=jax.random.uniform(keys['cutout'], (2,)),
  )


def apply(config: ConfigDict, draw: Draw, example: Example) -> Example:
  """The example under the draw; image and mask keep shape and dtype."""
  image = example['image']
  if config.brightness:
    image = color.brightness(image, draw.brightness)
  if config.contrast:
    image = color.contrast(image, draw.contrast)
  if config.saturation:
    image = color.saturation(image, draw.saturation)
  example = example | {'image': image}
  # Colour before the moves: contrast reads its image twice, and XLA would resample for each reading; and what the
  # moves uncover is then the fill exactly.
  moves = matrices(config, draw, image.shape[:2])
  if moves:
    example = _move(config, geometry.compose(*moves), example)
  if config.halves:
    example = _keep_half(config, draw, example)
  if config.cutout:
    example = example | {'image': occlusion.cutout(example['image'], draw.cutout, config.cutout, config.fill)}
  return example


def augment(config: ConfigDict, key: PRNGKeyArray, example: Example) -> Example:
  """One example, augmented at random. Raises ValueError as `check` does."""
  return apply(config, sample(config, key, example['image'].shape), example)


def input_step(config: ConfigDict) -> Callable[[PRNGKeyArray, Batch], Batch]:
  """The first thing a training step does: (keys [B], batch) -> batch, every example augmented by its own key.

  uint8 images come out as float32 in [0, 1]; float images keep their dtype.
  """

  def one(key, example):
    return augment(config, key, example | {'image': to_float(example['image'])})

  return jax.vmap(one)


def to_float(image):
  """uint8 in [0, 255] as float32 in [0, 1]; a float image as it is."""
  if image.dtype != jnp.uint8:
    return image
  # XLA turns a division by a constant into this product under jit but not without: spelled out, they agree.
  return image * jnp.float32(1 / 255)


def matrices(config: ConfigDict, draw: Draw, shape: geometry.Shape) -> list[geometry.Matrix]:
  """The moves that the config turns on, in their order."""
  moves = []
  if tuple(config.tiles) != (1, 1):
    moves.append(slicing.tile_matrix(shape, *config.tiles, draw.tile))
  if config.transpose:
    moves.append(_either(draw.transpose, geometry.transpose_matrix(shape)))
  if config.antitranspose:
    moves.append(_either(draw.antitranspose, geometry.antitranspose_matrix(shape)))
  if config.hflip:
    moves.append(_either(draw.hflip, geometry.hflip_matrix(shape)))
  if config.vflip:
    moves.append(_either(draw.vflip, geometry.vflip_matrix(shape)))
  if config.scale:
    moves.append(geometry.scale_matrix(shape, draw.zoom, draw.zoom))
  if config.rotate:
    moves.append(geometry.rotate_matrix(shape, draw.angle))
  if config.translate:
    moves.append(geometry.translate_matrix(shape, *draw.shift))
  return moves


def _either(drawn: Bool[Array, ''], matrix: geometry.Matrix) -> geometry.Matrix:
  return jnp.where(drawn, matrix, jnp.eye(3))


def _move(config: ConfigDict, matrix: geometry.Matrix, example: Example) -> Example:
  options = {'method': config.interpolation, 'border': config.border, 'fill': config.fill}
  moved = {'image': geometry.warp(example['image'], matrix, **options)}
  if 'mask' in example:
    moved['mask'] = geometry.warp(example['mask'], matrix, method='nearest', border=config.border)
  if 'boxes' in example:
    moved['boxes'] = geometry.transform_boxes(matrix, example['boxes'])
  if 'keypoints' in example:
    moved['keypoints'] = geometry.transform_points(matrix, example['keypoints'])
  return example | moved


def _is_grid(tiles: tuple, h: int, w: int) -> bool:
  positive = all(isinstance(count, int) and count > 0 for count in tiles)
  return positive and len(tiles) == 2 and h % tiles[0] == 0 and w % tiles[1] == 0


def _changes_color(config: ConfigDict) -> bool:
  return bool(config.brightness or config.contrast or config.saturation)


def _random_half(key: PRNGKeyArray, probability: float) -> Int[Array, '']:
  cut, which = jax.random.split(key)
  return jnp.where(jax.random.bernoulli(cut, probability), jax.random.randint(which, (), 0, 4), WHOLE)


def _keep_half(config: ConfigDict, draw: Draw, example: Example) -> Example:
  shape = example['image'].shape[:2]
  whole = jnp.ones((1, *shape), bool)
  masks = [slicing.diagonal_masks(shape), slicing.diagonal_masks(shape, anti=True), whole]
  kept = jnp.concatenate(masks)[draw.half][..., None]
  cut = {'image': jnp.where(kept, example['image'], jnp.asarray(config.fill, example['image'].dtype))}
  if 'mask' in example:
    cut['mask'] = jnp.where(kept, example['mask'], 0)
  return example | cut
