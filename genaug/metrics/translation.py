"""Distance of translated test images to their targets, with the untranslated images as baseline."""

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from genaug.metrics import EvalContext, Metric, Scores, features
from genaug.metrics.distances import frechet_distance, kernel_distance
from genaug.metrics.reconstruction import WINDOW, mean_lpips, ssim
from genaug.models import weights

Images = UInt8[np.ndarray, 'n h w c']


def _translation(run: EvalContext) -> Scores:
  """Scores the translations of all test images; without paired targets only by FD and KID to all targets.

  The baseline, identity, is a translator that returns the image unchanged.
  """
  images, target = run.test['image'], run.test['target']
  rows = np.arange(len(images)) if run.paired_test else _distinct(images)
  if 'targets' not in run.cache:
    run.cache['targets'] = features.extract(run.settings, target if run.paired_test else target[_distinct(target)])
    run.cache['identity'] = _to_targets(run, images, rows)
  methods = {'': _to_targets(run, run.samples_from_test('translated'), rows), '_identity': run.cache['identity']}
  scores = {f'eval/translation_{name}{end}': value for end, result in methods.items() for name, value in result.items()}
  return scores | {
    'eval/translations': len(rows),
    'eval/translation_split': run.split,
    'eval/translation_network': features.network(run.settings).label,
  }


def _to_targets(run: EvalContext, images: Images, rows: Int[np.ndarray, ' m']) -> dict[str, float]:
  """Returns L1, SSIM and LPIPS of images to their targets, if paired, and FD and KID of their `rows` to all targets."""
  target, scores = run.test['target'], {}
  if run.paired_test:
    scores['l1'] = float(np.abs(images.astype(np.float64) - target).mean() / 255)
    if min(target.shape[1:3]) >= WINDOW:
      scores['ssim'] = float(np.mean(ssim(images, target), dtype=np.float64))
    scores['lpips'] = mean_lpips(images, target)
  ours, targets = features.extract(run.settings, images[rows]), run.cache['targets']
  return scores | {'fd': frechet_distance(ours, targets), 'kid': kernel_distance(ours, targets)}


def _distinct(images: Images) -> Int[np.ndarray, ' m']:
  """Returns the rows of images that do not repeat an earlier one: in unpaired data the smaller set is repeated."""
  return np.sort(np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1])


_NAMES = {'l1': 'L1 {:.4f}', 'ssim': 'SSIM {:.3f}', 'lpips': 'LPIPS {:.3f}', 'fd': 'FD {:.2f}', 'kid': 'KID {:.4f}'}


def _text(scores: Scores) -> str:
  def line(suffix: str) -> str:
    keys = {name: f'eval/translation_{name}{suffix}' for name in _NAMES}
    return ', '.join(_NAMES[name].format(scores[key]) for name, key in keys.items() if key in scores)

  return (
    f'translations: {line("")} (untranslated images: {line("_identity")}) [{scores["eval/translations"]:,} images of'
    f' {scores["eval/translation_split"]}; LPIPS alexnet, FD and KID {scores["eval/translation_network"]}]'
  )


def _check(config: ConfigDict) -> None:
  features.check(config)
  weights.load('alexnet')  # for LPIPS


TRANSLATION = Metric(_translation, 'eval/translation_fd', 'min', 'translated', _text, _check)
