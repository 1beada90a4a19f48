"""Reads folders of images for the programs: their layouts, and pixels on one scale of brightness."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from genaug.data import builders, folder, image_file
from genaug.errors import InputError
from genaug.offline import contact_sheet
from genaug.training.logs import say


class Layout(NamedTuple):
  """Properties that images must have in common to share a batch."""

  height: int
  width: int
  mode: str  # a key of image_file.MODES
  masked: bool

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(height, width, channels), without opacity."""
    return self.height, self.width, image_file.MODES[self.mode.removesuffix('A')]


def layouts(
  items: list[folder.Item], skipped: folder.Skipped, bits: int, pool: Executor
) -> tuple[dict[folder.Item, Layout], int]:
  """Returns the layout of every item with a readable header, in order; the others are added to `skipped`.

  Also returns the bit depth of deep grey images: `bits`, or if that is 0 as many as the brightest of all needs.
  """
  results = _map_readable(items, skipped, _layout, pool)
  return {item: layout for item, (layout, _) in results.items()}, _bits((peak for _, peak in results.values()), bits)


def examples(
  items: list[folder.Item], skipped: folder.Skipped, number: int, bits: int
) -> dict[str, contact_sheet.Example]:
  """Reads `number` of the items, spread evenly over the list; returns them by name.

  Images are on white and have at most `contact_sheet.LARGEST` pixels a side. Unreadable items are added to `skipped`,
  and others take their places.
  """
  bits = common_bits(items, skipped, bits)
  readable = [item for item in items if item.image not in skipped]
  first = [readable[i] for i in dict.fromkeys(np.linspace(0, len(readable) - 1, number).astype(int)) if readable]
  chosen = {}
  for item in [*first, *(item for item in readable if item not in first)]:
    if len(chosen) == number:
      break
    try:
      _layout(item)
      image = image_file.composite_on_white(image_file.read_image(item.image, bits)).pixels
      mask = {'mask': image_file.read_mask(item.mask).pixels} if item.mask else {}
      chosen[folder.printable(item.name)] = contact_sheet.reduced({'image': image} | mask)
    except image_file.UnreadableError as error:
      skipped[item.image] = str(error)
  return dict(sorted(chosen.items()))


def _map_readable(items: list[folder.Item], skipped: folder.Skipped, function: Callable, pool: Executor) -> dict:
  def try_to(item: folder.Item) -> object:
    try:
      return function(item)
    except image_file.UnreadableError as error:
      return error

  results = {}
  for item, result in zip(items, builders.progress(pool.map(try_to, items), total=len(items), desc='checking')):
    if isinstance(result, image_file.UnreadableError):
      skipped[item.image] = str(result)
    else:
      results[item] = result
  return results


def common_bits(items: list[folder.Item], skipped: folder.Skipped, bits: int) -> int:
  """Returns the bit depth of deep grey images: `bits`, or for 0 what the brightest needs; extends `skipped`."""
  with ThreadPoolExecutor() as pool:
    peaks = _map_readable(items, skipped, lambda item: image_file.brightest(item.image), pool)
  return _bits(peaks.values(), bits)


def _bits(peaks: Iterable[float], bits: int) -> int:
  peak = max(peaks, default=0)
  if not peak or bits:
    return bits
  bits = image_file.bits_of(peak)
  say(f'grey images of more than 8 bits: the brightest value is {peak:g} (--config.data.bits={bits})')
  return bits


def _layout(item: folder.Item) -> tuple[Layout, float]:
  height, width, mode, is_deep = image_file.read_header(item.image)
  if item.mask:
    mask = image_file.read_header(item.mask)
    if (mask.height, mask.width) != (height, width):
      sizes = f'has {width} x {height} pixels, but its mask {mask.width} x {mask.height}'
      raise image_file.UnreadableError(sizes)
  peak = image_file.brightest(item.image) if is_deep else 0.0
  return Layout(height, width, mode, item.mask is not None), peak


def exact_images(
  root: folder.Path, shape: tuple[int | None, int | None, int | None], key: str = 'input'
) -> tuple[list[UInt8[np.ndarray, 'h w c']], list[str]]:
  """Reads all images of a folder unchanged; returns them and their relative names, with suffix .png.

  None in `shape` allows any size. Raises InputError, naming `key`, with a list of the images that are of another shape,
  or that `image_file.read_unchanged` refuses: what is changed to fit would be lost.
  """
  paths, wrong = _paths_of(root, key)
  text = lambda shape: ' x '.join('any' if side is None else str(side) for side in shape)
  images = []
  for path in paths:
    try:
      pixels = image_file.read_unchanged(path)
      if any(side not in (None, own) for side, own in zip(shape, pixels.shape, strict=True)):
        raise image_file.UnreadableError(f'is {text(pixels.shape)}')
      images.append(pixels)
    except image_file.UnreadableError as error:
      wrong[path] = str(error)
  return images, _png_names(root, paths, wrong, f'8-bit images of {text(shape)}', key)


