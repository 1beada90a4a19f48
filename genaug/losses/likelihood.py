"""What is said of pixels given latents, and the other terms of bounds on log p(x): in nats, one value per example."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax, logsumexp, sigmoid, softplus
from jaxtyping import Array, Float, Key

Images = Float[Array, 'b h w c']  # in [0, 1]
Outputs = Float[Array, 'b h w n']  # of a decoder
LogScale = Float[Array, ' c'] | None

COMPONENTS = 5  # of a mixture of logistics
_LEVELS = np.arange(256, dtype=np.float32) / 255
_SMALLEST_LOG_SCALE = -7.0  # of those: a quarter of a grey level


class Likelihood(NamedTuple):
  """p(x | z), of what a decoder makes of z: n numbers a pixel and, if it has one, a log scale of every channel."""

  log_prob: Callable[[Images, Outputs, LogScale], Float[Array, ' b']]
  mean: Callable[[Outputs], Images]
  observe: Callable[[Key[Array, ' b'], Images], Images]  # what it is a likelihood of, made of images
  outputs: Callable[[int], int] = lambda channels: channels  # n
  has_scale: bool = False
  continuous: bool = False  # a density over [0, 1], not the probability of a level
  # (x, outputs, log scale, channel) -> log probability of each of 256 levels of that channel, given those before it.
  levels: Callable[[Images, Outputs, LogScale, int], Float[Array, 'b h w 256']] | None = None


def kl_to_standard_normal(mean: Float[Array, 'b z'], log_var: Float[Array, 'b z']) -> Float[Array, 'b z']:
  """KL(N(mean, exp(log_var)) || N(0, 1)) of every latent: Kingma and Welling 2014, appendix B."""
  return 0.5 * (jnp.exp(log_var) + mean**2 - 1.0 - log_var)


def normal_log_density(z: Float[Array, '*b'], mean: Float[Array, '*b'], log_var: Float[Array, '*b']):
  """log N(z; mean, exp(log_var)) of every latent."""
  return -0.5 * ((z - mean) ** 2 * jnp.exp(-log_var) + log_var + math.log(2 * math.pi))


def _sum_pixels(x: Images) -> Float[Array, ' b']:
  return x.sum((1, 2, 3))


def _uniform(keys: Key[Array, ' b'], images: Images) -> Images:
  return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)


def binarised(keys: Key[Array, ' b'], images: Images) -> Images:
  """Dynamic binarisation: a pixel is 1 with probability its grey value, another draw for every key.

  Salakhutdinov and Murray 2008, section 6.
  """
  return (_uniform(keys, images) < images).astype(images.dtype)


def binarised_once(keys: Key[Array, ' b'], images: Images) -> Images:
  """Static binarisation: as the dynamic one, but the same draw whenever an image of these 256 levels is seen."""
  del keys
  levels = jnp.round(images * 255).astype(jnp.uint32).reshape(len(images), -1)
  odd = 2 * jax.random.bits(jax.random.key(1), levels.shape[1:]) + 1
  seeds = (levels * odd).sum(-1, dtype=jnp.uint32)
  return binarised(jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(seeds), images)


def dequantised(keys: Key[Array, ' b'], images: Images) -> Images:
  """Uniform noise of one level: Theis et al. 2016 (arXiv:1511.01844), section 3.1."""
  return (images * 255 + _uniform(keys, images)) / 256


def quantised(keys: Key[Array, ' b'], images: Images) -> Images:
  """The nearest of 256 levels."""
  del keys
  return jnp.round(images * 255) / 255


def bernoulli(x: Images, logits: Outputs, log_scale: LogScale = None) -> Float[Array, ' b']:
  """log p(x) of binary pixels x in {0, 1}. Not a density for grey x: binarise first."""
  del log_scale
  return _sum_pixels(x * logits - softplus(logits))


def gaussian(x: Images, logits: Outputs, log_scale: LogScale) -> Float[Array, ' b']:
  """log density of x in [0, 1] under N(sigmoid(logits), exp(log_scale)).

  With a learned scale the sigma-VAE of Rybkin et al. 2021 (arXiv:2006.13202), section 3.2.
  """
  return _sum_pixels(normal_log_density(x, sigmoid(logits), 2 * log_scale))


def log_mass_of_logistic(x: Array, mean: Array, log_scale: Array) -> Array:
  """log probability of each 8-bit pixel x in {0, 1/255, ..., 1}: Kingma et al. 2016 (IAF), section 5.2.

  Each level's mass is the logistic's between the half-way points to its neighbours; the two outermost levels
  take the tails, so the 256 probabilities sum to one.
  """
  inv_scale = jnp.exp(-log_scale)
  upper = (x - mean + 0.5 / 255) * inv_scale
  lower = (x - mean - 0.5 / 255) * inv_scale
  # log(sigmoid(u) - sigmoid(l)) without cancellation: both tails through softplus, the middle through expm1.
  log_mass = -softplus(-upper) - softplus(lower) + jnp.log(-jnp.expm1(-inv_scale / 255))
  log_mass = jnp.where(x < 0.5 / 255, -softplus(-upper), log_mass)
  return jnp.where(x > 1 - 0.5 / 255, -softplus(lower), log_mass)


def discretized_logistic(x: Images, logits: Outputs, log_scale: LogScale) -> Float[Array, ' b']:
  """log probability of 8-bit pixels under logistics about sigmoid(logits)."""
  return _sum_pixels(log_mass_of_logistic(x, sigmoid(logits), log_scale))


def _levels_of_logistic(x: Images, logits: Outputs, log_scale: LogScale, channel: int) -> Float[Array, 'b h w 256']:
  return log_mass_of_logistic(_LEVELS, sigmoid(logits[..., channel, None]), log_scale[channel])


def _mixture_outputs(channels: int) -> int:
  return COMPONENTS * (1 + 2 * channels + channels * (channels - 1) // 2)


def _mixture_parts(outputs: Outputs):
  """(log weights [b, h, w, k], means and log scales [b, h, w, c, k], slopes [b, h, w, c (c - 1) / 2, k])."""
  parts = outputs.reshape(*outputs.shape[:3], -1, COMPONENTS)
  count = parts.shape[3]  # 1 + 2 c + c (c - 1) / 2
  channels = next(c for c in range(1, count) if _mixture_outputs(c) == count * COMPONENTS)
  weights, means, log_scales, slopes = jnp.split(parts, (1, 1 + channels, 1 + 2 * channels), axis=3)
  # Spread over the grey levels at first, as equal components would stay equal.
  means = sigmoid(means + jnp.linspace(-3, 3, COMPONENTS))
  return log_softmax(weights[:, :, :, 0]), means, jnp.maximum(log_scales - 2, _SMALLEST_LOG_SCALE), jnp.tanh(slopes)


def _means_given(before: Array, means: Array, slopes: Array) -> Array:
  """Means of channels after those `before` them: every one moves with how far the earlier ones are off black.

  `before` is [b, h, w, c, 1] or [b, h, w, c, k].
  """
  found, first = [], 0
  for channel in range(means.shape[3]):
    own = slopes[:, :, :, first : first + channel]
    found.append(means[:, :, :, channel] + (own * before[:, :, :, :channel]).sum(3))
    first += channel
  return jnp.stack(found, axis=3)


def logistic_mixture(x: Images, outputs: Outputs, log_scale: LogScale = None) -> Float[Array, ' b']:
  """log probability of 8-bit pixels under mixtures of logistics over all channels of a pixel.

  A component's mean of green moves linearly with red, that of blue with both: Salimans et al. 2017 (PixelCNN++,
  arXiv:1701.05517), section 2.2.
  """
  del log_scale
  weights, means, log_scales, slopes = _mixture_parts(outputs)
  x = x[..., None]
  log_mass = log_mass_of_logistic(x, _means_given(x, means, slopes), log_scales).sum(3)
  return logsumexp(weights + log_mass, axis=-1).sum((1, 2))


def _levels_of_mixture(x: Images, outputs: Outputs, log_scale: LogScale, channel: int) -> Float[Array, 'b h w 256']:
  del log_scale
  weights, means, log_scales, slopes = _mixture_parts(outputs)
  x = x[..., None]
  means = _means_given(x, means, slopes)
  seen = log_mass_of_logistic(x, means, log_scales)[:, :, :, :channel].sum(3)
  weights = log_softmax(weights + seen)[..., None]  # of components, now that these channels are known
  mean, log_scale = means[:, :, :, channel, :, None], log_scales[:, :, :, channel, :, None]
  return logsumexp(weights + log_mass_of_logistic(_LEVELS, mean, log_scale), axis=-2)


def _mean_of_mixture(outputs: Outputs) -> Images:
  weights, means, _, slopes = _mixture_parts(outputs)
  found = means
  for _ in range(means.shape[3] - 1):  # every round settles one more channel
    found = _means_given(found, means, slopes)
  return jnp.clip((jnp.exp(weights)[:, :, :, None] * found).sum(-1), 0, 1)


LIKELIHOODS = {
  'bernoulli': Likelihood(bernoulli, sigmoid, binarised),
  'bernoulli_static': Likelihood(bernoulli, sigmoid, binarised_once),
  'gaussian': Likelihood(gaussian, sigmoid, dequantised, has_scale=True, continuous=True),
  'discretized_logistic': Likelihood(
    discretized_logistic, sigmoid, quantised, has_scale=True, levels=_levels_of_logistic
  ),
  'logistic_mixture': Likelihood(
    logistic_mixture, _mean_of_mixture, quantised, outputs=_mixture_outputs, levels=_levels_of_mixture
  ),
}


def bits_per_dim(nats: Float[Array, '...'], dims: int, likelihood: str) -> Float[Array, '...']:
  """Negative log likelihood in nats -> bits per 8-bit sub-pixel (per binary pixel for Bernoulli).

  A density over [0, 1] is one over 256 levels once ln 256 is added per dimension (Theis et al. 2016).
  """
  offset = math.log(256) if LIKELIHOODS[likelihood].continuous else 0.0
  return (nats / dims + offset) / math.log(2)
