"""The stages of a table: trained states, generated images and those of them that are kept, scores; each made once.

What a `Store` has is read from there. What fails, fails twice before it is a `Failure`, and everything else goes on.
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
  program: str  # that made it: the settings of its config
  key: str  # of its state in the store


class Job(NamedTuple):
  """A config to be trained with a seed on some images."""

  seed: int
  dataset: Dataset


class Images(NamedTuple):
  key: str  # of their stage in the store, or their fingerprint
  split: Split


Failure = str


class Stages:
  """`example` has the classes and the shape of all that is trained on; `scored` has an experiment of every scored task.

  Up to `at_once` states are trained together, `advance(work)` is told of progress, `log(line)` of failures.
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

  def twice(self, name: str, make: Callable[[], Any]) -> Any:
    """What is made, at the second attempt if need be, or the Failure of that."""
    for outcome in ('once more', 'failed'):
      try:
        return make()
      except Exception as error:  # of any kind: a failed cell is shown and the table goes on
        failure = _said(error)
        self._log(f'{name}, {outcome}: {failure}')
    return failure

  def train(self, name: str, config: ConfigDict, jobs: Sequence[Job | Failure]) -> list[Trained | Failure]:
    """Of every job a state; what came as a Failure stays one."""
    todo = {i: job for i, job in enumerate(jobs) if isinstance(job, Job)}
    experiments = {i: _seeded(config, job) for i, job in todo.items()}
    code = code_of(config, experiments[next(iter(todo))].spec) if todo else ()
    keys = {i: self._store.key('trained', code, **_depends(experiment)) for i, experiment in experiments.items()}
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
    """Trains and keeps what is missing, by its keys; what comes back has failed."""
    failed, keys = {}, list(missing)

    def attempt(some: list[str]) -> None:
      cost = TASKS[missing[some[0]].config.task].cost
      states = fit([missing[key] for key in some], lambda steps: self._advance(steps * cost))
      for key, state in zip(some, states):
        self._store.write(key, _without_optimiser(state))

    for first in range(0, len(keys), fit.at_once):
      some = keys[first : first + fit.at_once]
      try:
        attempt(some)
      except Exception as error:  # as in `twice`, but those that were trained together one by one
        self._log(f'{name}, once more: {_said(error)}')
        for key in some:
          try:
            attempt([key])
          except Exception as again:
            failed[key] = _said(again)
            self._log(f'{name}, failed: {failed[key]}')
    return failed

  def _state(self, trained: Trained) -> PyTree:
    return self._store.read(trained.key, _without_optimiser(self._fits[trained.program].template))

  def sampled(self, config: ConfigDict, generator: Trained, count: int, seed: int) -> Images:
    """Images of a generator with this config, `count` of each class."""
    classes = self._example.num_classes
    code = code_of(config, assemble(config, self._example).spec)
    key = self._store.key('sampled', code, generator=generator.key, count=count * classes, seed=seed)
    if key not in self._store:
      if generator.program not in self._samplers:
        self._samplers[generator.program] = Evaluator(assemble(config, self._example))
      sampler = self._samplers[generator.program]
      batches = sampler.samples(self._state(generator), count * classes, jax.random.key(seed))
      self._store.write(key, {'image': np.concatenate(list(batches))})
    label = np.arange(count * classes, dtype=np.int32) % classes
    return Images(key, Split({'image': self._store.read(key)['image'], 'label': label}))

  def authentic(self, settings: ConfigDict, images: Images, train: Split) -> Images:
    """Equally many of every class that AuthPct counts as no copies of training images.

    `settings` are `eval` of a config, which say by what features. Raises ValueError where all of a class are copies.
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
    """Of every class the share `kept` of the images: those of which the classifier is most confident."""
    key = self._store.key('filtered', self._codes[task], sampled=images.key, classifier=classifier.key, kept=kept)
    if key not in self._store:
      label = images.split.arrays['label']
      probabilities = self._evaluators[task].outputs(self._state(classifier), images.split)['probabilities']
      self._store.write(key, {'row': top_confidence(probabilities[np.arange(len(label)), label], label, kept)})
    return Images(key, images.split.take(self._store.read(key)['row']))

  def validated(self, task: str, trained: Trained, images: Split) -> dict[str, float]:
    """Scores that are not kept."""
    return self._evaluators[task](self._state(trained), images)

  def tested(self, task: str, trained: Trained, images: Images) -> dict[str, float]:
    """Scores of the state, without those of single classes."""
    key = self._store.key('tested', self._codes[task], trained=trained.key, images=images.key)
    if key not in self._store:
      self._store.write(key, self.validated(task, trained, images.split))
    scores = {name.removeprefix('eval/'): value for name, value in self._store.read(key).items()}
    return {name: value for name, value in scores.items() if isinstance(value, float) and '/' not in name}


def top_confidence(confidence: Float[Array, ' n'], label: Int[Array, ' n'], kept: float) -> Int[np.ndarray, ' m']:
  """Rows of the share of every class that has the highest confidence, in order."""
  rows = [np.flatnonzero(label == value) for value in np.unique(label)]
  best = [some[np.argsort(-confidence[some], kind='stable')[: max(1, round(len(some) * kept))]] for some in rows]
  return np.sort(np.concatenate(best))


def authentic_rows(margin: Float[np.ndarray, ' n'], label: Int[np.ndarray, ' n']) -> Int[np.ndarray, ' m']:
  """The first rows of every class whose margin is positive, as many as there are of the class with the fewest.

  Raises ValueError where a class has none.
  """
  rows = [np.flatnonzero((label == value) & (margin > 0)) for value in np.unique(label)]
  count = min(map(len, rows))
  if not count:
    raise ValueError('all generated images of a class are copies of training images')
  return np.sort(np.concatenate([some[:count] for some in rows]))


def _said(error: Exception) -> Failure:
  return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _seeded(config: ConfigDict, job: Job) -> Experiment:
  config = config.copy_and_resolve_references()
  config.seed = job.seed
  return assemble(config, job.dataset)


def _settings(config: ConfigDict) -> dict[str, Any]:
  """What of a config is in a trained state: `data` is there as images, `eval` and `sweep` not at all."""
  return {key: value for key, value in config.to_dict().items() if key not in ('data', 'eval', 'sweep')}


def _depends(experiment: Experiment) -> dict[str, Any]:
  images = fingerprint(experiment.dataset.train.arrays)
  return {'config': _settings(experiment.config), 'spec': experiment.spec, 'images': images}


def _without_optimiser(state: PyTree) -> PyTree:
  """Nothing goes on from here, and the optimiser's moments are most of a state."""
  return state.replace(opt={})
