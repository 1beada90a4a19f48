"""Scores of a state against the test split, each with how many images, which split and which network."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, UInt8

from genaug.data.sources import Split
from genaug.evaluation import classification, distances, features
from genaug.training.experiment import Experiment

Scores = dict[str, float | int | str]


class Evaluator:
  """Compiles once, keeps the features of real images, and scores as many states as it is given."""

  def __init__(self, experiment: Experiment):
    self._config, self._dataset, self._spec = experiment.config, experiment.dataset, experiment.spec
    self._task, self._key = experiment.task, experiment.keys.eval
    self._eval_step = jax.jit(lambda *args: self._task.eval_step(self._config, self._spec, *args))
    self._generate = jax.jit(self._batch, static_argnames=('size', 'options'))
    self._real: dict | None = None

  def __call__(self, state: PyTree) -> Scores:
    state = jax.device_put(jax.device_get(state), jax.local_devices()[0])
    scores: Scores = {}
    if 'distances' in self._config.eval.metrics:
      scores |= self._distances(state)
    if 'elbo' in self._config.eval.metrics:
      scores |= self._elbo(state)
    if 'accuracy' in self._config.eval.metrics:
      scores |= self.accuracy(state, self._dataset.test)
    return scores

  def samples(
    self, state: PyTree, count: int, key: Key[Array, ''] | None = None, **options
  ) -> Iterator[UInt8[np.ndarray, 'b h w c']]:
    """Batches of generated images, `count` in all; labels take turns. `options` are those of the task's `sample`."""
    key, size = self._key if key is None else key, min(self._config.eval.batch_size, count)
    for first in range(0, count, size):
      batch = self._generate(state, key, first, size=size, options=tuple(options.items()))
      yield np.asarray(batch)[: count - first]

  def _batch(self, state, key, first, size, options):
    index = first + jnp.arange(size)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
    labels = index % max(self._spec.num_classes, 1)
    images = self._task.sample(self._config, self._spec, state, keys, labels, **dict(options))
    return jnp.round(images * 255).astype(jnp.uint8)

  def _real_features(self) -> dict:
    """Features of the test split, and as the floor its distance from as many training images as are generated."""
    if self._real is None:
      size = self._config.eval.batch_size
      test, train = self._dataset.test.arrays['image'], self._dataset.train.arrays['image']
      rows = np.random.default_rng(0).permutation(len(train))[: self._config.eval.samples]
      a = features.extract(test[i : i + size] for i in range(0, len(test), size))
      b = features.extract(train[rows[i : i + size]] for i in range(0, len(rows), size))
      floor = {
        'eval/fd_alexnet_floor': distances.frechet_distance(b, a),
        'eval/kid_alexnet_floor': distances.kernel_distance(b, a),
        'eval/floor_samples': len(b),
      }
      self._real = {'test': a, 'floor': floor}
    return self._real

  def _distances(self, state: PyTree) -> Scores:
    real, count = self._real_features(), self._config.eval.samples
    variants = {'': {}, '_raw': {'ema': False}} if self._config.task == 'gan' else {'': {}}
    scores: Scores = {}
    for suffix, options in variants.items():
      generated = features.extract(self.samples(state, count, **options))
      scores[f'eval/fd_alexnet{suffix}'] = distances.frechet_distance(generated, real['test'])
      scores[f'eval/kid_alexnet{suffix}'] = distances.kernel_distance(generated, real['test'])
    return {
      **scores,
      **real['floor'],
      'eval/samples': count,
      'eval/reference_samples': len(real['test']),
      'eval/reference_split': self._split,
      'eval/network': features.NETWORK,
    }

  def _elbo(self, state: PyTree) -> Scores:
    values = self.values(state, self._dataset.test)
    scores = {f'eval/{name}': float(value.mean(dtype=np.float64)) for name, value in values.items()}
    return {**scores, 'eval/elbo_images': len(values['elbo_nats']), 'eval/elbo_split': self._split}

  def accuracy(self, state: PyTree, split: Split) -> Scores:
    """Scores of a classifier on any images of the data set's classes."""
    probabilities, label = self.values(state, split)['probabilities'], split.arrays['label']
    scores = classification.scores(probabilities, label, self._dataset.class_names)
    scores |= {'accuracy_images': len(label), 'accuracy_split': self._split}
    return {f'eval/{name}': value for name, value in scores.items()}

  def values(self, state: PyTree, split: Split) -> dict[str, Float[np.ndarray, 'n ...']]:
    """What the task's `eval_step` says of every image."""
    arrays, size = split.arrays, self._config.eval.batch_size
    count = len(arrays['image'])
    values: dict[str, list[np.ndarray]] = {}
    for first in range(0, count, size):
      rows = np.arange(first, first + size) % count  # the last batch is filled up, and the filling not counted
      keys = jax.vmap(lambda i: jax.random.fold_in(self._key, i))(rows)
      batch = {name: arrays[name][rows] for name in ('image', 'label')}
      for name, value in self._eval_step(state, batch, keys).items():
        values.setdefault(name, []).append(np.asarray(value)[: count - first])
    return {name: np.concatenate(parts) for name, parts in values.items()}

  @property
  def _split(self) -> str:
    data = self._config.data
    held_out = f'{data.validation} of {data.per_class or "all"} a class of {data.train_split}, fold {data.fold}'
    return held_out if data.validation else data.test_split or data.train_split
