"""Your own pairs of images as a data set: two folders, or the folders trainA, trainB, testA, testB of one."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8

from genaug.data import folder, image_file, image_folder, subsets
from genaug.data.builders import Examples, dataset_info, encode, progress
from genaug.errors import InputError

_TOPS = ('trainA', 'trainB', 'testA', 'testB')  # as in Isola et al. 2017 (pix2pix) and Zhu et al. 2017 (CycleGAN)
_WORKERS = (os.cpu_count() or 1) + 1

Path = pathlib.Path


class Found(NamedTuple):
  """Files of one split. If paired, image i and target i show the same thing; otherwise they are unrelated."""

  images: list[Path]
  targets: list[Path]


@dataclasses.dataclass(eq=False, kw_only=True)
class ImagePairsConfig(tfds.core.BuilderConfig):
  """TFDS builder config: which files to read, and how. Create it with `image_pairs_config`, which also names it."""

  splits: dict[str, Found]
  paired: bool
  reading: image_folder.Reading


class ImagePairs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Your own pairs of image and target, both cropped to the central square and resized."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    shape = self.builder_config.reading.shape
    target = tfds.features.Image(shape=shape, dtype=np.uint8)
    return dataset_info(self, shape, tfds.features.ClassLabel(names=('all',)), target=target)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    c = self.builder_config
    paths = {path for found in c.splits.values() for paths in found for path in paths}
    pixels = decode(paths, c.reading)
    if c.paired:
      _check_sizes(pair for found in c.splits.values() for pair in zip(found.images, found.targets))
    splits = c.splits
    if '' in splits:
      splits = _split(splits[''], pixels, c.reading.test_fraction, c.paired)
    return {
      name: self._generate_examples([(pixels[a], pixels[b]) for a, b in _cycled(found)])
      for name, found in splits.items()
    }

  def _generate_examples(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Examples:
    for i, (image, target) in enumerate(pairs):
      yield i, {'image': encode(image), 'target': encode(target), 'label': 0}


def image_pairs_config(root: str, target_root: str, paired: bool, reading: image_folder.Reading) -> ImagePairsConfig:
  """Returns a config whose name hashes settings and files (path, size, modification time), to prepare changes anew.

  Raises InputError for folders that are missing or empty and, if `paired`, for files without a partner.
  """
  path, target = image_folder.folder_of(root), target_root and Path(target_root).expanduser().resolve()
  splits = {'': _match_folders(path, target, paired)} if target else _from_one_folder(path, paired)
  settings = {'paired': paired, **settings_of(reading)}
  files = [(name, [[stat(file) for file in files] for files in found]) for name, found in splits.items()]
  digest = hashlib.sha256(json.dumps([settings, files]).encode()).hexdigest()[:12]
  name = f'{re.sub(r"[^A-Za-z0-9_]", "_", path.name)}-{digest}'
  return ImagePairsConfig(name=name, splits=splits, paired=paired, reading=reading)


def settings_of(reading: image_folder.Reading) -> dict[str, float]:
  """Returns the settings that a config's name hashes; of `load_truncated` and `bits` only what is not the default."""
  later = {'load_truncated': reading.load_truncated, 'bits': reading.bits}
  settings = {name: getattr(reading, name) for name in ('image_size', 'channels', 'test_fraction')}
  return settings | {name: value for name, value in later.items() if value}


def decode(paths: Iterable[Path], reading: image_folder.Reading) -> dict[Path, UInt8[np.ndarray, 'h w c']]:
  """Returns the central squares of images by path, sorted.

  All deep grey images share one scale: `reading.bits`, or as many bits as the brightest of them needs. Raises
  InputError with a list of all files that do not decode.
  """
  files, broken = sorted(paths), {}

  def map_files(function: Callable[[Path], Any], description: str) -> list:
    def attempt(path: Path) -> Any:
      try:
        return function(path)
      except (image_file.UnreadableError, OSError) as error:
        broken[path] = str(error)
        return None

    return list(progress(pool.map(attempt, files), total=len(files), desc=description))

  with image_file.truncated_files(reading.load_truncated), ThreadPoolExecutor(_WORKERS) as pool:
    peak = max((peak for peak in map_files(image_file.brightest, 'checking') if peak), default=0)
    bits = reading.bits or (image_file.bits_of(peak) if peak else 0)
    size, channels = reading.image_size, reading.channels
    pixels = map_files(lambda path: image_file.read_square(path, size, channels, bits), 'decoding')
  if broken:
    root = Path(os.path.commonpath([path.parent for path in files]))
    problem = f'{len(broken)} of {len(files)} files:{folder.listed(dict(sorted(broken.items())), root)}'
    raise InputError('data.folder', str(root), problem, 'repair or remove them')
  return dict(zip(files, pixels))


