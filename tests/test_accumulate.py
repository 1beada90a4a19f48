"""A batch computed in slices trains as the whole one does, up to what batch norm sees at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.errors import InputError
from genaug.training import checks, loop
from genaug.training.experiment import DEVICES, prepare
from tests.conftest import tiny_config

quiet = lambda _: None
FAST = {'augment__rotate__p': 0.0, 'augment__translate__p': 0.0, 'train__steps_per_call': 1}


@functools.cache
def _compiled(task, data_dir, slices, backend):
  del backend  # of the moment
  experiment = prepare(tiny_config(task, train__accumulate=slices, **FAST), data_dir, log=quiet)
  one = jax.pmap(experiment.task.train_step, axis_name=DEVICES, in_axes=(None, 0, 0), out_axes=None)
  return one, experiment.init(), experiment.dataset.train.arrays


def _stepped(task, data_dir, rows, slices):
  """(state, metrics) after one step on these rows, with keys that depend on the row only."""
  step, state, arrays = _compiled(task, data_dir, slices, jax.default_backend())
  keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(3)))(jnp.asarray(rows))
  return step(state, *jax.tree.map(lambda x: x[None], ({name: array[rows] for name, array in arrays.items()}, keys)))


def _assert_close(a, b, atol=1e-5):
  for (path, x), (_, y) in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree_util.tree_leaves_with_path(b)):
    np.testing.assert_allclose(x, y, atol=atol, rtol=1e-4, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
def test_without_batch_norm_slices_are_the_whole_batch(data_dir):
  states = []
  for slices in (1, 2):
    experiment = prepare(tiny_config('vae', train__accumulate=slices, **FAST), data_dir, log=quiet)
    step, state = loop.make_step(experiment), experiment.init()
    device_data, batch = loop.make_batches(experiment)
    for i in range(3):
      state, metrics = step(state, device_data, batch(i))
    states.append((state, metrics))
  _assert_close(*states)


@pytest.mark.slow
def test_of_a_gan_twice_the_same_slice_is_the_whole_batch(data_dir, monkeypatch):
  """Even to batch norm. Rows 2i and 2i + 1 are of two slices, unrolled as on CPU or in the loop of accelerators."""
  twice = np.repeat(np.arange(8), 2)
  whole = _stepped('gan', data_dir, twice, 1)
  for backend in ('cpu', 'gpu'):
    monkeypatch.setattr(jax, 'default_backend', lambda backend=backend: backend)
    _assert_close(whole, _stepped('gan', data_dir, twice, 2), atol=2e-5)


@pytest.mark.slow
def test_running_statistics_are_means_over_slices(data_dir):
  twice, different = np.repeat(np.arange(8), 2), np.arange(16)
  _assert_close(_stepped('classify', data_dir, twice, 1), _stepped('classify', data_dir, twice, 2))
  of_all, of_slices = (
    _stepped('classify', data_dir, different, slices)[0].stats['classifier']['BatchNorm_0'] for slices in (1, 2)
  )
  np.testing.assert_allclose(of_slices['mean'], of_all['mean'], atol=1e-6)
  # The variance within slices lacks that between their means.
  assert (of_slices['var'] <= of_all['var'] + 1e-6).all()
  assert (of_slices['var'] >= 0.5 * of_all['var']).all()


@pytest.mark.slow
@pytest.mark.parametrize('task', ['gan', 'classify'])
def test_every_example_of_every_slice_counts(task, data_dir):
  rows = np.arange(16)
  state, metrics = _stepped(task, data_dir, rows, 2)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, metrics)))
  for i in (0, 1, 14, 15):
    other, _ = _stepped(task, data_dir, np.where(rows == i, 99, rows), 2)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other)):
      assert a.size < 100 or np.abs(a - b).max() > 0


def test_a_batch_must_divide_into_slices():
  config = tiny_config('vae', train__accumulate=3)
  with pytest.raises(InputError, match=r'(?s)train.batch_size = 16.*2 devices x train.accumulate = 3.*multiple of 6'):
    checks.check_devices(config, 2, 1)
