"""Evaluation of trained states: scores, samples, outputs for single images, pictures for a snapshot."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, UInt8

from genaug.data.dataset import Split
from genaug.errors import InputError
from genaug.metrics import EvalContext, Scores, features, neighbours
from genaug.metrics.registry import METRICS
from genaug.tasks import Sampler, from_noise
from genaug.training import figures
from genaug.training.experiment import Experiment

_SNAPSHOT = 64  # images in a grid at most; half as many where each is shown beneath its source
_WALKS, _WALK_STEPS = 8, 9
_FITTED, _FITTED_SNAPSHOT = 5000, 1000  # training images, at most, that a sampler is fitted to


class Evaluator:
  """Scorer of any number of states, which compiles once and caches what metrics compute of the real images."""

  def __init__(
    self, experiment: Experiment, truncation: float = 1.0, progress: Callable[[range], Iterable[int]] = iter
  ):
    """Scales the noise that images are made from by `truncation`; `progress` shows how many batches are done."""
    self._progress = progress
    self._config, self._dataset, self._spec = experiment.config, experiment.dataset, experiment.spec
    self._task, self._keys = experiment.task, experiment.keys
    self._eval_step = self._task.eval_step and jax.jit(self._task.eval_step)
    self._on_demand = {name: jax.jit(one.compute) for name, one in self._task.on_demand.items()}
    self._samplers = {name: truncated(sampler, truncation) for name, sampler in self._task.samplers.items()}
    self._sample = jax.jit(lambda name, *args: self._samplers[name].sample(*args), static_argnums=0)
    self._cache: dict = {}

  def __call__(self, state: PyTree, split: Split | None = None) -> Scores:
    """Returns the scores of all `eval.metrics`, on the test split or on other images of the data set's classes."""
    state = _on_one_device(state)
    test, count = split or self._dataset.test, self._config.eval.samples
    training = functools.cache(lambda: self._some_training_images(len(test.arrays['label'])))
    run = EvalContext(
      settings=self._config.eval,
      outputs=functools.cache(lambda: self.outputs(state, test)),
      train_images=lambda: training().arrays,
      train_outputs=functools.cache(lambda: self.outputs(state, training())),
      on_demand=functools.partial(self._on_demand_of, state, test),
      train_on_demand=lambda name: self._on_demand_of(state, training(), name),
      samplers=tuple(self._task.samplers),
      samples=functools.cache(lambda name: np.concatenate(list(self.samples(state, count, None, name, self._labels)))),
      samples_from_test=lambda name: _to_uint8(self._of_images(functools.partial(self._sample, name), state, test)),
      labels=self._turns(self._labels, np.arange(count)) if self._spec.num_classes else None,
      train=self._dataset.train.arrays,
      test=test.arrays,
      split=self._split,
      paired_test=self._dataset.paired_test,
      class_names=self._dataset.class_names,
      cache=self._cache if split is None else {},
      generated={},
    )
    scores: Scores = {}
    for name in self._config.eval.metrics:
      scores |= METRICS[name].compute(run)
    return scores

  def samples(
    self,
    state: PyTree,
    count: int,
    key: Key[Array, ''] | None = None,
    sampler: str | None = None,
    labels: Int[np.ndarray, ' n'] | None = None,
  ) -> Iterator[UInt8[np.ndarray, 'b h w c']]:
    """Yields batches of images from a sampler, by default the first that makes them from noise, `count` in all.

    It cycles through the images that they are made from, and through `labels`, by default every class once.
    """
    name = sampler or next(name for name, found in self._task.samplers.items() if not found.source)
    state = jax.device_put(state, jax.local_devices()[0])  # once, not for every batch
    key, size = self._keys.eval if key is None else key, min(self._config.eval.batch_size, count)
    fitted = self._fitted(name, state)
    for first in self._progress(range(0, count, size)):
      index = np.arange(first, first + size)
      batch = self._batch(name, index, labels) | fitted
      images = self._sample(name, state, batch, _keys_of(key, index))
      yield _to_uint8(images[: count - first])

  @property
  def _labels(self) -> Int[np.ndarray, ' n'] | None:
    """Labels of the scored samples: the training images' in a fixed random order, or None for every class in turn.

    `eval.labels` chooses: against unbalanced images, a distance would count balanced classes as the generator's error.
    """
    label = self._dataset.train.arrays['label']
    training = self._config.eval.labels == 'training' and self._spec.num_classes
    return np.random.default_rng(0).permutation(label) if training else None

  def _batch(self, sampler: str, index: np.ndarray, labels: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Returns a sampler's batch: labels in turn or, if it has a source, the examples of its split in turn."""
    found = self._task.samplers[sampler]
    if not found.source:
      return {'label': self._turns(labels, index)}
    arrays = (self._dataset.train if found.split == 'train' else self._dataset.test).arrays
    return {name: array[index % len(array)] for name, array in arrays.items()}

  def _fitted(self, sampler: str, state: PyTree, most: int = _FITTED) -> dict[str, PyTree]:
    """Returns the batch entry `fitted`, if a sampler needs it, fitted to at most `most` training images."""
    fit = self._task.samplers[sampler].fit
    return {} if fit is None else {'fitted': fit(self.outputs(state, self._some_training_images(most)))}

  def _turns(self, labels: np.ndarray | None, index: np.ndarray) -> Int[np.ndarray, ' b']:
    """Returns the labels of samples by their index: `labels` in turn or, if None, every class in turn."""
    labels = np.arange(max(self._spec.num_classes, 1)) if labels is None else labels
    return labels[index % len(labels)].astype(np.int32)

  def _some_training_images(self, most: int) -> Split:
    train = self._dataset.train
    return train.take(np.random.default_rng(0).permutation(len(train.arrays['label']))[:most])

  def outputs(self, state: PyTree, split: Split) -> dict[str, Float[np.ndarray, 'n ...']]:
    """Returns the outputs of the task's `eval_step` for every image."""
    return self._of_images(self._eval_step, state, split)

  def _on_demand_of(self, state: PyTree, split: Split, name: str) -> dict[str, Float[np.ndarray, 'n ...']]:
    count = min(self._task.on_demand[name].images, len(split.arrays['label']))
    return self._of_images(self._on_demand[name], state, split.take(np.arange(count)))

  def _of_images(
    self, function: Callable[..., PyTree], state: PyTree, split: Split, key: Key[Array, ''] | None = None
  ) -> PyTree:
    """Returns function(state, batch, keys) for every image, computed in batches."""
    state = jax.device_put(state, jax.local_devices()[0])  # once, not for every batch
    key = self._keys.eval if key is None else key
    arrays, count = split.arrays, len(split.arrays['label'])
    size = min(self._config.eval.batch_size, count)
    parts = []
    for first in self._progress(range(0, count, size)):
      rows = np.arange(first, first + size) % count  # the last batch is padded, and the padding dropped
      batch = {name: array[rows] for name, array in arrays.items()}
      found = function(state, batch, _keys_of(key, rows))
      parts.append(jax.tree.map(lambda value: np.asarray(value)[: count - first], found))  # noqa: B023
    return jax.tree.map(lambda *values: np.concatenate(values), *parts)

  def apply_sampler(
    self, state: PyTree, sampler: str, key: Key[Array, ''] | None = None, **arrays: np.ndarray
  ) -> UInt8[np.ndarray, 'n h w c']:
    """Returns the images that a sampler makes from examples with these arrays [n, ...] as entries."""
    count = len(next(iter(arrays.values())))
    split = Split({'label': np.zeros(count, np.int32)} | arrays)
    sample = functools.partial(self._sample, sampler)
    return _to_uint8(self._of_images(sample, _on_one_device(state), split, key))

  def snapshot(self, state: PyTree) -> tuple[dict[str, UInt8[np.ndarray, 'H W c']], dict[str, float]]:
    """Returns (pictures, diversity). Pictures are a grid per sampler, by the same keys, with sources above images.

    diversity/SAMPLER is the mean distance between images made from noise, relative to that between as many real ones.
    """
    state = _on_one_device(state)
    grids, diversity = {}, {}
    for name, sampler in self._task.samplers.items():
      wide = 8 if sampler.source else columns(self._spec.num_classes)
      index = np.arange(_SNAPSHOT // 2 if sampler.source else wide * (_SNAPSHOT // wide))
      batch = self._batch(name, index) | self._fitted(name, state, _FITTED_SNAPSHOT)
      images = np.asarray(self._sample(name, state, batch, _keys_of(self._keys.snapshot, index)))
      if sampler.source:
        shown = [batch[name] / np.float32(255) for name in (sampler.source, sampler.truth) if name]
        images = figures.interleave_rows(shown[0], images, *shown[1:])
      else:
        diversity[f'diversity/{name}'] = mean_distance(images) / max(self._real_distance, 1e-6)
      grids[name] = figures.grid(images, wide)
    return grids, diversity

  @cached_property
  def _real_distance(self) -> float:
    real = self._dataset.train.arrays['image']
    return mean_distance(real[np.random.default_rng(0).permutation(len(real))[:_SNAPSHOT]] / np.float32(255))

  def walks(
    self, state: PyTree, key: Key[Array, ''], sampler: str, labels: Int[np.ndarray, ' n'] | None = None
  ) -> Float[np.ndarray, 'walks steps h w c']:
    """Returns images in [0, 1] of noise interpolated from each of eight draws to the next, from the last to the first.

    The interpolation is spherical, as in White 2016 (arXiv:1609.04468), section 2, because halfway along a straight
    line the norm is smaller than that of noise ever is. A walk keeps the class of its first draw.
    """
    made, index = self._samplers[sampler], np.arange(_WALKS)
    noise = np.asarray(made.noise(_keys_of(key, index)))
    label = self._batch(sampler, index, labels)['label'].repeat(_WALK_STEPS)
    between = np.stack([_slerp(a, b, _WALK_STEPS) for a, b in zip(noise, np.roll(noise, -1, axis=0))])
    batch = {'label': label} | self._fitted(sampler, state)
    images = np.asarray(jax.jit(made.generate)(state, batch, between.reshape(-1, *noise.shape[1:])))
    return images.reshape(_WALKS, _WALK_STEPS, *images.shape[1:])

  def traversals(self, state: PyTree, sampler: str) -> Float[np.ndarray, 'latents steps h w c']:
    """Returns images in [0, 1] of one latent that goes from -2.5 to 2.5, while all others stay at the prior's mean.

    It is in turn each of the eight latents whose posterior means vary most over training images. Raises InputError for
    a sampler whose noise is not that of the latents.
    """
    size = jax.eval_shape(self._task.samplers[sampler].noise, _keys_of(self._keys.snapshot, np.arange(1))).shape[-1]
    means = self.posterior_means(state, self._some_training_images(_FITTED))
    if size != means.shape[1]:
      raise InputError('sampler', sampler, 'its noise is not of the size of the latents', 'leave --traverse out')
    latents = np.argsort(-means.var(0))[:_WALKS]
    noise = np.zeros((len(latents), _WALK_STEPS, size), np.float32)
    for row, latent in zip(noise, latents):
      row[:, latent] = np.linspace(-2.5, 2.5, _WALK_STEPS)
    batch = {'label': np.zeros(noise.shape[0] * _WALK_STEPS, np.int32)}
    images = np.asarray(jax.jit(self._task.samplers[sampler].generate)(state, batch, noise.reshape(-1, size)))
    return images.reshape(*noise.shape[:2], *images.shape[1:])

  def posterior_means(self, state: PyTree, split: Split | None = None) -> Float[np.ndarray, 'n z']:
    """Returns the posterior means of the test images, or others, for a task that has latents."""
    return self.outputs(state, split or self._dataset.test)['posterior_means']

  def nearest(self, images: UInt8[np.ndarray, 'n h w c']) -> UInt8[np.ndarray, 'H W c']:
    """Returns a grid of the first images, each above the training image that is nearest by `eval.features`."""
    shown, train = images[: _SNAPSHOT // 2], self._dataset.train.arrays['image']
    index, _ = neighbours.nearest(*(features.extract(self._config.eval, x) for x in (shown, train)))
    return figures.grid(figures.interleave_rows(shown / np.float32(255), train[index] / np.float32(255)))

  @property
  def _split(self) -> str:
    data = self._config.data
    if not data.validation:
      return data.test_split or data.train_split
    return f'{data.validation} of {data.per_class or "all"} images per class of {data.train_split}, fold {data.fold}'


def _to_uint8(images: Float[Array, 'b h w c']) -> UInt8[np.ndarray, 'b h w c']:
  return np.round(np.asarray(images) * 255).astype(np.uint8)


def truncated(sampler: Sampler, truncation: float) -> Sampler:
  """Returns the sampler with its noise scaled; a sampler that makes images from others is returned as it is."""
  if truncation == 1 or sampler.noise is None:
    return sampler
  return from_noise(lambda keys: truncation * sampler.noise(keys), sampler.generate, sampler.fit)


def columns(classes: int) -> int:
  """Returns the columns of a grid of images whose classes take turns: one per class if there are 4 to 16, else 8."""
  return classes if 4 <= classes <= 16 else 8


def labels_of(experiment: Experiment, names: Sequence[str] | None) -> Int[np.ndarray, ' n'] | None:
  """Returns the labels of the classes with these names, all for None; None for a model without class conditioning.

  Raises InputError for an unknown name, and for any name if the model has no class conditioning.
  """
  found, classes = experiment.dataset.class_names, experiment.spec.num_classes
  for name in names or ():
    if not classes:
      problem = 'this run is not told classes: its model is unconditional'
      raise InputError('classes', ','.join(names), problem, 'leave --classes out')
    if name not in found:
      raise InputError('classes', name, 'no such class', f'any of {", ".join(found)}')
  chosen = range(classes) if names is None else map(found.index, names)
  return np.array(list(chosen), np.int32) if classes else None


def _slerp(a: Float[np.ndarray, '...'], b: Float[np.ndarray, '...'], steps: int) -> Float[np.ndarray, 'steps ...']:
  length = max(np.linalg.norm(a) * np.linalg.norm(b), np.finfo(a.dtype).tiny)  # noise truncated to 0 has norm 0
  cosine = np.vdot(a, b) / length
  angle, t = np.arccos(np.clip(cosine, -1, 1)), np.linspace(0, 1, steps, dtype=np.float32)
  weights = np.sin([(1 - t) * angle, t * angle]) / np.sin(angle)
  return np.tensordot(weights.T, np.stack([a, b]), axes=1).astype(np.float32)


def mean_distance(images: Float[np.ndarray, 'n h w c']) -> float:
  """Returns the root mean squared difference of pixels, averaged over all pairs of the images."""
  flat = images.reshape(len(images), -1).astype(np.float64)
  squared = (flat**2).mean(1)
  distances = squared[:, None] + squared - 2 * flat @ flat.T / flat.shape[1]
  return float(np.sqrt(np.maximum(distances, 0))[np.triu_indices(len(flat), 1)].mean())


def _on_one_device(state: PyTree) -> PyTree:
  """Returns a state of any devices, or of NumPy arrays, on the first local one."""
  return jax.device_put(jax.device_get(state), jax.local_devices()[0])


def _keys_of(key: Key[Array, ''], index: np.ndarray) -> Key[Array, ' b']:
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(index))
