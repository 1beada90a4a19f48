"""The linear probe: its ridge, what it finds in features that say the classes, and whose features it asks for."""

import jax
import numpy as np
import pytest

from genaug.errors import InputError
from genaug.metrics import EvalContext, linear_probe
from genaug.metrics.registry import METRICS, describe
from genaug.training import checks
from genaug.training.experiment import prepare
from tests.conftest import noise, tiny_config


def test_the_ridge_is_the_one_that_is_best_where_each_image_is_left_out():
  rng = np.random.default_rng(0)
  x, label = rng.normal(size=(12, 5)) + 3, np.arange(12) % 3
  x[:, 0] += label
  target = np.eye(3)[label]

  def fit(x, target, ridge):
    centre, mean = x.mean(0), target.mean(0)
    weights = np.linalg.solve((x - centre).T @ (x - centre) + ridge * np.eye(5), (x - centre).T @ (target - mean))
    return weights, mean - centre @ weights

  def left_out(ridge):
    rest = ~np.eye(12, dtype=bool)
    fits = (fit(x[rows], target[rows], ridge) for rows in rest)
    return sum(((x[i] @ weights + bias - target[i]) ** 2).sum() for i, (weights, bias) in enumerate(fits))

  ridges = linear_probe.RIDGES * np.linalg.norm(x - x.mean(0), 2) ** 2
  errors = [left_out(ridge) for ridge in ridges]
  assert 0 < np.argmin(errors) < len(ridges) - 1
  for found, expected in zip(linear_probe.ridge_classifier(x, label, 3), fit(x, target, ridges[np.argmin(errors)])):
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_linear_probe_finds_the_classes_that_features_tell_apart():
  """Classes on a circle around a point far from the origin; and of the pixels, which are noise, it finds nothing."""
  rng, nothing = np.random.default_rng(0), dict.fromkeys(EvalContext._fields)
  train, test = ({'image': noise(n, 4, 4, 1), 'label': rng.integers(0, 5, n)} for n in (300, 200))
  circle = lambda label: np.stack([np.cos(2 * np.pi * label / 5), np.sin(2 * np.pi * label / 5)], axis=1)
  features = lambda arrays: {'features': np.float32(9 + circle(arrays['label']) + 0.05 * rng.normal(size=(1, 2)))}
  run = nothing | {'train_images': lambda: train, 'test': test, 'split': 'test', 'cache': {}}
  run |= {'on_demand': lambda name: features(test), 'train_on_demand': lambda name: features(train)}
  scores = METRICS['linear_probe'].compute(EvalContext(**run))
  assert scores['eval/probe_accuracy'] == 1
  assert scores['eval/probe_accuracy_pixels'] == pytest.approx(0.2, abs=0.1)
  assert '100.00% [10 labels a class' in describe(scores)
  run['on_demand'] = run['train_on_demand'] = lambda name: {'features': np.full((200, 3), np.nan)}
  scores = METRICS['linear_probe'].compute(EvalContext(**run))  # as of a run that diverged
  assert np.isnan(scores['eval/probe_accuracy'])
  with pytest.raises(InputError, match='told every class'):
    checks.check_config(tiny_config('gan', eval__metrics=('linear_probe',), model__conditional=True))


@pytest.mark.parametrize('task', ['gan', 'flow', 'vae'])
def test_a_probe_asks_the_trained_network(task, data_dir):
  """Of every test image, and other parameters have other features: a flow's averaged ones."""
  experiment = prepare(tiny_config(task, model__conditional=False), data_dir, lambda _: None)
  batch = {name: array[:4] for name, array in experiment.dataset.test.arrays.items()}
  features = jax.jit(experiment.task.on_demand['features'].compute)
  keys = jax.random.split(jax.random.key(0), 4)
  of = lambda state: np.asarray(features(state, batch, keys)['features'])
  state = experiment.init()
  assert np.isfinite(of(state)).all()
  assert len(np.unique(of(state), axis=0)) == 4
  used, other = ('ema', 'params') if task == 'flow' else ('params', 'ema')
  moved = lambda name: state.replace(**{name: jax.tree.map(lambda x: x + 0.1, getattr(state, name))})
  assert not np.allclose(of(state), of(moved(used)))
  np.testing.assert_array_equal(of(state), of(moved(other)))
