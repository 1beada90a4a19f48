"""Your own images as a data set: one folder a class, split by each file's content or by folders train and test."""

import dataclasses
import glob
import hashlib
import json
import os
import pathlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from PIL import Image, ImageOps

from genaug.data import subsets
from genaug.data.builders import Examples, dataset_info, encode_png, on_white, open_image, progress
from genaug.errors import InputError

Image.init()
_NO_PHOTOGRAPHS = {'BUFR', 'EPS', 'GRIB', 'HDF5', 'MPEG', 'PDF', 'WMF'}  # containers and vectors, of other programs
EXTENSIONS = {e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN.keys() - _NO_PHOTOGRAPHS}
"""Of the files that the installed Pillow decodes, in lower case."""

MASK = '_mask'  # NAME_mask.png is the mask of the NAME.jpg beside it
COPY = re.compile(r'(.+)_aug\d{3,}')  # stem of an augmented copy
SPLITS = {'train': 'train', 'test': 'test', 'val': 'validation', 'valid': 'validation', 'validation': 'validation'}
_SHOWN = 5  # files that a message lists

Classes = dict[str, list[pathlib.Path]]


class Walk(NamedTuple):
  """Of the files below a folder, hidden ones left out."""

  images: list[pathlib.Path]  # sorted
  skipped: dict[pathlib.Path, str]  # all others, and why


class Found(NamedTuple):
  """Image files by split and class. '' is the one split of a folder that has none; 'all' the class of one without."""

  splits: dict[str, Classes]
  skipped: dict[pathlib.Path, str]

  @property
  def class_names(self) -> list[str]:
    return sorted({name for classes in self.splits.values() for name in classes})


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageFolderConfig(tfds.core.BuilderConfig):
  """What to read and how to fit it; make it with `image_folder_config`, which also names it."""

  folder: pathlib.Path
  found: Found
  image_size: int
  channels: int
  test_fraction: float
  skip_broken: bool


