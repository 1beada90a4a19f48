"""A batch computed in slices trains as the whole one does, up to what batch norm sees at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.errors import InputError
from genaug.models import DEVICES
from genaug.training import checks, loop
from genaug.training.experiment import prepare
from tests.conftest import tiny_config

quiet = lambda _: None
FAST = {'augment__rotate__p': 0.0, 'augment__translate__p': 0.0, 'train__steps_per_call': 1}


def _stepped(task, data_dir, rows, slices, **overrides):
  """(experiment, state, metrics) after one step on these rows, with keys that depend on the row only."""
  experiment = prepare(tiny_config(task, train__accumulate=slices, **FAST, **overrides), data_dir, log=quiet)
  batch = {name: array[rows][None] for name, array in experiment.dataset.train.arrays.items()}
  keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(3)))(jnp.asarray(rows))[None]
  step = functools.partial(experiment.task.train_step, experiment.config, experiment.spec)
  one = jax.pmap(step, axis_name=DEVICES, in_axes=(None, 0, 0), out_axes=None)
  return experiment, *one(experiment.init(), batch, keys)


def _assert_close(a, b, atol=1e-5):
  for (path, x), (_, y) in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree_util.tree_leaves_with_path(b)):
    np.testing.assert_allclose(x, y, atol=atol, rtol=1e-4, err_msg=jax.tree_util.keystr(path))


def test_without_batch_norm_slices_are_the_whole_batch(data_dir):
  states = []
  for slices in (1, 2):
    experiment = prepare(tiny_config('vae', train__accumulate=slices, **FAST), data_dir, log=quiet)
    step, state = loop.make_step(experiment), experiment.init()
    resident, feed = loop.make_feed(experiment)
    for i in range(3):
      state, metrics = step(state, resident, feed(i))
    states.append((state, metrics))
  _assert_close(*states)


@pytest.mark.parametrize('task', ['gan', 'classify', 'vae'])
@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
def test_slices_of_the_same_examples_are_the_whole_batch_even_to_batch_norm(task, backend, data_dir, monkeypatch):
  """Unrolled as on CPU, and in the loop that accelerators run. Row 2i and row 2i + 1 are in different slices."""
  rows = np.repeat(np.arange(8), 2)
  _, *whole = _stepped(task, data_dir, rows, 1)
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  _, *sliced = _stepped(task, data_dir, rows, 2)
  _assert_close(whole, sliced, atol=2e-5)


def test_running_statistics_are_means_over_slices(data_dir):
  rows = np.arange(16)
  _, whole, _ = _stepped('classify', data_dir, rows, 1)
  _, sliced, _ = _stepped('classify', data_dir, rows, 2)
  of_all, of_slices = whole.batch_stats['BatchNorm_0'], sliced.batch_stats['BatchNorm_0']
  np.testing.assert_allclose(of_slices['mean'], of_all['mean'], atol=1e-6)
  # The variance within slices lacks that between their means.
  assert (of_slices['var'] <= of_all['var'] + 1e-6).all()
  assert (of_slices['var'] >= 0.5 * of_all['var']).all()


@pytest.mark.parametrize('task', ['gan', 'classify'])
def test_gradients_of_slices_are_finite_and_those_of_none_are_lost(task, data_dir):
  """Every example moves the gradient, those of the last slice too."""
  mixes = {'augment__cutmix__p': 0.5} if task == 'classify' else {}
  _, state, metrics = _stepped(task, data_dir, np.arange(16), 4, **mixes)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, metrics)))
  for last in (12, 13, 14, 15):
    rows = np.arange(16)
    rows[last] = 100
    _, other, _ = _stepped(task, data_dir, rows, 4, **mixes)
    moved = [np.abs(a - b).max() for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other))]
    assert max(moved) > 0


def test_a_batch_must_divide_into_slices():
  config = tiny_config('vae', train__accumulate=3)
  with pytest.raises(InputError, match=r'(?s)train.batch_size = 16.*2 devices x train.accumulate = 3.*multiple of 6'):
    checks.check_devices(config, 2, 1)
