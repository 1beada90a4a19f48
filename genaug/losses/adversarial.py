"""Adversarial losses: (real logits, fake logits) -> (discriminator loss, generator loss), both per example."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Logits = Float[Array, ' b']
PerExample = Float[Array, ' b']


class AdversarialLoss(NamedTuple):
  """A loss that, called with logits of real and generated images, returns (discriminator loss, generator loss)."""

  losses: Callable[[Logits, Logits], tuple[Logits, Logits]]
  boundary: float | None = 0.0
  """The logit at which the discriminator is undecided; None: losses compare logits, and it is the other image's."""

  def __call__(self, real: Logits, fake: Logits) -> tuple[Logits, Logits]:
    return self.losses(real, fake)

  def real_sign(self, real: Logits, fake: Logits) -> Logits:
    """Returns 1 where the discriminator takes a real image for real, -1 where not, 0 where it is undecided.

    Its mean is r_t of Karras et al. 2020 (arXiv:2006.06676), eq. 1.
    """
    return jnp.sign(real - (fake if self.boundary is None else self.boundary))

  def accuracy(self, real: Logits, fake: Logits) -> Logits:
    """Returns the share, 0, 0.5 or 1, of each pair's two images that the discriminator classifies correctly.

    For losses that compare logits: 1 if the real image's is larger, else 0.
    """
    if self.boundary is None:
      return (real > fake).astype(real.dtype)
    return 0.5 * ((real > self.boundary).astype(real.dtype) + (fake < self.boundary))


def minimax(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """Returns -log D(x) - log(1 - D(G(z))), and log(1 - D(G(z))), whose gradient vanishes while D wins.

  Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1.
  """
  return _cross_entropy(real, fake), -jax.nn.softplus(fake)


def non_saturating(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """Returns `minimax`'s discriminator loss, and -log D(G(z)): Goodfellow et al. 2014 (arXiv:1406.2661), section 3."""
  return _cross_entropy(real, fake), jax.nn.softplus(-fake)


def least_squares(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """Returns (D(x) - 1)^2 / 2 + D(G(z))^2 / 2, and (D(G(z)) - 1)^2 / 2: Mao et al. 2017 (arXiv:1611.04076), eq. 9."""
  return 0.5 * (real - 1) ** 2 + 0.5 * fake**2, 0.5 * (fake - 1) ** 2


def hinge(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """Returns max(0, 1 - D(x)) + max(0, 1 + D(G(z))), and -D(G(z)).

  Lim and Ye 2017 (arXiv:1705.02894); Miyato et al. 2018 (arXiv:1802.05957), eq. 16 and 17.
  """
  return jax.nn.relu(1 - real) + jax.nn.relu(1 + fake), -fake


def wasserstein(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """Returns D(G(z)) - D(x), and -D(G(z)): Arjovsky et al. 2017 (arXiv:1701.07875), eq. 3.

  To be used with `gan.gradient_penalty`.
  """
  return fake - real, -fake


def relativistic(real: Logits, fake: Logits) -> tuple[Logits, Logits]:
  """Returns softplus(D(G(z)) - D(x)), and softplus(D(x) - D(G(z))): logits are compared pair by pair.

  Jolicoeur-Martineau 2018 (arXiv:1807.00734), eq. 4; Huang et al. 2024 (R3GAN, arXiv:2501.05441), eq. 2.
  """
  return jax.nn.softplus(fake - real), jax.nn.softplus(real - fake)


def lecam(real: Logits, fake: Logits, average_real: Float[Array, ''], average_fake: Float[Array, '']) -> Logits:
  """Returns (D(x) - average of D(G(z)))^2 + (D(G(z)) - average of D(x))^2, with moving averages over earlier steps.

  Tseng et al. 2021 (LeCam, arXiv:2104.03310), eq. 5.
  """
  return (real - average_fake) ** 2 + (fake - average_real) ** 2


def _cross_entropy(real: Logits, fake: Logits) -> Logits:
  return jax.nn.softplus(-real) + jax.nn.softplus(fake)


ADVERSARIAL_LOSSES = {
  'minimax': AdversarialLoss(minimax),
  'non_saturating': AdversarialLoss(non_saturating),
  'least_squares': AdversarialLoss(least_squares, boundary=0.5),
  'hinge': AdversarialLoss(hinge),
  'wasserstein': AdversarialLoss(wasserstein, boundary=None),
  'relativistic': AdversarialLoss(relativistic, boundary=None),
}


def two_players(
  loss: AdversarialLoss, critic: Callable[[PyTree, Array], Array], params: PyTree, real: Array, fake: Array
) -> tuple[PerExample, PerExample, dict[str, PerExample]]:
  """Returns (discriminator loss, generator loss, metrics to log), each averaged over the logits of an image.

  The discriminator loss has gradients for `params` only, the generator loss for `fake` only, so the two may be summed.
  `critic(params, images)` returns logits [b, ...].
  """
  per_image = lambda x: x.reshape(len(x), -1).mean(-1)
  real_logits, fake_logits = critic(params, real), critic(params, jax.lax.stop_gradient(fake))
  frozen = jax.lax.stop_gradient(params)
  d_loss = per_image(loss(real_logits, fake_logits)[0])
  g_loss = per_image(loss(jax.lax.stop_gradient(real_logits), critic(frozen, fake))[1])
  logged = {
    'd_real': per_image(real_logits),
    'd_fake': per_image(fake_logits),
    'd_accuracy': per_image(loss.accuracy(real_logits, fake_logits)),
  }
  return d_loss, g_loss, logged
