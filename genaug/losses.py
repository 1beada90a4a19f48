"""Adversarial losses, ELBO terms and cross-entropy. All return one value per example, [B]; callers average."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Logits = Float[Array, ' b']

# ---------------------------------------------------------------- adversarial losses, on logits


def _bce_discriminator(real: Logits, fake: Logits) -> Logits:
  """-log D(x) - log(1 - D(G(z))): Goodfellow et al. 2014, eq. 1."""
  return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def _minimax_generator(fake: Logits) -> Logits:
  """log(1 - D(G(z))), whose gradient vanishes while D wins: Goodfellow et al. 2014, eq. 1."""
  return -jax.nn.softplus(fake)


def _non_saturating_generator(fake: Logits) -> Logits:
  """-log D(G(z)): Goodfellow et al. 2014, section 3."""
  return jax.nn.softplus(-fake)


def _least_squares_discriminator(real: Logits, fake: Logits) -> Logits:
  """(D(x) - 1)^2 / 2 + D(G(z))^2 / 2: Mao et al. 2017, eq. 9 (targets 0 and 1)."""
  return 0.5 * (real - 1) ** 2 + 0.5 * fake**2


def _least_squares_generator(fake: Logits) -> Logits:
  """(D(G(z)) - 1)^2 / 2: Mao et al. 2017, eq. 9."""
  return 0.5 * (fake - 1) ** 2


ADVERSARIAL_LOSSES = {
  'minimax': (_bce_discriminator, _minimax_generator),
  'non_saturating': (_bce_discriminator, _non_saturating_generator),
  'least_squares': (_least_squares_discriminator, _least_squares_generator),
}
"""name -> (discriminator loss(real, fake), generator loss(fake))."""

# ---------------------------------------------------------------- ELBO terms, in nats


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


# ---------------------------------------------------------------- classification, in nats


def cross_entropy(logits: Float[Array, 'b k'], shares: Float[Array, 'b k']) -> Float[Array, ' b']:
  """-sum of shares times log softmax: of labels mixed by mixup and its kin, and of one-hot ones."""
  return -(shares * jax.nn.log_softmax(logits)).sum(-1)
