"""Table upscale of experiments.bench: trained super-resolution networks against resizers, on a folder of images.

Images are cropped to multiples of the scale, downscaled as in the training of a run, once for every degradation among
the runs, and enlarged by all methods. Scores are those of the metric super_resolution, image by image; the luma of a
greyscale file is the image itself. SRCNN and VDSR do the same; their bicubic x2 on Set14 is 30.24 dB. Read as RGB, its
one greyscale file, `bridge`, would score 1.3 dB higher.
"""

import pathlib
from collections import Counter
from collections.abc import Callable, Sequence

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genaug.errors import InputError
from genaug.metrics.super_resolution import cropped, scores_of
from genaug.models.superres import cubic_upscaled
from genaug.offline import reading
from genaug.offline.upscaling import Upscaler
from genaug.study.intervals import mean_interval
from genaug.tasks.superres import DEGRADATIONS
from genaug.training import figures, workdir
from genaug.training.experiment import load_trained

_BASELINE = 'bicubic, as MATLAB'
_SHOWN, _SIDE = 5, 96  # number of images in a picture, and side in pixels of the crop of each

Pixels = UInt8[np.ndarray, 'h w c']


def _as_matlab(image: Pixels, scale: int) -> Pixels:
  enlarged = cubic_upscaled(jnp.asarray(image, jnp.float32)[None], scale)[0]
  return np.asarray(jnp.round(jnp.clip(enlarged, 0, 255)).astype(jnp.uint8))


def _by_pillow(how: Image.Resampling) -> Callable[[Pixels, int], Pixels]:
  def resized(image: Pixels, scale: int) -> Pixels:
    height, width, channels = image.shape
    enlarged = Image.fromarray(image[..., 0] if channels == 1 else image).resize((scale * width, scale * height), how)
    return np.asarray(enlarged).reshape(scale * height, scale * width, channels)

  return resized


def _by_opencv(how: int) -> Callable[[Pixels, int], Pixels]:
  return lambda image, scale: cv2.resize(image, None, fx=scale, fy=scale, interpolation=how).reshape(
    *(scale * side for side in image.shape[:2]), image.shape[-1]
  )


RESIZERS = {
  _BASELINE: _as_matlab,
  'PIL BICUBIC': _by_pillow(Image.Resampling.BICUBIC),
  'PIL LANCZOS': _by_pillow(Image.Resampling.LANCZOS),
  'cv2 INTER_CUBIC': _by_opencv(cv2.INTER_CUBIC),
  'cv2 INTER_LANCZOS4': _by_opencv(cv2.INTER_LANCZOS4),
}


