"""How near translations of test images come to their targets, beside the images themselves."""

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from genaug.metrics import Evaluated, Metric, Scores, features
from genaug.metrics.distances import frechet_distance, kernel_distance
from genaug.metrics.reconstruction import WINDOW, mean_lpips, ssim
from genaug.models import weights

Images = UInt8[np.ndarray, 'n h w c']


def _translation(run: Evaluated) -> Scores:
  """Of every test image. Where no target is of a test image, its distances from all of them only.

  The baseline, identity, is the image as it is: a translator that does nothing.
  """
  images, target = run.test['image'], run.test['target']
  made = {'': run.made_from_test('translated'), '_identity': images}
  rows = np.arange(len(images)) if run.paired_test else _different(images)
  if 'targets' not in run.cache:
    run.cache['targets'] = features.extract(run.settings, target if run.paired_test else target[_different(target)])
  scores: Scores = {}
  for suffix, found in made.items():
    if run.paired_test:
      scores[f'eval/translation_l1{suffix}'] = float(np.abs(found.astype(np.float64) - target).mean() / 255)
      if min(target.shape[1:3]) >= WINDOW:
        scores[f'eval/translation_ssim{suffix}'] = float(np.mean(ssim(found, target), dtype=np.float64))
      scores[f'eval/translation_lpips{suffix}'] = mean_lpips(found, target)
    ours = features.extract(run.settings, found[rows])
    scores[f'eval/translation_fd{suffix}'] = frechet_distance(ours, run.cache['targets'])
    scores[f'eval/translation_kid{suffix}'] = kernel_distance(ours, run.cache['targets'])
  return scores | {
    'eval/translations': len(rows),
    'eval/translation_split': run.split,
    'eval/translation_network': features.network(run.settings).label,
  }


def _different(images: Images) -> Int[np.ndarray, ' m']:
  """Rows of the images that are no repetition of an earlier one: the shorter side of no pairs takes turns."""
  return np.sort(np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1])


_NAMES = {'l1': 'L1 {:.4f}', 'ssim': 'SSIM {:.3f}', 'lpips': 'LPIPS {:.3f}', 'fd': 'FD {:.2f}', 'kid': 'KID {:.4f}'}


def _text(scores: Scores) -> str:
  def line(suffix: str) -> str:
    keys = {name: f'eval/translation_{name}{suffix}' for name in _NAMES}
    return ', '.join(_NAMES[name].format(scores[key]) for name, key in keys.items() if key in scores)

  return (
    f'translations: {line("")} (images as they are: {line("_identity")}) [{scores["eval/translations"]:,} images of'
    f' {scores["eval/translation_split"]}; LPIPS alexnet, FD and KID {scores["eval/translation_network"]}]'
  )


def _check(config: ConfigDict) -> None:
  features.check(config)
  weights.load('alexnet')  # of LPIPS


TRANSLATION = Metric(_translation, 'eval/translation_fd', 'min', 'translated', _text, _check)
