"""Contents of an image folder: which files are images and of which class, which are masks, which are left out."""

import functools
import hashlib
import os
import pathlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from genaug.data.image_file import EXTENSIONS
from genaug.errors import InputError

MASK = '_mask'  # NAME_mask.png is the mask of the NAME.jpg beside it
COPY = re.compile(r'(.+)_aug\d{3,}')  # stem of an augmented copy
SPLITS = {'train': 'train', 'test': 'test', 'val': 'validation', 'valid': 'validation', 'validation': 'validation'}
NOT_AN_IMAGE, IS_A_MASK = 'not an image by its name', 'a mask'  # harmless reasons for leaving a file out
MASKS = (IS_A_MASK, 'a mask without an image')
_SHOWN = 100  # files that a message lists, one per line

Path = pathlib.Path
Skipped = dict[Path, str]  # file -> why it is left out, worded to follow its name in a sentence
Classes = dict[str, list[Path]]


class Item(NamedTuple):
  """An image file and, where it has one, its mask."""

  name: str  # path relative to the folder, with '/'
  image: Path
  mask: Path | None


class Contents(NamedTuple):
  """Files in a folder and below, except hidden ones: each is either the image of an item or skipped."""

  items: list[Item]  # sorted
  skipped: Skipped


class Found(NamedTuple):
  """Image files by split and class. Without splits, '' is the only split; without classes, 'all' is the only class."""

  splits: dict[str, Classes]
  skipped: Skipped

  @property
  def class_names(self) -> list[str]:
    return sorted({name for classes in self.splits.values() for name in classes})


def contents(root: Path, masks: Path | None = None, key: str = 'input') -> Contents:
  """Finds all images in a folder and below, with their masks.

  With `masks`, every image must have a mask masks/NAME.png. Without, only some may have one: NAME_mask.png (or .jpg,
  ...) beside NAME.jpg, or a file of either name in a folder `masks` beside NAME.jpg, or masks/FOLDER/NAME.png beside
  FOLDER/NAME.jpg; a folder `masks` may also lie beside a folder `images`. If there are any, a NAME_mask that belongs to
  no image is left out as well.
  Raises InputError for a folder without images, naming `key`, and for images without a mask in `masks`.
  """
  layout = f'--{key}=FOLDER, with images in it or in one sub-folder per class'
  if not root.is_dir():
    raise InputError(key, str(root), 'is not a folder', layout)
  images, skipped = _walk(root)
  if masks is None:
    mask_of = _masks_of(images)
    taken = set(mask_of.values())
    lone = {path for path in images if taken and path.stem.endswith(MASK)} - taken
    skipped |= dict.fromkeys(taken, IS_A_MASK) | dict.fromkeys(lone, MASKS[1])
    items = [Item(_posix(path, root), path, mask_of.get(path)) for path in images if path not in taken | lone]
  else:
    items = [Item(_posix(path, root), path, masks / path.relative_to(root).with_suffix('.png')) for path in images]
    if missing := [item for item in items if not item.mask.is_file()]:
      more = f' and {len(missing) - 1} more' * (len(missing) > 1)
      problem = f'no mask for {printable(missing[0].name)}{more}'
      raise InputError('masks', str(masks), problem, f'put it at {printable(missing[0].mask)}')
  if not items:
    raise InputError(key, str(root), f'holds no images{summary(skipped, root)}', layout)
  return Contents(items, skipped)


def find_images(root: Path) -> Found:
  """Finds the images of root/CLASS and its sub-folders, or of root; or of either in root/train, root/test, root/val.

  The folders of splits are used as given. Without a folder `test`, `val` is the test split.
  """
  items, skipped = contents(root, key='config.data.folder')
  images = [item.image for item in items]
  tops = {path.relative_to(root).parts[0].lower() for path in images}
  if 'train' not in tops or not tops - {'train'} <= SPLITS.keys() or len(tops) < 2:
    return Found({'': _by_class(root, images)}, skipped)
  splits: dict[str, Classes] = {}
  for folder in sorted(folder for folder in root.iterdir() if folder.is_dir() and folder.name.lower() in tops):
    below, split = [path for path in images if folder in path.parents], SPLITS[folder.name.lower()]
    if split in splits:
      problem = f'{printable(folder.name)} is a second folder of the {split} split'
      raise InputError('config.data.folder', str(root), problem, 'put the images of both into one folder')
    splits[split] = _by_class(folder, below)
  if 'test' not in splits:
    splits['test'] = splits.pop('validation')
  return Found(splits, skipped)