def table(
  directories: Sequence[pathlib.Path], data_dir: pathlib.Path, folder: pathlib.Path | None, output: pathlib.Path | None
) -> dict:
  """Scores every run and resizer. Saves pictures beside the output: columns of originals, baseline and runs."""
  if not folder:
    raise InputError('folder', folder, 'what table upscale is of', '--folder=PATH to a folder of images')
  if len({path.name for path in directories}) < len(directories):
    problem = 'two runs have the same folder name, and the table names runs by it'
    raise InputError('workdir', ','.join(map(str, directories)), problem, 'rename one of the folders')
  loaded = {path.name: load_trained(path, data_dir, 'best', images=False) for path in directories}
  configs = {name: experiment.config for name, (experiment, _) in loaded.items()}
  runs = {name: Upscaler(experiment.config, experiment.spec, state) for name, (experiment, state) in loaded.items()}
  if len({(configs[name].model.scale, loaded[name][0].spec.image_shape[-1]) for name in runs}) > 1:
    problem = 'runs of several scales, or of greyscale and RGB images'
    raise InputError('workdir', ','.join(runs), problem, 'runs of equal model.scale and data.channels')
  any_experiment, _ = next(iter(loaded.values()))
  scale = any_experiment.config.model.scale
  images, greyscale = _read(folder, any_experiment.spec.image_shape[-1])
  images = [x[: x.shape[0] // scale * scale, : x.shape[1] // scale * scale] for x in images]
  methods = {name: lambda x, resize=resize: resize(x, scale) for name, resize in RESIZERS.items()} | runs
  inputs, pictures = {}, Counter()
  for way, config in {_degradation(config): config for config in configs.values()}.items():
    kind = config.superres.degradation
    small = [_downscaled(config, i, image) for i, image in enumerate(images)]
    enlarged = {name: [upscale(x) for x in small] for name, upscale in methods.items()}
    scores = {name: _scores(outputs, images, greyscale, scale) for name, outputs in enlarged.items()}
    inputs[way] = _summary(scores, list(runs))
    for name, means in inputs[way]['methods'].items():
      print(f'{way}, {name}: ' + ', '.join(f'{score} {value:.4f}' for score, value in means.items()), flush=True)
    if output:
      columns = [images, enlarged[_BASELINE], *(enlarged[name] for name in runs)]
      suffix = f'_{pictures[kind]}' if pictures[kind] else ''
      pictures[kind] += 1
      figures.save_png(output.with_name(f'{output.stem}_{kind}{suffix}.png'), _shown(columns))
  return {
    'what': f'{len(images):,} images of {folder.name}, x{scale}; {scale} pixels of each border left out',
    'configs': {name: config.to_dict() for name, config in configs.items()},
    'trained': {name: _trained(experiment.config, state) for name, (experiment, state) in loaded.items()},
    'environment': workdir.environment(),
    'inputs': inputs,
  }


def _read(folder: pathlib.Path, channels: int) -> tuple[list[Pixels], list[bool]]:
  """Reads a folder as (images of so many channels, whether each is greyscale). Raises InputError for other channels."""
  images, names = reading.exact_images(folder, (None, None, None), 'folder')
  if wrong := [name for name, image in zip(names, images) if image.shape[-1] not in (1, channels)]:
    problem = f'{", ".join(wrong)}: not {"RGB" if channels == 3 else "greyscale"}, as the runs require'
    raise InputError('folder', str(folder), problem, 'remove these images from the folder, or convert them')
  greyscale = [image.shape[-1] == 1 for image in images]
  return [image.repeat(channels // image.shape[-1], -1) for image in images], greyscale


def _trained(config, state) -> str:
  images = pathlib.PurePath(config.data.folder).name or config.data.name
  return f'{int(state.step):,} steps of {config.train.batch_size} patches of {images}'


def _degradation(config) -> str:
  """Returns the name of the degradation that a run was trained with; runs of one degradation share inputs."""
  settings = config.superres
  if settings.degradation == 'bicubic':
    return 'bicubic'
  ranges = [f'{name} {settings[name][0]:g} to {settings[name][1]:g}' for name in ('blur', 'jpeg_quality')]
  return f'{settings.degradation}: {ranges[0]}, noise to {settings.noise:g}, {ranges[1]}'


def _downscaled(config, number: int, image: Pixels) -> Pixels:
  """Downscales an image as in the run's training; random draws depend on the number of the image alone."""
  key, x = jax.random.fold_in(jax.random.key(0), number), jnp.asarray(image / np.float32(255))
  small = DEGRADATIONS[config.superres.degradation](config, key, x, config.model.scale)
  return np.asarray(jnp.round(255 * jnp.clip(small, 0, 1)).astype(jnp.uint8))


def _scores(
  made: Sequence[Pixels], images: Sequence[Pixels], greyscale: Sequence[bool], scale: int
) -> list[dict[str, float]]:
  pairs = zip(map(_as_grey, made, greyscale), map(_as_grey, images, greyscale), strict=True)
  return [scores_of(*(cropped(x[None], scale) for x in pair)) for pair in pairs]


def _as_grey(image: Pixels, greyscale: bool) -> Pixels:
  """Reduces the image to its mean channel if its file is greyscale."""
  return np.rint(image.mean(-1, keepdims=True)).astype(np.uint8) if greyscale else image


def _summary(scores: dict[str, list[dict[str, float]]], runs: Sequence[str]) -> dict:
  """Returns mean scores of every method, and differences of each run from the baseline, image by image."""
  means = {
    name: {
      score: float(np.mean([one[score] for one in of_all]))
      for score in of_all[0]
      if all(score in one for one in of_all)
    }
    for name, of_all in scores.items()
  }
  gains = {
    name: {
      score: mean_interval([a[score] - b[score] for a, b in zip(scores[name], scores[_BASELINE], strict=True)])
      for score in ('psnr_y', 'lpips')
    }
    for name in runs
  }
  return {'methods': means, 'more_than_bicubic': gains}


def _shown(columns: Sequence[Sequence[Pixels]]) -> Pixels:
  """Returns a grid of centre crops of the first images: a row per image, a column per method."""
  crops = []
  for row in zip(*(column[:_SHOWN] for column in columns), strict=True):
    side = min(_SIDE, *row[0].shape[:2])
    top, left = ((n - side) // 2 for n in row[0].shape[:2])
    crops += [
      np.pad(
        x[top : top + side, left : left + side], ((0, _SIDE - side), (0, _SIDE - side), (0, 0)), constant_values=255
      )
      for x in row
    ]
  return figures.grid(np.stack(crops) / np.float32(255), len(columns))
