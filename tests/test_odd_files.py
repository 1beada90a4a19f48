"""Folders as people have them: every program sees the same images, and says what it leaves out."""

import errno
import io
import os
import pathlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from configs import base, headline
from genaug.data import folder as folders
from genaug.data import sources
from genaug.errors import InputError
from genaug.offline import augment_folder, reading
from genaug.study.headline import Table
from genaug.study.store import Store
from tests.conftest import data_config, noise, slow_but

SIDE = 12
CLASSES = ('ash', 'elm', 'fir', 'oak', 'yew')


def _encoded(kind: str, mode: str = 'RGB', **options) -> bytes:
  channels = {'L': (), 'P': (), 'RGB': (3,), 'RGBA': (4,), 'CMYK': (4,)}[mode]
  image = Image.frombytes(mode, (SIDE, SIDE), noise(SIDE, SIDE, *channels).tobytes())
  if mode == 'P':
    image.putpalette(noise(768).tobytes())
  file = io.BytesIO()
  image.save(file, kind, **options)
  return file.getvalue()


def _deep() -> bytes:
  file = io.BytesIO()
  Image.fromarray(noise(SIDE, SIDE).astype(np.uint16) * 16).save(file, 'PNG')
  return file.getvalue()


def _turned(orientation: int) -> bytes:
  exif = Image.Exif()
  exif[0x112] = orientation
  return _encoded('JPEG', exif=exif)


IMAGES = {  # name: content
  'suffix.jfif': lambda: _encoded('JPEG'),
  'UPPER.TIF': lambda: _encoded('TIFF'),
  'moving.gif': lambda: _encoded('GIF', 'P', save_all=True, append_images=[Image.new('P', (SIDE, SIDE))]),
  'content.jpg': lambda: _encoded('PNG'),
  'deep.png': _deep,
  'print.jpg': lambda: _encoded('JPEG', 'CMYK'),
  'clear.png': lambda: _encoded('PNG', 'RGBA'),
  'palette.png': lambda: _encoded('PNG', 'P', transparency=3),
  'grey.webp': lambda: _encoded('WEBP', 'L'),
  'sub/below/nested.png': lambda: _encoded('PNG'),
  'odd\udcff.png': lambda: _encoded('PNG'),
  'exif9.jpg': lambda: _turned(9),
  'upright.jpg': lambda: _turned(6),
}
HARMLESS = {'notes.txt': lambda: b'no image', 'Thumbs.db': lambda: b'x', '1_mask.png': lambda: _encoded('PNG', 'L')}
BROKEN = {
  'cut.jpg': lambda: _encoded('JPEG')[:-20],
  'empty.png': lambda: b'',
  'garbage.png': lambda: b'nothing',
  'gone_mask.png': lambda: _encoded('PNG', 'L'),
}


def _write(path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)


@pytest.fixture
def photos(tmp_path):
  root = tmp_path / 'photos'
  for name in CLASSES:
    for i in range(40):
      _write(root / name / f'{i}.{"jpg" if i % 2 else "png"}', _encoded('JPEG' if i % 2 else 'PNG'))
  for name, make in (IMAGES | HARMLESS | BROKEN).items():
    _write(root / 'ash' / name, make())
  _write(root / '.hidden' / 'x.png', _encoded('PNG'))
  _write(root / 'elm' / '.hidden.png', _encoded('PNG'))
  (root / 'elm' / 'gone.png').symlink_to(root / 'nowhere.png')
  (root / 'elm' / 'loop').symlink_to(root)
  (root / 'elm' / 'linked.png').symlink_to(root / 'fir' / '2.png')
  (root / 'elm' / 'folder.png').mkdir()
  os.mkfifo(root / 'elm' / 'pipe.png')
  return root


def _expected(root) -> list[str]:
  """Names of all images, without suffixes."""
  names = [f'{name}/{i}' for name in CLASSES for i in range(40)]
  names += [f'ash/{name.rpartition(".")[0]}' for name in IMAGES]
  return sorted([*names, 'elm/linked'])


LEFT_OUT = ('ash/cut.jpg', 'ash/empty.png', 'ash/garbage.png', 'ash/gone_mask.png', 'elm/gone.png', 'elm/pipe.png')


def test_all_programs_see_the_same_images_and_list_what_they_leave_out(photos, tmp_path):
  expected = _expected(photos)
  per_class = Counter(name.partition('/')[0] for name in expected)

  config = base.get_config()
  config.augment.hflip.p = 1.0
  job = augment_folder.Job(config.augment, photos, tmp_path / 'out', None, 1, 0, 'png')
  _, _, skipped = augment_folder.run(job)
  out = tmp_path / 'out'
  made = [path.relative_to(out).as_posix().removesuffix('_aug000.png') for path in out.rglob('*_aug000.png')]
  assert sorted(made) == expected
  assert sorted(path.relative_to(photos).as_posix() for path in folders.possible_images(skipped)) == sorted(LEFT_OUT)

  items, skipped = folders.contents(photos)
  shown = reading.examples(items, skipped, 1000, 0)
  assert sorted(name.rpartition('.')[0] for name in shown) == sorted(folders.printable(name) for name in expected)
  assert len(folders.possible_images(skipped)) == len(LEFT_OUT)

  said = []
  settings = data_config('image_folder', folder=str(photos))
  with pytest.raises(InputError, match='3 of 217 files') as refused:
    sources.load(settings, tmp_path / 'data', log=said.append)
  assert all(name in str(refused.value) for name in LEFT_OUT[:3])
  settings.skip_broken = True
  for _ in range(2):  # prepared, and as it was prepared
    said.clear()
    data = sources.load(settings, tmp_path / 'data', log=said.append)
    counts = sum(np.bincount(split.arrays['label'], minlength=5) for split in (data.train, data.test))
    assert dict(zip(data.class_names, counts.tolist())) == dict(per_class)
    text = '\n'.join(said)
    assert all(name in text or f' {why}, such as ' in text for name, why in _reasons(skipped, photos))
    assert 'the brightest value is' in text

  study = headline.get_config()
  study.data.skip_broken = True
  pool = base.get_config().data
  pool.update({'name': 'image_folder', 'folder': str(photos), 'image_size': 28, 'channels': 1, **study.data})
  said.clear()
  table = Table(study, pool, tmp_path / 'data', Store(tmp_path / 'stages'), log=said.append)
  assert table.sizes()['classes'] == list(CLASSES)
  assert any('ash/cut.jpg' in line for line in said)


