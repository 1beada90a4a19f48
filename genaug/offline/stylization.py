"""Style transfer to images of any size: a trained network and, as reference, Gatys' slow optimisation of its losses."""

import pathlib
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree, UInt8
from ml_collections import ConfigDict
from PIL import Image

from genaug.data import folder, image_file
from genaug.errors import InputError
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.models.stylizer import MULTIPLE
from genaug.offline import reading
from genaug.tasks import style

_LR = 0.02  # learning rate of Adam, for pixels in [0, 1]


class Stylist:
  """Style transfer by one trained network."""

  def __init__(self, config: ConfigDict, spec: Spec, state: PyTree):
    """Raises InputError for a run of another task."""
    if config.task != 'style':
      raise InputError('task', config.task, 'has no styles', 'name a run of configs/style_own_images.py')
    self.names, self._channels = style.names(config), spec.image_shape[-1]
    network = NETWORKS[config.model.network].build(config, spec, None)['stylizer']
    self._variables = {'params': state.params['stylizer'], 'batch_stats': state.stats['stylizer']}
    self._apply = jax.jit(network.apply)

  def numbers(self, chosen: Sequence[str]) -> list[int]:
    """Returns the numbers, from 0, of styles given by name or number; of all if none is given. Raises InputError."""
    known = {str(i): i for i in range(len(self.names))} | {name: i for i, name in enumerate(self.names)}
    if unknown := [name for name in chosen if name not in known]:
      listed = ', '.join(f'{name} ({i})' for i, name in enumerate(self.names))
      raise InputError('styles', unknown[0], 'this run has no such style', f'any of {listed}')
    return list(dict.fromkeys(known[name] for name in chosen or self.names))

  def __call__(self, pixels: UInt8[np.ndarray, 'h w c'], number: int) -> UInt8[np.ndarray, 'h w d']:
    """Returns the image in a style, with its opacity unchanged. Each size, rounded up to MULTIPLE, is compiled once."""
    height, width, channels = pixels.shape
    opacity = pixels[..., channels - 1 :] if channels in (2, 4) else pixels[..., :0]
    image = _with_channels(pixels[..., : channels - opacity.shape[-1]], self._channels)
    sides = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
    batch = np.pad(image, sides, 'reflect')[None] / np.float32(255)
    stylised = np.asarray(self._apply(self._variables, batch, np.array([number])))[0, :height, :width]
    return np.concatenate([np.round(stylised * 255).astype(np.uint8), opacity], axis=-1)


def _with_channels(image: UInt8[np.ndarray, 'h w c'], channels: int) -> UInt8[np.ndarray, 'h w d']:
  if image.shape[-1] == channels:
    return image
  return image.repeat(3, axis=-1) if channels == 3 else np.asarray(Image.fromarray(image).convert('L'))[..., None]


def write(
  stylist: Stylist, contents: folder.Contents, numbers: Sequence[int], output: pathlib.Path, bits: int = 0
) -> Iterator[folder.Item]:
  """Stylises all items; yields each that is done. Unreadable ones are added to `contents.skipped`.

  `bits` is the bit depth of deep grey values; 0 is as many as the brightest of all needs. Writes OUTPUT/NAME.png or,
  for several styles, OUTPUT/STYLE/NAME.png.
  """
  bits = reading.common_bits(contents.items, contents.skipped, bits)
  for item in [item for item in contents.items if item.image not in contents.skipped]:
    try:
      picture = image_file.read_image(item.image, bits)
    except image_file.UnreadableError as error:
      contents.skipped[item.image] = str(error)
      continue
    for number in numbers:
      pixels = stylist(picture.pixels, number)
      mode = next(mode for mode, channels in image_file.MODES.items() if channels == pixels.shape[-1])
      place = output / stylist.names[number] if len(numbers) > 1 else output
      image_file.write(place / reading.output_name(item), image_file.Picture(pixels, mode))
    yield item


class Painter:
  """Style transfer of Gatys et al. 2016 (CVPR, section 2.3), but with Adam, not L-BFGS, from content, not noise."""

  def __init__(self, settings: ConfigDict):
    """`settings` is config.style, which weighs the losses."""
    self._optimizer = optax.adam(_LR)

    def step(images, opt, content, grams):
      gradient = jax.grad(lambda images: style.losses(settings, images, content, grams)['style_total'].sum())(images)
      updates, opt = self._optimizer.update(gradient, opt)
      return jnp.clip(optax.apply_updates(images, updates), 0, 1), opt

    self._step, self._content = jax.jit(step), jax.jit(style.content_of)

  def __call__(
    self, images: Float[Array, 'b h w c'], grams: style.Grams, steps: int
  ) -> Iterator[Float[Array, 'b h w c']]:
    """Yields images in [0, 1] after each of `steps` updates of their pixels; `grams` has matrices for each image."""
    content, opt = self._content(images), self._optimizer.init(images)
    for _ in range(steps):
      images, opt = self._step(images, opt, content, grams)
      yield images
