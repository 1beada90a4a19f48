"""Adversarial losses: (real logits, fake logits) -> (discriminator loss, generator loss), both per example."""

import jax
from jaxtyping import Array, Float

Logits = Float[Array, ' b']


def minimax(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """-log D(x) - log(1 - D(G(z))), and log(1 - D(G(z))), whose gradient vanishes while D wins.

  Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1.
  """
  return _cross_entropy(real, fake), -jax.nn.softplus(fake)


def non_saturating(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """The discriminator's loss of `minimax`, and -log D(G(z)): Goodfellow et al. 2014 (arXiv:1406.2661), section 3."""
  return _cross_entropy(real, fake), jax.nn.softplus(-fake)


def least_squares(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """(D(x) - 1)^2 / 2 + D(G(z))^2 / 2, and (D(G(z)) - 1)^2 / 2: Mao et al. 2017 (arXiv:1611.04076), eq. 9."""
  return 0.5 * (real - 1) ** 2 + 0.5 * fake**2, 0.5 * (fake - 1) ** 2


def relativistic(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """Logits of real and generated images compared pair by pair: softplus(D(G(z)) - D(x)), and the same turned round.

  Jolicoeur-Martineau 2018 (arXiv:1807.00734), eq. 4; Huang et al. 2024 (R3GAN, arXiv:2501.05441), eq. 2.
  """
  return jax.nn.softplus(fake - real), jax.nn.softplus(real - fake)


def _cross_entropy(real: Logits, fake: Logits) -> Logits:
  return jax.nn.softplus(-real) + jax.nn.softplus(fake)


ADVERSARIAL_LOSSES = {
  'minimax': minimax,
  'non_saturating': non_saturating,
  'least_squares': least_squares,
  'relativistic': relativistic,
}
