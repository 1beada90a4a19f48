"""Super-resolution of images of any size by a trained network, whole or tile by tile."""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Float, PyTree, UInt8
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.models.superres import cubic_upscaled, receptive_radius


class Upscaler:
  """Super-resolution by one trained model."""

  def __init__(self, config: ConfigDict, spec: Spec, state: PyTree, tile: int = 0):
    """`tile` is the side of tiles in pixels of the input; 0: the image as a whole, which takes memory with its size.

    Raises InputError for a run of another task.
    """
    if config.task != 'superres':
      problem = 'not a super-resolution run'
      raise InputError('task', config.task, problem, 'train one with --config=configs/superres_own_images.py')
    self._tile, self._margin = tile, receptive_radius(config.model.blocks)
    self._channels, self._scale = spec.image_shape[-1], config.model.scale
    network = NETWORKS[config.model.network].build(config, spec, None)['upscaler']
    self._params = state.ema['upscaler']
    self._apply = jax.jit(lambda params, x: network.apply({'params': params}, x[None])[0])
    self._cubic = jax.jit(lambda x: cubic_upscaled(x[None], self._scale)[0])

  def __call__(self, image: UInt8[np.ndarray, 'h w c']) -> UInt8[np.ndarray, 'H W c']:
    """Enlarges an image of the model's channels, or one more: opacity, which is enlarged by cubic interpolation."""
    x = image.astype(np.float32) / 255
    parts = [self.upscaled(x[..., : self._channels])]
    if image.shape[-1] > self._channels:
      parts.append(np.asarray(self._cubic(x[..., self._channels :])))
    return np.round(np.clip(np.concatenate(parts, axis=-1), 0, 1) * 255).astype(np.uint8)

  def upscaled(self, x: Float[np.ndarray, 'h w c']) -> Float[np.ndarray, 'H W c']:
    """Enlarges an image in [0, 1], without clipping. Tiles overlap by the receptive field, so they change no result."""
    height, width, channels = x.shape
    scale, out = self._scale, np.empty((self._scale * height, self._scale * width, channels), np.float32)
    for top, bottom, first, tall in _tiles(height, self._tile, self._margin):
      for left, right, start, wide in _tiles(width, self._tile, self._margin):
        enlarged = np.asarray(self._apply(self._params, x[first : first + tall, start : start + wide]))
        rows = slice(scale * (top - first), scale * (bottom - first))
        columns = slice(scale * (left - start), scale * (right - start))
        out[scale * top : scale * bottom, scale * left : scale * right] = enlarged[rows, columns]
    return out


def _tiles(side: int, tile: int, margin: int) -> Iterator[tuple[int, int, int, int]]:
  """Yields (begin, end, first pixel seen, number of pixels seen) of every tile along a side.

  All see the same number of pixels, so that the network is compiled once; at the ends of the image they see more than
  they need.
  """
  seen = min(side, tile + 2 * margin) if tile else side
  for begin in range(0, side, tile or side):
    yield begin, min(begin + (tile or side), side), min(max(begin - margin, 0), side - seen), seen
