"""preview and augment_folder: what they show, what they write, and what they never touch."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from configs import base
from genaug.augment import OpParams
from genaug.augment.registry import OPS
from genaug.data import folder, image_file
from genaug.errors import InputError
from genaug.offline import augment_folder, augment_text, contact_sheet

WIDTH, HEIGHT = 20, 16


def _picture(mode: str, values: int = 256) -> Image.Image:
  """Noise; palettes and masks have few values."""
  channels = {'L': 1, 'P': 1, 'LA': 2, 'I;16': 2, 'RGB': 3, 'RGBA': 4, 'CMYK': 4}[mode]
  pixels = np.random.default_rng(values).integers(0, values, WIDTH * HEIGHT * channels, np.uint8)
  image = Image.frombytes(mode, (WIDTH, HEIGHT), pixels.tobytes())
  if mode == 'P':
    image.putpalette([i % 256 for i in range(3 * values)])
  return image


def _save(image: Image.Image, path: pathlib.Path, **options) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  image.save(path, **options)


@pytest.fixture
def photos(tmp_path):
  """Two classes of one image each, masks beside them."""
  root = tmp_path / 'photos'
  for name in ('cat/tom', 'dog/rex'):
    _save(_picture('RGB'), root / f'{name}.png')
    _save(_picture('L', 4), root / f'{name}_mask.png')
  return root


def _job(root: pathlib.Path, output: str = 'out', copies: int = 1, **changes) -> augment_folder.Job:
  config = base.get_config()
  augment = {'rotate.p': 1.0} | changes.pop('augment', {})
  config.augment.update_from_flattened_dict(augment)
  job = augment_folder.Job(config.augment, root, root.parent / output, None, copies, 0, 'png')
  return job._replace(**changes)


def _files(root: pathlib.Path) -> dict[str, bytes]:
  return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


# Files


@pytest.mark.parametrize(
  ('mode', 'suffix', 'comes_as'),
  [
    ('L', '.png', 'L'), ('LA', '.png', 'LA'), ('RGB', '.png', 'RGB'), ('RGBA', '.png', 'RGBA'), ('P', '.png', 'RGB'),
    ('I;16', '.png', 'L'), ('CMYK', '.jpg', 'RGB'),
  ],
)  # fmt: skip
def test_images_of_any_mode_are_read_as_8_bit_and_written_without_loss(mode, suffix, comes_as, tmp_path):
  image, path = _picture(mode), tmp_path / f'a{suffix}'
  image.save(path)
  read = image_file.read_image(path)
  assert read.mode == comes_as
  assert image_file.read_header(path) == (HEIGHT, WIDTH, comes_as, mode == 'I;16')
  assert read.pixels.shape == (HEIGHT, WIDTH, image_file.MODES[comes_as])
  if mode == 'I;16':
    np.testing.assert_allclose(read.pixels[..., 0], np.asarray(image) / 257, atol=0.501)
  elif suffix == '.png':
    np.testing.assert_array_equal(read.pixels, np.asarray(image.convert(comes_as)).reshape(read.pixels.shape))
  image_file.write(tmp_path / 'deep' / 'b.png', read)
  np.testing.assert_array_equal(image_file.read_image(tmp_path / 'deep' / 'b.png').pixels, read.pixels)
  assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['b.png']


@pytest.mark.parametrize('mode', ['L', 'P', 'I;16', 'RGB'])
def test_masks_of_any_mode_come_back_as_they_were(mode, tmp_path):
  image = _picture(mode, 4)
  image.save(tmp_path / 'a.png')
  image_file.write(tmp_path / 'b.png', image_file.read_mask(tmp_path / 'a.png'))
  with Image.open(tmp_path / 'b.png') as again:
    assert (again.mode, again.getpalette()) == (image.mode, image.getpalette())
    np.testing.assert_array_equal(np.asarray(again), np.asarray(image))


# augment_folder


def test_copies_have_names_classes_and_masks_of_the_images_labels(photos):
  before = _files(photos)
  written, there, skipped = augment_folder.run(_job(photos, copies=2))
  assert (written, there) == (4, 0)
  assert set(skipped.values()) == {folder.IS_A_MASK}
  assert _files(photos) == before
  output = photos.parent / 'out'
  names = {f'{name}_aug00{i}' for name in ('cat/tom', 'dog/rex') for i in range(2)}
  masks = {f'{name}_mask' for name in names}
  assert _files(output).keys() == {f'{name}.png' for name in names | masks} | {'augment.json', '.lock'}
  for name in masks:
    mask = image_file.read_mask(output / f'{name}.png')
    assert mask.mode == 'L'
    assert {0} < set(np.unique(mask.pixels)) <= set(range(4))
  images = [image_file.read_image(output / f'{name}.png').pixels for name in sorted(names)]
  assert len({image.tobytes() for image in images}) == 4
  assert json.loads((output / 'augment.json').read_text())['environment']['packages']['jax']


def test_more_copies_extend_what_is_there_and_lost_ones_come_back_the_same(photos):
  augment_folder.run(_job(photos, copies=1))
  first = _files(photos.parent / 'out')
  assert augment_folder.run(_job(photos, copies=3))[:2] == (4, 2)
  extended = _files(photos.parent / 'out')
  assert first.items() <= extended.items()
  lost, changed = photos.parent / 'out' / 'cat' / 'tom_aug001.png', photos.parent / 'out' / 'dog' / 'rex_aug002.png'
  lost.unlink()
  changed.write_bytes(b'not to be overwritten')
  assert augment_folder.run(_job(photos, copies=3))[:2] == (1, 5)
  again = _files(photos.parent / 'out')
  assert again == extended | {'dog/rex_aug002.png': b'not to be overwritten'}


def test_masks_and_copies_of_other_folders_and_formats(photos):
  masks = photos.parent / 'labels'
  for name in ('cat/tom', 'dog/rex'):
    _save(_picture('P', 4), masks / f'{name}.png')
  for path in photos.rglob('*_mask.png'):
    path.unlink()
  augment_folder.run(_job(photos, masks=masks, format='jpg'))
  assert _files(photos.parent / 'out').keys() == {'cat/tom_aug000.jpg', 'dog/rex_aug000.jpg', 'augment.json', '.lock'}
  assert _files(photos.parent / 'out_masks').keys() == {'cat/tom_aug000.png', 'dog/rex_aug000.png'}
  with Image.open(photos.parent / 'out_masks' / 'dog' / 'rex_aug000.png') as mask:
    assert mask.mode == 'P'


def test_transparency_moves_with_the_image(tmp_path):
  image = np.full((16, 16, 4), 255, np.uint8)
  image[:, 8:, 3] = 0
  image[:, 8:, :3] = 0
  _save(Image.fromarray(image), tmp_path / 'in' / 'a.png')
  augment_folder.run(_job(tmp_path / 'in', augment={'rotate.p': 0.0, 'hflip.p': 1.0}))
  np.testing.assert_array_equal(image_file.read_image(tmp_path / 'out' / 'a_aug000.png').pixels, image[:, ::-1])


def _another_seed(root):
  _job(root).output.mkdir()
  (_job(root).output / 'augment.json').write_text(json.dumps(_job(root).record))
  return _job(root, seed=1)


def _another_config(root):
  _another_seed(root)
  return _job(root, augment={'rotate.degrees': 20.0})


def _two_of_a_name(root):
  shutil.copy(root / 'cat' / 'tom.png', root / 'cat' / 'tom.bmp')
  return _job(root)


def _foreign(root):
  shutil.copytree(root, root.parent / 'out')
  return _job(root)


def _long_name(root):
  shutil.copy(root / 'cat' / 'tom.png', root / 'cat' / f'{"x" * 245}.png')
  return _job(root)


def _emptied(root):
  for path in root.rglob('*.png'):
    path.unlink()
  return _job(root)


def _unreadable(root):
  for path in root.rglob('*.png'):
    path.write_bytes(b'')
  return _job(root)


REFUSED = {
  'the input': (lambda t: _job(t, 'photos'), ['output', 'overlaps']),
  'inside the input': (lambda t: _job(t, 'photos/out'), ['output', 'overlaps']),
  'around the input': (lambda t: _job(t, '.'), ['output', 'overlaps']),
  'files of others': (_foreign, ['output', 'augment.json', 'new --output']),
  'another seed': (_another_seed, ['output', 'seed: 0 there, 1 now']),
  'another config': (_another_config, ['config.augment.rotate.degrees: 30.0 there, 20.0 now']),
  'mixing': (lambda t: _job(t, augment={'mixup.p': 0.5}), ['config.augment.mixup.p', '0.5', 'labels']),
  'a choice of mixing': (
    lambda t: _job(t, augment={'one_of': ((1.0, ('mixup', 'cutmix')),)}),
    ['config.augment.one_of', 'mixup mixes images', 'leave mixup out'],
  ),
  'nothing on': (
    lambda t: _job(t, augment={'rotate.p': 0.0}),
    ['config.augment', 'rotate.p=1'],
  ),
  'out of range': (lambda t: _job(t, augment={'rotate.p': 2.0}), ['config.augment.rotate.p', '2.0', 'c.augment']),
  'not square': (lambda t: _job(t, augment={'rot90.p': 1.0}), ['config.augment.rot90', 'square', 'cat/tom.png']),
  'two of a name': (_two_of_a_name, ['tom.bmp', 'tom.png', 'rename']),
  'a name at the limit': (_long_name, ['input', 'too long', 'rename']),
  'no masks': (lambda t: _job(t, masks=t.parent / 'masks'), ['masks', 'cat/tom.png', 'put it at']),
  'no folder': (lambda t: _job(t / 'none'), ['input', 'not a folder']),
  'no images': (_emptied, ['input', 'holds no images', 'sub-folder']),
  'nothing readable': (_unreadable, ['input', 'does not decode']),
}


@pytest.mark.parametrize('case', REFUSED)
def test_refused_before_anything_is_written(case, photos):
  make, expected = REFUSED[case]
  job = make(photos)
  before = _files(photos.parent)
  with pytest.raises(InputError) as error:
    augment_folder.run(job)
  for part in ('remedy:', *expected):
    assert part in str(error.value)
  assert _files(photos.parent) == before


def test_a_corrupt_image_is_named_after_the_rest_is_done(photos, forked):
  whole = (photos / 'cat' / 'tom.png').read_bytes()
  (photos / 'cat' / 'half.png').write_bytes(whole[: len(whole) // 2])
  (photos / 'cat' / 'none.png').write_bytes(b'nothing')
  arguments = [f'--input={photos}', f'--output={photos.parent / "out"}', '--copies=2', '--config.augment.hflip.p=1']
  done = forked('experiments.augment_folder', '--config=configs/gan_own_images.py', *arguments)
  assert done.returncode == 1, done.stderr
  assert 'cat/half.png' in done.stderr
  assert 'cat/none.png' in done.stderr
  assert 'Traceback' not in done.stderr
  assert '4 images written' in done.stdout
  assert len(list((photos.parent / 'out').rglob('*_aug00?.png'))) == 4


# preview


def test_masks_boxes_and_keypoints_are_drawn_where_they_are():
  example = {
    'image': np.full((10, 20, 1), 128, np.uint8),
    'mask': np.zeros((10, 20, 1), np.int32),
    'boxes': np.array([[2.0, 2, 6, 6], [10, 0, 20, 10]]),
    'boxes_visible': np.array([True, False]),
    'keypoints': np.array([[15.5, 5.5]]),
  }
  example['mask'][8:] = 1
  figure = Figure((4, 2), 100)
  contact_sheet.draw(figure.add_axes((0, 0, 1, 1)), example)
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  pixels = np.asarray(canvas.buffer_rgba())[..., :3]
  at = lambda x, y: tuple(pixels[round(20 * y), round(20 * x)])  # 20 pixels of the picture are one of the image
  drawn = lambda color: tuple(round(255 * value) for value in to_rgb(color))
  assert at(2, 4) == drawn(contact_sheet.BOX)
  assert at(15.5, 5.5) == drawn(contact_sheet.POINT)
  assert at(10, 8) == drawn(contact_sheet.LABELS[0])
  assert at(11, 2) == at(10, 1) == (128, 128, 128)
  tint = np.array(drawn(contact_sheet.LABELS[0])) * contact_sheet.TINT
  np.testing.assert_allclose(at(10, 9), tint + 128 * (1 - contact_sheet.TINT), atol=2)


def test_a_sheet_of_the_configs_data_set_shows_different_draws(data_dir, tmp_path, forked):
  arguments = [
    f'--data_dir={data_dir}',
    f'--output={tmp_path / "sheet.png"}',
    '--rows=2',
    '--config.augment.rotate.p=1',
  ]
  done = forked('experiments.preview', '--config=configs/gan_mnist5k.py', *arguments)
  assert done.returncode == 0, done.stderr
  assert str(tmp_path / 'sheet.png') in done.stdout
  sheet, inch = np.asarray(Image.open(tmp_path / 'sheet.png')), contact_sheet.DPI
  side, step = round(contact_sheet.COLUMN * inch), (contact_sheet.COLUMN + contact_sheet.GAP) * inch
  assert sheet.shape[1] == pytest.approx(2 * contact_sheet.MARGIN * inch + 9 * step - contact_sheet.GAP * inch, abs=1)
  assert sheet.shape[0] > 2 * side
  lefts = [round(contact_sheet.MARGIN * inch + i * step) for i in range(9)]
  first_row = [sheet[: sheet.shape[0] // 2, left + 2 : left + side - 2] for left in lefts]
  assert len({(cell[:, :, 0] > 250).tobytes() for cell in first_row}) == 9  # white of the digits, not the captions
  assert all((cell == 0).all(-1).mean() > 0.3 for cell in first_row)


@pytest.mark.parametrize('name', OPS)
def test_every_operation_has_a_caption(name):
  op = OPS[name]
  drawn = {name: OpParams(np.array(True), op.sample_params(jax.random.key(0), (16, 16, 3)))}
  (caption,) = augment_text.describe(drawn)
  assert caption.startswith(name)


def test_a_sheet_of_a_folder_says_when_nothing_is_on(photos, forked):
  output = photos.parent / 'sheet.png'
  arguments = [f'--images={photos}', f'--output={output}']
  done = forked('experiments.preview', '--config=configs/gan_mnist5k.py', *arguments)
  assert done.returncode == 0, done.stderr
  assert 'augments nothing' in done.stdout
  assert output.exists()


def _annotated(folder, name, *boxes):
  found = ''.join(
    f'<object><name>cat</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>'
    for a, b, c, d in boxes
  )
  (folder / f'{name}.xml').write_text(f'<annotation><filename>{name}.png</filename>{found}</annotation>')


def test_squares_about_boxes_are_cut_out_and_stay_inside(tmp_path, forked):
  pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
  Image.fromarray(pixels).save(tmp_path / 'a.png')
  _annotated(tmp_path, 'a', (10, 10, 20, 30), (50, 0, 60, 6), (0, 0, 60, 40))
  arguments = [f'--images={tmp_path}', f'--annotations={tmp_path}', f'--output={tmp_path / "out"}']
  done = forked('experiments.crop_boxes', *arguments)
  assert done.returncode == 0, done.stderr
  for number, part in enumerate((pixels[10:30, 5:25], pixels[:10, 50:], pixels[:, 10:50])):
    with Image.open(tmp_path / 'out' / 'cat' / f'a_{number}.png') as image:
      np.testing.assert_array_equal(np.asarray(image), part)
  assert 'name a new --output' in forked('experiments.crop_boxes', *arguments).stderr
  _annotated(tmp_path, 'gone', (0, 0, 4, 4))
  broken = forked('experiments.crop_boxes', *arguments[:2], f'--output={tmp_path / "other"}')
  assert (broken.returncode, 'gone.xml' in broken.stderr) == (2, True)
