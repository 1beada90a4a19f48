"""Table compress of experiments.bench: files of trained models against PNG, WebP and JPEG of the same images.

Files of the others are counted one an image and, as many small files are mostly headers, also as one of all images side
by side, where they are of one size. Of lossy ones the BD-rate: how many bytes the models need for the same PSNR, in
percent more than another (Bjoentegaard 2001, VCEG-M33), integrated over the PSNR that both reach.
"""

import io
import multiprocessing
import pathlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import scipy.interpolate
from jaxtyping import UInt8
from PIL import Image

from genaug.errors import InputError
from genaug.metrics.reconstruction import psnr
from genaug.offline import codecs, reading
from genaug.offline import lossless as lossless_codec
from genaug.offline import lossy as lossy_codec
from genaug.training import workdir
from genaug.training.experiment import trained

_QUALITIES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
_LOSSLESS = {
  'PNG': {'format': 'PNG', 'optimize': True},
  'WebP lossless': {'format': 'WEBP', 'lossless': True, 'quality': 100, 'method': 6},
}
_LOSSY = {'JPEG': {'format': 'JPEG', 'optimize': True}, 'WebP': {'format': 'WEBP', 'method': 6}}

Pixels = UInt8[np.ndarray, 'h w c']


def _file(image: Pixels, **options) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, **options)
  return buffer.getvalue()


def _decoded(content: bytes, channels: int) -> Pixels:
  image = Image.open(io.BytesIO(content)).convert('L' if channels == 1 else 'RGB')
  return np.asarray(image).reshape(*image.size[::-1], channels)


def _mosaic(images: Sequence[Pixels]) -> Pixels:
  """All of one size, side by side; the last row is filled up with black."""
  columns = int(np.ceil(np.sqrt(len(images))))
  filled = np.concatenate([images, np.zeros((-len(images) % columns, *images[0].shape), np.uint8)])
  return np.concatenate([np.concatenate(row, axis=1) for row in np.split(filled, len(filled) // columns)])


def _tiles(mosaic: Pixels, shape: tuple[int, int, int]) -> list[Pixels]:
  """The images of a mosaic, row by row."""
  height, width, _ = shape
  rows = (mosaic[top : top + height] for top in range(0, len(mosaic), height))
  return [row[:, left : left + width] for row in rows for left in range(0, row.shape[1], width)]


def _in_another_process(directory: pathlib.Path, data_dir: pathlib.Path, content: bytes) -> Sequence[Pixels]:
  with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as other:
    return other.submit(_decompressed, directory, data_dir, content).result()


def _decompressed(directory: pathlib.Path, data_dir: pathlib.Path, content: bytes) -> Sequence[Pixels]:
  return codecs.of_run(directory, data_dir, 'best').decompress(content)[0]


def lossless(directory: pathlib.Path, data_dir: pathlib.Path, codec, images: Sequence[Pixels]) -> dict:
  """Bytes by the run's codec, decoded in another process, and by others."""
  made = codec.compress(images, [])
  decoded = _in_another_process(directory, data_dir, made.content)
  if len(decoded) != len(images) or not all(map(np.array_equal, decoded, images)):
    raise AssertionError('not the same images')
  sizes = {'genaug': len(made.content)}
  sizes |= {name: sum(len(_file(x, **options)) for x in images) for name, options in _LOSSLESS.items()}
  sizes |= {f'{name}, one mosaic': len(_file(_mosaic(images), **options)) for name, options in _LOSSLESS.items()}
  return {
    'bytes': sizes,
    'bound_bytes': made.bound_bits / 8,
    'initial_bytes': made.initial_bits / 8,
    'header_bytes': made.header_bytes,
  }


def lossy(found: Sequence[lossy_codec.Codec], images: Sequence[Pixels]) -> dict:
  """(bytes, mean PSNR) of every rate or quality, and the BD-rate of the runs to each of the others."""
  curves: dict[str, list[tuple[int, float]]] = {'genaug': []}
  quality = lambda decoded: float(np.mean([psnr(a[None], b[None])[0] for a, b in zip(decoded, images, strict=True)]))
  for codec in found:
    content = codec.compress(images).content
    curves['genaug'].append((len(content), quality(codec.decompress(content)[0])))
  channels, alike = images[0].shape[-1], len({image.shape for image in images}) == 1
  for name, options in _LOSSY.items():
    coded = lambda image, level, options=options: _file(image, quality=level, **options)
    curves[name] = []
    curves |= {f'{name}, one mosaic': []} if alike else {}
    for level in _QUALITIES:
      files = [coded(image, level) for image in images]
      curves[name].append((sum(map(len, files)), quality([_decoded(content, channels) for content in files])))
      if alike:
        whole = coded(_mosaic(images), level)
        tiles = _tiles(_decoded(whole, channels), images[0].shape)[: len(images)]
        curves[f'{name}, one mosaic'].append((len(whole), quality(tiles)))
  others = [name for name in curves if name != 'genaug']
  return {'curves': curves, 'bd_rate_percent': {name: bd_rate(curves['genaug'], curves[name]) for name in others}}


def bd_rate(curve: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> float | None:
  """By how many percent more bytes, on average over PSNR, a curve of (bytes, PSNR) needs than another.

  None where their ranges of PSNR don't overlap. Logarithms of bytes, interpolated by monotone cubics.
  """
  parts = [np.array(sorted(points, key=lambda point: point[1])) for points in (curve, other)]
  low, high = (pick(part[end, 1] for part in parts) for pick, end in ((max, 0), (min, -1)))
  if low >= high:
    return None
  areas = [scipy.interpolate.PchipInterpolator(p[:, 1], np.log(p[:, 0])).integrate(low, high) for p in parts]
  return float(100 * np.expm1((areas[0] - areas[1]) / (high - low)))


def table(directories: Sequence[pathlib.Path], folder: pathlib.Path | None, data_dir: pathlib.Path, count: int) -> dict:
  """Of one run that compresses without loss, or of several with loss, one a rate.

  The images are those of a folder, else the first test images of the run.
  """
  found = [codecs.of_run(directory, data_dir, 'best') for directory in directories]
  if len({(type(codec), codec.input_shape) for codec in found}) != 1:
    raise InputError('workdir', len(found), 'runs of different tasks or images', 'runs that differ in their rate only')
  if folder:
    images, _ = reading.exact_images(folder, found[0].input_shape)
  else:
    images = list(trained(directories[0], data_dir, 'best')[0].dataset.test.arrays['image'][:count])
  if isinstance(found[0], lossless_codec.Codec):
    result = lossless(directories[0], data_dir, found[0], images)
  else:
    result = lossy(found, images)
  values, source = sum(image.size for image in images), f'folder {folder.name}' if folder else 'test images of the run'
  what = f'{len(images):,} images of {values:,} bytes: {source}'
  return {'what': what, 'environment': workdir.environment(), 'values': values, **result}
