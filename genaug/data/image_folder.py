"""Your own images as a data set: one folder per class, split by each file's content or by folders train and test."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from genaug.data import folder, image_file, subsets
from genaug.data.builders import Examples, dataset_info, encode, progress
from genaug.errors import InputError

# One more than there are cores, as one thread waits for the disk; further ones only wait for the interpreter lock.
_WORKERS = (os.cpu_count() or 1) + 1


class _File(NamedTuple):
  path: pathlib.Path
  split: str
  label: int


class _Decoded(NamedTuple):
  """Result of decoding a file; its pixels are in the spool file."""

  original: bytes = b''  # digest, see `folder.content_identity`
  pixels: bytes = b''  # digest of the pixels
  deep: bool = False  # grey of more than 8 bits, of which only the brightest value is known yet
  peak: float = 0.0
  problem: str = ''  # why there are no pixels, or empty


@dataclasses.dataclass(frozen=True)
class Reading:
  """Settings that turn your own files into images, part of `data` of a config. Raises InputError for invalid values."""

  image_size: int  # pixels
  channels: int  # 1 or 3
  test_fraction: float  # inside (0, 1); used unless folders define the test split
  load_truncated: bool = False
  bits: int = 0  # bit depth of grey images with more than 8; 0: as many as the brightest of them needs

  def __post_init__(self):
    if self.image_size < 1:
      raise InputError('data.image_size', self.image_size, 'not a size in pixels', 'for example 64')
    if self.channels not in (1, 3):
      raise InputError('data.channels', self.channels, 'images have 1 or 3 channels', 'set 1 (grey) or 3 (colour)')
    if not 0 < self.test_fraction < 1:
      raise InputError('data.test_fraction', self.test_fraction, 'not inside (0, 1)', 'for example 0.2')
    image_file.check_bits(self.bits)

  @classmethod
  def from_config(cls, data: ConfigDict) -> 'Reading':
    return cls(**{field.name: data[field.name] for field in dataclasses.fields(cls)})

  @property
  def shape(self) -> tuple[int, int, int]:
    return self.image_size, self.image_size, self.channels


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageFolderConfig(tfds.core.BuilderConfig):
  """TFDS builder config: which files to read, and how. Create it with `image_folder_config`, which also names it."""

  folder: pathlib.Path
  found: folder.Found
  reading: Reading
  skip_broken: bool
  resize: bool = True


class ImageFolder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Your own images, one folder per class, cropped to the central square and resized."""

  VERSION = tfds.core.Version('3.0.0')
  notes: tuple[str, ...] = ()  # what to tell the user, once it is prepared

  def _info(self) -> tfds.core.DatasetInfo:
    label = tfds.features.ClassLabel(names=self.builder_config.found.class_names)
    return dataset_info(self, self.builder_config.reading.shape, label)

  def _download_and_prepare(self, *args, **settings) -> None:
    # Decoded images wait in a spool file, as thousands of them may not fit into memory.
    with tempfile.TemporaryFile(dir=self.data_path) as self._spool:
      super()._download_and_prepare(*args, **settings)

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    c, found = self.builder_config, self.builder_config.found
    files = [
      _File(path, split, found.class_names.index(name))
      for split, classes in found.splits.items()
      for name, paths in classes.items()
      for path in paths
    ]
    # Decode all files before writing the first record: a broken file must not waste the hours before it.
    decoded, notes = self._decode(files)
    broken = {file.path: one.problem for file, one in zip(files, decoded) if one.problem}
    if broken and (not c.skip_broken or len(broken) == len(files)):
      problem = f'{len(broken)} of {len(files)} files:{folder.listed(broken, c.folder)}'
      remedy = 'repair or remove them' + ', or --config.data.skip_broken=True' * (len(broken) < len(files))
      raise InputError('data.folder', str(c.folder), problem, remedy)
    rows = [i for i, file in enumerate(files) if file.path not in broken]
    identities = _identities([decoded[i] for i in rows])
    if '' in found.splits:
      test = subsets.split_by_identity(identities, np.array([files[i].label for i in rows]), c.reading.test_fraction)
      if not test.any():
        problem = 'no class has two different images, so none is left for the test split'
        raise InputError('data.folder', str(c.folder), problem, 'add a second image to a class')
      sides = np.where(test, 'test', 'train')
    else:
      sides = np.array([files[i].split for i in rows])
      if gone := found.splits.keys() - set(sides):
        problem = f'none of the images of its {min(gone)} split decodes'
        raise InputError('data.folder', str(c.folder), problem, 'repair them')
    if broken:
      notes.append(f'left out{folder.listed(broken, c.folder)}')
    if found.skipped:
      notes.append(f'left out{folder.summary(found.skipped, c.folder)}')
    notes += _duplicate_notes([files[i].path for i in rows], identities, sides, c.folder, own_split='' in found.splits)
    self.notes = tuple(notes)
    return {
      split: self._generate_examples([(i, files[i]) for i, side in zip(rows, sides) if side == split])
      for split in sorted(set(sides))
    }

  def _generate_examples(self, files: list[tuple[int, _File]]) -> Examples:
    shape = self.builder_config.reading.shape
    size = int(np.prod(shape))
    for i, file in files:
      image = np.frombuffer(os.pread(self._spool.fileno(), size, i * size), np.uint8).reshape(shape)
      key = os.fsencode(file.path.relative_to(self.builder_config.folder)).hex()
      yield key, {'image': encode(image), 'label': file.label}

  def _decode(self, files: list[_File]) -> tuple[list[_Decoded], list[str]]:
    """Writes the pixels of every file to its place in the spool file; returns what else is known, and notes."""
    reading = self.builder_config.reading
    with image_file.truncated_files(reading.load_truncated), ThreadPoolExecutor(_WORKERS) as pool:
      work = pool.map(lambda i: self._decode_one(files[i].path, i, reading.bits), range(len(files)))
      decoded = list(progress(work, total=len(files), desc='decoding'))
      deep = [i for i, one in enumerate(decoded) if one.deep]
      peak = max((decoded[i].peak for i in deep), default=0)
      if not deep:
        return decoded, []
      # One scale for all images keeps their relative brightness.
      bits = image_file.bits_of(peak)
      again = pool.map(lambda i: self._decode_one(files[i].path, i, bits), deep)
      for i, one in zip(deep, progress(again, total=len(deep), desc='scaling')):
        decoded[i] = one
    white = f'the brightest value is {peak:g}, so white is {2**bits - 1:,} (--config.data.bits={bits})'
    return decoded, [f'{len(deep)} grey images of more than 8 bits: {white}']

  def _decode_one(self, path: pathlib.Path, row: int, bits: int) -> _Decoded:
    c = self.builder_config
    try:
      content = path.read_bytes()
      original = folder.content_identity(path, content)
      size, channels = c.reading.image_size, c.reading.channels
      square = image_file.read_square(io.BytesIO(content), size, channels, bits or None, c.resize)
    except image_file.UnreadableError as error:
      return _Decoded(problem=str(error))
    except OSError as error:
      return _Decoded(problem=f'cannot be read ({error.strerror})')
    if isinstance(square, float):
      return _Decoded(original, deep=True, peak=square)
    os.pwrite(self._spool.fileno(), square, row * square.size)
    return _Decoded(original, hashlib.sha256(square).digest())


