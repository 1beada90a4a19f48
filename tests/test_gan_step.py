"""One step of a GAN: penalties and generator at their intervals, LeCam's averages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from genaug.models import Spec
from genaug.tasks import Due
from genaug.tasks.registry import TASKS
from genaug.tasks.updates import moving_average
from tests.conftest import tiny_config

PLAIN = {'model__d_norm': 'none', 'augment__rotate__p': 0.0, 'augment__translate__p': 0.0, 'augment__cutout__p': 0.0}

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
INPUTS = {'image': IMAGES, 'label': np.zeros(4, np.int32)}, jax.random.split(jax.random.key(2), 4)


@functools.cache
def _task(**settings):
  task = TASKS['gan'].build(tiny_config('gan', **PLAIN, **settings), Spec((8, 8, 1), 0))
  return task, jax.jit(task.train_step)


def _step(number, due=(), **settings):
  """(state before, state after, metrics) of step `number` from the initial networks."""
  task, step = _task(**settings)
  state = jax.jit(task.init)(jax.random.key(0)).replace(step=jnp.array(number))
  return state, *step(state, *INPUTS, *due)


def _assert_same(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, atol=1e-6)


def test_lazy_penalties_weigh_as_much_more_and_cost_nothing_in_between():
  lazy = {'gan__r1': 5.0, 'gan__penalty_every': 2}
  at = lambda number: (_task(**lazy)[0].due(number),)
  assert at(0) == (Due(frozenset({'penalties'})),)
  assert at(1) == (Due(frozenset()),)
  assert _task(gan__r1=5.0)[0].due is None
  _, always, metrics = _step(0, gan__r1=10.0)
  _, penalised, lazy_metrics = _step(0, at(0), **lazy)
  _, free, _ = _step(1)
  _, between, _ = _step(1, at(1), **lazy)
  _assert_same(penalised.params, always.params)
  _assert_same(between.params, free.params)
  np.testing.assert_allclose(lazy_metrics['r1'], metrics['r1'], rtol=1e-5)
  assert penalised.extra['metrics']['penalties']['r1'] == lazy_metrics['r1'] > 0

  def flops(settings, *due):
    task, _ = _task(**settings)
    arguments = jax.eval_shape(task.init, jax.random.key(0)), *INPUTS
    return jax.jit(task.train_step).lower(*arguments, *due).cost_analysis()['flops']

  nothing, between, penalising = flops({}), flops(lazy, *at(1)), flops(lazy, *at(0))
  assert between < nothing + 0.1 * (penalising - nothing)


def test_the_generator_waits_for_the_discriminators_steps():
  settings = {'gan__d_steps': 2}
  due = _task(**settings)[0].due
  for number, moves in ((0, True), (1, False), (2, True)):
    before, after, metrics = _step(number, (due(number),), **settings)
    changes = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, after.params)
    moved = {role: any(jax.tree.leaves(of_role)) for role, of_role in changes.items()}
    assert moved == {'generator': moves, 'discriminator': True}
    assert (float(metrics['g_loss']) > 0) == moves  # or what it was before, which is nothing yet


def test_lecam_adds_its_weight_and_keeps_averages_of_logits():
  _, state, metrics = _step(0, gan__lecam=0.5, gan__loss='hinge')
  _, _, plain = _step(0, gan__loss='hinge')
  np.testing.assert_allclose(metrics['d_loss'], plain['d_loss'] + 0.5 * metrics['lecam'], rtol=1e-5)
  # Early on the averages are of short memory.
  np.testing.assert_allclose(state.extra['lecam']['real'], 0.9 * metrics['d_real'], rtol=1e-4)
  np.testing.assert_allclose(state.extra['lecam']['fake'], 0.9 * metrics['d_fake'], rtol=1e-4)
  # Each network's logits are anchored to the average of the other kind.
  task, step = _task(gan__lecam=0.5, gan__loss='hinge')
  first = jax.jit(task.init)(jax.random.key(0))
  averages = {'real': jnp.float32(2), 'fake': jnp.float32(-1)}
  _, found = step(first.replace(extra=first.extra | {'lecam': averages}), *INPUTS)
  expected = metrics['lecam'] + 5 + 2 * metrics['d_real'] - 4 * metrics['d_fake']
  np.testing.assert_allclose(found['lecam'], expected, rtol=1e-4)


def test_samples_are_of_the_averaged_generator_and_raw_ones_of_the_trained():
  task, _ = _task()
  state = jax.jit(task.init)(jax.random.key(0))
  state = state.replace(ema=jax.tree.map(jnp.zeros_like, state.ema))
  sampled = {name: np.asarray(jax.jit(sampler.sample)(state, *INPUTS)) for name, sampler in task.samplers.items()}
  assert (sampled['samples'] == 0.5).all()
  assert (sampled['samples_raw'] != 0.5).any()


@pytest.mark.parametrize(('step', 'kept'), [(0, 0.1), (5, 0.4), (10_000, 0.9)])
def test_the_average_forgets_faster_at_first(step, kept):
  found = moving_average({'w': jnp.ones(2)}, {'w': jnp.zeros(2)}, 0.9, jnp.array(step))
  np.testing.assert_allclose(found['w'], kept, rtol=1e-5)


def test_latents_may_be_uniform():
  task, _ = _task(gan__z_prior='uniform')
  z = np.asarray(task.samplers['samples'].noise(jax.random.split(jax.random.key(0), 200)))
  assert scipy.stats.kstest(z.ravel(), 'uniform', (-1, 2)).pvalue > 1e-3
