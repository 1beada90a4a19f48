"""Pictures that show how training goes."""

import io
import pathlib

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from genaug.training.workdir import write_atomic

_MIN_CELL = 56  # pixels: smaller images are enlarged


def grid(images: Float[np.ndarray, 'n h w c'], columns: int = 8) -> UInt8[np.ndarray, 'H W C']:
  """Returns a grid of images in [0, 1], row by row, two white pixels apart; enlarges small ones without smoothing."""
  images = np.round(np.clip(np.asarray(images, np.float32), 0, 1) * 255).astype(np.uint8)
  zoom = -(-_MIN_CELL // images.shape[1])
  images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
  images = np.pad(images, ((0, -len(images) % columns), (0, 2), (0, 2), (0, 0)), constant_values=255)
  n, h, w, c = images.shape
  rows = images.reshape(n // columns, columns, h, w, c).transpose(0, 2, 1, 3, 4)
  return rows.reshape(n // columns * h, columns * w, c)[:-2, :-2]


def save_png(path: pathlib.Path, image: UInt8[np.ndarray, 'h w c']) -> None:
  """Writes a PNG file atomically and creates its directory."""
  path.parent.mkdir(parents=True, exist_ok=True)
  content = io.BytesIO()
  _picture(image).save(content, 'PNG')
  write_atomic(path, content.getvalue())


def save_gif(path: pathlib.Path, images: Float[np.ndarray, 'n h w c'], milliseconds: int = 80) -> None:
  """Writes images in [0, 1] as an endless animation; small ones are enlarged."""
  frames = [_picture(grid(image[None], 1)) for image in images]
  frames[0].save(path, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0)


def _picture(image: UInt8[np.ndarray, 'h w c']) -> Image.Image:
  return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def interleave_rows(*images: Float[np.ndarray, 'n h w c'], columns: int = 8) -> Float[np.ndarray, 'm h w c']:
  """Interleaves rows of the arrays, such as originals above reconstructions; fills up incomplete rows in white."""
  padding = ((0, -len(images[0]) % columns), (0, 0), (0, 0), (0, 0))
  rows = [np.pad(x, padding, constant_values=1).reshape(-1, columns, *x.shape[1:]) for x in images]
  return np.stack(rows, axis=1).reshape(-1, *images[0].shape[1:])