def _reasons(skipped, root):
  return [(folders.printable(path.relative_to(root)), why) for path, why in skipped.items()]


@pytest.mark.parametrize('name', slow_but(['augment_folder'], ['preview', 'augment_folder']))
def test_the_exit_status_says_whether_images_were_left_out(name, tmp_path, forked):
  root = tmp_path / 'photos'
  for i in range(3):
    _write(root / f'{i}.png', _encoded('PNG'))
  _write(root / 'notes.txt', b'no image')
  flags = {
    'preview': [f'--images={root}', f'--output={tmp_path / "sheet.png"}'],
    'augment_folder': [f'--input={root}', f'--output={tmp_path / "out"}', '--copies=1'],
  }[name]
  run = lambda: forked(
    f'experiments.{name}', '--config=configs/gan_own_images.py', '--config.augment.hflip.p=1', *flags
  )
  done = run()
  assert (done.returncode, 'notes.txt' in done.stdout) == (0, True), done.stderr
  _write(root / 'bad.png', b'')
  done = run()
  assert done.returncode == 1
  assert 'bad.png does not decode' in done.stderr


def test_what_may_not_be_entered_is_listed(tmp_path, monkeypatch):
  _write(tmp_path / 'ash' / '1.png', _encoded('PNG'))
  _write(tmp_path / 'elm' / '2.png', _encoded('PNG'))
  exists = pathlib.Path.exists

  def refused(path):
    if path.name == '2.png':
      raise PermissionError(errno.EACCES, 'Permission denied')
    return exists(path)

  monkeypatch.setattr(pathlib.Path, 'exists', refused)  # root, as whom tests may run, may enter everything
  items, skipped = folders.contents(tmp_path)
  assert [item.name for item in items] == ['ash/1.png']
  assert folders.possible_images(skipped) == {tmp_path / 'elm' / '2.png': 'cannot be read (Permission denied)'}


def test_class_folders_of_any_name(tmp_path):
  for name in ('odd\udcff', 'two\nlines', '\u00e9t\u00e9'):
    for i in range(3):
      _write(tmp_path / 'in' / name / f'{i}.png', _encoded('PNG'))
  settings = data_config('image_folder', folder=str(tmp_path / 'in'))
  for _ in range(2):
    data = sources.load(settings, tmp_path / 'data', log=lambda _: None)
    assert data.class_names == ('odd\\xff', 'two\\nlines', '\u00e9t\u00e9')


def _loaded(settings, data_dir):
  try:
    return sources.load(settings, data_dir, log=lambda _: None), ''
  except InputError as error:
    return None, str(error)


MAKERS = {**IMAGES, **HARMLESS, **BROKEN}


@pytest.mark.parametrize('count', [12, pytest.param(500, marks=pytest.mark.slow)])
def test_random_folders_are_read_or_refused_by_name(count, tmp_path):
  contents = {name: make() for name, make in MAKERS.items()}
  outcomes = Counter()
  for seed in range(count):
    rng, root = np.random.default_rng(seed), tmp_path / f'{seed}'
    root.mkdir()
    places = ['', 'a', 'b', 'a/deep', 'train/a', 'train/b', 'test/a', 'val/b', 'masks/a']
    places = [places[i] for i in rng.choice(len(places), rng.integers(1, 5), replace=False)]
    for i in range(rng.integers(0, 12)):
      name = list(contents)[rng.integers(len(contents))]
      content = contents[name] if rng.random() < 0.9 else contents[name][: rng.integers(0, 200)]
      _write(
        root / places[rng.integers(len(places))] / f'{i if rng.random() < 0.7 else ""}{name.split("/")[-1]}', content
      )
    if rng.random() < 0.2:
      (root / 'a').mkdir(exist_ok=True)
      (root / 'a' / 'link').symlink_to([root, root.parent / 'nowhere', root / 'b'][rng.integers(3)])
    settings = data_config('image_folder', folder=str(root), skip_broken=bool(rng.random() < 0.7))
    data, problem = _loaded(settings, tmp_path / 'data')
    outcomes['refused' if problem else 'read'] += 1
    if problem:
      assert 'data.folder' in problem
      continue
    items, skipped = folders.contents(root)
    readable = reading.examples(items, skipped, 1000, 0)
    sizes = [len(split.arrays['label']) for split in (data.train, data.test)]
    has_validation = {path.name for path in root.iterdir()} >= {'val', 'test', 'train'}
    assert sum(sizes) == len(readable) or has_validation
    assert all(split.arrays['image'].dtype == np.uint8 for split in (data.train, data.test))
  assert outcomes['read'] > count / 8
  assert outcomes['refused'] > count / 8