def unpaired(count: int, seed: int) -> subsets.Rows:
  """Returns rows of targets that belong to other images: a random permutation, for count > 1 without fixed points."""
  order = np.random.default_rng((seed, 1)).permutation(count)
  rows = np.empty(count, int)
  rows[order] = np.roll(order, 1)  # one cycle through all of them
  return rows


def stat(path: Path) -> tuple[str, int, int]:
  """Returns path, size and modification time, by which a changed file is recognised."""
  status = path.stat()
  return os.fsencode(path).hex(), status.st_size, status.st_mtime_ns


def _from_one_folder(root: Path, paired: bool) -> dict[str, Found]:
  missing = [name for name in _TOPS if not (root / name).is_dir()]
  if missing:
    problem = f'has no folder {missing[0]}'
    remedy = 'folders trainA, trainB, testA, testB in it, or --config.data.target_folder=PATH for the targets'
    raise InputError('data.folder', str(root), problem, remedy)
  return {split: _match_folders(root / f'{split}A', root / f'{split}B', paired) for split in ('train', 'test')}


def _match_folders(images: Path, targets: Path, paired: bool) -> Found:
  """Returns the files of both folders. Pairs are found by relative path, without the file's ending and _A or _B."""
  sides = [_by_name(root, key, paired) for root, key in ((images, 'data.folder'), (targets, 'data.target_folder'))]
  if not paired:
    return Found(*([side[name] for name in sorted(side)] for side in sides))
  if unmatched := sorted(sides[0].keys() ^ sides[1].keys()):
    shown = folder.abbreviate([f'{name} (in {(images if name in sides[0] else targets).name})' for name in unmatched])
    problem = f'{len(sides[0])} images and {len(sides[1])} targets; on one side only: {shown}'
    remedy = (
      'name both files of a pair alike, but for .png or .jpg and _A or _B; without pairs --config.data.paired=False'
    )
    raise InputError('data.target_folder', str(targets), problem, remedy)
  return Found(*([side[name] for name in sorted(sides[0])] for side in sides))


def _by_name(root: Path, key: str, paired: bool) -> dict[str, Path]:
  """Returns the images of a folder by their part of a pair's name. Raises InputError for equal names."""
  paths = [item.image for item in folder.contents(root, key=f'config.{key}').items]

  def name_of(path: Path) -> str:
    name = path.relative_to(root)
    return re.sub('_[AB]$', '', name.with_suffix('').as_posix()) if paired else name.as_posix()

  named = {name_of(path): path for path in paths}
  if same := [path for path in paths if named[name_of(path)] != path]:
    problem = f'{folder.printable(same[0].name)} and {folder.printable(named[name_of(same[0])].name)} have one name'
    raise InputError(key, str(root), problem, 'rename or remove one of them')
  return named


def _check_sizes(pairs) -> None:
  """Raises InputError if a pair's files differ in size, as their central squares would not show the same thing."""
  for image, target in pairs:
    sizes = [(header.width, header.height) for header in map(image_file.read_header, (image, target))]
    if sizes[0] != sizes[1]:
      (width, height), (other_width, other_height) = sizes
      problem = f'is of {width} x {height} pixels, and its target {target} is of {other_width} x {other_height}'
      raise InputError('data.folder', str(image), problem, 'crop or resize one of them, so that both show the same')


def _split(found: Found, pixels: dict[Path, np.ndarray], fraction: float, paired: bool) -> dict[str, Found]:
  """Splits files into train and test by the content of each; the target of a pair goes where its image goes."""
  tests = [subsets.test_rows([pixels[path] for path in found.images], fraction)]
  tests.append(tests[0] if paired else subsets.test_rows([pixels[path] for path in found.targets], fraction))
  sides = {'train': [~test for test in tests], 'test': tests}
  return {
    name: Found(*([path for path, one in zip(paths, taken) if one] for paths, taken in zip(found, chosen)))
    for name, chosen in sides.items()
  }


def _cycled(found: Found) -> list[tuple[Path, Path]]:
  """Returns one (image, target) for each file of the longer side; the shorter side is cycled through."""
  count = max(map(len, found))
  return [(found.images[i % len(found.images)], found.targets[i % len(found.targets)]) for i in range(count)]
