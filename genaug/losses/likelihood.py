"""Likelihoods of pixels given latents, and the other terms of bounds on log p(x), in nats, one value per example."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import log_softmax, logsumexp, sigmoid, softplus
from jaxtyping import Array, Float, Key

Images = Float[Array, 'b h w c']  # in [0, 1]
Outputs = Float[Array, 'b h w n']  # a decoder's, n numbers per pixel
LogScale = Float[Array, ' c'] | None

COMPONENTS = 5  # in the mixture of logistics
_LEVELS = np.arange(256, dtype=np.float32) / 255
_SMALLEST_LOG_SCALE = -7.0  # least log scale of a component: exp(-7) is a quarter of a grey level


class Likelihood(NamedTuple):
  """p(x | z), given a decoder's outputs, n numbers per pixel, and with `has_scale` also a log scale per channel."""

  log_prob: Callable[[Images, Outputs, LogScale], Float[Array, ' b']]
  mean: Callable[[Outputs], Images]
  observe: Callable[[Key[Array, ' b'], Images], Images]  # images in [0, 1] -> x: binarised, dequantised or rounded
  outputs: Callable[[int], int] = lambda channels: channels  # n, given the number of channels
  has_scale: bool = False
  continuous: bool = False  # a density over [0, 1], not the probability of a grey level
  # (x, outputs, log scale, channel) -> log probability of each of 256 levels of that channel, given earlier ones.
  levels: Callable[[Images, Outputs, LogScale, int], Float[Array, 'b h w 256']] | None = None


def kl_to_standard_normal(mean: Float[Array, 'b z'], log_var: Float[Array, 'b z']) -> Float[Array, 'b z']:
  """Returns KL(N(mean, exp(log_var)) || N(0, 1)) for every latent: Kingma and Welling 2014, appendix B."""
  return 0.5 * (jnp.exp(log_var) + mean**2 - 1.0 - log_var)


def normal_log_density(z: Float[Array, '*b'], mean: Float[Array, '*b'], log_var: Float[Array, '*b']):
  """Returns log N(z; mean, exp(log_var)) for every latent."""
  return -0.5 * ((z - mean) ** 2 * jnp.exp(-log_var) + log_var + math.log(2 * math.pi))


def _sum_pixels(x: Images) -> Float[Array, ' b']:
  return x.sum((1, 2, 3))


def _uniform(keys: Key[Array, ' b'], images: Images) -> Images:
  return jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)


def binarised(keys: Key[Array, ' b'], images: Images) -> Images:
  """Binarises images dynamically: a pixel is 1 with the probability of its grey value, drawn anew for every key.

  Salakhutdinov and Murray 2008, section 6.
  """
  return (_uniform(keys, images) < images).astype(images.dtype)


def binarised_once(keys: Key[Array, ' b'], images: Images) -> Images:
  """Binarises images statically: as `binarised`, but images with the same 8-bit pixels always get the same draw."""
  del keys
  levels = jnp.round(images * 255).astype(jnp.uint32).reshape(len(images), -1)
  odd = 2 * jax.random.bits(jax.random.key(1), levels.shape[1:]) + 1
  seeds = (levels * odd).sum(-1, dtype=jnp.uint32)
  return binarised(jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(seeds), images)


def dequantised(keys: Key[Array, ' b'], images: Images) -> Images:
  """Adds uniform noise as wide as one of 256 grey levels: Theis et al. 2016 (arXiv:1511.01844), section 3.1."""
  return (images * 255 + _uniform(keys, images)) / 256


def quantised(keys: Key[Array, ' b'], images: Images) -> Images:
  """Rounds pixels to the nearest of 256 levels."""
  del keys
  return jnp.round(images * 255) / 255


def bernoulli(x: Images, logits: Outputs, log_scale: LogScale = None) -> Float[Array, ' b']:
  """Returns log p(x) of binary pixels x in {0, 1}. Not a density for grey x: binarise first."""
  del log_scale
  return _sum_pixels(x * logits - softplus(logits))


def gaussian(x: Images, logits: Outputs, log_scale: LogScale) -> Float[Array, ' b']:
  """Returns the log density of x in [0, 1] under normals of mean sigmoid(logits), standard deviation exp(log_scale).

  With a learned scale it is the sigma-VAE of Rybkin et al. 2021 (arXiv:2006.13202), section 3.2.
  """
  return _sum_pixels(normal_log_density(x, sigmoid(logits), 2 * log_scale))


