"""Table restore of experiments.bench: a trained VAE against classical methods, on the test images of its run.

Every method knows how the images were damaged. The parameter of a classical method is the best of a few by mean squared
error on training images; the VAE has none.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import scipy.ndimage
from jaxtyping import Float
from skimage import restoration as classical

from genaug.errors import InputError
from genaug.metrics.reconstruction import psnr, ssim
from genaug.offline.restoration import Restorer, damage
from genaug.study.intervals import mean_interval
from genaug.training import figures, workdir
from genaug.training.experiment import load_trained

_TUNED_ON = 100  # number of training images on which parameters are chosen
_SHOWN = 8
_RADII = (1, 2, 3, 5, 8, 12)  # radii of inpainting, in pixels
PROBLEMS = {  # name: (kind, settings of genaug.offline.restoration.damage)
  'noise 0.1': ('noise', {'noise': 0.1}),
  'noise 0.3': ('noise', {'noise': 0.3}),
  'missing square': ('missing', {}),
  'missing pixels': ('missing', {}),
  'blur 1.5': ('blur', {'blur': 1.5, 'noise': 0.02}),
}

Image = Float[np.ndarray, 'h w c']
Images = Float[np.ndarray, 'n h w c']


class Method(NamedTuple):
  """A classical method, and the values to try of its parameter."""

  restore: Callable[[Image, Float[np.ndarray, 'h w'], float], Image]  # (observed, seen, parameter)
  parameters: Sequence[float] = (0.0,)


def _inpaint(how: int):
  def restore(image: Image, seen, radius: float) -> Image:
    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    found = cv2.inpaint(levels, (seen < 1).astype(np.uint8), radius, how)
    return np.where(seen[..., None] > 0, image, found.reshape(image.shape) / 255)

  return restore


def _point_spread(sigma: float) -> Float[np.ndarray, 'k k']:
  """Returns the point spread function of a Gaussian blur."""
  point = np.zeros((2 * int(4 * sigma) + 1,) * 2)
  point[point.shape[0] // 2, point.shape[1] // 2] = 1
  return scipy.ndimage.gaussian_filter(point, sigma)


def _deconvolved(restore: Callable) -> Callable:
  """Wraps a method for single channels. It mirrors them beyond the frame, where methods assume black or wrap around."""

  def of_channel(x: Float[np.ndarray, 'h w'], parameter: float):
    pad = min(8, *x.shape)
    return restore(np.pad(x, pad, 'symmetric'), parameter)[pad:-pad, pad:-pad]

  return lambda image, _, parameter: np.stack(
    [of_channel(image[..., c], parameter) for c in range(image.shape[-1])], axis=-1
  )


def methods(kind: str, noise: float = 0.0, blur: float = 0.0) -> dict[str, Method]:
  """Returns the classical methods for a kind of damage."""
  if kind == 'noise':
    nlm = {'patch_size': 5, 'patch_distance': 6, 'sigma': noise, 'channel_axis': -1}
    return {
      'median': Method(lambda x, _, size: scipy.ndimage.median_filter(x, (int(size), int(size), 1)), (3, 5)),
      'non-local means': Method(
        lambda x, _, h: classical.denoise_nl_means(x, h=h * noise, **nlm), (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3)
      ),
      'total variation': Method(
        lambda x, _, w: classical.denoise_tv_chambolle(x, w * noise, channel_axis=-1), (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
      ),
    }
  if kind == 'missing':
    return {
      'cv2.inpaint, Telea': Method(_inpaint(cv2.INPAINT_TELEA), _RADII),
      'cv2.inpaint, Navier-Stokes': Method(_inpaint(cv2.INPAINT_NS), _RADII),
      'biharmonic': Method(lambda x, seen, _: classical.inpaint_biharmonic(x, seen < 1, channel_axis=-1)),
    }
  spread = _point_spread(blur)
  return {
    'Wiener': Method(
      _deconvolved(lambda x, balance: classical.wiener(x, spread, balance)),
      (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3),
    ),
    'Richardson-Lucy': Method(
      _deconvolved(lambda x, count: classical.richardson_lucy(np.clip(x, 1e-3, 1), spread, int(count))),
      (3, 5, 10, 20, 40, 80, 160),
    ),
  }


def _damaged(name: str, change, images: Images, rng: np.random.Generator) -> tuple[Images, Float[np.ndarray, 'n h w']]:
  """Returns (observed images, mask that is 1 where pixels were observed)."""
  observed = np.asarray(change.apply(images))
  observed = observed + change.noise * rng.normal(size=observed.shape).astype(np.float32)
  seen = np.ones(images.shape[:3], np.float32)
  side = images.shape[1]
  if name == 'missing square':  # with a quarter of the pixels
    for image, (top, left) in zip(seen, rng.integers(0, side - side // 2 + 1, (len(images), 2))):
      image[top : top + side // 2, left : left + side // 2] = 0
  if name == 'missing pixels':  # each with probability 1/2
    seen[rng.random(seen.shape) < 0.5] = 0
  return observed * seen[..., None], seen


def _run(method: Method, observed: Images, seen, parameter: float) -> Images:
  found = [method.restore(x.astype(np.float64), k, parameter).reshape(x.shape) for x, k in zip(observed, seen)]
  return np.clip(np.stack(found), 0, 1)


def _levels(images: Images) -> np.ndarray:
  return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def table(
  directory: pathlib.Path, data_dir: pathlib.Path, count: int, output: pathlib.Path | None, steps: int = 200
) -> dict:
  """Scores every method on every problem; saves pictures beside the output."""
  experiment, state = load_trained(directory, data_dir, 'best')
  dataset, problems = experiment.dataset, {}
  test, tuned = dataset.test.arrays['image'][:count], dataset.train.arrays['image'][:_TUNED_ON]
  test, tuned = test / np.float32(255), tuned / np.float32(255)
  if len(test) < _SHOWN:
    raise InputError('images', len(test), 'too few test images', f'--images={_SHOWN}, or more')
  for name, (kind, settings) in PROBLEMS.items():
    change, rng = damage(kind, experiment.spec, **settings), np.random.default_rng(0)
    observed, seen = _damaged(name, change, test, rng)
    damaged_training, seen_training = _damaged(name, change, tuned, rng)
    restorer = Restorer(experiment.config, experiment.spec, state, change, steps)
    restored, chosen = {'damaged': observed, 'VAE': restorer(observed, seen[..., None])}, {}
    for title, method in methods(kind, **settings).items():
      errors = {p: ((_run(method, damaged_training, seen_training, p) - tuned) ** 2).mean() for p in method.parameters}
      chosen[title] = min(errors, key=errors.get)
      restored[title] = _run(method, observed, seen, chosen[title])
    problems[name] = _scores(restored, _levels(test)) | {'parameters': chosen}
    for title, score in problems[name]['methods'].items():
      print(f'{name}, {title}: PSNR {score["psnr"]:.2f} dB, SSIM {score["ssim"]:.3f}', flush=True)
    if output:
      shown = np.concatenate([images[:_SHOWN] for images in (test, *restored.values())])
      figures.save_png(output.with_name(f'{output.stem}_{name.replace(" ", "_")}.png'), figures.grid(shown, _SHOWN))
  return {
    'what': f'{len(test):,} test images of {dataset.name}, {"x".join(map(str, experiment.spec.image_shape))};'
    f' {experiment.config.model.network} of {len(dataset.train.arrays["image"]):,} images, {int(state.step):,} steps',
    'config': experiment.config.to_dict(),
    'environment': workdir.environment(),
    'problems': problems,
  }


def _scores(restored: dict[str, Images], originals: np.ndarray) -> dict:
  """Returns mean scores of methods, and by how many dB the VAE is above the best classical one, image by image."""
  decibels = {title: psnr(_levels(images), originals) for title, images in restored.items()}
  scores = {
    title: {
      'psnr': float(decibels[title].mean()),
      'ssim': float(np.mean(ssim(_levels(images), originals))),
    }
    for title, images in restored.items()
  }
  best = max(set(scores) - {'VAE', 'damaged'}, key=lambda title: scores[title]['psnr'])
  return {'methods': scores, 'best classical': best, 'gain_db': mean_interval(list(decibels['VAE'] - decibels[best]))}
