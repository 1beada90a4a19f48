"""The stages of a table, each computed once: trained states, generated images, those of them that are kept, scores.

What is in the `Store` is read from there. A stage that fails twice becomes a `Failure`, and everything else goes on.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree
from ml_collections import ConfigDict

from genaug.data.dataset import Dataset, Split
from genaug.metrics import features, memorisation
from genaug.study.store import Store, code_of, fingerprint
from genaug.tasks.registry import TASKS
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import Experiment, assemble
from genaug.training.fit import Fit


class Trained(NamedTuple):
  program: str  # JSON of the config settings that it was trained with
  key: str  # key of its state in the store


class Job(NamedTuple):
  """One training of a config: its seed and its images."""

  seed: int
  dataset: Dataset


class Images(NamedTuple):
  key: str  # key of their stage in the store, or their fingerprint
  split: Split


Failure = str


class Stages:
  """All stages of a table, read from a store or computed into it.

  `example` is a data set with the classes and the image shape of all that is trained on; `scored` has an experiment for
  every task whose states are scored. Up to `at_once` states are trained together. `advance(work)` is called with
  progress, `log(line)` with failures.
  """

  def __init__(
    self,
    store: Store,
    example: Dataset,
    scored: dict[str, Experiment],
    at_once: int,
    advance: Callable[[int], None],
    log: Callable[[str], None],
  ):
    self._store, self._example, self._at_once = store, example, at_once
    self._advance, self._log = advance, log
    self._codes = {task: code_of(one.config, one.spec) for task, one in scored.items()}
    self._evaluators = {task: Evaluator(one) for task, one in scored.items()}
    self._fits: dict[str, Fit] = {}
    self._samplers: dict[str, Evaluator] = {}

  def with_retry(self, name: str, make: Callable[[], Any]) -> Any:
    """Returns make(), at the second attempt if the first raises, or the Failure of the second."""
    for outcome in ('trying once more', 'failed'):
      try:
        return make()
      except Exception as error:  # of any kind: a failed cell is shown and the table goes on
        failure = _describe_error(error)
        self._log(f'{name}, {outcome}: {failure}')
    return failure

  def train(self, name: str, config: ConfigDict, jobs: Sequence[Job | Failure]) -> list[Trained | Failure]:
    """Returns the trained state of every job; a Failure among the jobs is passed through."""
    todo = {i: job for i, job in enumerate(jobs) if isinstance(job, Job)}
    experiments = {i: _seeded(config, job) for i, job in todo.items()}
    code = code_of(config, experiments[next(iter(todo))].spec) if todo else ()
    keys = {i: self._store.key('trained', code, **_dependencies(experiment)) for i, experiment in experiments.items()}
    program = json.dumps(_settings(config))
    if program not in self._fits:
      self._fits[program] = Fit(assemble(config, self._example), self._at_once)
    missing = [i for i in todo if keys[i] not in self._store]
    self._advance((len(jobs) - len(missing)) * config.train.steps * TASKS[config.task].cost)
    failed = self._fit(name, self._fits[program], {keys[i]: experiments[i] for i in missing})
    return [
      job if isinstance(job, Failure) else failed.get(keys[i]) or Trained(program, keys[i])
      for i, job in enumerate(jobs)
    ]

  def _fit(self, name: str, fit: Fit, missing: dict[str, Experiment]) -> dict[str, Failure]:
    """Trains the missing experiments and stores their states by key; returns the failed ones."""
    failed, keys = {}, list(missing)

    def attempt(chunk: list[str]) -> None:
      cost = TASKS[missing[chunk[0]].config.task].cost
      states = fit([missing[key] for key in chunk], lambda steps: self._advance(steps * cost))
      for key, state in zip(chunk, states):
        self._store.write(key, _without_optimiser(state))

    for first in range(0, len(keys), fit.at_once):
      chunk = keys[first : first + fit.at_once]
      try:
        attempt(chunk)
      except Exception as error:  # as in `with_retry`, but those that were trained together are retried one by one
        self._log(f'{name}, trying once more: {_describe_error(error)}')
        for key in chunk:
          try:
            attempt([key])
          except Exception as second_error:
            failed[key] = _describe_error(second_error)
            self._log(f'{name}, failed: {failed[key]}')
    return failed

  def _state(self, trained: Trained) -> PyTree:
    return self._store.read(trained.key, _without_optimiser(self._fits[trained.program].template))

  def sampled(self, config: ConfigDict, generator: Trained, count: int, seed: int) -> Images:
    """Returns images of a generator with this config, `count` of each class."""
    classes = self._example.num_classes
    experiment = assemble(config, self._example)
    code = code_of(config, experiment.spec)
    key = self._store.key('sampled', code, generator=generator.key, count=count * classes, seed=seed)
    if key not in self._store:
      if generator.program not in self._samplers:
        self._samplers[generator.program] = Evaluator(experiment)
      sampler = self._samplers[generator.program]
      batches = sampler.samples(self._state(generator), count * classes, jax.random.key(seed))
      self._store.write(key, {'image': np.concatenate(list(batches))})
    label = np.arange(count * classes, dtype=np.int32) % classes
    return Images(key, Split({'image': self._store.read(key)['image'], 'label': label}))

  def authentic(self, settings: ConfigDict, images: Images, train: Split) -> Images:
    """Returns the images that AuthPct does not count as copies of training images, equally many of every class.

    `settings` is the section `eval` of a config, which names the features to compare by. Raises ValueError if all
    images of a class are copies.
    """
    modules, real = {features.__name__, memorisation.__name__}, train.arrays['image']
    compared = [settings.features, settings.inception_weights]
    key = self._store.key('margins', modules, images=images.key, train=fingerprint({'image': real}), features=compared)
    if key not in self._store:
      samples, of_train = (features.extract(settings, some) for some in (images.split.arrays['image'], real))
      margin, _ = memorisation.margins(samples, of_train)
      self._store.write(key, {'margin': margin})
    rows = authentic_rows(self._store.read(key)['margin'], images.split.arrays['label'])
    return Images(f'authentic, {key}', images.split.take(rows))

  def confident(self, task: str, images: Images, classifier: Trained, kept: float) -> Images:
    """Returns the share `kept` of every class's images, those of which the classifier is most confident."""
    key = self._store.key('filtered', self._codes[task], sampled=images.key, classifier=classifier.key, kept=kept)
    if key not in self._store:
      label = images.split.arrays['label']
      probabilities = self._evaluators[task].outputs(self._state(classifier), images.split)['probabilities']
      self._store.write(key, {'row': top_confidence(probabilities[np.arange(len(label)), label], label, kept)})
    return Images(key, images.split.take(self._store.read(key)['row']))

  def validated(self, task: str, trained: Trained, images: Split) -> dict[str, float]:
    """Returns the scores of the state, which are not stored."""
    return self._evaluators[task](self._state(trained), images)

  def tested(self, task: str, trained: Trained, images: Images) -> dict[str, float]:
    """Returns the scores of the state, which are stored, without those of single classes."""
    key = self._store.key('tested', self._codes[task], trained=trained.key, images=images.key)
    if key not in self._store:
      self._store.write(key, self.validated(task, trained, images.split))
    scores = {name.removeprefix('eval/'): value for name, value in self._store.read(key).items()}
    return {name: value for name, value in scores.items() if isinstance(value, float) and '/' not in name}


