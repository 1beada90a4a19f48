"""Lossless compression of images into one file by a trained VAE: bits-back coding with asymmetric numeral systems.

Townsend et al. 2019 (BB-ANS, arXiv:1901.04866), section 2; the coder is that of the package constriction. Latents are
drawn from the posterior with bits of what was coded before, so that an image costs about its negative ELBO. They lie on
a grid; as its step is the same for posterior and prior, it costs nothing. The coder gives every point of a grid some
probability, so posteriors have grids of their own, no wider than they need: drawn from one grid as wide as the prior,
some latents would be far from what the encoder found, and their images expensive.

Encoder and decoder compute the distributions with one compiled program, for as many images at a time, on the same kind
of machine, so that both get the same numbers to the bit. A checksum of all pixels verifies this after decoding.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PyTree, UInt8
from ml_collections import ConfigDict

from genaug import ranges
from genaug.data import batches
from genaug.errors import InputError
from genaug.losses.likelihood import LIKELIHOODS
from genaug.models import Spec
from genaug.offline import container
from genaug.offline.container import Compressed, Progress, stream
from genaug.tasks.vae import model

_BATCH = 16  # images whose latents are coded together
_STEP = 2.0**-8  # of the latents' grid
_MOST = 2047.0  # largest posterior mean, in steps
_SMALLEST, _LARGEST = 0.5, 512.0  # standard deviations of a posterior, in steps
_SIGMAS = 8  # standard deviations that the grid of a posterior reaches from its mean, up to twice as many
AnsCoder = stream.stack.AnsCoder
_PRIOR = stream.model.QuantizedGaussian(*(sign * int(_MOST + 1 + _SIGMAS * _LARGEST) for sign in (-1, 1)))
_PIXEL = stream.model.Categorical(perfect=False)
_NEEDED = {
  'task': ('vae',),
  'model.network': ('conv_vae', 'resnet_vae'),
  'model.conditional': (False,),
  'vae.likelihood': [name for name, likelihood in LIKELIHOODS.items() if likelihood.levels],
  'vae.prior': ('normal',),
}
_FIRST_WORDS = 1 << 16  # random ones of 32 bits to start from; the file has as many as the first batch needed

Images = UInt8[np.ndarray, 'n h w c']
Normals = tuple[Float[np.ndarray, ' n'], Float[np.ndarray, ' n']]  # means and standard deviations


class Codec:
  """Codec of one trained VAE: unconditional, with one vector of latents and a likelihood of 256 levels."""

  def __init__(self, config: ConfigDict, spec: Spec, state: PyTree):
    """Raises InputError for any other model."""
    problem = (
      'cannot compress images: that takes an unconditional VAE with one latent vector, normal prior and 256 levels'
    )
    ranges.check_trained(config, _NEEDED, problem)
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
      """Returns the probabilities of a channel's levels, given the channels before it."""
      return jnp.exp(likelihood.levels(images.astype(jnp.float32) / 255, *outputs, channel))

    self._posterior, self._outputs, self._levels = posterior, outputs, levels

  def compress(
    self, images: Sequence[container.Image], names: Sequence[str] = (), progress: Progress = iter
  ) -> Compressed:
    """Compresses images, stored with their names. Raises InputError for images of another shape than the model's."""
    for image in images:
      if image.shape != self.input_shape or image.dtype != np.uint8:
        problem = f'an image of {image.dtype}, {_text(image.shape)}'
        raise InputError(
          'input', 'images', problem, f'uint8 images of {_text(self.input_shape)}, as the model was trained on'
        )
    images = np.stack(images)
    words = _random_words(_FIRST_WORDS)
    coder = AnsCoder(words, True)
    draw(coder, *self._normals(images[:_BATCH]))
    count = len(words) - coder.num_words() + 3  # two are in the head of the coder, one marks its end
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
    """Returns the images and names that `compress` was given.

    Raises InputError for content that it did not write, or wrote with another model or on another kind of machine.
    """
    header, payload = container.unpack(content, self._digest)
    coder = container.ans_decoder(payload)
    count = len(header['shapes'])
    starts = range(0, count, _BATCH)[::-1]
    try:
      images = np.concatenate([self._pop(coder, min(_BATCH, count - start)) for start in progress(starts)][::-1])
    except KeyError:  # the posterior of what was decoded has another grid: it is not what was encoded
      images = ()
    container.check_pixels(images, header)
    return images, header['names']

  def _normals(self, images: Images) -> Normals:
    """Returns the posterior of every latent, in steps of the grid."""
    mean, std = self._posterior(self._params, batches.padded(images, _BATCH))
    count = len(images)
    return (
      np.clip(np.asarray(mean[:count], np.float64).ravel() / _STEP, -_MOST, _MOST),
      np.clip(np.asarray(std[:count], np.float64).ravel() / _STEP, _SMALLEST, _LARGEST),
    )

  def _decoded(self, z: Int[np.ndarray, ' n'], count: int) -> PyTree:
    """Returns the decoder's outputs for the latents of `count` images, filled up to a batch."""
    return self._outputs(self._params, batches.padded((z.reshape(count, -1) * _STEP).astype(np.float32), _BATCH))

  def _probabilities(self, outputs: PyTree, channel: int, known: Images) -> Float[np.ndarray, 'm 256']:
    """Returns the probabilities of a channel's levels, for every pixel, given the channels before it."""
    before = known.copy()
    before[..., channel:] = 0
    probabilities = self._levels(outputs, batches.padded(before, _BATCH), channel)
    return np.asarray(probabilities[: len(known)]).reshape(-1, 256)

  def _push(self, coder: AnsCoder, images: Images) -> float:
    """Encodes a batch; returns what it costs by the model, in bits."""
    posterior, bits = self._normals(images), 0.0
    z = draw(coder, *posterior)
    outputs = self._decoded(z, len(images))
    for channel in reversed(range(self.input_shape[-1])):
      probabilities = self._probabilities(outputs, channel, images)
      symbols = images[..., channel].ravel().astype(np.int32)
      coder.encode_reverse(symbols, _PIXEL, probabilities)
      bits -= np.log2(np.maximum(probabilities[np.arange(len(symbols)), symbols], 1e-30), dtype=np.float64).sum()
    prior = _prior(len(z))
    coder.encode_reverse(z, _PRIOR, *prior)
    return bits + float((_log2_density(z, *posterior) - _log2_density(z, *prior)).sum())

  def _pop(self, coder: AnsCoder, count: int) -> Images:
    """Decodes the batch that was pushed last."""
    images = np.zeros((count, *self.input_shape), np.uint8)
    z = coder.decode(_PRIOR, *_prior(count * self._latents))
    outputs = self._decoded(z, count)
    for channel in range(self.input_shape[-1]):
      symbols = coder.decode(_PIXEL, self._probabilities(outputs, channel, images))
      images[..., channel] = symbols.reshape(images.shape[:3])
    put_back(coder, z, *self._normals(images))
    return images


