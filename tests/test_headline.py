"""The headline table: nothing leaks into it, nothing is computed twice, and what fails is shown."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
from PIL import Image

import genaug
from configs import base, headline
from experiments.report import tables
from genaug.data import sources
from genaug.data.dataset import Split
from genaug.errors import InputError
from genaug.models import Spec
from genaug.study import store
from genaug.study.headline import Table
from genaug.study.stages import Images, authentic_rows, top_confidence
from genaug.study.store import Store
from genaug.tasks.registry import TASKS
from genaug.training.fit import Fit
from tests.conftest import ROOT, environment, program
from tests.ray_cluster import two_nodes, wait

TINY = {
  'per_class': (4,),
  'seeds': 2,
  'lr': (1e-3, 2e-3),
  'folds': 2,
  'candidates': 6,
  'order': ('none', 'classic', 'mixup', 'vae_classic'),
  'classifier.train.steps': 3,
  'classifier.model.width': 4,
  'generators.vae.train.steps': 3,
  **{f'{part}.batch_size': 8 for part in ('classifier.train', 'classifier.eval')},
  **{f'generators.vae.{part}.batch_size': 8 for part in ('train', 'eval')},
  'generators.vae.model.width': 4,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Two classes of 9 training and 3 test images, no two of them alike."""
  directory, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
  for name, level in (('dark', 0), ('light', 155)):
    for i in range(12):
      path = directory / ('train' if i < 9 else 'test') / name / f'{i:02d}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      _save(path, rng.integers(level, level + 100, (28, 28)))
  return directory


def _save(path, pixels):
  Image.fromarray(pixels.astype(np.uint8)).save(path)


def _data(folder):
  data = base.get_config().data
  data.update({'name': 'image_folder', 'folder': str(folder), 'image_size': 28, 'channels': 1})
  return data


def _table(folder, tmp_path, advance=lambda work: None, **overrides):
  config = headline.get_config()
  with config.unlocked():
    config.generators = {'vae': config.generators.vae}
  config.update_from_flattened_dict(TINY | overrides)
  return Table(config, _data(folder), tmp_path / 'data', Store(tmp_path / 'stages'), advance, log=lambda _: None)


@pytest.fixture(scope='module')
def finished(folder, tmp_path_factory):
  directory = tmp_path_factory.mktemp('table')
  table = _table(folder, directory)
  return directory, table, table.run(save=lambda _: None)


def test_every_row_has_every_seed_and_its_differences(finished):
  rows = finished[2]['per_class']['4']['rows']
  assert list(rows) == list(TINY['order'])
  for row in rows.values():
    accuracy = [run['accuracy'] for run in row['runs']]
    none = [run['accuracy'] for run in rows['none']['runs']]
    assert len(accuracy) == 2
    assert row['accuracy']['mean'] == pytest.approx(np.mean(accuracy))
    assert row['to_none']['mean'] == pytest.approx(np.mean(np.subtract(accuracy, none)))
  assert finished[2]['images']['test'] == 6


def test_a_test_image_among_those_trained_on_is_refused(folder, tmp_path):
  shutil.copytree(folder, tmp_path / 'leaky')
  for name in ('dark', 'light'):
    for path in (tmp_path / 'leaky' / 'train' / name).iterdir():
      Image.open(tmp_path / 'leaky' / 'test' / name / '10.png').save(path.with_suffix('.tif'))
  with pytest.raises(InputError, match=r'trained on \d+ images of the test split(?s:.*)remove the copies'):
    _table(tmp_path / 'leaky', tmp_path).run(save=lambda _: None)