def top_confidence(confidence: Float[Array, ' n'], label: Int[Array, ' n'], kept: float) -> Int[np.ndarray, ' m']:
  """Returns the rows of the share `kept` of every class that has the highest confidence, in ascending order."""
  rows = [np.flatnonzero(label == value) for value in np.unique(label)]
  best = [some[np.argsort(-confidence[some], kind='stable')[: max(1, round(len(some) * kept))]] for some in rows]
  return np.sort(np.concatenate(best))


def authentic_rows(margin: Float[np.ndarray, ' n'], label: Int[np.ndarray, ' n']) -> Int[np.ndarray, ' m']:
  """Returns the first rows of every class with a positive margin, as many as the class with the fewest has.

  Raises ValueError where a class has none.
  """
  rows = [np.flatnonzero((label == value) & (margin > 0)) for value in np.unique(label)]
  count = min(map(len, rows))
  if not count:
    raise ValueError('all generated images of a class are copies of training images')
  return np.sort(np.concatenate([some[:count] for some in rows]))


def _describe_error(error: Exception) -> Failure:
  return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _seeded(config: ConfigDict, job: Job) -> Experiment:
  config = config.copy_and_resolve_references()
  config.seed = job.seed
  return assemble(config, job.dataset)


def _settings(config: ConfigDict) -> dict[str, Any]:
  """Returns the part of a config that a trained state depends on: `data` enters as images, `eval` and `sweep` don't."""
  return {key: value for key, value in config.to_dict().items() if key not in ('data', 'eval', 'sweep')}


def _dependencies(experiment: Experiment) -> dict[str, Any]:
  images = fingerprint(experiment.dataset.train.arrays)
  return {'config': _settings(experiment.config), 'spec': experiment.spec, 'images': images}


def _without_optimiser(state: PyTree) -> PyTree:
  """Drops the optimiser's moments, which are most of a state: training never goes on from here."""
  return state.replace(opt={})
