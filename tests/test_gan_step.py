"""One step of a GAN: penalties and generator at their intervals, LeCam's averages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from genaug.models import Spec
from genaug.tasks import Due
from genaug.tasks.registry import TASKS
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
