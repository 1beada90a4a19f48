"""Classification accuracy score: what a classifier that has seen only samples makes of real images.

Ravuri and Vinyals 2019, "Classification Accuracy Score for Conditional Generative Models", arXiv:1905.10887.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.metrics import Evaluated, Metric, Scores, features

STEPS = 1000  # of a batch of 64; at 28 px half a minute on two cores
_BATCH = 64


class _Classifier(nn.Module):
  """Three strided convolutions, group norm, the mean over positions, a linear layer."""

  classes: int

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b k']:
    x = x.astype(jnp.float32) / 127.5 - 1
    for width in (32, 64, 128):
      x = nn.relu(nn.GroupNorm(8)(nn.Conv(width, (3, 3), (2, 2))(x)))
    return nn.Dense(self.classes)(x.mean((1, 2)))


@functools.cache
def _programs(classes: int, steps: int) -> tuple[Callable, ...]:
  """(init, step, predict), compiled once for all trainings."""
  classifier, optimizer = _Classifier(classes), optax.adam(optax.cosine_decay_schedule(2e-3, steps))

  def init(x):
    params = classifier.init(jax.random.key(0), x)
    return params, optimizer.init(params)

  def loss(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(classifier.apply(params, x), y).mean()

  def step(params, opt, x, y):
    updates, opt = optimizer.update(jax.grad(loss)(params, x, y), opt)
    return optax.apply_updates(params, updates), opt

  return *map(jax.jit, (init, step)), jax.jit(lambda params, x: classifier.apply(params, x).argmax(-1))


def accuracy_after_training(
  images: UInt8[np.ndarray, 'n h w c'],
  label: Int[np.ndarray, ' n'],
  test_images: UInt8[np.ndarray, 'm h w c'],
  test_label: Int[np.ndarray, ' m'],
  classes: int,
) -> float:
  """Accuracy on the test images of a small classifier that is trained for `STEPS` steps of Adam on the others."""
  init, step, predict = _programs(classes, STEPS)
  (params, opt), rng = init(images[:1]), np.random.default_rng(0)
  for _ in range(STEPS):
    rows = rng.integers(len(images), size=_BATCH)
    params, opt = step(params, opt, images[rows], label[rows])
  padded = np.pad(test_images, ((0, -len(test_images) % 250), (0, 0), (0, 0), (0, 0)))
  predicted = [predict(params, padded[i : i + 250]) for i in range(0, len(padded), 250)]
  return float((np.concatenate(predicted)[: len(test_label)] == test_label).mean())


def _cas(run: Evaluated) -> Scores:
  """Beside it is the accuracy after training on as many real training images."""
  features.check_images(run, 'cas')
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
    f'CAS {scores["eval/cas"]:.2%} [small CNN, {STEPS:,} steps on {scores["eval/cas_samples"]:,} samples, accuracy on'
    f' {scores["eval/cas_images"]:,} of {scores["eval/cas_split"]}; real-vs-real baseline, trained on'
    f' {scores["eval/cas_baseline_samples"]:,} training images: {scores["eval/cas_baseline"]:.2%}]'
  )


def _check(config: ConfigDict) -> None:
  if not config.model.conditional:
    remedy = '--config.model.conditional=True, or leave it out'
    raise InputError('eval.metrics', 'cas', 'samples have no class to learn', remedy)


CAS = Metric(_cas, 'eval/cas', 'max', 'samples', _text, _check)
