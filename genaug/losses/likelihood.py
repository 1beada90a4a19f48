"""Terms of the ELBO, in nats, one value per example."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def kl_to_standard_normal(mean: Float[Array, 'b z'], log_var: Float[Array, 'b z']) -> Float[Array, ' b']:
  """KL(N(mean, exp(log_var)) || N(0, 1)), summed over latents: Kingma and Welling 2014, appendix B."""
  return 0.5 * (jnp.exp(log_var) + mean**2 - 1.0 - log_var).sum(-1)


def _sum_pixels(x: Float[Array, 'b h w c']) -> Float[Array, ' b']:
  return x.sum((1, 2, 3))


def bernoulli_log_likelihood(x, logits, log_scale=None) -> Float[Array, ' b']:
  """log p(x) of binary pixels x in {0, 1}. Not a density for grey x: binarise first."""
  del log_scale
  return _sum_pixels(x * logits - jax.nn.softplus(logits))


def gaussian_log_likelihood(x, logits, log_scale) -> Float[Array, ' b']:
  """log density of x in [0, 1] under N(sigmoid(logits), exp(log_scale)): the sigma-VAE of Rybkin et al. 2021."""
  residual = (x - jax.nn.sigmoid(logits)) * jnp.exp(-log_scale)
  return _sum_pixels(-0.5 * residual**2 - log_scale - 0.5 * math.log(2 * math.pi))


def discretized_logistic_log_likelihood(x, logits, log_scale) -> Float[Array, ' b']:
  """log probability of 8-bit pixels x in {0, 1/255, ..., 1}: Kingma et al. 2016 (IAF), section 5.2; Salimans 2017.

  Each level's mass is the logistic's between the half-way points to its neighbours; the two outermost levels
  take the tails, so the 256 probabilities sum to one.
  """
  centred = x - jax.nn.sigmoid(logits)
  inv_scale = jnp.exp(-log_scale)
  upper = (centred + 0.5 / 255) * inv_scale
  lower = (centred - 0.5 / 255) * inv_scale
  # log(sigmoid(u) - sigmoid(l)) without cancellation: both tails through softplus, the middle through expm1.
  log_mass = -jax.nn.softplus(-upper) - jax.nn.softplus(lower) + jnp.log(-jnp.expm1(lower - upper))
  log_mass = jnp.where(x < 0.5 / 255, -jax.nn.softplus(-upper), log_mass)
  log_mass = jnp.where(x > 1 - 0.5 / 255, -jax.nn.softplus(lower), log_mass)
  return _sum_pixels(log_mass)


LIKELIHOODS = {
  'bernoulli': bernoulli_log_likelihood,
  'gaussian': gaussian_log_likelihood,
  'discretized_logistic': discretized_logistic_log_likelihood,
}
"""name -> log likelihood(x, logits, log_scale); only Bernoulli has no scale."""


def bits_per_dim(nats: Float[Array, '...'], dims: int, likelihood: str) -> Float[Array, '...']:
  """Negative log likelihood in nats -> bits per 8-bit sub-pixel (per binary pixel for Bernoulli).

  A density over [0, 1] is one over 256 levels once ln 256 is added per dimension (Theis et al. 2016).
  """
  offset = math.log(256) if likelihood == 'gaussian' else 0.0
  return (nats / dims + offset) / math.log(2)
