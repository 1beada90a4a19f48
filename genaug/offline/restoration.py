"""Restoration of damaged images by a trained VAE: denoising, inpainting, deblurring, super-resolution.

Adam first finds the most probable latents given the observation (Bora et al. 2017, arXiv:1703.03208), starting from
the encoder's posterior mean. Then come the most probable pixels given both, weighed by the decoder's Gaussian and that
of the noise, so that what the decoder can't draw is not lost. Damage is a linear operation of `genaug.augment`.
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
from genaug.data import batches
from genaug.errors import InputError
from genaug.models import Spec
from genaug.tasks.vae import model, standardised_posterior

_NEEDED = {
  'task': ('vae',),
  'model.conditional': (False,),
  'vae.likelihood': ('gaussian',),
  'vae.prior': ('normal',),
}
KINDS = ('noise', 'missing', 'blur', 'small')

_BATCH = 64  # images that are restored together
_LR = 0.05  # learning rate of Adam, with cosine decay to zero
_ITERATIONS = 50  # of conjugate gradients, which find the pixels
_LEAST_NOISE = 1 / 255  # standard deviation assumed at least: files have 256 levels

Images = Float[Array, 'b h w c']


class Damage(NamedTuple):
  """Damage to images in [0, 1], and the standard deviation of the Gaussian noise added to the damaged images."""

  apply: Callable[[Images], Images]
  undo: Callable[[Images], Images]  # roughly, for the encoder: back to the model's image size
  noise: float


def damage(kind: str, spec: Spec, noise: float = 0.0, blur: float = 0.0, scale: int = 1) -> Damage:
  """Returns the damage of a kind of KINDS. Raises InputError if `noise`, `blur` or `scale` do not suit it."""
  height, width, _ = spec.image_shape
  blurs, shrinks = kind == 'blur', kind == 'small'
  if kind not in KINDS:
    raise InputError('kind', kind, 'no such damage', f'one of {", ".join(KINDS)}')
  problem = f'does not suit kind {kind!r}'
  if kind == 'noise' and not noise:
    raise InputError('noise', noise, problem, '--noise=0.1, the standard deviation, where white is 1')
  if blurs != (blur > 0):
    raise InputError('blur', blur, problem, '--blur=1.0, in pixels, with --kind=blur only')
  if shrinks != (scale > 1) or height % scale or width % scale:
    problem += f' and images of {height} x {width}'
    raise InputError('scale', scale, problem, '--scale=2, a divisor of the sides, with --kind=small only')
  same = lambda images: images
  if shrinks:
    to = lambda *size: jax.vmap(functools.partial(augment.resize, height=size[0], width=size[1], interpolation='cubic'))
    return Damage(to(height // scale, width // scale), to(height, width), noise)
  return Damage(jax.vmap(lambda image: augment.gaussian_blur(image, blur)) if blurs else same, same, noise)


class Restorer:
  """Restoration by one trained VAE: unconditional, with Gaussian likelihood."""

  def __init__(self, config: ConfigDict, spec: Spec, state: PyTree, damage: Damage, steps: int = 200):
    """Raises InputError for any other model."""
    problem = 'cannot restore images: that takes an unconditional VAE with Gaussian likelihood and normal prior'
    ranges.check_trained(config, _NEEDED, problem)
    self._params, self._steps = state.params, steps
    vae = model(config, spec)
    label, noise_var = jnp.zeros(_BATCH, jnp.int32), max(damage.noise, _LEAST_NOISE) ** 2
    optimizer = optax.adam(optax.cosine_decay_schedule(_LR, steps))

    def decoded(params, z) -> tuple[Images, Float[Array, ' c']]:
      """Returns the mean of the pixels, and their variance in each channel."""
      outputs, log_scale, _ = vae.decode(params, z, label)
      return jax.nn.sigmoid(outputs), jnp.exp(2 * log_scale)

    @jax.jit
    def begin(params, observed, seen):
      """Returns the encoder's posterior mean, for the observation with gaps filled by its mean, and Adam's state."""
      mean = (observed * seen).sum((1, 2), keepdims=True) / jnp.maximum(seen.sum((1, 2), keepdims=True), 1)
      encoded = vae.encode(params, damage.undo(jnp.where(seen > 0, observed, mean)), label)
      z = standardised_posterior(vae.decode(params, jnp.zeros((_BATCH, vae.latents)), label, encoded)[-1]).mean
      return z, optimizer.init(z)

    def energy(z, params, observed, seen):
      """Returns -log p(observed | z) - log p(z) up to a constant, without what damage does to the pixels' variance."""
      pixels, pixel_var = decoded(params, z)
      errors = (observed - damage.apply(pixels)) ** 2 / (pixel_var + noise_var) * seen
      return 0.5 * errors.sum() + 0.5 * (z**2).sum()

    @jax.jit
    def step(z, opt, params, observed, seen):
      updates, opt = optimizer.update(jax.grad(energy)(z, params, observed, seen), opt)
      return optax.apply_updates(z, updates), opt

    @jax.jit
    def finish(params, z, observed, seen):
      pixels, pixel_var = decoded(params, z)
      # Resizing clips to [0, 1]; around grey it does not, and is linear.
      _, damaged = jax.linearize(damage.apply, jnp.full_like(pixels, 0.5))
      transposed = jax.linear_transpose(damaged, pixels)

      def precision(x):
        return x / pixel_var + transposed(damaged(x) * seen / noise_var)[0]

      right = transposed((observed - damaged(pixels)) * seen / noise_var)[0]
      correction, _ = jax.scipy.sparse.linalg.cg(precision, right, maxiter=_ITERATIONS)
      return jnp.clip(pixels + correction, 0, 1)

    self._begin, self._step, self._finish = begin, step, finish

  def __call__(
    self, observed: Float[np.ndarray, 'n h w c'], seen: Float[np.ndarray, 'n h w 1'] | None = None, progress=iter
  ) -> Float[np.ndarray, 'n H W c']:
    """Restores images in [0, 1]; `seen` is 0 where nothing was observed, otherwise 1, and None is 1 everywhere."""
    seen = np.ones((*observed.shape[:3], 1), np.float32) if seen is None else seen
    restored = []
    for first in progress(range(0, len(observed), _BATCH)):
      batch = [batches.padded(array[first : first + _BATCH].astype(np.float32), _BATCH) for array in (observed, seen)]
      z, opt = self._begin(self._params, *batch)
      for _ in range(self._steps):
        z, opt = self._step(z, opt, self._params, *batch)
      restored.append(np.asarray(self._finish(self._params, z, *batch))[: len(observed) - first])
    return np.concatenate(restored)