def test_nothing_is_trained_on_a_test_image_or_one_outside_the_k(finished, folder, tmp_path, monkeypatch):
  """All other images turn to noise: every trained stage must be found under the hash of what it has seen."""
  directory, table, before = finished
  used = [image for shots in table._shots.values() for image in shots.train.arrays['image']]
  used += [image for folds in table._folds.values() for fold in folds for image in fold.train.arrays['image']]
  used += [image for folds in table._folds.values() for fold in folds for image in fold.test.arrays['image']]
  allowed, poisoned, rng = {image.tobytes() for image in used}, tmp_path / 'images', np.random.default_rng(1)
  tested = sources.load(_data(folder), directory / 'data', log=lambda _: None).test.arrays['image']
  assert allowed.isdisjoint(image.tobytes() for image in tested)
  for cell, shots in table._shots.items():
    assert np.bincount(shots.train.arrays['label']).tolist() == [cell.per_class] * 2
  replaced = 0
  for path in sorted(folder.rglob('*.png')):
    pixels = np.asarray(Image.open(path))
    if pixels.tobytes() not in allowed:
      pixels, replaced = rng.integers(0, 255, pixels.shape), replaced + 1
    target = poisoned / path.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    _save(target, pixels)
  assert replaced >= before['images']['test']

  def train(*_):
    raise AssertionError('trained again')

  monkeypatch.setattr(Fit, '__call__', train)
  after = _table(poisoned, directory).run(save=lambda _: None)
  assert after['per_class']['4']['lr'] == before['per_class']['4']['lr']
  for row in after['per_class']['4']['rows'].values():
    assert not [run for run in row['runs'] if 'failed' in run]
  losses = lambda result: [
    r['cross_entropy_nats'] for row in result['per_class']['4']['rows'].values() for r in row['runs']
  ]
  assert losses(after) != losses(before)


def test_a_second_run_trains_only_what_changed(finished, folder, monkeypatch):
  directory, _, before = finished
  trained = []
  real = Fit.__call__
  monkeypatch.setattr(Fit, '__call__', lambda self, *args: trained.append(self._config.augment) or real(self, *args))
  again = _table(folder, directory).run(save=lambda _: None)
  assert again == before
  assert not trained
  row = headline.row('stronger', cutout={'p': 1.0, 'size': 0.9})
  changed = _table(folder, directory, **{'rows.mixup': row}).run(save=lambda _: None)
  assert [augment.cutout.size for augment in trained] == [0.9, 0.9]
  assert changed['per_class']['4']['rows']['classic'] == before['per_class']['4']['rows']['classic']


def test_what_will_be_trained_is_known_before(finished):
  counted = {name: (one.config.task, one.config.train.steps, n) for name, (one, n) in finished[1].trainings().items()}
  classifiers = {'none': 2 + 4, 'classic': 2 + 4, 'mixup': 2, 'vae_classic': 2}  # seeds, rates x folds
  filters = 2  # row `none`, once more
  assert finished[1].work == 3 * (filters + sum(classifiers.values()) + 2 * TASKS['vae'].cost)
  assert counted == {name: ('classify', 3, n) for name, n in classifiers.items()} | {'vae, generator': ('vae', 3, 2)}


@pytest.mark.slow
def test_a_dry_run_says_how_long_it_would_take(folder, tmp_path, forked):
  done = forked('experiments.reproduce', *_arguments(folder, tmp_path), f'--workdir={tmp_path / "run"}', '--dry-run')
  assert done.returncode == 0, done.stderr
  assert f'{folder.name}: k = 4, 2 cells\n  none: 8 x 3 steps of ' in done.stdout
  assert '  vae, generator: 2 x 3 steps of ' in done.stdout
  assert 'hours, without compilation and scores; dry run: nothing was trained' in done.stdout
  assert not list((tmp_path / 'run').glob('stages/*'))


def test_cells_made_one_by_one_are_those_of_the_whole_table(finished, monkeypatch):
  """As tasks of a cluster make them."""
  _, table, before = finished

  def train(*_):
    raise AssertionError('trained again')

  monkeypatch.setattr(Fit, '__call__', train)
  chosen = table.learning_rate(4)
  assert chosen['lr'] == before['per_class']['4']['lr']
  assert [(cell.per_class, cell.seed) for cell in table.cells] == [(4, 0), (4, 1)]
  for cell in table.cells:
    table.make(cell, chosen)


