"""Lossy compression of images of any size into actual files, by a trained hyperprior network.

Rounded latents are coded by the package constriction, each under a normal distribution about zero whose standard
deviation is one of 64, which the hyper-latents choose. As a difference in the last bits could choose another one,
everything is computed as in `lossless`: by one program, one image at a time, on the same kind of machine.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree, UInt8
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.models import Spec
from genaug.models.hyperprior import MULTIPLE, log_mass_of_normal
from genaug.models.registry import NETWORKS
from genaug.offline import container
from genaug.offline.container import Compressed, Progress, stream

_MOST = 255  # largest magnitude of a rounded latent
_SCALES = np.exp(np.linspace(np.log(0.11), np.log(256.0), 64))  # standard deviations that a latent may have
_LATENT = stream.model.QuantizedGaussian(-_MOST, _MOST)

Image = UInt8[np.ndarray, 'h w c']


class Codec:
  """Codec of one trained network; images come back changed, at the rate that it was trained for."""

  def __init__(self, config: ConfigDict, spec: Spec, state: PyTree):
    self.input_shape = (None, None, spec.image_shape[-1])
    self._params = container.on_cpu(state.params)
    self._digest = container.digest(config, ('model',), self._params)
    networks = NETWORKS[config.model.network].build(config, spec, None)

    def run(role, *inputs):
      return networks[role].apply({'params': self._params[role]}, *inputs)

    @jax.jit
    def analysed(image: Float[Array, 'h w c']):
      y = run('analysis', image[None])
      return jnp.round(y), jnp.round(run('hyper_analysis', y))

    self._analysed = analysed
    self._scales_of = jax.jit(functools.partial(run, 'hyper_synthesis'))
    self._synthesised = jax.jit(lambda y: jnp.round(255 * jnp.clip(run('synthesis', y)[0], 0, 1)))
    self._latents = config.model.latent_width
    values = jnp.arange(-_MOST, _MOST + 1.0)[:, None] * jnp.ones(config.model.width)
    self._prior = np.exp(np.asarray(run('prior', values[None, None])[0, 0], np.float64)).T.copy()  # [width, values]

  def compress(self, images: Sequence[Image], names: Sequence[str] = (), progress: Progress = iter) -> Compressed:
    """Compresses images, stored with their names. Raises InputError for images of other channels than the model's."""
    for image in images:
      if image.shape[-1] != self.input_shape[-1] or image.dtype != np.uint8:
        problem = f'an image of {image.shape[-1]} channels of {image.dtype}'
        raise InputError(
          'input', 'images', problem, f'{self.input_shape[-1]} channels of uint8, as the model was trained on'
        )
    coder, bound, decoded = stream.stack.AnsCoder(), 0.0, []
    for i in progress(range(len(images))):
      bits, reconstruction = self._push(coder, images[i])
      bound += bits
      decoded.append(reconstruction)
    header = {
      'shapes': [image.shape[:2] for image in images],
      'names': list(names),
      'pixels': container.checksum(decoded),
      'model': self._digest,
    }
    content, size = container.pack(header, coder.get_compressed().astype('<u4').tobytes())
    return Compressed(content, bound, 0, size)

  def decompress(self, content: bytes, progress: Progress = iter) -> tuple[list[Image], list[str]]:
    """Returns the reconstructed images and their names. Raises InputError as `unpack` and `check_pixels` do."""
    header, payload = container.unpack(content, self._digest)
    coder = container.ans_decoder(payload)
    images = [self._pop(coder, tuple(header['shapes'][i])) for i in progress(range(len(header['shapes']))[::-1])][::-1]
    container.check_pixels(images, header)
    return images, header['names']

  def _push(self, coder, image: Image) -> tuple[float, Image]:
    """Encodes an image; returns (what it costs by the model in bits, its reconstruction)."""
    height, width, _ = image.shape
    padding = ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0))
    y, z = self._analysed(np.pad(image, padding, 'edge').astype(np.float32) / 255)
    y, z = (np.clip(np.asarray(part), -_MOST, _MOST) for part in (y, z))
    scales = self._scales(z)
    symbols, codes = y.ravel().astype(np.int32), z.reshape(-1, z.shape[-1]).T.astype(np.int32) + _MOST
    coder.encode_reverse(symbols, _LATENT, np.zeros(len(symbols)), scales)
    for channel in reversed(range(len(codes))):
      coder.encode_reverse(codes[channel], stream.model.Categorical(self._prior[channel], perfect=False))
    log2_codes = np.log2(np.maximum(np.take_along_axis(self._prior, codes, axis=1), 1e-30)).sum()
    return float(-log2_codes - _log2_mass(symbols, scales)), np.asarray(self._synthesised(y), np.uint8)[:height, :width]

  def _pop(self, coder, size: tuple[int, int]) -> Image:
    height, width = size
    rows, columns = -(-height // MULTIPLE), -(-width // MULTIPLE)
    codes = [
      coder.decode(stream.model.Categorical(self._prior[channel], perfect=False), rows * columns)
      for channel in range(len(self._prior))
    ]
    z = (np.stack(codes, axis=-1).reshape(1, rows, columns, -1) - _MOST).astype(np.float32)
    scales = self._scales(z)
    y = coder.decode(_LATENT, np.zeros(len(scales)), scales)
    y = y.reshape(1, 4 * rows, 4 * columns, self._latents).astype(np.float32)
    return np.asarray(self._synthesised(y), np.uint8)[:height, :width]

  def _scales(self, z: Float[np.ndarray, '1 h w n']) -> Float[np.ndarray, ' m']:
    """Returns the standard deviation of every latent, the nearest of _SCALES."""
    log_scales = np.log(np.asarray(self._scales_of(z), np.float64).ravel())
    step = np.log(_SCALES[1] / _SCALES[0])
    return _SCALES[np.clip(np.round((log_scales - np.log(_SCALES[0])) / step).astype(int), 0, len(_SCALES) - 1)]


def _log2_mass(symbols: Int[np.ndarray, ' m'], scales: Float[np.ndarray, ' m']) -> float:
  """Returns log2 of the probability of all latents together."""
  nats = log_mass_of_normal(symbols.astype(np.float32), scales.astype(np.float32))
  return float(np.asarray(nats, np.float64).sum() / np.log(2))
