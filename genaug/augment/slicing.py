"""Cutting images into pieces, each a training sample of its own; images and masks of any dtype.

Sizes are whole pixels and static. Sizes that don't divide each other raise ValueError: no pixels are dropped.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.crops import check_fits, resized_crop
from genaug.augment.image import (
  ImageShape,
  Parameter,
  Params,
  check_range,
  from_float,
  operation,
  randomly,
  validated,
)
from genaug.augment.matrices import Size
from genaug.augment.resample import Fill

# Up to this many windows per side, slices are several times faster than a gather; with more they take long to compile.
FEW = 16
ROWS = Parameter(1, 256, 'tiles', 'Rows of the grid; static. They must divide the height.')
COLS = Parameter(1, 256, 'tiles', 'Columns of the grid; static. They must divide the width.')


def tiles(image: Num[Array, 'h w c'], rows: int, cols: int) -> Num[Array, 'n th tw c']:
  """Cuts the image into the rows * cols tiles of a grid, row by row.

  Raises ValueError unless the grid divides the image.
  """
  h, w, c = image.shape
  _check_grid((h, w), rows, cols)
  grid = image.reshape(rows, h // rows, cols, w // cols, c)
  return grid.swapaxes(1, 2).reshape(rows * cols, h // rows, w // cols, c)


def untile(pieces: Num[Array, 'n th tw c'], rows: int, cols: int) -> Num[Array, 'h w c']:
  """Joins the pieces of `tiles`. Raises ValueError unless there are rows * cols pieces."""
  n, h, w, c = pieces.shape
  if n != rows * cols:
    raise ValueError(f'{n} pieces do not make a grid of {rows} x {cols}')
  return pieces.reshape(rows, cols, h, w, c).swapaxes(1, 2).reshape(rows * h, cols * w, c)


def strips(image: Num[Array, 'h w c'], n: int, axis: int = 0) -> Num[Array, 'n sh sw c']:
  """Cuts the image into n horizontal (axis 0) or vertical (axis 1) strips, in order.

  Raises ValueError unless n divides that side, and for another axis.
  """
  if axis not in (0, 1):
    raise ValueError(f'strips: axis = {axis!r}: must be 0 or 1')
  return tiles(image, *((n, 1) if axis == 0 else (1, n)))


def diagonal_halves(
  image: Num[Array, 'h w c'], anti: bool = False
) -> tuple[Num[Array, '2 h w c'], Bool[Array, '2 h w']]:
  """Cuts the image along a diagonal: both halves at full size, 0 elsewhere, and their `diagonal_masks`."""
  masks = diagonal_masks(image.shape[:2], anti)
  return jnp.where(masks[..., None], image, 0), masks


def diagonal_masks(size: Size, anti: bool = False) -> Bool[Array, '2 h w']:
  """Returns masks of the pixels above and below a diagonal, corner to corner; pixels on it count as above.

  The diagonal starts in the top left corner, or with `anti` in the top right one.
  """
  h, w = size
  # Twice the pixel centres, scaled by the other side, are whole numbers, so that the test for the diagonal is exact.
  x, y = (2 * jnp.arange(w) + 1) * h, (2 * jnp.arange(h)[:, None] + 1) * w
  above = y <= 2 * h * w - x if anti else y <= x
  return jnp.stack([above, ~above])


def diagonal_half(image: Num[Array, 'h w c'], half: Int[ScalarLike, ''], *, fill: Fill = 0.0) -> Num[Array, 'h w c']:
  """Keeps the half on one side of a diagonal; the rest is `fill` in [0, 1], to be left at 0 for masks of integers.

  half: 0 above and 1 below the diagonal, 2 above and 3 below the antidiagonal, 4 the whole image.
  """
  check_range('diagonal_half: half', half, 0, 4)
  check_range('diagonal_half: fill', fill, 0, 1)
  shape, half = image.shape[:2], jnp.asarray(half)
  (above, below), (anti_above, anti_below) = diagonal_masks(shape), diagonal_masks(shape, anti=True)
  halves = [above, below, anti_above, anti_below]
  kept = jnp.select([half == i for i in range(4)], halves, jnp.ones(shape, bool))
  return jnp.where(kept[..., None], image, from_float(jnp.asarray(fill, jnp.float32), image.dtype))


def sample_diagonal_half(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """Samples one of the four halves uniformly."""
  del shape
  return {'half': jax.random.randint(key, (), 0, 4)}


def five_crop(image: Num[Array, 'h w c'], height: int, width: int) -> Num[Array, '5 height width c']:
  """Crops five windows of height x width pixels: top left, top right, bottom left, bottom right and middle.

  Raises ValueError where the window is larger than the image.
  """
  h, w, _ = image.shape
  check_fits(h, w, height, width)
  bottom, right = h - height, w - width
  corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
  return jnp.stack([image[top : top + height, left : left + width] for top, left in corners])


def ten_crop(
  image: Num[Array, 'h w c'], height: int, width: int, vertical: bool = False
) -> Num[Array, '10 height width c']:
  """Crops as `five_crop` does, from the image and its mirror image, left to right or with `vertical` top to bottom.

  Raises ValueError where the window is larger than the image.
  """
  flipped = image[::-1] if vertical else image[:, ::-1]
  return jnp.concatenate([five_crop(image, height, width), five_crop(flipped, height, width)])


def patches(image: Num[Array, 'h w c'], size: int, stride: int) -> Num[Array, 'n size size c']:
  """Cuts out all windows of size x size, `stride` pixels apart, row by row; they overlap where stride < size.

  Raises ValueError unless the last windows end where the image does.
  """
  h, w, c = image.shape
  check_fits(h, w, size, size)
  if stride < 1 or (h - size) % stride or (w - size) % stride:
    raise ValueError(f'windows of {size} x {size}, stride {stride}, do not cover an image of {h} x {w}')
  if stride == size:
    return tiles(image, h // size, w // size)
  tops, lefts = range(0, h - size + 1, stride), range(0, w - size + 1, stride)
  if max(len(tops), len(lefts)) <= FEW:
    rows = jnp.stack([image[top : top + size] for top in tops])
    windows = jnp.stack([rows[:, :, left : left + size] for left in lefts], axis=1)
  else:
    row, column = (jnp.asarray(starts)[:, None] + jnp.arange(size) for starts in (tops, lefts))
    index = row[:, None, :, None] * w + column[:, None, :]
    windows = image.reshape(h * w, c).at[index].get(mode='promise_in_bounds')
  return windows.reshape(-1, size, size, c)


def grid_shuffle(image: Num[Array, 'h w c'], permutation: Int[Array, 'rows cols']) -> Num[Array, 'h w c']:
  """Permutes the tiles of a grid: the place [row, col] shows the tile number permutation[row, col].

  The shape of the permutation is the grid. Source: Chen et al. 2019, "Destruction and Construction Learning for
  Fine-grained Image Recognition", who shuffle neighbours only. Raises ValueError unless the grid divides the image.
  """
  permutation = jnp.asarray(permutation)
  rows, cols = permutation.shape
  check_range('grid_shuffle: permutation', permutation, 0, rows * cols - 1)
  order = jnp.clip(permutation.reshape(-1), 0, rows * cols - 1)
  pieces = tiles(image, rows, cols).at[order].get(mode='promise_in_bounds')
  return untile(pieces, rows, cols)


@validated(rows=ROWS, cols=COLS)
def sample_grid_shuffle(key: PRNGKeyArray, shape: ImageShape, rows: int = 2, cols: int = 2) -> Params:
  """Samples the permutation of `grid_shuffle` uniformly; 1 x 1 tiles change nothing."""
  del shape
  return {'permutation': jax.random.permutation(key, rows * cols).reshape(rows, cols)}


@operation
def tile_crop(
  image: Float[Array, 'h w c'],
  x: ScalarLike,
  y: ScalarLike,
  width: ScalarLike,
  height: ScalarLike,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Shows one tile of a grid at the size of the image: `resized_crop` with its window, in fractions of the side."""
  return resized_crop(image, x, y, width, height, interpolation=interpolation, border=border, fill=fill)


@validated(rows=ROWS, cols=COLS)
def sample_tile_crop(key: PRNGKeyArray, shape: ImageShape, rows: int = 2, cols: int = 2) -> Params:
  """Samples the window of `resized_crop` uniformly from the tiles of a grid.

  Raises ValueError unless the grid divides the image.
  """
  _check_grid(shape[:2], rows, cols)
  index = jax.random.randint(key, (), 0, rows * cols)
  row, column = index // cols, index % cols
  return {'x': column / cols, 'y': row / rows, 'width': jnp.float32(1 / cols), 'height': jnp.float32(1 / rows)}


def _check_grid(size: Size, rows: int, cols: int) -> None:
  """Raises ValueError unless rows x cols tiles of whole pixels fill an image of that size."""
  h, w = size
  if rows < 1 or cols < 1 or h % rows or w % cols:
    raise ValueError(f'a grid of {rows} x {cols} does not divide an image of {h} x {w} (height x width)')


random_grid_shuffle = randomly(grid_shuffle, sample_grid_shuffle)
random_diagonal_half = randomly(diagonal_half, sample_diagonal_half)
random_tile_crop = randomly(tile_crop, sample_tile_crop)