def test_what_fails_twice_is_shown_and_the_rest_goes_on(finished, folder):
  directory, _, before = finished
  result = _table(folder, directory, **{'generators.vae.optim.lr': 1e30}).run(save=lambda _: None)
  rows = result['per_class']['4']['rows']
  assert all('diverged' in run['failed'] for run in rows['vae_classic']['runs'])
  assert rows['mixup'] == before['per_class']['4']['rows']['mixup']
  shown = tables.headline(result | {'data': 'own', 'config': {'order': TINY['order']}})
  assert 'failed (2 of 2 failed)' in shown.splitlines()[-1]


def test_unlabelled_images_are_all_others_of_the_training_split(finished, folder):
  directory, table, _ = finished
  settings = {'order': ('none', 'fixmatch'), 'unlabelled.data.unlabelled': 2, 'unlabelled.train.steps': 2}
  settings |= {'unlabelled.model.width': 4, 'unlabelled.train.batch_size': 4, 'unlabelled.strong.rand_augment.p': 0.0}
  wider = _table(folder, directory, **settings)
  cell = next(iter(wider._shots))
  assert wider._images('none', cell).train.arrays.keys() == {'image', 'label'}
  train = wider._images('fixmatch', cell).train.arrays
  known = {image.tobytes() for image in wider._shots[cell].train.arrays['image']}
  assert {image.tobytes() for image in train['image']} <= known
  unlabelled = [image.tobytes() for image in train['unlabelled'].reshape(-1, 28, 28, 1)]
  assert len(set(unlabelled)) == 10  # two classes of nine images, of which four have labels
  assert known.isdisjoint(unlabelled)
  assert {image.tobytes() for image in table._test_images.split.arrays['image']}.isdisjoint(unlabelled)
  runs = wider.run(save=lambda _: None)['per_class']['4']['rows']['fixmatch']['runs']
  assert all(0 <= run['accuracy'] <= 1 for run in runs)
  everything = _table(folder, directory, **settings, per_class=(9,))
  assert everything._images('fixmatch', next(iter(everything._shots))) == '0 training images are left without a label'


@pytest.mark.slow
def test_a_row_and_a_generator_of_one_name_and_learning_rate_are_two_programs(finished, folder):
  settings = {'order': ('none', 'vae'), 'lr': (5e-4,), 'generators.vae.optim.lr': 5e-4}
  result = _table(folder, finished[0], **settings).run(save=lambda _: None)
  assert not [run for run in result['per_class']['4']['rows']['vae']['runs'] if 'failed' in run]


def test_generators_that_no_row_uses_are_not_trained(finished, folder):
  config = {'order': ('none', 'mixup')}
  assert finished[1].trainings().keys() - _table(folder, finished[0], **config).trainings().keys() == {
    'vae, generator',
    'vae_classic',
  }


def test_too_few_images_for_the_folds_are_refused(folder, tmp_path):
  with pytest.raises(InputError, match=r'folds = 2: 1 images of a class cannot be parted so'):
    _table(folder, tmp_path, per_class=(1,))
  assert len(_table(folder, tmp_path, per_class=(1,), lr=(1e-3,)).cells) == 2


def test_full_takes_overrides_and_no_other_config(forked, folder, tmp_path):
  where = f'--images={folder}', f'--workdir={tmp_path / "run"}', f'--data_dir={tmp_path / "data"}'
  done = forked('experiments.reproduce', 'headline', '--full', '--config.per_class=(2,)', *where)
  assert done.returncode == 2
  assert 'folds = 3: 2 images of a class cannot be parted so' in done.stderr
  done = forked('experiments.reproduce', 'headline', '--quick', '--config=configs/headline.py:full', *where)
  assert done.returncode == 2
  assert '--quick = True: says the same as --config' in done.stderr


