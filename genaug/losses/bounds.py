"""Bounds on log p(x) from importance weights of k draws: log w = log p(x | z) + log p(z) - log q(z | x), in nats."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LogWeights = Float[Array, 'k b']
Draws = Float[Array, 'k b z']


def importance_weighted(log_weights: LogWeights) -> Float[Array, ' b']:
  """Returns the bound from k draws; with one it is the ELBO: Burda et al. 2016 (IWAE, arXiv:1509.00519), eq. 8."""
  return jax.nn.logsumexp(log_weights, axis=0) - jnp.log(len(log_weights))


def doubly_reparameterized(
  log_weights: Callable[[Draws], LogWeights], z: Draws
) -> tuple[Float[Array, ' b'], Float[Array, ' b']]:
  """Returns (bound, objective): the objective's gradient estimates that of the bound with less variance.

  `log_weights` must not carry the gradient of the posterior's parameters; `z` must: Tucker et al. 2019 (DReG,
  arXiv:1810.04152). The gradient by way of a draw is weighted by the square of its normalised weight, `share`.
  """
  values = log_weights(jax.lax.stop_gradient(z))
  share = jax.lax.stop_gradient(jax.nn.softmax(values, axis=0))
  slopes = jax.grad(lambda z: (share * log_weights(z)).sum())(jax.lax.stop_gradient(z))
  by_z = (jax.lax.stop_gradient(share[..., None] * slopes) * z).sum(-1)
  return importance_weighted(values), (share * values + by_z).sum(0)
