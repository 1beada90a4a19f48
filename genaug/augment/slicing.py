"""Cutting an image into pieces, each a training sample of its own."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num, ScalarLike

from genaug.augment.geometry import Matrix, Shape


def tiles(image: Num[Array, 'h w c'], rows: int, cols: int) -> Num[Array, 'n th tw c']:
  """The rows * cols pieces of a grid, row by row. Raises ValueError unless the grid divides the image."""
  h, w, c = image.shape
  _check_grid((h, w), rows, cols)
  grid = image.reshape(rows, h // rows, cols, w // cols, c)
  return grid.swapaxes(1, 2).reshape(rows * cols, h // rows, w // cols, c)


def untile(pieces: Num[Array, 'n th tw c'], rows: int, cols: int) -> Num[Array, 'h w c']:
  """The image that `tiles` cut up. Raises ValueError unless there are rows * cols pieces."""
  n, h, w, c = pieces.shape
  if n != rows * cols:
    raise ValueError(f'{n} pieces do not make a grid of {rows} x {cols}')
  return pieces.reshape(rows, cols, h, w, c).swapaxes(1, 2).reshape(rows * h, cols * w, c)


def strips(image: Num[Array, 'h w c'], n: int, axis: int = 0) -> Num[Array, 'n sh sw c']:
  """n strips that lie (axis 0, cutting the height) or stand (axis 1, cutting the width), in order."""
  return tiles(image, *((n, 1) if axis == 0 else (1, n)))


def diagonal_halves(
  image: Num[Array, 'h w c'], anti: bool = False
) -> tuple[Num[Array, '2 h w c'], Bool[Array, '2 h w']]:
  """The two halves beside a diagonal at full size, 0 elsewhere, and their masks (see `diagonal_masks`)."""
  masks = diagonal_masks(image.shape[:2], anti)
  return jnp.where(masks[..., None], image, 0), masks


def diagonal_masks(shape: Shape, anti: bool = False) -> Bool[Array, '2 h w']:
  """The pixels above and those below a diagonal, corner to corner; pixels on it count as above.

  The diagonal starts in the top left corner, or with `anti` in the top right one.
  """
  h, w = shape
  # Twice the pixel centres, scaled by the other side: whole numbers, so that being on the line is exact.
  x, y = (2 * jnp.arange(w) + 1) * h, (2 * jnp.arange(h)[:, None] + 1) * w
  above = y <= 2 * h * w - x if anti else y <= x
  return jnp.stack([above, ~above])


def crop(
  image: Num[Array, 'h w c'], top: Int[ScalarLike, ''], left: Int[ScalarLike, ''], height: int, width: int
) -> Num[Array, 'height width c']:
  """The window of static size with that corner; a corner that would push it over the frame is moved back.

  Raises ValueError where the window is larger than the image.
  """
  h, w, c = image.shape
  if height > h or width > w:
    raise ValueError(f'a window of {height} x {width} does not fit into an image of {h} x {w}')
  return jax.lax.dynamic_slice(image, (top, left, 0), (height, width, c))


def tile_matrix(shape: Shape, rows: int, cols: int, index: ScalarLike) -> Matrix:
  """The zoom that shows the tile number `index` of `tiles` at full size; see `geometry` for matrices.

  Raises ValueError unless the grid divides the image.
  """
  h, w = shape
  _check_grid(shape, rows, cols)
  row, column = index // cols, index % cols
  return jnp.array([[cols, 0, -column * w], [0, rows, -row * h], [0, 0, 1]], jnp.float32)


def _check_grid(shape: Shape, rows: int, cols: int) -> None:
  """Raises ValueError unless rows x cols tiles of whole pixels fill an image of that shape."""
  h, w = shape
  if rows < 1 or cols < 1 or h % rows or w % cols:
    raise ValueError(f'a grid of {rows} x {cols} does not divide an image of {h} x {w} (height x width)')
