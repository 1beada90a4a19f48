"""Linear probe: what an unconditional network has learned of classes, by a linear classifier on its features.

Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes", arXiv:1610.01644.
"""

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.metrics import EvalContext, Metric, Scores

_PER_CLASS = 10  # labelled images per class, or as many as the smallest class has, if fewer
_DRAWS = 5  # random choices of the labelled images, each with its own classifier
RIDGES = np.geomspace(1e-6, 1e2, 25)  # relative to the largest squared singular value of the labelled images' features


def ridge_classifier(
  features: Float[np.ndarray, 'n d'], label: Int[np.ndarray, ' n'], classes: int
) -> tuple[Float[np.ndarray, 'd k'], Float[np.ndarray, ' k']]:
  """Fits a ridge classifier and returns (weights, bias): the class is the argmax of features @ weights + bias.

  It is least squares on one-hot classes, with the ridge of least squared leave-one-out error. That error is an image's
  residual over one minus its leverage (Golub, Heath and Wahba 1979, "Generalized Cross-Validation as a Method for
  Choosing a Good Ridge Parameter", section 1).
  """
  target = np.eye(classes)[label]
  centre, mean = features.mean(0), target.mean(0)
  u, s, vt = np.linalg.svd(features - centre, full_matrices=False)
  projected = u.T @ (target - mean)

  def leave_one_out_error(ridge: float) -> float:
    shrink = s**2 / (s**2 + ridge)
    leverage = (u**2 @ shrink) + 1 / len(u)  # the bias's share included
    return (((target - mean - (u * shrink) @ projected) / (1 - leverage)[:, None]) ** 2).sum()

  ridge = min(RIDGES * max(s[0] ** 2, np.finfo(s.dtype).tiny), key=leave_one_out_error)
  weights = vt.T @ ((s / (s**2 + ridge))[:, None] * projected)
  return weights, mean - centre @ weights


def accuracies(
  features: Float[np.ndarray, 'n d'],
  label: Int[np.ndarray, ' n'],
  test_features: Float[np.ndarray, 'm d'],
  test_label: Int[np.ndarray, ' m'],
  per_class: int,
) -> list[float]:
  """Returns the test accuracies of ridge classifiers, each trained on `per_class` random images of every class.

  There are `_DRAWS` of them, each with other images.
  """
  classes, values = int(label.max()) + 1, []
  for draw in range(_DRAWS):
    rng = np.random.default_rng(draw)
    rows = np.concatenate([rng.permutation(np.flatnonzero(label == k))[:per_class] for k in range(classes)])
    weights, bias = ridge_classifier(features[rows].astype(np.float64), label[rows], classes)
    values.append(float(((test_features @ weights + bias).argmax(-1) == test_label).mean()))
  return values


def _linear_probe(run: EvalContext) -> Scores:
  """Computes the accuracy on features and, as baseline, that of the same classifiers on the same images' pixels."""
  train, test = (compute('features')['features'] for compute in (run.train_on_demand, run.on_demand))
  label, test_label = run.train_images()['label'][: len(train)], run.test['label'][: len(test)]
  counts = np.bincount(label)
  per_class = int(min(_PER_CLASS, counts[counts > 0].min()))
  if 'linear_probe' not in run.cache:
    pixels = lambda arrays, count: arrays['image'][:count].reshape(count, -1)
    train_pixels, test_pixels = pixels(run.train_images(), len(train)), pixels(run.test, len(test))
    run.cache['linear_probe'] = accuracies(train_pixels, label, test_pixels, test_label, per_class)
  finite = np.isfinite(train).all() and np.isfinite(test).all()  # not so if the network has diverged
  values = accuracies(train, label, test, test_label, per_class) if finite else [np.nan] * _DRAWS
  return {
    'eval/probe_accuracy': float(np.mean(values)),
    'eval/probe_deviation': float(np.std(values, ddof=1)),
    'eval/probe_accuracy_pixels': float(np.mean(run.cache['linear_probe'])),
    'eval/probe_labels': per_class,
    'eval/probe_images': len(test),
    'eval/probe_split': run.split,
  }


def _text(scores: Scores) -> str:
  return (
    f'linear probe {scores["eval/probe_accuracy"]:.2%} [{scores["eval/probe_labels"]} labels a class, standard'
    f' deviation over {_DRAWS} draws of them {scores["eval/probe_deviation"]:.2%},'
    f' {scores["eval/probe_images"]:,} images of {scores["eval/probe_split"]}; probe of pixels'
    f' {scores["eval/probe_accuracy_pixels"]:.2%}]'
  )


def _check(config: ConfigDict) -> None:
  if config.model.conditional:
    remedy = '--config.model.conditional=False, or leave linear_probe out of eval.metrics'
    problem = 'the network is told every class in training; a probe needs an unconditional one'
    raise InputError('eval.metrics', 'linear_probe', problem, remedy)


LINEAR_PROBE = Metric(_linear_probe, 'eval/probe_accuracy', 'max', 'features', _text, _check)
