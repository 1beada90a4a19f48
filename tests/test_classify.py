"""Classifiers: their scores, networks and data, and that mixed labels and seeds side by side train as they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from genaug.augment import Pipeline
from genaug.data import sources, subsets
from genaug.errors import InputError
from genaug.losses.classification import cross_entropy
from genaug.metrics import classification
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.training import checks, loop
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import prepare
from genaug.training.fit import stack_experiments
from tests.conftest import tiny_config

quiet = lambda _: None


def test_cross_entropy_of_mixed_labels_is_the_mix_of_cross_entropies():
  logits = np.random.default_rng(0).normal(size=(3, 4)) * 10
  log_p = scipy.special.log_softmax(logits, axis=-1)
  shares = np.array([[1, 0, 0, 0], [0.3, 0, 0.7, 0], [0.25] * 4])
  expected = [-log_p[0, 0], -0.3 * log_p[1, 0] - 0.7 * log_p[1, 2], -log_p[2].mean()]
  np.testing.assert_allclose(cross_entropy(jnp.array(logits), jnp.array(shares)), expected, rtol=1e-5)


def test_scores_are_those_of_a_confusion_matrix_counted_by_hand():
  probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.2, 0.8, 0], [0.3, 0.7, 0]])
  scores = classification.scores(probabilities, np.array([0, 1, 1, 1]), ('cat', 'dog', 'cow'))
  assert scores['accuracy'] == 0.75
  assert scores['cross_entropy_nats'] == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.7]).mean())
  assert (scores['recall/cat'], scores['recall/dog'], scores['recall/cow']) == (1, pytest.approx(2 / 3), 0)
  assert (scores['precision/cat'], scores['precision/dog'], scores['precision/cow']) == (0.5, 1, 0)


def test_calibration_error_is_a_loop_over_bins():
  rng = np.random.default_rng(0)
  confidence = rng.uniform(0.1, 1, 500)
  confidence[:3] = [1.0, 14 / 15, 0.2]  # edges belong to the bin below them
  right = rng.uniform(size=500) < confidence**2
  expected = 0.0
  for low in range(15):
    inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
    if inside.any():
      expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
  assert classification.calibration_error(confidence, right) == pytest.approx(expected, rel=1e-9)
  assert classification.calibration_error(np.ones(4), np.array([True, True, False, False])) == 0.5


@pytest.mark.parametrize(('name', 'millions'), [('resnet20', 0.272), ('wrn16_4', 2.75)])
def test_residual_networks_have_the_papers_size(name, millions):
  """He et al. 2016, table 6: 0.27 M for CIFAR-10; Zagoruyko and Komodakis 2016, table 4: 2.8 M (2.75 M counted)."""
  network = NETWORKS[name].build(tiny_config('classify'), Spec((32, 32, 3), 10), None)['classifier']
  variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
  count = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
  assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_subsets_grow_with_k_and_folds_share_them_out():
  label = np.random.default_rng(0).integers(0, 4, 400)
  ten, none = subsets.choose(label, 10, seed=1)
  assert len(none) == 0
  np.testing.assert_array_equal(np.bincount(label[ten]), [10] * 4)
  assert set(ten) < set(subsets.choose(label, 30, seed=1)[0])
  assert set(ten) != set(subsets.choose(label, 10, seed=2)[0])
  folds = [subsets.choose(label, 10, seed=1, validation=2, fold=fold) for fold in range(5)]
  for kept, aside in folds:
    np.testing.assert_array_equal(np.bincount(label[aside]), [2] * 4)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, aside])), ten)
  np.testing.assert_array_equal(np.sort(np.concatenate([aside for _, aside in folds])), ten)


@pytest.mark.parametrize(
  ('settings', 'problem'),
  [
    ({'per_class': 401}, 'data.per_class = 401: class 0 has 400 images'),
    ({'per_class': 10, 'validation': 3, 'fold': 3}, 'data.validation = 3: class 0 has 10 images.*fold 3'),
    ({'per_class': 10, 'validation': 10}, 'data.validation = 10: class 0 has 10 images, too few to hold out 10'),
  ],
)
def test_too_few_images_are_named(data_dir, settings, problem):
  data = tiny_config('classify').data
  data.update(settings)
  with pytest.raises(InputError, match=problem):
    sources.load(data, data_dir, log=quiet)


def test_validation_and_no_test_split_leave_the_test_images_alone(data_dir):
  data = tiny_config('classify', data__per_class=8, data__test_split='nonsense', data__validation=5).data
  held_out = sources.load(data, data_dir, log=quiet)  # a split that is read must exist
  assert (len(held_out.train.arrays['label']), len(held_out.test.arrays['label'])) == (30, 50)
  data.update({'validation': 0, 'test_split': ''})
  alone = sources.load(data, data_dir, log=quiet)
  np.testing.assert_array_equal(alone.test.arrays['image'], alone.train.arrays['image'])


@pytest.mark.slow
def test_learns_digits_and_says_so(data_dir):
  config = tiny_config(
    'classify', data__per_class=0, train__steps=60, train__batch_size=64, model__width=8, optim__lr=3e-3
  )
  config.eval.metrics = ('accuracy',)
  experiment = prepare(config, data_dir, log=quiet)
  step, state = loop.make_step(experiment), experiment.init()
  device_data, batch = loop.make_batches(experiment)
  for i in range(60):
    state, _ = step(state, device_data, batch(i))
  scores = Evaluator(experiment)(state)
  assert scores['eval/accuracy'] > 0.6
  assert scores['eval/accuracy_images'] == 1000
  recalls = [value for name, value in scores.items() if name.startswith('eval/recall/')]
  assert np.mean(recalls) == pytest.approx(scores['eval/accuracy'])  # classes are of one size


def test_mixing_changes_labels_with_images(data_dir):
  config = tiny_config('classify', augment__rotate__p=0.0, augment__translate__p=0.0, augment__cutout__p=0.0)
  config.augment.mixup.p = 1.0
  experiment = prepare(config, data_dir, log=quiet)
  arrays = {name: array[:16] for name, array in experiment.dataset.train.arrays.items()}
  arrays['label'] = np.eye(10, dtype=np.float32)[arrays['label']]
  seen = Pipeline.from_config(config.augment)(jax.random.split(jax.random.key(0), 16), arrays)
  label = np.asarray(seen['label'])
  np.testing.assert_allclose(label.sum(-1), 1, rtol=1e-6)
  one_hot, images = arrays['label'], arrays['image'] / 255
  partner = np.arange(16) - np.arange(16) % 4 + (np.arange(16) + 1) % 4
  for i in range(16):
    if (one_hot[i] != one_hot[partner[i]]).any():
      share = label[i] @ one_hot[i]
      mixed = share * images[i] + (1 - share) * images[partner[i]]
      np.testing.assert_allclose(seen['image'][i], mixed, atol=1e-5)


def test_devices_must_share_whole_groups_of_a_mix():
  config = tiny_config('classify', train__batch_size=24, augment__cutmix__p=0.5)
  checks.check_devices(config, 2, 1)
  with pytest.raises(InputError, match=r'(?s)train.batch_size.*cutmix mixes groups of 4.*multiple of 16'):
    checks.check_devices(config, 4, 1)


@pytest.mark.slow
@pytest.mark.parametrize('steps_per_call', [1, 3])
def test_seeds_side_by_side_are_those_one_after_another(data_dir, steps_per_call):
  """Other initialisation, images, order and augmentation each, in one vmapped step and in steps of their own."""
  experiments = [
    prepare(tiny_config('classify', seed=seed, data__subset_seed=seed), data_dir, log=quiet)._replace(
      steps_per_call=steps_per_call
    )
    for seed in (0, 1)
  ]
  alone = []
  for experiment in experiments:
    step, (device_data, batch) = loop.make_step(experiment), loop.make_batches(experiment)
    state = experiment.init()
    for i in range(0, 6, steps_per_call):
      state, _ = step(state, device_data, batch(i))
    alone.append(state)
  step = loop.make_step(experiments[0], 2)
  device_data, batch, state = stack_experiments(experiments, [experiment.init() for experiment in experiments])
  for i in range(0, 6, steps_per_call):
    state, metrics = step(state, device_data, batch(i))
  assert metrics['loss'].shape[0] == 2
  for i, expected in enumerate(alone):
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected)):
      np.testing.assert_allclose(a[i], b, atol=1e-5)
