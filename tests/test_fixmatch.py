"""FixMatch: which images it sees without their labels, what it takes for a label, and that this helps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.data import sources
from genaug.data.dataset import Split, with_unlabelled
from genaug.errors import InputError
from genaug.models import Spec
from genaug.tasks.fixmatch import pseudo_labels
from genaug.tasks.registry import TASKS
from genaug.training import checks
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import prepare
from genaug.training.fit import Fit
from tests.conftest import UNAUGMENTED, rows, tiny_config


def _images(array):
  return {image.tobytes() for image in array.reshape(-1, *array.shape[-3:])}


@pytest.mark.parametrize('validation', [0, 2])
def test_unlabelled_images_are_all_others_of_the_training_split(validation, data_dir):
  config = tiny_config('fixmatch', data__unlabelled=3, data__validation=validation)
  found = sources.load(config.data, data_dir, log=lambda _: None)
  plain = config.data.copy_and_resolve_references()
  plain.update({'per_class': 0, 'unlabelled': 0, 'validation': 0})
  everything = sources.load(plain, data_dir, log=lambda _: None)
  unlabelled, labelled = _images(found.train.arrays['unlabelled']), rows(found.train)
  assert len(labelled) == 10 * (10 - validation)
  assert not unlabelled & labelled
  assert not unlabelled & rows(found.test)
  assert not unlabelled & rows(everything.test)
  assert unlabelled < rows(everything.train)
  assert len(unlabelled) in (3900, 3899, 3898)  # of 4,000 that are not all different
  counts = np.unique(found.train.arrays['label'], return_counts=True)[1]
  assert counts.min() == counts.max()
  assert f'{10 * (10 - validation)} labelled, {len(unlabelled):,} unlabelled' in found.summary


def test_without_images_that_are_left_there_is_an_error(data_dir):
  with pytest.raises(InputError, match=r'data.unlabelled = 2: 0 images are left unlabelled'):
    sources.load(tiny_config('fixmatch', data__per_class=0).data, data_dir, log=lambda _: None)


@pytest.mark.parametrize('count', [7, 3, 2])
def test_rows_have_every_image_and_every_label_as_often(count):
  labelled = Split({'image': np.arange(2, dtype=np.uint8).reshape(2, 1, 1, 1), 'label': np.arange(2, dtype=np.int32)})
  images = np.arange(10, 10 + count, dtype=np.uint8).reshape(count, 1, 1, 1)
  found = with_unlabelled(labelled, images, 2, seed=0).arrays
  assert found['label'].tolist() == found['image'].ravel().tolist() == [0, 1] * (2 if count > 4 else 1)
  assert found['unlabelled'].shape == (len(found['label']), 2, 1, 1, 1)
  assert set(found['unlabelled'].ravel()) == set(range(10, 10 + count))
  assert np.bincount(found['unlabelled'].ravel())[10:].max() <= 2


def test_what_the_network_is_sure_of_is_a_label():
  logits = jnp.array([[4.0, 0.0, 0.0], [1.0, 1.1, 0.9], [0.0, 0.0, 9.0]])
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  label, sure = pseudo_labels(logits, 0.95)
  assert label.tolist() == [0, 1, 2]
  assert sure.tolist() == (probabilities.max(1) >= 0.95).tolist() == [True, False, True]
  assert not jax.grad(lambda logits: pseudo_labels(logits, 0.5)[1].sum())(logits).any()


@pytest.mark.parametrize(('threshold', 'share'), [(0.0, 1), (1.0, 0)])
def test_only_sure_guesses_count(threshold, share):
  task = TASKS['fixmatch'].build(
    tiny_config('fixmatch', **UNAUGMENTED, fixmatch__threshold=threshold, fixmatch__weight=0.5), Spec((8, 8, 1), 3)
  )
  rng = np.random.default_rng(0)
  batch = {
    'image': rng.integers(0, 256, (4, 8, 8, 1), np.uint8),
    'label': np.arange(4) % 3,
    'unlabelled': rng.integers(0, 256, (4, 2, 8, 8, 1), np.uint8),
  }
  state = task.init(jax.random.key(0))
  _, metrics = jax.jit(task.train_step)(state, batch, jax.random.split(jax.random.key(1), 4))
  assert metrics['sure'] == share
  assert (metrics['unlabelled_loss'] > 0) == bool(share)
  np.testing.assert_allclose(metrics['loss'], metrics['labelled_loss'] + 0.5 * metrics['unlabelled_loss'], rtol=1e-6)


@pytest.mark.slow
def test_unlabelled_images_help(data_dir):
  accuracy = {}
  for weight in (0.0, 1.0):
    settings = {'model__width': 16, 'fixmatch__weight': weight, 'fixmatch__ema': 0.98, 'fixmatch__threshold': 0.9}
    config = tiny_config(
      'fixmatch',
      **settings,
      augment__rotate__p=0.0,
      augment__cutout__p=0.0,
      train__steps=600,
      eval__metrics=('accuracy',),
    )
    experiment = prepare(config, data_dir, lambda _: None)
    (state,) = Fit(experiment, 1)([experiment], lambda steps: None)
    accuracy[weight] = Evaluator(experiment)(state)['eval/accuracy']
  assert accuracy[1.0] > accuracy[0.0] + 0.005


def test_policies_that_do_not_fit_are_refused():
  with pytest.raises(InputError, match=r'strong.mixup.p = 0.5: mixes images'):
    checks.check_config(tiny_config('fixmatch', strong__mixup__p=0.5))
  with pytest.raises(InputError, match=r'(?s)strong = .*rotate'):
    checks.check_config(tiny_config('fixmatch', strong__rotate__p=1.5))
