"""Mode coverage on stacked MNIST: how many of its 1,000 modes are generated, and how evenly.

Srivastava et al. 2017 (arXiv:1705.07761), section 4.1; 26,000 samples as in Lin et al. 2018 (arXiv:1712.04086).
"""

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.metrics import EvalContext, Metric, Scores, classifier

_MODES = 1000


def modes_and_kl(mode: Int[np.ndarray, ' n']) -> tuple[int, float]:
  """Returns (how many of the 1,000 modes occur, KL divergence in nats of their frequencies from uniform ones)."""
  counts = np.bincount(mode, minlength=_MODES)
  share = counts[counts > 0] / len(mode)
  return int((counts > 0).sum()), float((share * np.log(share * _MODES)).sum())


def _digits(label: Int[np.ndarray, ' n']) -> Int[np.ndarray, ' 3*n']:
  """Returns the digits that images with these labels show, channel by channel, in the order of `_channels`."""
  return np.concatenate([label // 100, label // 10 % 10, label % 10])


def _channels(images: UInt8[np.ndarray, 'n h w 3']) -> UInt8[np.ndarray, '3*n h w 1']:
  """Returns the channels as single-digit images: the first of all images, then the second, then the third."""
  return np.concatenate([images[..., channel : channel + 1] for channel in range(3)])


def _modes(run: EvalContext) -> Scores:
  """Counts modes by a classifier of single digits, trained on the channels of the training images."""
  if 'digits' not in run.cache:
    predict = classifier.train(_channels(run.train['image']), _digits(run.train['label']), 10)
    right = predict(_channels(run.test['image'])).argmax(-1) == _digits(run.test['label'])
    run.cache['digits'] = predict, float(right.mean())
  predict, accuracy = run.cache['digits']

  def count_modes(images):
    hundreds, tens, ones = predict(_channels(images)).argmax(-1).reshape(3, -1)
    return modes_and_kl(100 * hundreds + 10 * tens + ones)

  samples, rows = run.samples('samples'), np.arange(run.settings.samples) % len(run.train['image'])
  if 'modes' not in run.cache:
    run.cache['modes'] = count_modes(run.train['image'][rows])
  modes, kl = count_modes(samples)
  baseline_modes, baseline_kl = run.cache['modes']
  return {
    'eval/modes': modes,
    'eval/modes_kl': kl,
    'eval/modes_baseline': baseline_modes,
    'eval/modes_kl_baseline': baseline_kl,
    'eval/modes_samples': len(samples),
    'eval/digits_accuracy': accuracy,
  }


def _text(scores: Scores) -> str:
  return (
    f'modes {scores["eval/modes"]:,} of {_MODES:,}, KL {scores["eval/modes_kl"]:.3f} nats [small CNN, right on'
    f' {scores["eval/digits_accuracy"]:.1%} of test digits; {scores["eval/modes_samples"]:,} samples; as many training'
    f' images: {scores["eval/modes_baseline"]:,}, {scores["eval/modes_kl_baseline"]:.3f}]'
  )


def _check(config: ConfigDict) -> None:
  if config.data.name != 'stacked_mnist':
    remedy = 'use coverage, or leave modes out of eval.metrics'
    raise InputError('eval.metrics', 'modes', 'counts the modes of stacked_mnist only', remedy)


MODES = Metric(_modes, 'eval/modes', 'max', 'samples', _text, _check)
