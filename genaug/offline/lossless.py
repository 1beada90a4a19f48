"""Lossless compression by a trained VAE: bits back coding on asymmetric numeral systems, whole files.

Townsend et al. 2019 (BB-ANS, arXiv:1901.04866), section 2; the coder is that of the package constriction. Latents are
drawn from the posterior with bits of what was coded before, so that an image costs about its negative ELBO. They lie on
a grid, whose step is the same for posterior and prior and costs nothing.

Both directions compute the distributions with one compiled program, for as many images at a time, on the same kind of
machine: what the decoder computes is then what the encoder computed, to the bit. That it was is checked after decoding,
by a checksum of all pixels.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PyTree, UInt8
from ml_collections import ConfigDict

from genaug import ranges
from genaug.errors import InputError
from genaug.losses.likelihood import LIKELIHOODS
from genaug.models import Spec
from genaug.offline import container
from genaug.offline.container import Compressed, Progress, stream
from genaug.tasks.vae import model

_BATCH = 16  # images whose latents are coded together
_STEP, _MOST = 2.0**-8, 2047.0  # of the grid of latents, in which they lie between -8 and 8
_SMALLEST = 0.5  # standard deviation, in its steps
AnsCoder = stream.stack.AnsCoder
_GRID = stream.model.QuantizedGaussian(-int(_MOST) - 1, int(_MOST))
_PIXEL = stream.model.Categorical(perfect=False)
_NEEDED = {
  'task': ('vae',),
  'model.network': ('conv_vae', 'resnet_vae'),
  'model.conditional': (False,),
  'vae.likelihood': [name for name, likelihood in LIKELIHOODS.items() if likelihood.levels],
  'vae.prior': ('normal',),
}
_FIRST_WORDS = 1 << 16  # random ones to begin with, of 32 bits; the file has as many as the first images needed

Images = UInt8[np.ndarray, 'n h w c']
Normals = tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]  # means and standard deviations


class Codec:
  """Of one trained VAE with one vector of latents and a likelihood of 256 levels, not told classes."""

  def __init__(self, config: ConfigDict, spec: Spec, state: PyTree):
    """Raises InputError where the model is another."""
    ranges.check_trained(config, _NEEDED, 'no run that compresses: that takes one vector of latents and 256 levels')
    self.input_shape, self._latents = spec.image_shape, config.model.z_dim
    self._params = container.on_cpu(state.params)
    self._digest = container.digest(config, ('model', 'vae'), self._params)
    vae, likelihood = model(config, spec), LIKELIHOODS[config.vae.likelihood]
    label = jnp.zeros(_BATCH, jnp.int32)

    @jax.jit
    def posterior(params, images):
      mean, log_var = vae.encode(params, images.astype(jnp.float32) / 255, label)
      return mean, jnp.exp(0.5 * log_var)

    @jax.jit
    def outputs(params, z):
      return vae.decode(params, z, label)[:2]

    @functools.partial(jax.jit, static_argnums=2)
    def levels(outputs, images, channel):
      """Probabilities of a channel's levels, given those before it."""
      return jnp.exp(likelihood.levels(images.astype(jnp.float32) / 255, *outputs, channel))

    self._posterior, self._outputs, self._levels = posterior, outputs, levels

  def compress(
    self, images: Sequence[container.Image], names: Sequence[str] = (), progress: Progress = iter
  ) -> Compressed:
    """Keeps the names with the images. Raises InputError for images of another shape than the model's."""
    for image in images:
      if image.shape != self.input_shape or image.dtype != np.uint8:
        problem = f'an image of {image.dtype}, {_text(image.shape)}'
        raise InputError(
          'input', 'images', problem, f'uint8 images of {_text(self.input_shape)}, as the model was trained on'
        )
    images = np.stack(images)
    words = _random_words(_FIRST_WORDS)
    coder = AnsCoder(words, True)
    coder.decode(_GRID, *self._normals(images[:_BATCH]))
    count = len(words) - coder.num_words() + 3  # the head of the coder holds two of them, its end is marked by one
    coder, bound = AnsCoder(words[-count:], True), 0.0
    for start in progress(range(0, len(images), _BATCH)):
      bound += self._push(coder, images[start : start + _BATCH])
    header = {
      'shapes': [self.input_shape[:2]] * len(images),
      'names': list(names),
      'pixels': container.checksum(images),
      'model': self._digest,
    }
    content, size = container.pack(header, coder.get_compressed().astype('<u4').tobytes())
    return Compressed(content, bound, 32 * count, size)

  def decompress(self, content: bytes, progress: Progress = iter) -> tuple[Images, list[str]]:
    """The images and names that `compress` was given.

    Raises InputError for what it did not write, or wrote with another model or for another kind of machine.
    """
    header, payload = container.unpack(content, self._digest)
    coder = container.coder_of(payload)
    count = len(header['shapes'])
    starts = range(0, count, _BATCH)[::-1]
    images = np.concatenate([self._pop(coder, min(_BATCH, count - start)) for start in progress(starts)][::-1])
    container.check_pixels(images, header)
    return images, header['names']

  def _normals(self, images: Images) -> Normals:
    """Posterior of every latent, in steps of the grid."""
    mean, std = self._posterior(self._params, _padded(images, self.input_shape))
    count = len(images)
    return (
      np.clip(np.asarray(mean[:count], np.float64).ravel() / _STEP, -_MOST, _MOST),
      np.maximum(np.asarray(std[:count], np.float64).ravel() / _STEP, _SMALLEST),
    )

  def _probabilities(self, z: Int[np.ndarray, ' n'], channel: int, known: Images) -> Float[np.ndarray, 'm 256']:
    """Of the levels of a channel of every pixel, given the channels before it."""
    latents = np.zeros((_BATCH, self._latents), np.float32)
    latents[: len(known)] = z.reshape(len(known), -1) * _STEP
    before = known.copy()
    before[..., channel:] = 0
    found = self._levels(self._outputs(self._params, latents), _padded(before, self.input_shape), channel)
    return np.asarray(found[: len(known)]).reshape(-1, 256)

  def _push(self, coder: AnsCoder, images: Images) -> float:
    """Codes a batch; returns the bits that the model says it is worth."""
    posterior, bits = self._normals(images), 0.0
    z = coder.decode(_GRID, *posterior)
    for channel in reversed(range(self.input_shape[-1])):
      probabilities = self._probabilities(z, channel, images)
      symbols = images[..., channel].ravel().astype(np.int32)
      coder.encode_reverse(symbols, _PIXEL, probabilities)
      bits -= np.log2(np.maximum(probabilities[np.arange(len(symbols)), symbols], 1e-30), dtype=np.float64).sum()
    prior = _prior(len(z))
    coder.encode_reverse(z, _GRID, *prior)
    return bits + float((_log2_density(z, *posterior) - _log2_density(z, *prior)).sum())

  def _pop(self, coder: AnsCoder, count: int) -> Images:
    """Decodes the batch that was pushed last."""
    images = np.zeros((count, *self.input_shape), np.uint8)
    z = coder.decode(_GRID, *_prior(count * self._latents))
    for channel in range(self.input_shape[-1]):
      symbols = coder.decode(_PIXEL, self._probabilities(z, channel, images))
      images[..., channel] = symbols.reshape(images.shape[:3])
    coder.encode_reverse(z, _GRID, *self._normals(images))
    return images


def _padded(images: Images, shape: tuple[int, ...]) -> Images:
  """As many as are computed together."""
  return np.concatenate([images, np.zeros((_BATCH - len(images), *shape), np.uint8)])


def _prior(count: int) -> Normals:
  return np.zeros(count), np.full(count, 1 / _STEP)


def _log2_density(z: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
  """But for a constant."""
  return (-0.5 * ((z - mean) / std) ** 2 - np.log(std)) / np.log(2)


def _random_words(count: int) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 1 << 32, count, dtype=np.uint32)