def content_identity(path: Path, content: bytes) -> bytes:
  """Returns a digest of what a file of that content shows, independent of where the file lies.

  For a copy made by `experiments.augment_folder` it is the digest of the original's content if that lies beside the
  copy, otherwise of the original's name.
  """
  if copied := COPY.fullmatch(path.stem):
    if beside := _by_stem(path.parent, path.parent.stat().st_mtime_ns).get(copied[1]):
      content = beside.read_bytes()
    elif output_root := next((folder for folder in path.parents[:3] if (folder / 'augment.json').is_file()), None):
      content = os.fsencode(path.with_name(copied[1]).relative_to(output_root))
  return hashlib.sha256(content).digest()


@functools.lru_cache(maxsize=64)
def _by_stem(directory: Path, changed_at: int) -> dict[str, Path]:
  """Returns the first image file of each stem; cached until the folder changes, so as not to list it for every copy."""
  del changed_at
  files = sorted(path for path in directory.iterdir() if path.suffix.lower() in EXTENSIONS)
  return {path.stem: path for path in reversed(files)}


def possible_images(skipped: Skipped) -> Skipped:
  """Returns those of the files left out that may be images after all, which the user might miss."""
  return {path: why for path, why in skipped.items() if why not in (NOT_AN_IMAGE, IS_A_MASK)}


def summary(skipped: Skipped, root: Path) -> str:
  """Returns how many files are left out for each reason, with an example, in parentheses; '' for none."""
  counts = Counter(skipped.values())
  example = {why: _below(path, root) for path, why in sorted(skipped.items(), reverse=True)}
  listed = '; '.join(f'{n} {why}, such as {example[why]}' for why, n in counts.most_common())
  return f' ({listed})' if listed else ''


def listed(files: Skipped, root: Path) -> str:
  """Returns the files with the reasons why they are left out, one per line."""
  shown = [f'{_below(path, root)} {why}' for path, why in list(files.items())[:_SHOWN]]
  return '\n  '.join(['', *shown, *[f'and {len(files) - _SHOWN} more'] * (len(files) > _SHOWN)])


def _below(path: Path, root: Path) -> str:
  return printable(path.name if path == root else path.relative_to(root))


def abbreviate(names: Sequence[str], most: int = 5) -> str:
  """Returns the first `most` of the names, and how many more there are."""
  return ', '.join(map(printable, names[:most])) + f' and {len(names) - most} more' * (len(names) > most)


def printable(path: Path | str) -> str:
  """Returns a path with bytes that are not UTF-8, and characters that cannot be printed, escaped."""
  text = os.fsencode(path).decode(errors='backslashreplace')
  return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def _walk(root: Path) -> tuple[list[Path], Skipped]:
  """Returns images, sorted, and all other files. Links are followed, but each real folder once, so that loops end."""
  images, skipped, seen = [], {}, set()

  def unreadable(error: OSError) -> None:
    skipped[Path(error.filename)] = f'cannot be read ({error.strerror})'

  for folder, below, names in os.walk(root, followlinks=True, onerror=unreadable):
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in seen:
      below.clear()
      continue
    seen.add((status.st_dev, status.st_ino))
    below[:] = sorted(name for name in below if not name.startswith('.'))
    for path in (Path(folder, name) for name in names if not name.startswith('.')):
      if path.suffix.lower() not in EXTENSIONS:
        skipped[path] = NOT_AN_IMAGE
      elif problem := _file_problem(path):
        skipped[path] = problem
      else:
        images.append(path)
  return sorted(images), skipped


def _file_problem(path: Path) -> str:
  try:
    if not path.exists():
      return 'a link to nowhere'
    return '' if path.is_file() else 'not a file'
  except OSError as error:  # a folder that may be listed but not entered
    return f'cannot be read ({error.strerror})'


def _masks_of(images: list[Path]) -> dict[Path, Path]:
  by_stem = {path.with_suffix(''): path for path in images if path.stem.endswith(MASK) or 'masks' in path.parts}
  if not by_stem:
    return {}

  def candidates(path: Path) -> Iterable[Path]:
    yield path.with_name(path.stem + MASK)
    for above in (path.parent, path.parent.parent):
      places = [above / 'masks'] + [above.with_name('masks')] * (above.name == 'images')
      for place in places:
        beside = place / path.relative_to(above)
        yield from (beside.with_suffix(''), beside.with_name(path.stem + MASK))

  beside = {path: next((by_stem[stem] for stem in candidates(path) if stem in by_stem), None) for path in images}
  return {path: mask for path, mask in beside.items() if mask}


def _by_class(root: Path, images: list[Path]) -> Classes:
  classes: Classes = {}
  for path in images:
    top, *below = path.relative_to(root).parts
    classes.setdefault(printable(top) if below else '', []).append(path)
  loose = classes.pop('', [])
  if classes and loose:
    problem = f'has class folders and also loose images such as {printable(loose[0].name)}'
    raise InputError('data.folder', str(root), problem, 'move the loose images into a class folder')
  return classes or {'all': loose}


def _posix(path: Path, root: Path) -> str:
  return path.relative_to(root).as_posix()