def image_folder_config(
  root: str, reading: Reading, skip_broken: bool = False, resize: bool = True
) -> ImageFolderConfig:
  """Returns a config whose name hashes settings and files (path, size, modification time), to prepare changes anew."""
  path = folder_of(root)
  settings = {
    'image_size': reading.image_size,
    'channels': reading.channels,
    'test_fraction': reading.test_fraction,
    'skip_broken': skip_broken,
    'load_truncated': reading.load_truncated,
    'bits': reading.bits,
  } | ({} if resize else {'resize': False})
  found = folder.find_images(path)
  paths = [image for classes in found.splits.values() for images in classes.values() for image in images]
  stats = [(os.fsencode(p.relative_to(path)).hex(), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
  hashed = json.dumps([os.fsencode(path).hex(), settings, sorted(stats)])
  digest = hashlib.sha256(hashed.encode()).hexdigest()[:12]
  name = f'{re.sub(r"[^A-Za-z0-9_]", "_", path.name)}-{digest}'
  return ImageFolderConfig(name=name, folder=path, found=found, reading=reading, skip_broken=skip_broken, resize=resize)


def folder_of(root: str) -> pathlib.Path:
  """Returns the absolute path of `data.folder`. Raises InputError if it is empty."""
  if not root:
    raise InputError('data.folder', root, 'names no folder', '--config.data.folder=PATH')
  return pathlib.Path(root).expanduser().resolve()


def _identities(decoded: list[_Decoded]) -> list[bytes]:
  """Returns a digest per file, equal for files of equal pixels, such as a PNG and a TIFF, and augmented copies."""
  identities = [one.original for one in decoded]
  while True:
    least: dict[bytes, bytes] = {}
    for one, identity in zip(decoded, identities):
      for shared in (one.pixels, one.original):
        least[shared] = min(identity, least.get(shared, identity))
    merged = [min(least[one.pixels], least[one.original]) for one in decoded]
    if merged == identities:
      return identities
    identities = merged


def _duplicate_notes(
  paths: list[pathlib.Path], identities: list[bytes], sides: np.ndarray, root: pathlib.Path, own_split: bool
) -> list[str]:
  """Returns notes for the user about files that show the same image."""
  groups: dict[bytes, list[int]] = {}
  for i, digest in enumerate(identities):
    groups.setdefault(digest, []).append(i)
  same = [rows for rows in groups.values() if len(rows) > 1]
  words = 'copies of one image are kept on one side of the split'
  if not own_split:
    same = [rows for rows in same if len({sides[i] for i in rows}) > 1]
    words = 'the same image is in several splits, so scores include images seen in training'
  if not same:
    return []
  shown = '; '.join(' = '.join(folder.printable(paths[i].relative_to(root)) for i in rows) for rows in same[:3])
  return [f'{words}: {shown}' + f' and {len(same) - 3} more such groups' * (len(same) > 3)]
