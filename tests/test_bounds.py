"""Bounds on log p(x) against a model whose log p(x) is known: z ~ N(0, 1), x ~ N(W z, s^2), q not its posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from genaug.losses.bounds import doubly_reparameterized, importance_weighted
from genaug.losses.likelihood import normal_log_density

RNG = np.random.default_rng(0)
DIMS, LATENTS, SIGMA = 5, 2, 0.7
WEIGHTS = RNG.normal(size=(DIMS, LATENTS)).astype(np.float32)
X = (RNG.normal(size=(6, LATENTS)) @ WEIGHTS.T + SIGMA * RNG.normal(size=(6, DIMS))).astype(np.float32)
EXACT = scipy.stats.multivariate_normal(np.zeros(DIMS), WEIGHTS @ WEIGHTS.T + SIGMA**2 * np.eye(DIMS)).logpdf(X)
PRECISION = np.eye(LATENTS) + WEIGHTS.T @ WEIGHTS / SIGMA**2
MEAN = np.linalg.solve(PRECISION, WEIGHTS.T @ X.T / SIGMA**2).T.astype(np.float32)
LOG_VAR = np.log(1 / np.diag(PRECISION)).astype(np.float32) + 0.3


def posterior(shift):
  return jnp.asarray(MEAN) + shift, jnp.broadcast_to(jnp.asarray(LOG_VAR), MEAN.shape)


def log_weights(z, mean, log_var):
  """Of draws [k, b, z]."""
  log_likelihood = normal_log_density(X, z @ WEIGHTS.T, 2 * jnp.log(SIGMA)).sum(-1)
  return log_likelihood + normal_log_density(z, 0.0, 0.0).sum(-1) - normal_log_density(z, mean, log_var).sum(-1)


def draws(key, count, mean, log_var):
  return mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, (count, *mean.shape))


def test_many_draws_reach_the_exact_log_likelihood():
  q = posterior(0.2)
  bounds = [importance_weighted(log_weights(draws(jax.random.key(i), 5000, *q), *q)) for i in range(4)]
  np.testing.assert_allclose(np.mean(bounds, axis=0), EXACT, atol=1e-2)


def test_bounds_rise_with_the_draws_to_the_log_likelihood():
  q = posterior(0.2)
  mean_of = jax.jit(jax.vmap(lambda z: importance_weighted(log_weights(z, *q)).mean()))
  means = [
    float(mean_of(draws(jax.random.key(count), 300 * count, *q).reshape(300, count, *MEAN.shape)).mean())
    for count in (1, 4, 16, 64)
  ]
  assert means == sorted(means)
  assert means[-1] < EXACT.mean() + 0.01
  assert means[1] - means[0] > 0.02


@pytest.fixture(scope='module')
def gradients():
  """Of the bound of 16 draws by a shift of the posterior's mean: 2,000 estimates of each kind."""

  def standard(shift, key):
    q = posterior(shift)
    return importance_weighted(log_weights(draws(key, 16, *q), *q)).sum()

  def doubly(shift, key):
    q = posterior(shift)
    fixed = jax.lax.stop_gradient(q)
    bound, objective = doubly_reparameterized(lambda z: log_weights(z, *fixed), draws(key, 16, *q))
    return objective.sum(), bound

  keys = jax.random.split(jax.random.key(0), 2000)
  found = {'standard': jax.jit(jax.vmap(jax.grad(standard), (None, 0)))(0.3, keys)}
  found['doubly'], bounds = jax.jit(jax.vmap(jax.grad(doubly, has_aux=True), (None, 0)))(0.3, keys)
  return {name: np.asarray(value) for name, value in found.items()} | {'bounds': bounds}


def test_the_doubly_reparameterized_gradient_is_the_same_in_the_mean(gradients):
  standard, doubly = gradients['standard'], gradients['doubly']
  error = np.sqrt(standard.var() / len(standard) + doubly.var() / len(doubly))
  assert abs(standard.mean() - doubly.mean()) < 4 * error
  assert abs(standard.mean()) > 4 * error, 'nothing to compare'


def test_the_doubly_reparameterized_gradient_varies_less(gradients):
  assert gradients['doubly'].var() < 0.5 * gradients['standard'].var()


def test_the_doubly_reparameterized_bound_is_the_bound(gradients):
  q = posterior(0.3)
  keys = jax.random.split(jax.random.key(0), 2000)
  expected = importance_weighted(log_weights(draws(keys[0], 16, *q), *q))
  np.testing.assert_allclose(gradients['bounds'][0], expected, rtol=1e-5)
