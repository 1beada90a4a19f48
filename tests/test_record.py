"""A workdir knows the data it was trained on; the split knows each file, and copies of one image stay together."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from genaug.data import folder as folders
from genaug.data import image_folder, sources, subsets
from genaug.errors import InputError
from genaug.training import workdir
from genaug.training.checkpoint import Checkpoints
from genaug.training.experiment import assemble, load_trained, prepare
from tests.conftest import save_untrained_run, tiny_config

CLASSES = ('ash', 'elm', 'oak')


def _save(path, seed):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
  for number, name in enumerate(CLASSES):
    for i in range(8):
      _save(tmp_path / 'photos' / name / f'{i}.png', 100 * number + i)
  return tmp_path / 'photos'


def _config(folder, **overrides):
  keys = {
    'data__name': 'image_folder',
    'data__folder': str(folder),
    'data__image_size': 28,
    'data__channels': 1,
    'data__per_class': 0,
  }
  return tiny_config('classify', **keys, **overrides)


def _load(folder, log=lambda _: None):
  return sources.load(_config(folder).data, folder.parent / 'prepared', log=log)


def _permute(folder):
  """The names of two classes change places."""
  (folder / 'ash').rename(folder / 'x')
  (folder / 'elm').rename(folder / 'ash')
  (folder / 'x').rename(folder / 'elm')


CHANGES = {
  'rename': (lambda folder: (folder / 'ash').rename(folder / 'yew'), "class 'ash' is gone; class 'yew' is new"),
  'move': (lambda folder: (folder / 'ash/3.png').rename(folder / 'elm/30.png'), "class 'ash' has"),
  'add a file': (lambda folder: _save(folder / 'oak/new.png', 999), "class 'oak' has"),
  'add a class': (lambda folder: _save(folder / 'fir/0.png', 999), "class 'fir' is new"),
  'remove a file': (lambda folder: (folder / 'oak/3.png').unlink(), "class 'oak' has"),
  'remove a class': (lambda folder: shutil.rmtree(folder / 'elm'), "class 'elm' is gone"),
  'permute': (_permute, "class 'ash' has"),
  'edit a file': (lambda folder: _save(folder / 'oak/3.png', 7), "class 'oak'"),
  'replace contents': (lambda folder: [_save(path, 5) for path in (folder / 'elm').iterdir()], "class 'elm'"),
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_run_does_not_go_on_with_other_data(folder, change):
  directory = folder.parent / 'run'
  directory.mkdir()
  workdir.claim(directory, _config(folder), _load(folder))
  workdir.claim(directory, _config(folder), _load(folder))
  saved = {path.name: path.read_bytes() for path in directory.iterdir()}
  alter, words = CHANGES[change]
  alter(folder)
  with pytest.raises(InputError, match='is not what this run was trained on') as refused:
    workdir.claim(directory, _config(folder), _load(folder))
  assert words in str(refused.value)
  assert {path.name: path.read_bytes() for path in directory.iterdir()} == saved


def test_what_a_run_began_with_is_kept_where_it_goes_on_elsewhere(folder, monkeypatch):
  directory = folder.parent / 'run'
  directory.mkdir()
  for commit in ('a', 'b', 'a', 'c', 'c'):
    monkeypatch.setattr(workdir, 'environment', lambda commit=commit: {'git_commit': commit})
    workdir.claim(directory, _config(folder), _load(folder))
  kept = {path.name: json.loads(path.read_text())['git_commit'] for path in directory.glob('environment*')}
  assert kept == {'environment.json': 'a', 'environment_1.json': 'b', 'environment_2.json': 'c'}


@pytest.fixture
def finished(folder):
  """A workdir with a checkpoint of an untrained classifier."""
  experiment = prepare(_config(folder), folder.parent / 'prepared', log=lambda _: None, training=False)
  return save_untrained_run(folder.parent / 'run', experiment, experiment.init())


def test_scores_name_other_images_and_are_refused_other_classes(folder, finished):
  said = []
  load = lambda **keys: load_trained(finished, folder.parent / 'prepared', 'latest', said.append, **keys)
  load()
  assert not any('trained on' in line for line in said)
  (folder / 'oak/3.png').unlink()
  load()
  assert any("class 'oak' has" in line and 'scores are of what is there now' in line for line in said)
  (folder / 'ash').rename(folder / 'yew')
  with pytest.raises(InputError, match=r"other classes than this run was trained on \(class 'ash' is gone"):
    load()
  (folder / 'yew').rename(folder / 'ash')
  shutil.rmtree(folder)
  said.clear()
  experiment, _ = load()  # from what was prepared of the folder
  assert len(experiment.dataset.test.arrays['label']) > 0
  assert not any('trained on' in line for line in said)
  shutil.rmtree(folder.parent / 'prepared')
  with pytest.raises(InputError, match='is not a folder'):
    load()
  experiment, state = load(images=False)
  assert experiment.spec == ((28, 28, 1), 3, 0)
  assert int(state.step) == 0


def test_a_checkpoint_of_other_shapes_is_refused_by_the_name_of_the_leaf(folder, finished):
  experiment = prepare(_config(folder), folder.parent / 'prepared', log=lambda _: None, training=False)
  four = experiment.dataset._replace(class_names=(*CLASSES, 'yew'))
  other = assemble(experiment.config, four)
  checkpoints = Checkpoints(finished, 1, None, 'min')
  with pytest.raises(InputError, match=r'params\.classifier\.\S+ of its checkpoint of step 0 is float32\[\S*3\], but'):
    checkpoints.restore(jax.eval_shape(other.init), warn=pytest.fail)
  assert checkpoints.steps() == [0]  # it is whole, and stays
  checkpoints.close()


def test_adding_and_removing_files_moves_no_other_file_across_the_split(folder):
  sides = lambda data: [{x.tobytes() for x in split.arrays['image']} for split in (data.train, data.test)]
  for number, name in enumerate(CLASSES):  # so many that every class has test images by itself
    for i in range(8, 30):
      _save(folder / name / f'{i}.png', 100 * number + i)
  train, test = sides(_load(folder))
  for seed in range(20):
    _save(folder / 'ash' / f'new{seed}.png', 2000 + seed)
  (folder / 'ash/0.png').rename(folder / 'ash/renamed.png')
  now_train, now_test = sides(_load(folder))
  assert train <= now_train
  assert test <= now_test
  (folder / 'oak/5.png').unlink()
  removed_train, removed_test = sides(_load(folder))
  assert len(removed_train | removed_test) == len(now_train | now_test) - 1
  assert removed_train <= now_train
  assert removed_test <= now_test


def test_about_the_fraction_is_held_out_and_every_class_has_both_sides():
  labels = np.repeat(np.arange(200), 20)
  identities = [str(i).encode() for i in range(len(labels))]
  test = subsets.split_by_identity(identities, labels, 0.2)
  assert abs(test.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(labels)) + 0.01
  per_class = test.reshape(200, 20).sum(1)
  assert per_class.min() >= 1
  assert per_class.max() < 20


def test_copies_of_one_image_are_on_one_side(folder):
  """Byte-identical files, and what augment_folder makes of an original: beside it, or in a folder of its own."""
  said, rng = [], np.random.default_rng(0)
  shutil.copy(folder / 'ash/1.png', folder / 'ash/again.png')
  for name in CLASSES:
    for i in range(8):
      for copy in range(4):
        _save(folder.parent / 'copies' / name / f'{i}_aug{copy:03d}.png', int(rng.integers(1 << 30)))
  (folder.parent / 'copies/augment.json').write_text('{}')
  data = _load(folder, log=said.append)
  for split in (data.train, data.test):
    held = [x.tobytes() for x in split.arrays['image']]
    if (np.asarray(Image.open(folder / 'ash/1.png').resize((28, 28), Image.Resampling.BICUBIC)).tobytes()) in held:
      assert len(held) == len(set(held)) + 1
  assert 'copies of one image are kept on one side of the split: ash/1.png = ash/again.png' in said

  copies = folders.find_images(folder.parent / 'copies').splits['']
  paths = [path for name in CLASSES for path in copies[name]]
  originals = [folders.content_identity(path, path.read_bytes()) for path in paths]
  assert len(set(originals)) == 24
  test = subsets.split_by_identity(originals, np.repeat(np.arange(3), 32), 0.3)
  assert not {originals[i] for i in np.flatnonzero(test)} & {originals[i] for i in np.flatnonzero(~test)}

  shutil.copy(folder.parent / 'copies/elm/2_aug001.png', folder / 'elm/2_aug001.png')
  originals = [
    folders.content_identity(path, path.read_bytes()) for path in (folder / 'elm/2_aug001.png', folder / 'elm/2.png')
  ]
  assert originals[0] == originals[1]


def test_a_copy_of_one_of_two_files_that_show_the_same_is_of_the_same_image():
  png, tiff, copy_of_tiff, other = (b'b', b'pixels'), (b'c', b'pixels'), (b'c', b'augmented'), (b'a', b'else')
  decoded = [image_folder._Decoded(*one) for one in (copy_of_tiff, png, other, tiff)]
  assert image_folder._identities(decoded) == [b'b', b'b', b'a', b'b']


def test_masks_beside_images_are_no_images(folder):
  _save(folder / 'ash/0_mask.png', 1)
  _save(folder / 'elm/gas_mask.png', 2)
  found, skipped = folders.find_images(folder)
  assert [len(images) for images in found[''].values()] == [8, 8, 8]
  assert skipped[folder / 'elm/gas_mask.png'] == 'a mask without an image'
  (folder / 'ash/0_mask.png').unlink()  # where no image has a mask, it is a picture by that name
  assert [len(images) for images in folders.find_images(folder).splits[''].values()] == [8, 9, 8]


@pytest.mark.parametrize(
  ('image', 'mask'),
  [
    ('ash/a.jpg', 'ash/a_mask.PNG'),
    ('ash/a.jpg', 'ash/masks/a.png'),
    ('ash/a.jpg', 'masks/ash/a.png'),
    ('images/ash/a.jpg', 'masks/ash/a_mask.tif'),
    ('images/a.jpg', 'masks/a.png'),
  ],
)
def test_masks_lie_beside_images_or_in_a_folder_of_their_own(image, mask, tmp_path):
  for name in (image, mask, 'fir/1.jpg', 'masks/1.jpg'):  # the last one is of a class of its own
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
  items, skipped = folders.contents(tmp_path)
  assert {item.name: item.mask for item in items if item.mask} == {image: tmp_path / mask}
  assert skipped == {tmp_path / mask: folders.IS_A_MASK}
  assert len(items) == 3