def draw(coder: AnsCoder, mean: Float[np.ndarray, ' n'], std: Float[np.ndarray, ' n']) -> Int[np.ndarray, ' n']:
  """Draws latents of normal distributions, in steps of the grid, with bits that it takes from the coder."""
  z = np.empty(len(mean), np.int32)
  for rows, grid, centre in _grids(mean, std):
    z[rows] = centre + coder.decode(grid, mean[rows] - centre, std[rows])
  return z


def put_back(
  coder: AnsCoder, z: Int[np.ndarray, ' n'], mean: Float[np.ndarray, ' n'], std: Float[np.ndarray, ' n']
) -> None:
  """Gives the coder the bits back that `draw` took from it for these latents."""
  for rows, grid, centre in reversed(list(_grids(mean, std))):
    coder.encode_reverse(z[rows] - centre, grid, mean[rows] - centre, std[rows])


def _grids(mean, std) -> Iterator[tuple[Int[np.ndarray, ' m'], Any, Int[np.ndarray, ' m']]]:
  """Yields (rows, grid about zero, centres) for standard deviations up to 1, 2, 4, ... steps."""
  doublings = np.ceil(np.log2(np.maximum(std, 1))).astype(int)
  for doubling in np.unique(doublings):
    rows, reach = np.flatnonzero(doublings == doubling), _SIGMAS * 2 ** int(doubling)
    yield rows, stream.model.QuantizedGaussian(-reach, reach), np.round(mean[rows]).astype(np.int32)


def _prior(count: int) -> Normals:
  return np.zeros(count), np.full(count, 1 / _STEP)


def _log2_density(z: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
  """Returns the log2 density of normal distributions, up to a constant."""
  return (-0.5 * ((z - mean) / std) ** 2 - np.log(std)) / np.log(2)


def _random_words(count: int) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 1 << 32, count, dtype=np.uint32)
