"""Reads an image file, whatever its format, as upright 8-bit sRGB; writes one atomically."""

import contextlib
import functools
import io
import math
import pathlib
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import ExifTags, Image, ImageCms, ImageFile

from genaug.errors import InputError

Image.preinit()  # first, as Pillow tries formats in the order in which they were registered
Image.init()
_NO_PHOTOGRAPHS = {'BUFR', 'EPS', 'GRIB', 'HDF5', 'MPEG', 'PDF', 'WMF'}  # containers and vectors for other programs
EXTENSIONS = {e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN.keys() - _NO_PHOTOGRAPHS}
"""Extensions of the files that the installed Pillow decodes, in lower case."""

MODES = {'L': 1, 'LA': 2, 'RGB': 3, 'RGBA': 4}  # Pillow mode of an image as it is read, 8 bits per channel -> channels
BITS = (1, 8, 10, 12, 14, 16)
"""Possible bit depths of grey values stored with more than 8 bits: white is 2**bits - 1. 1: floats from 0 to 1."""

_DRAFT = 2  # a JPEG is decoded at no less than this many times the size that it is resized to
_OTHER_COLOURS = ('CMYK', 'HSV', 'LAB', 'YCbCr')  # Pillow modes whose conversion to RGB rounds
_DARK = 64  # if the upper bytes of 16-bit colours are all below it, they use 14 bits at most

_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> what turns the image upright

File = pathlib.Path | io.BytesIO


class UnreadableError(ValueError):
  """A file that cannot be read as an image. The message is worded to follow the file's name in a sentence."""


class Picture(NamedTuple):
  """Pixels of an image or a mask, with the mode and palette that it takes to write them as they were."""

  pixels: UInt8[np.ndarray, 'h w c'] | Integer[np.ndarray, 'h w 1']
  mode: str
  palette: bytes | None = None  # of a mask


class Header(NamedTuple):
  """Properties of an image known before it is decoded: its size when upright, and its mode, a key of MODES."""

  height: int
  width: int
  mode: str
  is_deep: bool  # grey of more than 8 bits


def read_header(file: File) -> Header:
  """Returns the header of an image file. Raises UnreadableError if it has none."""
  with _opened(file) as image:
    turned = _orientation(image) in (5, 6, 7, 8)  # by 90 degrees
    width, height = image.size[::-1] if turned else image.size
    return Header(height, width, _mode(image), _is_deep(image))


def brightest(file: File) -> float:
  """Returns the largest value of a deep grey image, 0 for any other. Raises UnreadableError for invalid grey values."""
  with _opened(file) as image:
    return float(_deep_values(image).max()) if _is_deep(image) else 0.0


def check_bits(bits: int) -> None:
  """Raises InputError for an invalid value of `data.bits`."""
  if bits not in (0, *BITS):
    remedy = f'one of {", ".join(map(str, BITS))}, or 0 for as many as the brightest value needs'
    raise InputError('data.bits', bits, 'not a supported bit depth', remedy)


def bits_of(peak: float) -> int:
  """Returns the bit depth of images whose brightest value is `peak`: 12 for 3,871, as many microscopes give."""
  return next(bits for bits in BITS if peak <= 2**bits - 1)


def read_image(file: File, bits: int = 0) -> Picture:
  """Returns a grey or RGB image, with opacity, if it has any, as the last channel.

  `bits` is the bit depth of deep grey values; 0 is 16. Raises UnreadableError if the file does not decode.
  """
  with _opened(file) as image:
    image = _decode(image, bits)
  return Picture(np.asarray(image).reshape(image.height, image.width, MODES[image.mode]), image.mode)


def read_unchanged(file: File) -> UInt8[np.ndarray, 'h w c']:
  """Returns the pixels of an image. Raises UnreadableError if that would drop bits or frames, or convert colours."""
  with _opened(file) as image:
    if _is_deep(image) or any(';16' in str(part) for part in image.tile):
      raise UnreadableError('has more than 8 bits per channel')
    if (frames := getattr(image, 'n_frames', 1)) > 1:
      raise UnreadableError(f'has {frames} frames')
    if image.mode in _OTHER_COLOURS:
      raise UnreadableError(f'has colours of mode {image.mode}, not grey or RGB')
    profile, mode = image.info.get('icc_profile'), _mode(image)
    if profile and _transform(profile, mode.removesuffix('A')):
      raise UnreadableError('has a colour profile other than sRGB')
  return read_image(file).pixels