def test_wrong_rows_are_refused_before_anything_is_trained(folder, tmp_path):
  with pytest.raises(InputError, match=r'augment.rotate.*-5'):
    _table(folder, tmp_path, **{'rows.classic.augment.rotate.degrees': -5.0})


def test_new_code_redoes_the_stages_that_use_it_and_no_others(tmp_path, monkeypatch):
  """A copy of the package, with a line more in one of its files."""
  shutil.copytree(ROOT / 'genaug', tmp_path / 'genaug')
  monkeypatch.setattr(genaug, '__file__', str(tmp_path / 'genaug' / '__init__.py'))
  config = headline.get_config()
  configs = {'classifier': config.classifier, 'vae': config.generators.vae, 'gan': config.generators.gan}

  def keys():
    store._digest.cache_clear()
    spec = Spec((28, 28, 1), 10)
    return {name: Store(tmp_path / 's').key('trained', store.code_of(one, spec)) for name, one in configs.items()}

  (tmp_path / 's').mkdir()
  changes = {
    'models/vae.py': {'vae'},
    'losses/penalties.py': {'gan'},
    'tasks/registry.py': set(),
    'models/registry.py': set(),
    'metrics/likelihood.py': set(),
    'tasks/updates.py': {'classifier', 'vae', 'gan'},
    'augment/color.py': {'classifier', 'vae', 'gan'},
  }
  before = keys()
  for file, expected in changes.items():
    path = tmp_path / 'genaug' / file
    path.write_text(path.read_text() + '\n# a comment changes nothing\n')
    assert keys() == before
    path.write_text(path.read_text() + '\nMORE = 1\n')
    after = keys()
    assert {name for name in after if after[name] != before[name]} == expected, file
    before = after
  monkeypatch.undo()
  store._digest.cache_clear()


def test_the_images_of_top_confidence_of_each_class_are_kept():
  confidence, label = np.array([0.1, 0.9, 0.5, 0.8, 0.7, 0.2]), np.array([0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(top_confidence(confidence, label, 0.67), [1, 2, 3, 4])
  np.testing.assert_array_equal(top_confidence(confidence, label, 0.01), [1, 3])


def test_generated_copies_of_training_images_are_left_out(finished):
  _, table, _ = finished
  (shots, *_), config = table._shots.values(), table._generator('vae')
  real, label = shots.train.arrays['image'], shots.train.arrays['label']
  blurred = np.stack(
    [np.asarray(Image.fromarray(image[..., 0]).resize((4, 4)).resize((28, 28)))[..., None] for image in real]
  )
  made = Split({'image': np.concatenate([real, blurred]), 'label': np.concatenate([label, label])})
  kept = table._stages.authentic(config.eval, Images('made', made), shots.train).split
  assert set(kept.arrays['label']) == {0, 1}
  assert {image.tobytes() for image in kept.arrays['image']}.isdisjoint(image.tobytes() for image in real)
  assert np.diff(np.bincount(kept.arrays['label'])) == 0
  margin, label = np.array([0.5, -1.0, 0.0, 0.1, 0.3]), np.array([0, 0, 1, 1, 1])
  np.testing.assert_array_equal(authentic_rows(margin, label), [0, 3])
  with pytest.raises(ValueError, match='of a class are copies'):
    authentic_rows(margin[:3], label[:3])


def test_rows_without_copies_are_of_generated_images(folder, tmp_path):
  """Work is counted once for a generator of two rows, in a second run as in the first."""
  overrides = {'order': ('none', 'vae', 'vae_classic'), 'rows.vae_classic.authentic': True, 'lr': (1e-3,)}
  for _ in range(2):
    done = []
    table = _table(folder, tmp_path, advance=done.append, candidates=12, **overrides)
    result = table.run(save=lambda _: None)
    assert sum(done) == table.work
    assert all('accuracy' in run for run in result['per_class']['4']['rows']['vae_classic']['runs'])


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('lr', ()),
    ('order', ('none', 'stronger')),
    ('rows.vae_classic.share', 0.0),
    ('rows.vae_classic.generator', 'gan'),
    ('rows.mixup.authentic', True),  # there are no generated images in that row
    ('generators.vae.model.conditional', False),
  ],
)
def test_what_no_table_can_be_of_is_refused_by_key(folder, tmp_path, key, value):
  with pytest.raises(InputError, match=re.escape(key)):
    _table(folder, tmp_path, **{key: value})