class ImageFolder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Your own images, one folder a class, cropped to the central square and resized."""

  VERSION = tfds.core.Version('2.0.0')
  notes: tuple[str, ...] = ()  # what to tell the user, once it is prepared

  def _info(self) -> tfds.core.DatasetInfo:
    c = self.builder_config
    label = tfds.features.ClassLabel(names=c.found.class_names)
    return dataset_info(self, (c.image_size, c.image_size, c.channels), label)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    c, found = self.builder_config, self.builder_config.found
    paths, labels, given = [], [], []
    for split, classes in found.splits.items():
      for name, files in classes.items():
        paths += files
        labels += [found.class_names.index(name)] * len(files)
        given += [split] * len(files)
    # All of them before the first record: a broken file must not cost the hours before it.
    with ThreadPoolExecutor() as pool:
      decode = lambda path: _decode(path, c.image_size, c.channels)
      decoded = list(progress(pool.map(decode, paths), total=len(paths)))
    broken = {path: one for path, one in zip(paths, decoded) if isinstance(one, str)}
    if broken and (not c.skip_broken or len(broken) == len(paths)):
      problem = f'{len(broken)} of {len(paths)} files: {_listed(broken, c.folder)}'
      remedy = 'repair or remove them' + ', or --config.data.skip_broken=True' * (len(broken) < len(paths))
      raise InputError('data.folder', str(c.folder), problem, remedy)
    rows = [i for i, path in enumerate(paths) if path not in broken]
    originals = [original(paths[i]) for i in rows]
    if '' in found.splits:
      test = subsets.test_by_identity(originals, np.array([labels[i] for i in rows]), c.test_fraction)
      if not test.any():
        problem = 'no class has two different images, so none is left to test on'
        raise InputError('data.folder', str(c.folder), problem, 'add a second image to a class')
      sides = np.where(test, 'test', 'train')
    else:
      sides = np.array([given[i] for i in rows])
    self.notes = _notes(
      c.folder,
      found.skipped | dict.fromkeys(broken, 'does not decode'),
      [paths[i] for i in rows],
      originals,
      sides,
      '' in found.splits,
    )
    records = [(os.fsencode(paths[i].relative_to(c.folder)).hex(), decoded[i], labels[i]) for i in rows]
    return {
      split: self._generate_examples([record for record, side in zip(records, sides) if side == split])
      for split in sorted(set(sides))
    }

  def _generate_examples(self, records: list[tuple[str, bytes, int]]) -> Examples:
    for key, image, label in records:
      yield key, {'image': image, 'label': label}


def image_folder_config(
  folder: str, image_size: int, channels: int, test_fraction: float, skip_broken: bool = False
) -> ImageFolderConfig:
  """Config whose name hashes the settings and every file's name, size and time: changes are prepared anew."""
  if image_size < 1:
    raise InputError('data.image_size', image_size, 'not a size in pixels', 'for example 64')
  if channels not in (1, 3):
    raise InputError('data.channels', channels, 'images have 1 or 3 channels', 'set 1 (grey) or 3 (colour)')
  if not 0 < test_fraction < 1:
    raise InputError('data.test_fraction', test_fraction, 'not inside (0, 1)', 'for example 0.2')
  if not folder:
    raise InputError('data.folder', folder, 'names no folder', '--config.data.folder=PATH')
  root = pathlib.Path(folder).expanduser().resolve()
  found = find_images(root)
  paths = [path for classes in found.splits.values() for files in classes.values() for path in files]
  stats = [(os.fsencode(p.relative_to(root)).hex(), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
  settings = [os.fsencode(root).hex(), image_size, channels, test_fraction, skip_broken]
  digest = hashlib.sha256(json.dumps([*settings, sorted(stats)]).encode()).hexdigest()[:12]
  return ImageFolderConfig(
    name=f'{re.sub(r"[^A-Za-z0-9_]", "_", root.name)}-{digest}',
    folder=root,
    found=found,
    image_size=image_size,
    channels=channels,
    test_fraction=test_fraction,
    skip_broken=skip_broken,
  )


def walk(root: pathlib.Path) -> Walk:
  """All files below a folder; links are followed, but every real folder is read once, so that loops end."""
  images, skipped, seen = [], {}, set()

  def unreadable(error: OSError) -> None:
    skipped[pathlib.Path(error.filename)] = f'cannot be read ({error.strerror})'

  for folder, below, names in os.walk(root, followlinks=True, onerror=unreadable):
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
      below.clear()
      continue
    seen.add((status.st_dev, status.st_ino))
    below[:] = sorted(name for name in below if not name.startswith('.'))
    for path in (pathlib.Path(folder, name) for name in names if not name.startswith('.')):
      if path.suffix.lower() not in EXTENSIONS:
        skipped[path] = 'not an image by its name'
      elif not path.exists():
        skipped[path] = 'a link to nowhere'
      elif not path.is_file():
        skipped[path] = 'not a file'
      else:
        images.append(path)
  return Walk(sorted(images), skipped)


def masks_beside(images: list[pathlib.Path]) -> dict[pathlib.Path, pathlib.Path]:
  """The NAME_mask.png of every NAME.jpg among them that has one."""
  by_stem = {path.with_suffix(''): path for path in images}
  beside = {path: by_stem.get(path.with_name(path.stem + MASK)) for path in images}
  return {path: mask for path, mask in beside.items() if mask}


def find_images(root: pathlib.Path) -> Found:
  """Image files of root/CLASS and of folders in it, or of root alone; or of these in root/train, root/test, root/val.

  The folders of splits are as they are given: `test`, or val where there is no other, is the test split. NAME_mask.png
  is the mask of the NAME.jpg beside it, and no image.
  """
  layout = 'give a folder with one sub-folder of images per class, or a flat folder of images'
  if not root.is_dir():
    raise InputError('data.folder', str(root), 'is not a folder', layout)
  images, skipped = walk(root)
  masks = masks_beside(images).values()
  skipped = skipped | dict.fromkeys(masks, 'the mask of the image beside it')
  images = sorted(set(images) - set(masks))
  if not images:
    raise InputError('data.folder', str(root), 'holds no images' + _summary(skipped, root), layout)
  tops = {path.relative_to(root).parts[0].lower() for path in images}
  if 'train' not in tops or not tops - {'train'} <= SPLITS.keys() or len(tops) < 2:
    return Found({'': _by_class(root, images)}, skipped)
  splits: dict[str, Classes] = {}
  for folder in sorted(folder for folder in root.iterdir() if folder.is_dir() and folder.name.lower() in tops):
    below = [path for path in images if folder in path.parents]
    splits[SPLITS[folder.name.lower()]] = _by_class(folder, below)
  if 'test' not in splits:
    splits['test'] = splits.pop('validation')
  return Found(splits, skipped)


def _by_class(root: pathlib.Path, images: list[pathlib.Path]) -> Classes:
  classes: Classes = {}
  for path in images:
    top, *below = path.relative_to(root).parts
    classes.setdefault(top if below else '', []).append(path)
  loose = classes.pop('', [])
  if classes and loose:
    problem = f'has class folders and also loose images such as {loose[0].name}'
    raise InputError('data.folder', str(root), problem, 'move the loose images into a class folder')
  return classes or {'all': loose}


def original(path: pathlib.Path) -> bytes:
  """Digest of what a file shows: of its content, wherever it lies.

  For a copy that `experiments.augment_folder` has made, of the original beside it, or else of the original's name.
  """
  if copied := COPY.fullmatch(path.stem):
    beside = [p for p in path.parent.glob(f'{glob.escape(copied[1])}.*') if p.suffix.lower() in EXTENSIONS]
    if beside:
      path = min(beside)
    elif made := next((folder for folder in path.parents[:3] if (folder / 'augment.json').is_file()), None):
      return hashlib.sha256(os.fsencode(path.with_name(copied[1]).relative_to(made))).digest()
  return hashlib.sha256(path.read_bytes()).digest()


def _notes(
  root: pathlib.Path,
  skipped: dict[pathlib.Path, str],
  paths: list[pathlib.Path],
  originals: list[bytes],
  sides: np.ndarray,
  own_split: bool,
) -> tuple[str, ...]:
  notes = [f'left out{_summary(skipped, root)}'] if skipped else []
  groups: dict[bytes, list[int]] = {}
  for i, digest in enumerate(originals):
    groups.setdefault(digest, []).append(i)
  same = [rows for rows in groups.values() if len(rows) > 1]
  words = 'copies of one image are kept on one side of the split'
  if not own_split:
    same = [rows for rows in same if len({sides[i] for i in rows}) > 1]
    words = 'the same image is in several splits, so scores count what was trained on'
  if same:
    shown = '; '.join(' = '.join(_name(paths[i], root) for i in rows) for rows in same[:3])
    notes.append(f'{words}: {shown}' + f' and {len(same) - 3} more such groups' * (len(same) > 3))
  return tuple(notes)


def _summary(skipped: dict[pathlib.Path, str], root: pathlib.Path) -> str:
  """How many for each reason, with an example."""
  counts = Counter(skipped.values())
  example = {why: _name(path, root) for path, why in reversed(skipped.items())}
  listed = '; '.join(f'{n} {why}, such as {example[why]}' for why, n in counts.most_common())
  return f' ({listed})' if listed else ''


def _listed(files: dict[pathlib.Path, str], root: pathlib.Path) -> str:
  shown = [f'{_name(path, root)} {why}' for path, why in list(files.items())[:_SHOWN]]
  return '; '.join(shown) + f'; and {len(files) - _SHOWN} more' * (len(files) > _SHOWN)


def _name(path: pathlib.Path, root: pathlib.Path) -> str:
  """Relative to the folder, to be printed: bytes that are no UTF-8 escaped."""
  return os.fsencode(path.relative_to(root)).decode(errors='backslashreplace')


def _decode(path: pathlib.Path, size: int, channels: int) -> bytes | str:
  """The PNG, or why there is none."""
  try:
    return encode_png(read_image(path, size, channels))
  except ValueError as error:
    return str(error)


def read_image(path: pathlib.Path, size: int, channels: int) -> UInt8[np.ndarray, 'size size channels']:
  """File as uint8: upright by its EXIF, on white, central square, antialiased (bicubic) to `size`.

  Raises ValueError where it does not decode.
  """
  try:
    image = ImageOps.exif_transpose(open_image(path))
  except Exception as e:  # every decoder of Pillow has its own exceptions
    raise ValueError(f'does not decode ({type(e).__name__}: {e})') from e
  if image.mode.startswith('I'):  # 16-bit grey, which convert() would clip instead of scale
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  image = on_white(image.convert('RGBA')) if image.has_transparency_data else image
  image = image.convert('L' if channels == 1 else 'RGB')
  side = min(image.size)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  square = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
  return np.asarray(square).reshape(size, size, channels)
