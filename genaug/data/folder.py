"""A folder of images as it lies on disk, of any sizes and depth, with their masks: read and written without loss."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import ExifTags, Image, ImageOps

from genaug.data import builders, image_folder
from genaug.errors import InputError

MODES = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4}  # Pillow's, of images as they are read: 8 bits a channel


class Item(NamedTuple):
  """An image file and, where it has one, its mask."""

  name: str  # path relative to the folder, with '/'
  image: pathlib.Path
  mask: pathlib.Path | None


class Layout(NamedTuple):
  """What images must have in common to share a batch."""

  height: int
  width: int
  mode: str  # a key of MODES
  masked: bool

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """[h, w, c], opacity left out."""
    return self.height, self.width, MODES[self.mode.removesuffix('A')]


class Picture(NamedTuple):
  """An image or a mask, and what it takes to write it as it was."""

  pixels: UInt8[np.ndarray, 'h w c'] | Integer[np.ndarray, 'h w 1']
  mode: str
  info: dict[str, bytes]  # palette of a mask, colour profile of an image


def find(root: pathlib.Path, masks: pathlib.Path | None = None, key: str = 'input') -> list[Item]:
  """All images below a folder, sorted by name; hidden files and folders are left out.

  Masks are masks/NAME.png for every image or, without `masks`, the NAME_mask.png (or .jpg, ...) beside some of them.
  Raises InputError, naming `key`, for a folder without images, and for images that `masks` has no mask of.
  """
  if not root.is_dir():
    raise InputError(key, str(root), 'is not a folder', f'--{key}=FOLDER, with images in it or in its sub-folders')
  files, skipped = image_folder.walk(root)
  if masks is None:
    beside = image_folder.masks_beside(files)
    taken = set(beside.values())
    items = [Item(path.relative_to(root).as_posix(), path, beside.get(path)) for path in files if path not in taken]
  else:
    names = [path.relative_to(root) for path in files]
    items = [Item(name.as_posix(), root / name, masks / name.with_suffix('.png')) for name in names]
    if missing := [item for item in items if not item.mask.is_file()]:
      problem = f'no mask of {missing[0].name}' + (f' and {len(missing) - 1} more' if len(missing) > 1 else '')
      raise InputError('masks', str(masks), problem, f'put it at {missing[0].mask}')
  if not items:
    problem = f'holds no images (.png, .jpg, .tif and what else Pillow decodes), but {len(skipped)} other files'
    raise InputError(key, str(root), problem, f'--{key}=FOLDER, with images in it or in its sub-folders')
  return items


def read_layout(item: Item) -> Layout:
  """From the headers of its files. Raises ValueError where they have none, or the mask is of another size."""
  with _opened(item.image) as image:
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # by a quarter
    size, mode = image.size[::-1] if turned else image.size, _mode(image)
  if item.mask:
    with _opened(item.mask) as mask:
      mask_size = mask.size
    if mask_size != size:
      raise ValueError('{} x {} pixels, but its mask has {} x {}'.format(*size, *mask_size))
  return Layout(size[1], size[0], mode, item.mask is not None)


def read_image(path: pathlib.Path) -> Picture:
  """Upright by its EXIF; grey or RGB of 8 bits, with the opacity as last channel where there is any.

  Raises ValueError where it does not decode.
  """
  with _opened(path) as file:
    mode, profile = _mode(file), file.info.get('icc_profile')
    image = ImageOps.exif_transpose(file)
    if image.mode.startswith('I'):  # 16-bit grey, which convert() would clip instead of scale
      image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    pixels = np.asarray(image.convert(mode)).reshape(image.height, image.width, MODES[mode])
    # What a profile says of CMYK is not true of RGB.
    return Picture(pixels, mode, {'icc_profile': profile} if profile and file.mode == mode else {})


def read_mask(path: pathlib.Path) -> Picture:
  """Labels: grey values, indices of a palette, or colours as 0xRRGGBB. Raises ValueError for any other file."""
  with _opened(path) as image:
    mode = 'L' if image.mode == '1' else image.mode
    palette = {'palette': image.getpalette('RGB')} if mode == 'P' else {}
    labels = np.asarray(image.convert('L') if image.mode == '1' else image)
  if mode == 'RGB':
    red, green, blue = np.moveaxis(labels.astype(np.int32), -1, 0)
    labels = red << 16 | green << 8 | blue
  elif mode.startswith('I'):
    mode, labels = 'I;16', labels.astype(np.int32)
  elif mode not in ('L', 'P'):
    raise ValueError(f'{path.name} is of mode {mode}: a mask is grey, RGB or has a palette')
  return Picture(labels[..., None], mode, palette)


def on_white(picture: Picture) -> Picture:
  """The image without its opacity."""
  mode = picture.mode.removesuffix('A')
  if mode == picture.mode:
    return picture
  image = builders.on_white(_to_pillow(picture).convert('RGBA')).convert(mode)
  return Picture(np.asarray(image).reshape(image.height, image.width, MODES[mode]), mode, picture.info)


def write(path: pathlib.Path, picture: Picture) -> None:
  """PNG or JPEG by the path's suffix, whole or not at all. JPEG has quality 95; without opacity, it is on white."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'.{path.name}.partial')
  try:
    if path.suffix == '.png':
      _to_pillow(picture).save(partial, 'PNG', icc_profile=picture.info.get('icc_profile'))
    else:
      image = _to_pillow(on_white(picture))
      image.save(partial, 'JPEG', quality=95, subsampling=0, icc_profile=picture.info.get('icc_profile'))
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)


def _to_pillow(picture: Picture) -> Image.Image:
  pixels, mode, info = picture
  if pixels.shape[-1] > 1:
    return Image.fromarray(pixels)
  plane = pixels[..., 0]
  if mode == 'RGB':  # the colours of a mask
    return Image.fromarray(np.stack([plane >> 16, plane >> 8 & 255, plane & 255], -1).astype(np.uint8))
  image = Image.fromarray(plane.astype(np.uint16 if mode == 'I;16' else np.uint8))
  if mode == 'P':
    image.putpalette(info['palette'])
  return image


def _mode(image: Image.Image) -> str:
  grey = image.mode in ('1', 'L', 'LA', 'F') or image.mode.startswith('I')
  return ('L' if grey else 'RGB') + 'A' * image.has_transparency_data


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Image.Image]:
  try:
    with Image.open(path) as image:
      yield image
  except Exception as e:  # every decoder of Pillow has its own exceptions
    raise ValueError(f'{path.name} does not decode ({type(e).__name__}: {e})') from e