def _arguments(folder, tmp_path):
  flags = [f'--config.{key}={value}' for key, value in TINY.items() if not key.startswith('generators')]
  flags += [f'--config.generators.{name}.train.steps=3' for name in ('vae', 'gan', 'gan_diffaug')]
  return ['headline', f'--images={folder}', '--image_size=28', f'--data_dir={tmp_path / "data"}', *flags]


@pytest.mark.slow
def test_a_killed_table_goes_on_where_it_was(folder, tmp_path):
  arguments = _arguments(folder, tmp_path)
  command = [sys.executable, '-m', 'experiments.reproduce', *arguments, f'--workdir={tmp_path / "killed"}']
  killed = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  end = time.monotonic() + 200
  while not list(tmp_path.glob('killed/stages/tested-*.msgpack')):
    assert killed.poll() is None
    assert time.monotonic() < end
    time.sleep(0.1)
  killed.send_signal(signal.SIGKILL)
  killed.communicate()
  before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'killed' / 'stages').glob('*.msgpack')}
  results = []
  for name in ('killed', 'whole'):
    done = program('experiments.reproduce', *arguments, f'--workdir={tmp_path / name}')
    assert done.returncode == 0, done.stderr
    results.append(json.loads((tmp_path / name / f'headline_{folder.name}.json').read_text())['per_class'])
  assert results[0] == results[1]
  assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_makes_the_same_table(folder, tmp_path):
  arguments, stages = _arguments(folder, tmp_path), tmp_path / 'cluster' / 'stages'
  arguments += ['--config.seeds=4', '--config.cpus_per_cell=1']
  with tempfile.TemporaryDirectory(prefix='ray-', ignore_cleanup_errors=True) as ray, two_nodes(ray) as nodes:
    places = f'--address={nodes.address}', f'--workdir={tmp_path / "cluster"}'
    table = nodes.run(sys.executable, '-m', 'experiments.reproduce', *arguments, *places)
    wait(lambda: list(stages.glob('tested-*.msgpack')), table)
    os.killpg(nodes.other.pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in stages.glob('*.msgpack')}
    assert table.wait(timeout=250) == 0
  assert before.items() <= {path: path.stat().st_mtime_ns for path in stages.glob('*.msgpack')}.items()
  # Sums of floating point are of as many parts as there are threads.
  alone = program('experiments.reproduce', *arguments, f'--workdir={tmp_path / "alone"}', env=environment(NPROC='1'))
  assert alone.returncode == 0, alone.stderr
  results = [tmp_path / name / f'headline_{folder.name}.json' for name in ('cluster', 'alone')]
  on_cluster, here = (json.loads(path.read_text())['per_class'] for path in results)
  assert on_cluster == here


def test_classes_too_small_for_the_folds_are_named_and_left_out_on_request(tmp_path):
  rng, folder = np.random.default_rng(0), tmp_path / 'images'
  for name, count in (('dark', 12), ('lone', 1), ('light', 12), ('pair', 2)):
    (folder / name).mkdir(parents=True)
    for i in range(count):
      _save(folder / name / f'{i:02d}.png', rng.integers(0, 255, (28, 28)))
  with pytest.raises(InputError, match=r"class 'lone' has 1, 'pair' has 1(?s:.*)at least 2(?s:.*)skip_small_classes"):
    _table(folder, tmp_path)
  table = _table(folder, tmp_path, skip_small_classes=True)
  split = table._test_images.split
  assert table._class_names == ('dark', 'light')
  assert set(split.arrays['label']) == {0, 1}
