"""Table compress of experiments.bench: file sizes of trained models against PNG, WebP and JPEG of the same images.

The other coders are measured with one file per image and, as many small files are mostly headers, also with one file
of all images side by side, if these are of one size. For lossy coders the BD-rate is how many percent more bytes the
models need than another for the same PSNR (Bjoentegaard 2001, VCEG-M33), averaged over the PSNR that both reach.
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
from genaug.training.experiment import load_trained

_QUALITIES = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)
_LOSSLESS = {
  'PNG': {'format': 'PNG', 'optimize': True},
  'WebP lossless': {'format': 'WEBP', 'lossless': True, 'quality': 100, 'method': 6},
}
_LOSSY = {'JPEG': {'format': 'JPEG', 'optimize': True}, 'WebP': {'format': 'WEBP', 'method': 6}}

Pixels = UInt8[np.ndarray, 'h w c']


def _file(image: Pixels, **options) -> bytes:
  """Encodes an image as a file, with options of Pillow."""
  buffer = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, **options)
  return buffer.getvalue()


def _decoded(content: bytes, channels: int) -> Pixels:
  """Decodes a file to an image of 1 or 3 channels."""
  image = Image.open(io.BytesIO(content)).convert('L' if channels == 1 else 'RGB')
  return np.asarray(image).reshape(*image.size[::-1], channels)


def _mosaic(images: Sequence[Pixels]) -> Pixels:
  """Puts images of one size side by side; the last row is filled up with black."""
  columns = int(np.ceil(np.sqrt(len(images))))
  filled = np.concatenate([images, np.zeros((-len(images) % columns, *images[0].shape), np.uint8)])
  return np.concatenate([np.concatenate(row, axis=1) for row in np.split(filled, len(filled) // columns)])


def _tiles(mosaic: Pixels, shape: tuple[int, int, int]) -> list[Pixels]:
  """Returns the images of a mosaic, row by row."""
  height, width, _ = shape
  rows = (mosaic[top : top + height] for top in range(0, len(mosaic), height))
  return [row[:, left : left + width] for row in rows for left in range(0, row.shape[1], width)]


def _in_another_process(directory: pathlib.Path, data_dir: pathlib.Path, content: bytes) -> Sequence[Pixels]:
  """Decodes a compressed file in a fresh process, as a receiver would."""
  with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as other:
    return other.submit(_decompressed, directory, data_dir, content).result()


def _decompressed(directory: pathlib.Path, data_dir: pathlib.Path, content: bytes) -> Sequence[Pixels]:
  return codecs.of_run(directory, data_dir, 'best').decompress(content)[0]


def lossless(directory: pathlib.Path, data_dir: pathlib.Path, codec, images: Sequence[Pixels]) -> dict:
  """Measures bytes of the run's codec and of others. Raises AssertionError if another process decodes other images."""
  compressed = codec.compress(images, [])
  decoded = _in_another_process(directory, data_dir, compressed.content)
  if len(decoded) != len(images) or not all(map(np.array_equal, decoded, images)):
    raise AssertionError('another process decoded other images than were compressed')
  sizes = {'genaug': len(compressed.content)}
  sizes |= {name: sum(len(_file(x, **options)) for x in images) for name, options in _LOSSLESS.items()}
  sizes |= {f'{name}, one mosaic': len(_file(_mosaic(images), **options)) for name, options in _LOSSLESS.items()}
  return {
    'bytes': sizes,
    'bound_bytes': compressed.bound_bits / 8,
    'initial_bytes': compressed.initial_bits / 8,
    'header_bytes': compressed.header_bytes,
  }


def lossy(models: Sequence[lossy_codec.Codec], images: Sequence[Pixels]) -> dict:
  """Measures (bytes, mean PSNR) at every rate or quality, and the BD-rate of the runs against each of the others."""
  curves: dict[str, list[tuple[int, float]]] = {'genaug': []}
  quality = lambda decoded: float(np.mean([psnr(a[None], b[None])[0] for a, b in zip(decoded, images, strict=True)]))
  for codec in models:
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
  """Returns how many percent more bytes a curve of (bytes, PSNR) needs than another, on average over PSNR.

  Logarithms of bytes are interpolated by monotone cubics. None if the ranges of PSNR do not overlap.
  """
  parts = [np.array(sorted(points, key=lambda point: point[1])) for points in (curve, other)]
  low, high = (pick(part[end, 1] for part in parts) for pick, end in ((max, 0), (min, -1)))
  if low >= high:
    return None
  areas = [scipy.interpolate.PchipInterpolator(p[:, 1], np.log(p[:, 0])).integrate(low, high) for p in parts]
  return float(100 * np.expm1((areas[0] - areas[1]) / (high - low)))


def table(directories: Sequence[pathlib.Path], folder: pathlib.Path | None, data_dir: pathlib.Path, count: int) -> dict:
  """Compares one run that compresses without loss, or several lossy runs of different rates, with other coders.

  The images are those of the folder or, without one, the first test images of the run.
  """
  needs_images = lambda directory: not folder and directory == directories[0]
  runs = [load_trained(directory, data_dir, 'best', images=needs_images(directory)) for directory in directories]
  models = [codecs.of_state(*run) for run in runs]
  if len({(type(codec), codec.input_shape) for codec in models}) != 1:
    remedy = '--workdir=RUN,RUN of runs that differ only in their rate'
    raise InputError('workdir', len(models), 'the runs differ in codec or image shape', remedy)
  if folder:
    images, _ = reading.exact_images(folder, models[0].input_shape)
  else:
    images = list(runs[0][0].dataset.test.arrays['image'][:count])
  if isinstance(models[0], lossless_codec.Codec):
    result = lossless(directories[0], data_dir, models[0], images)
  else:
    result = lossy(models, images)
  values, source = sum(image.size for image in images), f'folder {folder.name}' if folder else 'test images of the run'
  steps = ', '.join(f'{int(state.step):,}' for _, state in runs)
  what = f'{len(images):,} images of {values:,} bytes: {source}; checkpoint of step {steps}'
  return {'what': what, 'environment': workdir.environment(), 'values': values, **result}