def read_square(
  file: File, size: int, channels: int, bits: int | None = 0, resize: bool = True
) -> UInt8[np.ndarray, 'size size channels'] | float:
  """Returns the central square of an image, on white where it is transparent, resized to `size` (antialiased bicubic).

  Without `resize`, returns the central `size` x `size` pixels as they are; a smaller image is unreadable.

  `bits` is the bit depth of deep grey values; 0 is 16. With None, a deep image gives its brightest value instead.

  A far larger JPEG is decoded at a half, a quarter or an eighth of its size, still twice `size` or more: pixels differ
  by 0.3 of 255 on average. Raises UnreadableError if the file does not decode.
  """
  with _opened(file) as image:
    if bits is None and _is_deep(image):
      return float(_deep_values(image).max())
    scale = _DRAFT * size / min(image.size)
    if not resize and min(image.size) < size:
      raise UnreadableError(f'has {image.width} x {image.height} pixels, fewer than {size} a side')
    if resize and scale < 1:
      image.draft(None, tuple(math.ceil(side * scale) for side in image.size))
    image = _decode(image, bits)
  image = _converted(pillow_on_white(image), 'L' if channels == 1 else 'RGB')
  side = min(image.size) if resize else size
  left, top = (image.width - side) // 2, (image.height - side) // 2
  square = image.crop((left, top, left + side, top + side))
  if resize:
    square = square.resize((size, size), Image.Resampling.BICUBIC)
  return np.asarray(square).reshape(size, size, channels)


def read_mask(path: pathlib.Path) -> Picture:
  """Returns labels: grey values, palette indices, or colours as 0xRRGGBB. Raises UnreadableError for any other file."""
  with _opened(path) as image:
    mode = 'L' if image.mode == '1' else image.mode
    palette = image.getpalette('RGB') if mode == 'P' else None
    labels = np.asarray(image.convert('L') if image.mode == '1' else image)
  if mode == 'RGB':
    red, green, blue = np.moveaxis(labels.astype(np.int32), -1, 0)
    labels = red << 16 | green << 8 | blue
  elif mode.startswith('I'):
    mode, labels = 'I;16', labels.astype(np.int32)
  elif mode not in ('L', 'P'):
    raise UnreadableError(f'has mode {mode}: masks must be grey, RGB or palette images')
  return Picture(labels[..., None], mode, palette)


def pillow_on_white(image: Image.Image) -> Image.Image:
  """Composites an image with transparency onto white, as L or RGB; returns any other as it is."""
  if not image.has_transparency_data:
    return image
  rgba = image.convert('RGBA')
  return Image.alpha_composite(Image.new('RGBA', rgba.size, 'white'), rgba).convert(_mode(image)[:-1])


def composite_on_white(picture: Picture) -> Picture:
  """Returns the picture composited onto white, without opacity."""
  image = pillow_on_white(_to_pillow(picture))
  return Picture(np.asarray(image).reshape(*picture.pixels.shape[:2], MODES[image.mode]), image.mode)


