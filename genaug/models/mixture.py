"""A mixture of Gaussians fitted by expectation maximisation (Dempster et al. 1977)."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

COMPONENTS = 10
_LEAST_VARIANCE = 1e-4  # of the mean one, added to all, so that a component of a few points keeps a density


class Mixture(NamedTuple):
  log_weights: Float[Array, ' k']
  means: Float[Array, 'k d']
  factors: Float[Array, 'k d d']  # lower Cholesky factors of the covariances


def log_densities(mixture: Mixture, z: Float[Array, 'n d']) -> Float[Array, 'n k']:
  """log of weight times density of every component."""
  components, dims = mixture.means.shape
  inverse = jax.scipy.linalg.solve_triangular(
    mixture.factors, jnp.broadcast_to(jnp.eye(dims), mixture.factors.shape), lower=True
  )
  # One product for all components: what is left to do for each point and component is elementwise.
  white = (z @ inverse.reshape(-1, dims).T).reshape(-1, components, dims)
  white = white - jnp.einsum('kij,kj->ki', inverse, mixture.means)
  log_det = jnp.log(jnp.diagonal(mixture.factors, axis1=1, axis2=2)).sum(1)
  return mixture.log_weights - 0.5 * (white**2).sum(-1) - log_det - 0.5 * dims * math.log(2 * math.pi)


@functools.partial(jax.jit, static_argnums=(1, 2))
def fit(z: Float[Array, 'n d'], components: int = COMPONENTS, iterations: int = 100) -> Mixture:
  """Begins with rows of z as means, each far from those before it, and the covariance of all.

  Ends, after `iterations` at most, where the mean log density rises by less than a thousandth of a nat.
  """
  scale = z.var(0).mean()
  spread = _cholesky(jnp.cov(z.T).reshape(z.shape[1], -1), scale)

  def farthest(i, means):
    distances = ((z[:, None] - means) ** 2).sum(-1)
    nearest = jnp.where(jnp.arange(components) < i, distances, jnp.inf).min(1)
    # Not the very farthest: the 99th of a hundred, which no outlier is.
    return means.at[i].set(z[jnp.argsort(nearest)[len(z) * 99 // 100]])

  means = jax.lax.fori_loop(1, components, farthest, jnp.zeros((components, z.shape[1])).at[0].set(z[0]))
  begin = Mixture(jnp.full(components, -math.log(components)), means, jnp.stack([spread] * components))

  def improve(state):
    i, mixture, before, _ = state
    joint = log_densities(mixture, z)
    total = jax.nn.logsumexp(joint, axis=1)
    shares = jnp.exp(joint - total[:, None])
    counts = shares.sum(0) + 1e-6
    means = shares.T @ z / counts[:, None]
    weighted = (shares[:, :, None] * z[:, None]).reshape(len(z), -1)  # [n, components * d]
    moments = (weighted.T @ z).reshape(components, z.shape[1], -1) / counts[:, None, None]
    covariances = moments - means[:, :, None] * means[:, None]
    found = Mixture(jnp.log(counts / counts.sum()), means, jax.vmap(_cholesky, (0, None))(covariances, scale))
    return i + 1, found, total.mean(), total.mean() - before

  state = (0, begin, jnp.float32(-jnp.inf), jnp.float32(jnp.inf))
  return jax.lax.while_loop(lambda state: (state[0] < iterations) & (state[3] > 1e-3), improve, state)[1]


def gumbel_of(noise: Float[Array, '*n']) -> Float[Array, '*n']:
  """Gumbel noise of standard normal noise: added to logits, the largest is a draw of their distribution."""
  return -jnp.log(-jax.scipy.special.log_ndtr(noise))


def draw(mixture: Mixture, noise: Float[Array, 'b k+d']) -> Float[Array, 'b d']:
  """What standard normal noise stands for; its first k numbers choose the component."""
  components = len(mixture.means)
  chosen = (mixture.log_weights + gumbel_of(noise[:, :components])).argmax(1)
  return mixture.means[chosen] + jnp.einsum('bij,bj->bi', mixture.factors[chosen], noise[:, components:])


def _cholesky(covariance: Float[Array, 'd d'], scale: Float[Array, '']) -> Float[Array, 'd d']:
  return jnp.linalg.cholesky(covariance + (_LEAST_VARIANCE * scale + 1e-9) * jnp.eye(len(covariance)))