def images_of_channels(root: folder.Path, channels: int) -> tuple[list[folder.Path], list[str]]:
  """Returns the paths of all images of a folder, or of one file, and their relative names, with suffix .png.

  Raises InputError, with a list, for images that have neither `channels` nor one more (opacity), and for those that
  `image_file.read_unchanged` refuses.
  """
  alone = _is_file(root)
  paths, wrong = ([root], {}) if alone else _paths_of(root)
  kind = {1: 'grey', 3: 'RGB'}[channels]
  for path in paths:
    try:
      if image_file.read_unchanged(path).shape[-1] not in (channels, channels + 1):
        raise image_file.UnreadableError(f'is not {kind}')
    except image_file.UnreadableError as error:
      wrong[path] = str(error)
  return paths, _png_names(root, paths, wrong, f'8-bit {kind} images')


def _paths_of(root: folder.Path, key: str = 'input') -> tuple[list[folder.Path], folder.Skipped]:
  """Returns all images of a folder, masks among them, and the skipped files that are `folder.possible_images`."""
  items, skipped = folder.contents(root, key=key)
  masks = [path for path, why in skipped.items() if why in folder.MASKS]
  paths = sorted({*(item.image for item in items), *masks})
  return paths, {path: why for path, why in folder.possible_images(skipped).items() if path not in masks}


def _png_names(
  root: folder.Path, paths: list[folder.Path], wrong: folder.Skipped, wanted: str, key: str = 'input'
) -> list[str]:
  """Returns relative names with suffix .png. Raises InputError if any path is in `wrong`, or two have one name."""
  top = root if root.is_dir() else root.parent
  names = [str(PurePosixPath(path.relative_to(top).as_posix()).with_suffix('.png')) for path in paths]
  counts = Counter(names)
  for path, name in zip(paths, names, strict=True):
    if counts[name] > 1:
      wrong.setdefault(path, f'is not the only one that would be written to {folder.printable(name)}')
  if wrong:
    problem = f'{len(wrong)} of {len(paths)} files are not {wanted} or share an output{folder.listed(wrong, root)}'
    raise InputError(key, str(root), problem, 'remove, convert or rename them')
  return names


def _is_file(root: folder.Path) -> bool:
  """Whether `root` is a file, not a folder. Raises InputError if there is neither."""
  if not root.exists():
    raise InputError('input', str(root), 'no such file or folder', 'name an image, or a folder of images')
  return root.is_file()


def items_of(root: folder.Path) -> folder.Contents:
  """Returns an image file, or all those of a folder. Raises InputError if two would get one name as PNG files."""
  if _is_file(root):
    return folder.Contents([folder.Item(root.name, root, None)], {})
  contents = folder.contents(root)
  counts = Counter(map(output_name, contents.items))
  if same := [item.name for item in contents.items if counts[output_name(item)] > 1]:
    problem = f'{folder.printable(same[0])} and {folder.printable(same[1])} would get one name'
    raise InputError('input', str(root), problem, 'rename one of them')
  return contents


def output_name(item: folder.Item) -> str:
  """Returns the relative name of an image as a PNG file."""
  return str(PurePosixPath(item.name).with_suffix('.png'))


def squares(
  root: folder.Path, shape: tuple[int, int, int], bits: int = 0
) -> tuple[UInt8[np.ndarray, 'n h w c'], list[str], folder.Skipped]:
  """Reads all images of a folder, or one file, cropped to the central square and resized, as for training.

  Also returns their names as PNG files, and the files left out. `bits` is the bit depth of deep grey values; 0 is as
  many as the brightest of all needs. Raises InputError if none can be read, or two would become one file.
  """
  items, skipped = items_of(root)
  images, names = [], []
  bits = common_bits(items, skipped, bits)
  for item in builders.progress([item for item in items if item.image not in skipped], desc='reading'):
    try:
      images.append(image_file.read_square(item.image, shape[0], shape[2], bits))
    except image_file.UnreadableError as error:
      skipped[item.image] = str(error)
      continue
    names.append(output_name(item))
  if not images:
    problem = f'none of its images can be read{folder.summary(skipped, root)}'
    raise InputError('input', str(root), problem, 'name a folder of images')
  return np.stack(images), names, skipped


def say_skipped(skipped: folder.Skipped, root: folder.Path) -> int:
  """Prints which files are left out; returns the exit status: 1 if some of them may be images."""
  possible = folder.possible_images(skipped)
  if harmless := {path: why for path, why in skipped.items() if path not in possible}:
    print(f'left out{folder.summary(harmless, root)}')
  if possible:
    print(f'error: {len(possible)} files are left out:{folder.listed(possible, root)}', file=sys.stderr)
  return 1 if possible else 0