def write(path: pathlib.Path, picture: Picture) -> None:
  """Writes PNG or JPEG, by the path's suffix, atomically. JPEG has quality 95 and no opacity: it is put on white."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(partial_name(path.name))
  try:
    if path.suffix == '.png':
      _to_pillow(picture).save(partial, 'PNG')
    else:
      pillow_on_white(_to_pillow(picture)).save(partial, 'JPEG', quality=95, subsampling=0)
    partial.replace(path)
  finally:
    partial.unlink(missing_ok=True)


def partial_name(name: str) -> str:
  """Returns the name that a file has while it is being written."""
  return f'.{name}.partial'


@contextlib.contextmanager
def truncated_files(allowed: bool) -> Iterator[None]:
  """Sets, for the whole process, whether truncated files are read as far as they go, the rest grey, or refused."""
  before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, allowed
  try:
    yield
  finally:
    ImageFile.LOAD_TRUNCATED_IMAGES = before


def _decode(image: Image.Image, bits: int) -> Image.Image:
  """Decodes an opened image to one of MODES, upright."""
  mode, tile = _mode(image), str(image.tile)
  image.load()
  orientation = _orientation(image)
  halved = ';16' in tile and not _is_deep(image)  # Pillow keeps the upper 8 of 16 bits of a colour
  if _is_deep(image):
    image = _scaled(image, bits)
  elif halved and max(high for _, high in image.getextrema()[:3]) < _DARK:
    raise UnreadableError('stores its colours in 16 bits but uses only the lower ones: save it with 8 bits per channel')
  image = _to_srgb(image, mode)
  return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _deep_values(image: Image.Image) -> np.ndarray:
  values = np.asarray(image)
  if not (np.isfinite(values).all() and values.min() >= 0 and values.max() < 2 ** BITS[-1]):
    raise UnreadableError(f'has values from {values.min()} to {values.max()}: save it with 8 or 16 bits per channel')
  return values


def _scaled(image: Image.Image, bits: int) -> Image.Image:
  values = _deep_values(image)
  grey = Image.fromarray(np.clip(np.rint(values * (255 / (2 ** (bits or BITS[-1]) - 1))), 0, 255).astype(np.uint8))
  if (transparent := image.info.get('transparency')) is not None:
    grey = grey.convert('LA')
    grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
  return grey


def _to_srgb(image: Image.Image, mode: str) -> Image.Image:
  """Converts an image to `mode`, and its colours to sRGB if it has a usable profile."""
  opaque, profile = image, image.info.get('icc_profile')
  if profile and (mode.endswith('A') or image.mode == 'P'):
    opaque = image.convert(mode.removesuffix('A'))
  transform = _transform(profile, opaque.mode) if profile else None
  if transform is None:
    return _converted(image, mode)
  converted = _converted(ImageCms.applyTransform(opaque, transform), mode)
  if mode.endswith('A'):
    converted.putalpha(image.convert('RGBA').getchannel('A'))
  return converted


def _converted(image: Image.Image, mode: str) -> Image.Image:
  return image if image.mode == mode else image.convert(mode)  # convert() would copy it


@functools.lru_cache(16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
  try:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if ImageCms.getProfileDescription(source).startswith('sRGB'):
      return None
    # Grey becomes RGB as well: there is no grey profile of sRGB to convert to.
    return ImageCms.buildTransform(source, ImageCms.createProfile('sRGB'), mode, 'RGB')
  except (ImageCms.PyCMSError, OSError) as error:
    warnings.warn(f'a colour profile cannot be used ({error}): its images are taken as sRGB', stacklevel=2)
    return None


def _orientation(image: Image.Image) -> int | None:
  try:
    return image.getexif().get(ExifTags.Base.Orientation)
  except Exception:  # damaged EXIF of a sound image; Pillow raises whatever its parser meets
    return None


def _is_deep(image: Image.Image) -> bool:
  return image.mode == 'F' or image.mode.startswith('I')


def _mode(image: Image.Image) -> str:
  grey = image.mode in ('1', 'L', 'LA', 'La') or _is_deep(image)
  return ('L' if grey else 'RGB') + 'A' * image.has_transparency_data


def _to_pillow(picture: Picture) -> Image.Image:
  pixels, mode, palette = picture
  if pixels.shape[-1] > 1:
    return Image.fromarray(pixels)
  plane = pixels[..., 0]
  if mode == 'RGB':  # a mask whose labels are colours
    return Image.fromarray(np.stack([plane >> 16, plane >> 8 & 255, plane & 255], -1).astype(np.uint8))
  image = Image.fromarray(plane.astype(np.uint16 if mode == 'I;16' else np.uint8))
  if mode == 'P':
    image.putpalette(palette)
  return image


@contextlib.contextmanager
def _opened(file: File) -> Iterator[Image.Image]:
  """Opens an image; raises UnreadableError for whatever goes wrong while it is open."""
  try:
    with Image.open(file) as image:
      yield image
  except UnreadableError:
    raise
  except Exception as error:  # every decoder of Pillow has its own exceptions
    raise UnreadableError(_problem(error)) from error


def _problem(error: Exception) -> str:
  if isinstance(error, Image.DecompressionBombError):
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
    return f'has more than the {most:.0f} megapixels that Pillow opens: save it smaller'
  if isinstance(error, OSError) and error.strerror:  # the operating system's error, not a decoder's
    return f'cannot be read ({error.strerror})'
  cut = isinstance(error, OSError) and 'truncated' in str(error)
  remedy = '; --config.data.load_truncated=True reads as far as it goes' if cut else ''
  return f'does not decode ({type(error).__name__}: {error}{remedy})'
