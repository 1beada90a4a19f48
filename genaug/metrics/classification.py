"""Accuracy and calibration of a classifier."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from genaug.metrics import EvalContext, Metric, Scores

_BINS = 15


def scores(
  probabilities: Float[np.ndarray, 'n k'], label: Int[np.ndarray, ' n'], class_names: Sequence[str]
) -> dict[str, float]:
  """Computes accuracy, cross-entropy in nats, expected calibration error, and recall and precision of every class.

  The recall of a class without images and the precision of a class that is never predicted are 0.
  """
  predicted = probabilities.argmax(-1)
  right = predicted == label
  likelihood = probabilities[np.arange(len(label)), label].astype(np.float64)
  result = {
    'accuracy': float(right.mean()),
    'cross_entropy_nats': float(-np.log(np.maximum(likelihood, np.finfo(np.float32).tiny)).mean()),
    'ece': calibration_error(probabilities.max(-1), right),
  }
  for number, name in enumerate(class_names):
    hits = float((right & (label == number)).sum())
    result[f'recall/{name}'] = hits / max((label == number).sum(), 1)
    result[f'precision/{name}'] = hits / max((predicted == number).sum(), 1)
  return result


def calibration_error(confidence: Float[np.ndarray, ' n'], right: np.ndarray) -> float:
  """Computes the expected calibration error: |accuracy - mean confidence| in 15 equally wide bins of confidence.

  The mean over bins is weighted by their number of images: Guo et al. 2017, "On Calibration of Modern Neural Networks",
  eq. 3.
  """
  bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
  gap = np.bincount(bins, weights=right - confidence.astype(np.float64), minlength=_BINS)
  return float(np.abs(gap).sum() / len(confidence))


def _accuracy(run: EvalContext) -> Scores:
  label = run.test['label']
  result = scores(run.outputs()['probabilities'], label, run.class_names)
  result |= {'accuracy_images': len(label), 'accuracy_split': run.split}
  return {f'eval/{name}': value for name, value in result.items()}


def _accuracy_text(scores: Scores) -> str:
  return (
    f'accuracy {scores["eval/accuracy"]:.2%}, ECE {scores["eval/ece"]:.2%}, cross-entropy'
    f' {scores["eval/cross_entropy_nats"]:.3f} nats'
    f' [{scores["eval/accuracy_images"]:,} images of {scores["eval/accuracy_split"]}]'
  )


ACCURACY = Metric(_accuracy, 'eval/accuracy', 'max', 'probabilities', _accuracy_text)
