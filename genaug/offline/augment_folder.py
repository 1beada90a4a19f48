"""Offline augmentation of a folder of images on disk, for experiments.augment_folder."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt32
from ml_collections import ConfigDict

from genaug.augment import TARGETS, Pipeline, Target
from genaug.augment.image import from_float
from genaug.data import batches, folder, image_file
from genaug.errors import InputError
from genaug.offline import augment_text, reading
from genaug.training import checks, workdir
from genaug.training.logs import progress, say

RECORD, LOCK = 'augment.json', '.lock'
BATCH_PIXELS = 2**21  # pixels per batch: 32 images of 256 x 256
MANY_SIZES = 20  # image sizes; more of them cause a warning, as each is compiled
LONGEST_NAME = 255  # bytes of a file name, on most file systems


class Job(NamedTuple):
  """Input, settings and output of an augmented folder; paths are absolute."""

  augment: ConfigDict
  input: pathlib.Path
  output: pathlib.Path
  masks: pathlib.Path | None
  copies: int
  seed: int
  format: str  # png or jpg
  bits: int = 0  # as config.data.bits
  load_truncated: bool = False

  @property
  def output_masks(self) -> pathlib.Path | None:
    """Folder for the masks of copies if `masks` is given; None: they are written beside the images."""
    return self.masks and self.output.with_name(f'{self.output.name}_masks')

  @property
  def record(self) -> dict:
    """Everything but their number that decides what the copies are; kept in augment.json."""
    return {
      'config': {'augment': augment_text.effective(self.augment)},
      'seed': self.seed,
      'format': self.format,
      'input': str(self.input),
      'masks': self.masks and str(self.masks),
      **({'bits': self.bits} if self.bits else {}),
      **({'load_truncated': True} if self.load_truncated else {}),
    }


class Copy(NamedTuple):
  """An augmented copy to write: paths of its image and, if the original has a mask, of its mask."""

  item: folder.Item
  number: int
  image: pathlib.Path
  mask: pathlib.Path | None

  def is_there(self) -> bool:
    return self.image.exists() and (self.mask is None or self.mask.exists())


class Result(NamedTuple):
  """Outcome of `run`: numbers of copies, and what was left out."""

  written: int
  there: int  # copies that existed before
  skipped: folder.Skipped  # files of the input that have no copies


Picture = image_file.Picture
Loaded = tuple[Copy, Picture, Picture | None]  # with the pixels of image and mask, before or after augmentation
Groups = dict[reading.Layout, list[Copy]]


def run(job: Job) -> Result:
  """Writes the copies that are missing.

  Raises InputError, before anything is computed, for an invalid job and for an output that overlaps the input or is of
  another command; later only if the output cannot be written.
  """
  _check_operations(job.augment)
  _check_places(job)
  image_file.check_bits(job.bits)
  items, skipped = folder.contents(job.input, job.masks)
  _check_names(items, job)
  with image_file.truncated_files(job.load_truncated), ThreadPoolExecutor() as pool:
    layouts, bits = reading.layouts(items, skipped, job.bits, pool)
    if not layouts:
      problem = f'no image is readable:{folder.listed(folder.possible_images(skipped), job.input)}'
      raise InputError('input', str(job.input), problem, 'name another --input')
    job, groups = job._replace(bits=bits), {}
    for item, layout in sorted(layouts.items(), key=lambda pair: pair[1]):  # smallest images first
      groups.setdefault(layout, []).extend(_copies(item, job))
    for layout, copies in groups.items():
      checks.check_augment(job.augment, layout.image_shape, copies[0].item.name)
    with _claimed(job):
      written, existing = _write_all(groups, skipped, job, pool)
  return Result(written, existing, skipped)


# Checks and planning


def _check_operations(augment: ConfigDict) -> None:
  for name in checks.mixes_of(augment):
    problem = 'mixes images, but their labels, which are folders here, cannot be mixed'
    if augment[name].p:
      raise InputError(f'config.augment.{name}.p', augment[name].p, problem, f'--config.augment.{name}.p=0')
    choice = next(key for key in ('one_of', 'some_of') if any(name in names for *_, names in augment[key]))
    raise InputError(f'config.augment.{choice}', augment[choice], f'{name} {problem}', f'leave {name} out of it')
  if not augment_text.turned_on(augment):
    remedy = 'turn one on, such as --config.augment.rotate.p=1'
    raise InputError('config.augment', 'all off', 'every copy would equal its original', remedy)


def _check_places(job: Job) -> None:
  for source in filter(None, (job.input, job.masks)):
    for target in filter(None, (job.output, job.output_masks)):
      if source == target or source in target.parents or target in source.parents:
        raise InputError('output', str(target), f'overlaps with {source}, which is read', 'name a folder beside it')


def _check_names(items: list[folder.Item], job: Job) -> None:
  stems = {}
  for item in items:
    copy = next(_copies(item, job))
    if (other := stems.setdefault(_stem(item), item)) is not item:
      problem = f'{other.name} and {item.name} would both become {_stem(item)}_aug000.{job.format}'
      raise InputError('input', item.name, problem, 'rename one of them')
    for path in filter(None, (copy.image, copy.mask)):
      if len(os.fsencode(image_file.partial_name(path.name))) > LONGEST_NAME:
        raise InputError('input', item.name, 'its copies would have names too long for a file', 'rename it')


def _copies(item: folder.Item, job: Job) -> Iterator[Copy]:
  for number in range(job.copies):
    name = f'{_stem(item)}_aug{number:03d}'
    mask = job.output_masks / f'{name}.png' if job.masks else job.output / f'{name}{folder.MASK}.png'
    yield Copy(item, number, job.output / f'{name}.{job.format}', mask if item.mask else None)


def _stem(item: folder.Item) -> str:
  return str(pathlib.PurePosixPath(item.name).with_suffix(''))


@contextlib.contextmanager
def _claimed(job: Job) -> Iterator[None]:
  """Claims the output for this process. Raises InputError if another command made it, or is making it."""
  path, output = job.output / RECORD, str(job.output)
  if path.exists():
    try:
      recorded = json.loads(path.read_text())
    except (OSError, ValueError) as error:
      raise InputError('output', str(path), f'cannot be read: {error}', 'name a new --output') from None
    recorded.pop('environment', None)
    workdir.check_same_config(job.output, recorded, job.record, 'output')
  for place in () if path.exists() else filter(None, (job.output, job.output_masks)):
    if place.exists() and (not place.is_dir() or any(p.name != LOCK for p in place.iterdir())):
      problem = f'exists, but has no {RECORD}, which experiments.augment_folder writes'
      raise InputError('output', str(place), problem, 'name a new --output')
  try:
    job.output.mkdir(parents=True, exist_ok=True)
    with workdir.lock(job.output, 'output', 'writing'):
      if not path.exists():
        workdir.write_json(path, job.record | {'environment': workdir.environment()})
      yield
  except OSError as error:  # such as a full disk
    raise InputError('output', output, f'cannot be written: {error}', 'fix that; the same command resumes') from None


# Computing and writing


def _write_all(groups: Groups, skipped: folder.Skipped, job: Job, pool: Executor) -> tuple[int, int]:
  """Writes all copies that are missing. Returns how many it wrote, and how many existed before."""
  if len(groups) > MANY_SIZES:
    say(f'images have {len(groups)} different sizes, each of which takes seconds to compile: resize them to fewer')
  total, written = sum(map(len, groups.values())), 0
  missing = {layout: [copy for copy in copies if not copy.is_there()] for layout, copies in groups.items()}
  existing = total - sum(map(len, missing.values()))
  with progress(total, existing, unit=' images') as bar:
    for layout, copies in missing.items():
      # Depends on all copies, not only the missing ones, so that a stopped command goes on with the same batch size.
      size = min(len(groups[layout]), max(1, BATCH_PIXELS // (layout.height * layout.width)))
      for number in _write(_make_step(job, layout), copies, size, skipped, job.bits, pool):
        written += number
        bar.update(number)
  return written, existing


def _write(
  step: Callable, copies: list[Copy], size: int, skipped: folder.Skipped, bits: int, pool: Executor
) -> Iterator[int]:
  """Augments copies of one layout in batches of `size`; yields how many were written. Reads ahead and writes behind."""
  chunks = [copies[start : start + size] for start in range(0, len(copies), size)]
  writing = []
  load = lambda i: _load(chunks[i], skipped, bits, pool)
  with contextlib.closing(batches.prefetch(load, range(len(chunks)))) as loaded:
    for rows in loaded:
      augmented = _compute(step, rows, size) if rows else []
      yield sum(future.result() for future in writing)
      writing = [pool.submit(_save, *row) for row in augmented]
  yield sum(future.result() for future in writing)


def _load(copies: list[Copy], skipped: folder.Skipped, bits: int, pool: Executor) -> list[Loaded]:
  """Reads the originals of copies, each only once. Unreadable ones are left out and added to `skipped`."""

  def read(item: folder.Item) -> tuple | None:
    try:
      mask = image_file.read_mask(item.mask) if item.mask else None
      return image_file.read_image(item.image, bits), mask
    except image_file.UnreadableError as error:
      skipped[item.image] = str(error)
      return None

  items = {copy.item.name: copy.item for copy in copies}
  pictures = dict(zip(items, pool.map(read, items.values())))
  return [(copy, *pictures[copy.item.name]) for copy in copies if pictures[copy.item.name]]


def _make_step(job: Job, layout: reading.Layout) -> Callable:
  """Returns the compiled function (identities, images, masks) -> augmented (images, masks)."""
  channels = layout.image_shape[-1]
  pipeline = Pipeline.from_config(job.augment, targets=TARGETS | {'opacity': Target('mask')})

  def one(identity, pixels, mask):
    key = jax.random.key(job.seed)
    for word in identity:
      key = jax.random.fold_in(key, word)
    given = {'image': pixels[..., :channels], 'opacity': pixels[..., channels:], 'mask': mask}
    changed = pipeline(key, {name: value for name, value in given.items() if value is not None and value.size})
    moved = from_float(changed['image'], jnp.uint8)
    moved = jnp.concatenate([moved, changed['opacity']], -1) if 'opacity' in changed else moved
    return moved, changed.get('mask')

  return jax.jit(jax.vmap(one))


def _compute(step: Callable, rows: list[Loaded], size: int) -> list[Loaded]:
  copies, images, masks = zip(*rows, *[rows[0]] * (size - len(rows)))  # one shape, one compilation
  labels = np.stack([mask.pixels for mask in masks]).astype(np.int32) if masks[0] else None
  changed = step(np.stack([_identity(copy) for copy in copies]), np.stack([image.pixels for image in images]), labels)
  images_after, labels_after = jax.tree.map(np.asarray, changed)
  return [
    (copy, image._replace(pixels=images_after[i]), mask and mask._replace(pixels=labels_after[i]))
    for i, (copy, image, mask) in enumerate(rows)
  ]


def _identity(copy: Copy) -> UInt32[np.ndarray, '3']:
  """Returns three words that seed the draws of a copy, from the image's name and the copy's number only."""
  digest = hashlib.sha256(os.fsencode(copy.item.name)).digest()
  return np.array([*np.frombuffer(digest[:8], '<u4'), copy.number], np.uint32)


def _save(copy: Copy, image: Picture, mask: Picture | None) -> int:
  # The mask first, so that an image that exists has its mask.
  for path, picture in ((copy.mask, mask), (copy.image, image)):
    if path and not path.exists():
      image_file.write(path, picture)
  return 1