def log_mass_of_logistic(x: Array, mean: Array, log_scale: Array) -> Array:
  """Returns the log probability of each 8-bit pixel x in {0, 1/255, ..., 1}: Kingma et al. 2016 (IAF), section 5.2.

  The mass of a level is that of the logistic between the midpoints to its neighbours; the two outermost levels take
  the tails, so the 256 probabilities sum to one.
  """
  inv_scale = jnp.exp(-log_scale)
  upper = (x - mean + 0.5 / 255) * inv_scale
  lower = (x - mean - 0.5 / 255) * inv_scale
  # log(sigmoid(u) - sigmoid(l)) without cancellation: both tails through softplus, the middle through expm1.
  log_mass = -softplus(-upper) - softplus(lower) + jnp.log(-jnp.expm1(-inv_scale / 255))
  log_mass = jnp.where(x < 0.5 / 255, -softplus(-upper), log_mass)
  return jnp.where(x > 1 - 0.5 / 255, -softplus(lower), log_mass)


def discretized_logistic(x: Images, logits: Outputs, log_scale: LogScale) -> Float[Array, ' b']:
  """Returns the log probability of 8-bit pixels under logistics with means sigmoid(logits)."""
  return _sum_pixels(log_mass_of_logistic(x, sigmoid(logits), log_scale))


def _levels_of_logistic(x: Images, logits: Outputs, log_scale: LogScale, channel: int) -> Float[Array, 'b h w 256']:
  return log_mass_of_logistic(_LEVELS, sigmoid(logits[..., channel, None]), log_scale[channel])


def _mixture_outputs(channels: int) -> int:
  return COMPONENTS * (1 + 2 * channels + channels * (channels - 1) // 2)


def _mixture_parts(outputs: Outputs):
  """Returns (log weights [b, h, w, k], means and log scales [b, h, w, c, k], slopes [b, h, w, c (c - 1) / 2, k])."""
  parts = outputs.reshape(*outputs.shape[:3], -1, COMPONENTS)
  count = parts.shape[3]  # 1 + 2 c + c (c - 1) / 2
  channels = next(c for c in range(1, count) if _mixture_outputs(c) == count * COMPONENTS)
  weights, means, log_scales, slopes = jnp.split(parts, (1, 1 + channels, 1 + 2 * channels), axis=3)
  # Initial means are spread over the grey levels, as equal components would stay equal.
  means = sigmoid(means + jnp.linspace(-3, 3, COMPONENTS))
  return log_softmax(weights[:, :, :, 0]), means, jnp.maximum(log_scales - 2, _SMALLEST_LOG_SCALE), jnp.tanh(slopes)


def _means_given(before: Array, means: Array, slopes: Array) -> Array:
  """Returns the means of all channels given the values `before` of the earlier ones, in which they are linear.

  `before` is [b, h, w, c, 1] or [b, h, w, c, k]; black, 0, leaves the means as they are.
  """
  conditional, first = [], 0
  for channel in range(means.shape[3]):
    channel_slopes = slopes[:, :, :, first : first + channel]
    conditional.append(means[:, :, :, channel] + (channel_slopes * before[:, :, :, :channel]).sum(3))
    first += channel
  return jnp.stack(conditional, axis=3)


def logistic_mixture(x: Images, outputs: Outputs, log_scale: LogScale = None) -> Float[Array, ' b']:
  """Returns the log probability of 8-bit pixels under mixtures of logistics over all channels of a pixel.

  In each component the mean of green is linear in red, that of blue in both: Salimans et al. 2017 (PixelCNN++,
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
  weights = log_softmax(weights + seen)[..., None]  # of components, given the channels before
  mean, log_scale = means[:, :, :, channel, :, None], log_scales[:, :, :, channel, :, None]
  return logsumexp(weights + log_mass_of_logistic(_LEVELS, mean, log_scale), axis=-2)


def _mean_of_mixture(outputs: Outputs) -> Images:
  weights, means, _, slopes = _mixture_parts(outputs)
  conditional = means
  for _ in range(means.shape[3] - 1):  # each round settles one more channel
    conditional = _means_given(conditional, means, slopes)
  return jnp.clip((jnp.exp(weights)[:, :, :, None] * conditional).sum(-1), 0, 1)


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
  """Converts a negative log likelihood in nats to bits per 8-bit sub-pixel (for Bernoulli per binary pixel).

  A density over [0, 1] becomes one over 256 levels by adding ln 256 per dimension (Theis et al. 2016).
  """
  offset = math.log(256) if LIKELIHOODS[likelihood].continuous else 0.0
  return (nats / dims + offset) / math.log(2)
