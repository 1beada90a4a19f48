"""Classification accuracy score: accuracy on real images of a classifier trained on samples only.

Ravuri and Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models", arXiv:1905.10887.
"""

import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.metrics import EvalContext, Metric, Scores, classifier, features


def accuracy_after_training(
  images: UInt8[np.ndarray, 'n h w c'],
  label: Int[np.ndarray, ' n'],
  test_images: UInt8[np.ndarray, 'm h w c'],
  test_label: Int[np.ndarray, ' m'],
  classes: int,
) -> float:
  """Trains a small classifier on the images and returns its accuracy on the test images."""
  predicted = classifier.train(images, label, classes)(test_images).argmax(-1)
  return float((predicted == test_label).mean())


def _cas(run: EvalContext) -> Scores:
  """Computes the score and, as baseline, the accuracy after training on as many real training images."""
  test, classes = (run.test['image'], run.test['label']), int(run.train['label'].max()) + 1
  if 'cas' not in run.cache:
    rows = features.baseline_rows(run)
    run.cache['cas'] = accuracy_after_training(run.train['image'][rows], run.train['label'][rows], *test, classes)
  return {
    'eval/cas': accuracy_after_training(run.samples('samples'), run.labels, *test, classes),
    'eval/cas_baseline': run.cache['cas'],
    'eval/cas_samples': len(run.labels),
    'eval/cas_baseline_samples': len(features.baseline_rows(run)),
    'eval/cas_images': len(run.test['label']),
    'eval/cas_split': run.split,
  }


def _text(scores: Scores) -> str:
  return (
    f'CAS {scores["eval/cas"]:.2%} [small CNN, {classifier.STEPS:,} steps on {scores["eval/cas_samples"]:,} samples,'
    f' accuracy on {scores["eval/cas_images"]:,} of {scores["eval/cas_split"]}; real-vs-real baseline, trained on'
    f' {scores["eval/cas_baseline_samples"]:,} training images: {scores["eval/cas_baseline"]:.2%}]'
  )


def _check(config: ConfigDict) -> None:
  if not config.model.conditional:
    remedy = '--config.model.conditional=True, or leave cas out of eval.metrics'
    raise InputError('eval.metrics', 'cas', 'samples have no class labels that a classifier could learn', remedy)


CAS = Metric(_cas, 'eval/cas', 'max', 'samples', _text, _check, needs_images=True)
