"""Lossy compression: probabilities of latents against their definitions, and rate and distortion in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from genaug.models import Spec
from genaug.models.hyperprior import Factorized, log_mass_of_normal
from genaug.tasks.registry import TASKS
from tests.conftest import UNAUGMENTED, tiny_config

SPEC = Spec((64, 64, 1), 0)
KEYS = jax.random.split(jax.random.key(0), 4)


def test_the_mass_of_a_rounded_normal_is_scipys_and_has_gradients_far_out():
  y, scale = np.meshgrid(np.arange(-8, 9.0), [0.11, 0.5, 3.0, 100.0])
  normal = scipy.stats.norm(0, scale)
  expected = normal.cdf(-np.abs(y) + 0.5) - normal.cdf(-np.abs(y) - 0.5)
  actual = np.exp(np.asarray(log_mass_of_normal(jnp.array(y, jnp.float32), jnp.array(scale, jnp.float32)), np.float64))
  np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=1e-30)
  slopes = jax.grad(lambda y: log_mass_of_normal(y, jnp.full(3, 0.2)).sum())(jnp.array([-40.0, 3.0, 40.0]))
  assert np.isfinite(slopes).all()
  assert (np.sign(slopes) == [1, -1, -1]).all()


def test_probabilities_of_whole_numbers_sum_to_one():
  prior, values = Factorized(), jnp.arange(-300.0, 301.0).reshape(-1, 1, 1, 1) * jnp.ones(3)
  params = {'params': {'mean': jnp.array([0.0, 1.3, -20.0]), 'scale': jnp.array([-5.0, 1.0, 8.0])}}
  np.testing.assert_allclose(jnp.exp(prior.apply(params, values)).sum((0, 1, 2)), 1, atol=1e-4)
  np.testing.assert_allclose(
    jnp.exp(log_mass_of_normal(values[..., 0], jnp.full(values.shape[:3], 0.3))).sum(), 1, atol=1e-5
  )


@pytest.mark.slow
def test_more_weight_takes_more_bits_for_less_error():
  rng = np.random.default_rng(0)
  smooth = rng.normal(size=(4, 4, 4, 1)).repeat(16, 1).repeat(16, 2)
  batch = {'image': np.clip(128 + 50 * smooth, 0, 255).astype(np.uint8), 'label': np.zeros(4, np.int32)}
  found = {}
  for weight in (0.0001, 0.1):
    settings = {'model__latent_width': 4, 'optim__lr': 3e-3, 'hyperprior__weight': weight, 'train__steps': 100}
    task = TASKS['hyperprior'].build(tiny_config('hyperprior', **settings, **UNAUGMENTED), SPEC)
    state, step = task.init(jax.random.key(0)), jax.jit(task.train_step)
    for i in range(100):
      state, metrics = step(state, batch, jax.vmap(lambda key: jax.random.fold_in(key, i))(KEYS))  # noqa: B023
      assert np.isfinite(metrics['loss'])
    outputs = jax.jit(task.eval_step)(state, batch, KEYS)
    found[weight] = {name: float(value.mean()) for name, value in outputs.items()}
  assert found[0.1]['bits_per_pixel'] > 1.2 * found[0.0001]['bits_per_pixel']
  assert found[0.1]['squared_error'] < 0.8 * found[0.0001]['squared_error']
  total = found[0.1]['bits_per_pixel'] + 0.1 * found[0.1]['squared_error']
  assert found[0.1]['rate_distortion'] == pytest.approx(total, rel=1e-4)
