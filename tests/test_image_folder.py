"""Folders of one's own images: what is read, what is left out and said, how they are split and resized."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from genaug.data import builders, sources
from genaug.data import folder as folders
from genaug.errors import InputError
from tests.conftest import ROOT, data_config, noise, png, rows


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / 'mine'
  for name, count in (('b', 8), ('a', 4), ('c', 1)):
    (root / name).mkdir(parents=True)
    for i in range(count):
      (root / name / f'{i}.png').write_bytes(png(noise(12, 20, 3)))
  return root


def test_image_folder_is_split_within_every_class_and_deterministic(folder, tmp_path):
  data = sources.load(data_config('image_folder', folder=str(folder)), tmp_path / 'one')
  again = sources.load(data_config('image_folder', folder=str(folder)), tmp_path / 'two')
  assert data.class_names == ('a', 'b', 'c')
  train, test = (np.bincount(split.arrays['label'], minlength=3) for split in (data.train, data.test))
  np.testing.assert_array_equal(train + test, [4, 8, 1])
  assert (train > 0).all()
  np.testing.assert_array_equal(test > 0, [True, True, False])
  np.testing.assert_array_equal(data.test.arrays['image'], again.test.arrays['image'])
  crops = (Image.open(p).crop((4, 0, 16, 12)).resize((8, 8), Image.Resampling.BICUBIC) for p in folder.rglob('*.png'))
  assert rows(data.train) | rows(data.test) == {np.asarray(x).tobytes() for x in crops}


def test_changed_folder_is_prepared_anew(folder, tmp_path):
  lines = []
  load = lambda **keys: sources.load(
    data_config('image_folder', folder=str(folder), **keys), tmp_path / 'data', log=lines.append
  )
  first = load()
  load()
  assert len(lines) == 1
  (folder / 'a/0.png').write_bytes(png(noise(30, 30, 3)))
  assert rows(load().train) != rows(first.train) or rows(load().test) != rows(first.test)
  assert len(lines) == 2
  assert load(image_size=16, channels=1).image_shape == (16, 16, 1)
  assert len(lines) == 3


def test_flat_folder_is_one_class(tmp_path):
  (tmp_path / 'flat').mkdir()
  (tmp_path / 'flat/notes.txt').write_text('no image')
  for name in ('a.JPG', 'b.webp', 'c.bmp'):
    Image.fromarray(noise(9, 9, 3)).save(tmp_path / 'flat' / name)
  # The split is by content, here noise: so small a fraction is one image whatever it is.
  config = data_config('image_folder', folder=str(tmp_path / 'flat'), test_fraction=1e-9)
  data = sources.load(config, tmp_path / 'data')
  assert data.class_names == ('all',)
  assert (len(data.train.arrays['label']), len(data.test.arrays['label'])) == (2, 1)


@pytest.mark.parametrize(
  ('break_it', 'problem'),
  [
    (lambda root: [p.unlink() for p in root.rglob('*.png')], 'holds no images'),
    (lambda root: root.rename(root.with_name('gone')), 'is not a folder'),
    (lambda root: (root / 'b/3.png').write_bytes(b'broken'), 'b/3.png does not decode'),
    (lambda root: (root / 'b/3.png').write_bytes(png(noise(64, 64, 3))[:-200]), 'b/3.png does not decode'),
    (
      lambda root: [(root / 'a' / f'{i}.png').write_bytes(b'x') for i in range(3)],
      '3 of 13 files:\n  a/0.png does not',
    ),
    (lambda root: (root / 'loose.png').write_bytes(png(noise(9, 9, 3))), 'loose.png'),
  ],
  ids=['empty', 'missing', 'garbage', 'truncated', 'several', 'mixed'],
)
def test_bad_folder_is_named_and_nothing_is_left(folder, tmp_path, break_it, problem):
  break_it(folder)
  with pytest.raises(InputError, match=f'data.folder(?s:.*){problem}(?s:.*)remedy'):
    sources.load(data_config('image_folder', folder=str(folder)), tmp_path / 'data')
  assert not list((tmp_path / 'data').rglob('*.array_record*'))


def test_every_file_is_an_image_or_listed(folder, tmp_path):
  """What training and augment_folder see of a folder as people have them, and what they are told of the rest."""
  for name in ('b/x.TIF', 'b/y.gif', 'b/deep/er/z.jfif', 'a/0_mask.png'):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(9, 9, 3)).save(folder / name, 'PNG' if 'mask' in name else 'JPEG')  # the content decides
  (folder / 'b/notes.txt').write_text('no image')
  (folder / 'b/gone.png').symlink_to(tmp_path / 'nowhere.png')
  (folder / 'b/loop').symlink_to(folder)
  (folder / 'c/other').symlink_to(folder / 'b/deep')
  (folder / 'a/odd\udcff.png').write_bytes(png(noise(9, 9, 3)))
  (folder / '.hidden').mkdir()
  (folder / '.hidden/0.png').write_bytes(png(noise(9, 9, 3)))
  found = folders.find_images(folder)
  names = [path.relative_to(folder).as_posix() for paths in found.splits[''].values() for path in paths]
  assert len(names) == 13 + 4
  assert {'b/x.TIF', 'b/y.gif', 'b/deep/er/z.jfif', 'a/odd\udcff.png'} <= set(names)
  assert {path.relative_to(folder).as_posix(): why for path, why in found.skipped.items()} == {
    'b/notes.txt': 'not an image by its name',
    'b/gone.png': 'a link to nowhere',
    'a/0_mask.png': 'a mask',
  }
  items = folders.contents(folder).items
  assert sorted(item.name for item in items) == sorted(names)
  assert [item.mask.name for item in items if item.mask] == ['0_mask.png']
  said = []
  sources.load(data_config('image_folder', folder=str(folder)), tmp_path / 'data', log=said.append)
  assert any('left out (1' in line and '1 a link to nowhere, such as b/gone.png' in line for line in said)


def test_broken_files_are_left_out_on_request(folder, tmp_path):
  said = []
  (folder / 'b/3.png').write_bytes(b'broken')
  (folder / 'a/1.png').write_bytes(b'broken')
  settings = data_config('image_folder', folder=str(folder), skip_broken=True)
  data = sources.load(settings, tmp_path / 'data', log=said.append)
  assert len(data.train.arrays['label']) + len(data.test.arrays['label']) == 11
  assert any('left out\n  a/1.png does not decode' in line and '\n  b/3.png does not' in line for line in said)


def test_a_full_disk_is_called_that_and_leaves_nothing(folder, tmp_path, monkeypatch):
  def full(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  load = lambda: sources.load(data_config('image_folder', folder=str(folder)), tmp_path / 'data', log=lambda _: None)
  with monkeypatch.context() as patched:
    patched.setattr(os, 'pwrite', full)
    with pytest.raises(InputError, match=r'cannot be written: No space left(?s:.*)make room'):
      load()
  assert not [path for path in (tmp_path / 'data' / 'image_folder').rglob('*') if path.is_file()]
  assert len(load().train.arrays['label']) > 0


def test_old_copies_of_folders_are_removed_on_request(folder, tmp_path):
  for size in (8, 9):
    sources.load(data_config('image_folder', folder=str(folder), image_size=size), tmp_path, log=lambda _: None)
  assert sources.remove('image_folder', tmp_path).startswith('image_folder: 2 prepared copies removed')
  assert not (tmp_path / 'image_folder').exists()
  with pytest.raises(InputError, match='nothing of it is prepared'):
    sources.remove('image_folder', tmp_path)


def test_progress_is_lines_in_a_log_file(capsys):
  with builders.progress(total=40, desc='decoding') as bar:
    bar.start_t = bar.last_print_t = bar.start_t - 60  # a minute ago
    bar.update(10)
  lines = capsys.readouterr().err.replace('\r', '').splitlines()
  assert any('decoding' in line and '25%' in line and '10/40' in line for line in lines)


def test_two_folders_of_one_split_are_refused(tmp_path):
  for split in ('train', 'val', 'valid'):
    (tmp_path / split / 'a').mkdir(parents=True)
    (tmp_path / split / 'a' / '0.png').write_bytes(png(noise(9, 9, 3)))
  with pytest.raises(InputError, match='valid is a second folder of the validation split'):
    folders.find_images(tmp_path)


@pytest.mark.parametrize('held_out', ['test', 'val'])
def test_folders_of_splits_are_taken_as_they_are(tmp_path, held_out):
  said, pixels = [], noise(9, 9, 3)
  for split, count in (('train', 3), (held_out, 2)):
    for name in ('a', 'b'):
      for i in range(count):
        path = tmp_path / 'mine' / split / name / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels if (name, i) == ('a', 0) else noise(9, 9, 3)))
  data = sources.load(data_config('image_folder', folder=str(tmp_path / 'mine')), tmp_path / 'data', log=said.append)
  assert data.class_names == ('a', 'b')
  np.testing.assert_array_equal(np.bincount(data.train.arrays['label']), [3, 3])
  np.testing.assert_array_equal(np.bincount(data.test.arrays['label']), [2, 2])
  assert any(
    ('in several splits' in line and f'train/a/0.png = {held_out}/a/0.png' in line)
    or f'{held_out}/a/0.png = train/a/0.png' in line
    for line in said
  )


@pytest.mark.parametrize(('key', 'value'), [('folder', ''), ('channels', 4), ('image_size', 0), ('test_fraction', 1.0)])
def test_bad_folder_settings(folder, tmp_path, key, value):
  with pytest.raises(InputError, match=f'data.{key}'):
    sources.load(data_config('image_folder', **{'folder': str(folder), key: value}), tmp_path / 'data')


def test_two_processes_prepare_once(folder, tmp_path):
  program = (
    'import sys; from configs import base; from genaug.data import sources;'
    'c = base.get_config().data;'
    'c.update(dict(name="image_folder", folder=sys.argv[1], image_size=8, test_fraction=0.25));'
    'print(sum(len(split.arrays["label"]) for split in sources.load(c, sys.argv[2])[1:3]))'
  )
  argv = [sys.executable, '-c', program, str(folder), str(tmp_path / 'data')]
  running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
  output = ''.join(process.communicate()[0] for process in running)
  assert [process.returncode for process in running] == [0, 0]
  assert output.count('preparing image_folder') == 1
  assert output.count('13\n') == 2
