"""Images from damaged ones, by a trained VAE: denoising, inpainting, deblurring, enlarging.

First the most probable latents given what was observed (Bora et al. 2017, arXiv:1703.03208), found by Adam
from where the encoder puts it; then the most probable pixels given both, weighed by the decoder's Gaussian and that of
the noise, so that what the decoder can't draw is not lost. Damage is a linear operation of `genaug.augment`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

from genaug import augment, ranges
from genaug.errors import InputError
from genaug.models import Spec
from genaug.tasks.vae import model, posterior_of_noise

_NEEDED = {
  'task': ('vae',),
  'model.conditional': (False,),
  'vae.likelihood': ('gaussian',),
  'vae.prior': ('normal',),
}
KINDS = ('noise', 'missing', 'blur', 'small')

_BATCH = 64  # images that are restored together
_LR = 0.05  # of Adam, falling to zero as a cosine
_ITERATIONS = 50  # of the conjugate gradients that find the pixels
_LEAST_NOISE = 1 / 255  # standard deviation that is counted on: files have 256 levels

Images = Float[Array, 'b h w c']


class Damage(NamedTuple):
  """What happened to images in [0, 1], besides normal noise."""

  apply: Callable[[Images], Images]
  undo: Callable[[Images], Images]  # roughly, for the encoder: of the model's size again
  noise: float  # its standard deviation


def damage(kind: str, spec: Spec, noise: float = 0.0, blur: float = 0.0, scale: int = 1) -> Damage:
  """Of a kind of KINDS. Raises InputError where `blur` or `scale` are not what it takes."""
  height, width, _ = spec.image_shape
  blurs, shrinks = kind == 'blur', kind == 'small'
  if kind not in KINDS:
    raise InputError('kind', kind, 'no such damage', f'one of {", ".join(KINDS)}')
  problem = f'does not suit kind {kind!r}'
  if kind == 'noise' and not noise:
    raise InputError('noise', noise, problem, '--noise=0.1: its standard deviation, where white is 1')
  if blurs != (blur > 0):
    raise InputError('blur', blur, problem, '--blur=1.0 with --kind=blur, in pixels, and with no other')
  if shrinks != (scale > 1) or height % scale or width % scale:
    problem += f' and images of {height} x {width}'
    raise InputError('scale', scale, problem, '--scale=2 with --kind=small, a divisor of the sides, and with no other')
  same = lambda images: images
  if shrinks:
    to = lambda *size: jax.vmap(functools.partial(augment.resize, height=size[0], width=size[1], interpolation='cubic'))
    return Damage(to(height // scale, width // scale), to(height, width), noise)
  return Damage(jax.vmap(lambda image: augment.gaussian_blur(image, blur)) if blurs else same, same, noise)


class Restorer:
  """Of one trained VAE that is not told classes, of Gaussian likelihood."""

  def __init__(self, config: ConfigDict, spec: Spec, state: PyTree, damage: Damage, steps: int = 200):
    """Raises InputError where the model is another."""
    ranges.check_trained(config, _NEEDED, 'no run that restores: that takes a Gaussian VAE that is not told classes')
    self._params, self._steps = state.params, steps
    vae = model(config, spec)
    label, noise_var = jnp.zeros(_BATCH, jnp.int32), max(damage.noise, _LEAST_NOISE) ** 2
    optimizer = optax.adam(optax.cosine_decay_schedule(_LR, steps))

    def drawn(params, z) -> tuple[Images, Float[Array, ' c']]:
      """Mean and variance of the pixels."""
      outputs, log_scale, _ = vae.decode(params, z, label)
      return jax.nn.sigmoid(outputs), jnp.exp(2 * log_scale)

    @jax.jit
    def begin(params, observed, seen):
      """Latents where the encoder puts what was observed, its gaps filled with the mean."""
      mean = (observed * seen).sum((1, 2), keepdims=True) / jnp.maximum(seen.sum((1, 2), keepdims=True), 1)
      encoded = vae.encode(params, damage.undo(jnp.where(seen > 0, observed, mean)), label)
      z = posterior_of_noise(vae.decode(params, jnp.zeros((_BATCH, vae.latents)), label, encoded)[-1]).mean
      return z, optimizer.init(z)

    def energy(z, params, observed, seen):
      """-log p(observed | z) - log p(z), but for a constant and for what damage does to the variance of pixels."""
      pixels, pixel_var = drawn(params, z)
      errors = (observed - damage.apply(pixels)) ** 2 / (pixel_var + noise_var) * seen
      return 0.5 * errors.sum() + 0.5 * (z**2).sum()

    @jax.jit
    def step(z, opt, params, observed, seen):
      updates, opt = optimizer.update(jax.grad(energy)(z, params, observed, seen), opt)
      return optax.apply_updates(z, updates), opt

    @jax.jit
    def finish(params, z, observed, seen):
      pixels, pixel_var = drawn(params, z)
      # Enlarging and shrinking clip to [0, 1]: linear is what they do to grey.
      _, damaged = jax.linearize(damage.apply, jnp.full_like(pixels, 0.5))
      transposed = jax.linear_transpose(damaged, pixels)

      def precision(x):
        return x / pixel_var + transposed(damaged(x) * seen / noise_var)[0]

      right = transposed((observed - damaged(pixels)) * seen / noise_var)[0]
      found, _ = jax.scipy.sparse.linalg.cg(precision, right, maxiter=_ITERATIONS)
      return jnp.clip(pixels + found, 0, 1)

    self._begin, self._step, self._finish = begin, step, finish

  def __call__(
    self, observed: Float[np.ndarray, 'n h w c'], seen: Float[np.ndarray, 'n h w 1'] | None = None, progress=iter
  ) -> Float[np.ndarray, 'n H W c']:
    """Images in [0, 1]; `seen` is 0 where nothing was observed."""
    seen = np.ones((*observed.shape[:3], 1), np.float32) if seen is None else seen
    restored = []
    for first in progress(range(0, len(observed), _BATCH)):
      batch = [_padded(array[first : first + _BATCH].astype(np.float32)) for array in (observed, seen)]
      z, opt = self._begin(self._params, *batch)
      for _ in range(self._steps):
        z, opt = self._step(z, opt, self._params, *batch)
      restored.append(np.asarray(self._finish(self._params, z, *batch))[: len(observed) - first])
    return np.concatenate(restored)


def _padded(images: np.ndarray) -> np.ndarray:
  return np.concatenate([images, np.zeros((_BATCH - len(images), *images.shape[1:]), images.dtype)])
