"""Gaussian mixtures, fitted by expectation maximisation (Dempster et al. 1977)."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

COMPONENTS = 10
# Share of the mean variance that is added to every variance, so that a component of a few points keeps a density.
_LEAST_VARIANCE = 1e-4


class Mixture(NamedTuple):
  """A mixture of k Gaussians in d dimensions."""

  log_weights: Float[Array, ' k']
  means: Float[Array, 'k d']
  factors: Float[Array, 'k d d']  # lower Cholesky factors of the covariances


def log_densities(mixture: Mixture, z: Float[Array, 'n d']) -> Float[Array, 'n k']:
  """Returns the log of weight times density for every point and component."""
  components, dims = mixture.means.shape
  inverse = jax.scipy.linalg.solve_triangular(
    mixture.factors, jnp.broadcast_to(jnp.eye(dims), mixture.factors.shape), lower=True
  )
  # One matrix product for all components; the rest is elementwise for each point and component.
  white = (z @ inverse.reshape(-1, dims).T).reshape(-1, components, dims)
  white = white - jnp.einsum('kij,kj->ki', inverse, mixture.means)
  log_det = jnp.log(jnp.diagonal(mixture.factors, axis1=1, axis2=2)).sum(1)
  return mixture.log_weights - 0.5 * (white**2).sum(-1) - log_det - 0.5 * dims * math.log(2 * math.pi)


@functools.partial(jax.jit, static_argnums=(1, 2))
def fit(z: Float[Array, 'n d'], components: int = COMPONENTS, iterations: int = 100) -> Mixture:
  """Fits a mixture to the rows of z.

  The initial means are rows of z, each far from those before it; the initial covariances are that of all rows. Stops
  when the mean log density rises by a thousandth of a nat or less, at the latest after `iterations`.
  """
  scale = z.var(0).mean()
  spread = _cholesky(jnp.cov(z.T).reshape(z.shape[1], -1), scale)

  def farthest(i, means):
    distances = ((z[:, None] - means) ** 2).sum(-1)
    nearest = jnp.where(jnp.arange(components) < i, distances, jnp.inf).min(1)
    # The 99th percentile, not the very farthest point, which may be an outlier.
    return means.at[i].set(z[jnp.argsort(nearest)[len(z) * 99 // 100]])

  means = jax.lax.fori_loop(1, components, farthest, jnp.zeros((components, z.shape[1])).at[0].set(z[0]))
  initial = Mixture(jnp.full(components, -math.log(components)), means, jnp.stack([spread] * components))

  def improve(state):
    i, mixture, previous, _ = state
    joint = log_densities(mixture, z)
    total = jax.nn.logsumexp(joint, axis=1)
    shares = jnp.exp(joint - total[:, None])
    counts = shares.sum(0) + 1e-6
    means = shares.T @ z / counts[:, None]
    weighted = (shares[:, :, None] * z[:, None]).reshape(len(z), -1)  # [n, components * d]
    moments = (weighted.T @ z).reshape(components, z.shape[1], -1) / counts[:, None, None]
    covariances = moments - means[:, :, None] * means[:, None]
    updated = Mixture(jnp.log(counts / counts.sum()), means, jax.vmap(_cholesky, (0, None))(covariances, scale))
    return i + 1, updated, total.mean(), total.mean() - previous

  state = (0, initial, jnp.float32(-jnp.inf), jnp.float32(jnp.inf))
  return jax.lax.while_loop(lambda state: (state[0] < iterations) & (state[3] > 1e-3), improve, state)[1]


def gumbel_of(noise: Float[Array, '*n']) -> Float[Array, '*n']:
  """Turns standard normal noise into Gumbel noise: the argmax of logits plus it is a draw from their softmax."""
  return -jnp.log(-jax.scipy.special.log_ndtr(noise))


def draw(mixture: Mixture, noise: Float[Array, 'b k+d']) -> Float[Array, 'b d']:
  """Maps standard normal noise to draws from the mixture; its first k numbers choose the component."""
  components = len(mixture.means)
  chosen = (mixture.log_weights + gumbel_of(noise[:, :components])).argmax(1)
  return mixture.means[chosen] + jnp.einsum('bij,bj->bi', mixture.factors[chosen], noise[:, components:])


def _cholesky(covariance: Float[Array, 'd d'], scale: Float[Array, '']) -> Float[Array, 'd d']:
  return jnp.linalg.cholesky(covariance + (_LEAST_VARIANCE * scale + 1e-9) * jnp.eye(len(covariance)))
