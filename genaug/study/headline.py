"""The headline table: what augmented and generated images do for a classifier of few images.

For every k and seed, k images a class are chosen; generators are trained on them alone, sampled, and their samples
filtered; classifiers are trained on real, augmented and generated images, for equally many steps, and tested on real
ones. Rows that are `unlabelled` see all other training images besides, without labels, in as many steps as they like.
Every stage is kept in a `Store`.
"""

import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree
from ml_collections import ConfigDict

from genaug.data import sources, subsets
from genaug.data.dataset import Dataset, Split, copies, mix, with_unlabelled
from genaug.errors import InputError
from genaug.metrics.registry import METRICS
from genaug.study import summaries
from genaug.study.store import Store, code_of, fingerprint
from genaug.tasks.registry import TASKS
from genaug.training import checks
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import Experiment, assemble, steps_per_call
from genaug.training.fit import Fit


class Cell(NamedTuple):
  """One k and one seed, which chooses images, initialisation, order and augmentation alike."""

  per_class: int
  seed: int


class Trained(NamedTuple):
  program: str  # that made it: the settings of its config
  key: str  # of its state in the store


class Job(NamedTuple):
  """A config to be trained with a seed on some images."""

  seed: int
  dataset: Dataset


Failure = str


class Table:
  """All cells of one data set.

  `config` is that of configs/headline.py, `data` the `data` of an experiment. Raises InputError, before anything is
  trained, where they don't suit each other. Nothing but `_test` sees a test image; nothing but rows that are
  `unlabelled` an image of the training split that is not among the k of its cell, and these no label of it.
  """

  def __init__(
    self,
    config: ConfigDict,
    data: ConfigDict,
    data_dir: pathlib.Path,
    store: Store,
    advance: Callable[[int], None] = lambda work: None,
    log: Callable[[str], None] = print,
  ):
    self._config, self._data_dir, self._store = config, data_dir, store
    self._data = data.copy_and_resolve_references()
    if jax.default_backend() == 'cpu':
      self._data.device_mib = 0  # images that come with every step have one shape for all k: compiled once
    self._advance, self._log = advance, log
    pool = self._of_enough(sources.load(_only(data, data.train_split), data_dir, log=log))
    smallest = int(np.bincount(pool.train.arrays['label']).min())
    self.per_class = [k for k in config.per_class if k <= smallest] or [smallest]
    if len(self.per_class) < len(config.per_class):
      log(f'{data.name}: its smallest class has {smallest} training images, so k is {self.per_class}')
    self._pool = pool
    self._shots = {cell: _choose(pool, cell) for k in self.per_class for cell in self._cells(k)}
    few = min(self.per_class)
    if len(config.lr) > 1 and not 2 <= config.folds <= few:
      problem = f'{few} images of a class cannot be parted so, to choose among {len(config.lr)} learning rates'
      raise InputError('folds', config.folds, problem, 'two or more, at most k, or a single --config.lr')
    folds = range(config.folds if len(config.lr) > 1 else 0)
    tuning = {k: Cell(k, config.tuning_seed) for k in self.per_class}
    self._folds = {k: [_choose(pool, cell, config.folds, f) for f in folds] for k, cell in tuning.items()}
    self._class_names = pool.class_names
    self._fits: dict[str, Fit] = {}
    self._samplers: dict[str, Evaluator] = {}
    self._example = self._shots[self.cells[0]]
    trained = [(self._classifier(row), self._images(row, self.cells[0])) for row in config.order]
    self._generators = sorted({config.rows[row].generator for row in config.order} - {''})
    trained += [(self._generator(name), self._example) for name in self._generators]
    for one, images in trained:
      checks.check_config(one)
      if not isinstance(images, Failure):
        checks.check_data(one, images)
      checks.check_devices(one, jax.device_count(), steps_per_call(one))
    self._score = METRICS[config.classifier.eval.metrics[0]].key.removeprefix('eval/')
    scored = {one.task: assemble(one, self._example) for one in map(self._classifier, ('none', *config.order))}
    self._codes = {task: code_of(one.config, one.spec) for task, one in scored.items()}
    self._evaluators = {task: Evaluator(one) for task, one in scored.items()}

  def _of_enough(self, pool: Dataset) -> Dataset:
    """The classes that can be split into folds. Raises InputError where some can't, unless they may be left out."""
    least = max(2, self._config.folds)
    counts = np.bincount(pool.train.arrays['label'], minlength=pool.num_classes)
    small = {name: int(n) for name, n in zip(pool.class_names, counts) if n < least}
    listed = ', '.join(f'{name!r} has {n}' for name, n in small.items())
    if small and not self._config.skip_small_classes:
      problem = f'too few training images for {self._config.folds} folds: class {listed}'
      remedy = f'at least {least} of every class, or --config.skip_small_classes=True, which leaves these out'
      raise InputError('data', pool.name, problem, remedy)
    if small:
      self._log(f'{pool.name}: left out for fewer than {least} training images: class {listed}')
    return pool.of_classes([name for name in pool.class_names if name not in small])

  def _cells(self, per_class: int) -> list[Cell]:
    first = self._config.first_seed
    return [Cell(per_class, seed) for seed in range(first, first + self._config.seeds)]

  @property
  def cells(self) -> list[Cell]:
    return list(self._shots)

  @property
  def work(self) -> int:
    """The total of what `advance` is called with."""
    return sum(TASKS[one.config.task].cost * one.config.train.steps * count for one, count in self.trainings().values())

  def trainings(self) -> dict[str, tuple[Experiment, int]]:
    """{name: (experiment, how many of it)} of all that is trained."""
    config, cells = self._config, len(self._shots)
    tried = len(self.per_class) * len(config.lr) * config.folds * (len(config.lr) > 1)
    first, counts = self.cells[0], {'none': cells + tried, 'classic': tried}  # `none` also filters
    found = {row: (self._classifier(row), self._images(row, first), counts.get(row, 0) + cells) for row in config.order}
    found |= {name: (self._classifier(name), self._example, n) for name, n in counts.items() if name not in found and n}
    found |= {f'{name}, generator': (self._generator(name), self._example, cells) for name in self._generators}
    return {
      name: (assemble(one, images), count)
      for name, (one, images, count) in found.items()
      if not isinstance(images, Failure)
    }

  def run(self, save: Callable[[dict], None]) -> dict:
    """The result so far goes to `save` after every row; the last one is returned."""
    result = {'images': self._sizes(), 'per_class': {}}
    for k in self.per_class:
      chosen = self.learning_rate(k)
      rows: dict[str, dict] = {}
      result['per_class'][str(k)] = chosen
      self._log(f'{self._data.name}, k = {k}: learning rate {chosen["lr"]:g}')
      for row, found in self._rows(self._cells(k), chosen):
        rows[row] = found
        self._log(
          f'{self._data.name}, k = {k}, {self._config.rows[row].title}: {summaries.text(rows[row], self._score)}'
        )
        result['per_class'][str(k)]['rows'] = summaries.compared(rows, self._score)
        save(result)
    return result

  def make(self, cell: Cell, chosen: dict[str, Any]) -> None:
    """All stages of one cell, into the store; `chosen` is of `learning_rate`."""
    for _ in self._rows([cell], chosen):
      pass

  # ---------------------------------------------------------------- rows

  def _rows(self, cells: list[Cell], chosen: dict[str, Any]) -> Iterator[tuple[str, dict]]:
    """Every row of these cells."""
    filters = self._train('none', self._tuned('none', chosen), [Job(c.seed, self._shots[c]) for c in cells])
    generated = {name: self._generated(name, cells, filters) for name in self._generators}
    for row in self._config.order:
      yield row, self._row(row, cells, chosen, generated)

  def _row(self, row: str, cells: list[Cell], chosen: dict, generated: dict[str, list[Split | Failure]]) -> dict:
    settings = self._config.rows[row]
    jobs: list[Job | Failure] = []
    for number, cell in enumerate(cells):
      more = generated[settings.generator][number] if settings.generator else None
      images = more if isinstance(more, Failure) else self._images(row, cell, more)
      jobs.append(images if isinstance(images, Failure) else Job(cell.seed, images))
    trained = self._train(row, self._tuned(row, chosen), jobs)
    runs = []
    for cell, one in zip(cells, trained):
      scores = one if isinstance(one, Failure) else self._twice(row, lambda one=one: self._test(row, one))
      runs.append({'seed': cell.seed, **({'failed': scores} if isinstance(scores, Failure) else scores)})
    return {'title': settings.title, 'runs': runs}

  def _images(self, row: str, cell: Cell, generated: Split | None = None) -> Dataset | Failure:
    """What a row is trained on."""
    shots, ratio = self._shots[cell], self._classifier(row).data.get('unlabelled', 0)
    train = mix(shots.train, generated, self._config.rows[row].share) if generated else shots.train
    if ratio:
      rows, _ = subsets.choose(self._pool.train.arrays['label'], cell.per_class, cell.seed)
      rest = np.delete(self._pool.train.arrays['image'], rows, axis=0)
      if len(rest) < ratio:
        return f'{len(rest)} training images are left without a label'
      train = with_unlabelled(train, rest, ratio, cell.seed)
    return shots._replace(train=train)

  def _tuned(self, row: str, chosen: dict) -> ConfigDict:
    config = self._classifier(row)
    if not self._config.rows[row].unlabelled:
      config.optim.lr = chosen['lr']
    return config

  def learning_rate(self, k: int) -> dict[str, Any]:
    """The best mean accuracy of rows `none` and `classic`, by cross-validation in the images of the tuning split."""
    if len(self._config.lr) == 1:
      return {'lr': self._config.lr[0]}
    scores = {}
    for lr in self._config.lr:
      found = []
      for row in ('none', 'classic'):
        jobs = [Job(self._config.tuning_seed, fold) for fold in self._folds[k]]
        for fold, one in zip(self._folds[k], self._train(row, self._tuned(row, {'lr': lr}), jobs)):
          found.append(0.0 if isinstance(one, Failure) else self._validated(one, fold.test))
      scores[lr] = float(np.mean(found))
    return {'lr': max(scores, key=scores.get), f'{self._score}_by_lr': {f'{lr:g}': mean for lr, mean in scores.items()}}

  def _validated(self, trained: Trained, fold: Split) -> float:
    return self._evaluators[self._config.classifier.task](self._state(trained), fold)[f'eval/{self._score}']

  def _generated(self, name: str, cells: list[Cell], filters: list[Trained | Failure]) -> list[Split | Failure]:
    """Of every cell, the generated images of top confidence to the filter, a classifier of the cell's real ones."""
    config = self._generator(name)
    generators = self._train(name, config, [Job(cell.seed, self._shots[cell]) for cell in cells])
    splits: list[Split | Failure] = []
    for cell, generator, classifier in zip(cells, generators, filters):
      failure = next((one for one in (generator, classifier) if isinstance(one, Failure)), None)
      sample = lambda cell=cell, generator=generator, classifier=classifier: self._filtered(
        self._sampled(config, cell, generator), classifier
      )
      splits.append(failure or self._twice(name, sample))
    return splits

  # ---------------------------------------------------------------- stages

  def _train(self, name: str, config: ConfigDict, jobs: Sequence[Job | Failure]) -> list[Trained | Failure]:
    """Trains what is not in the store; what fails twice is a Failure, as is what came as one."""
    todo = {i: job for i, job in enumerate(jobs) if isinstance(job, Job)}
    experiments = {i: _seeded(config, job) for i, job in todo.items()}
    code = code_of(config, experiments[next(iter(todo))].spec) if todo else ()
    keys = {i: self._store.key('trained', code, **_depends(experiment)) for i, experiment in experiments.items()}
    missing, failed = [i for i in todo if keys[i] not in self._store], {}
    program, work = json.dumps(_settings(config)), TASKS[config.task].cost
    if program not in self._fits:
      self._fits[program] = Fit(assemble(config, self._example), self._config.seeds)
    fit = self._fits[program]
    self._advance((len(jobs) - len(missing)) * config.train.steps * work)

    def attempt(some: list[int]) -> None:
      states = fit([experiments[i] for i in some], lambda steps: self._advance(steps * work))
      for i, state in zip(some, states):
        self._store.write(keys[i], _without_optimiser(state))

    for first in range(0, len(missing), fit.at_once):
      some = missing[first : first + fit.at_once]
      try:
        attempt(some)
      except Exception as error:  # as in `_twice`, but those that were trained together one by one
        self._log(f'{name}, once more: {_said(error)}')
        for i in some:
          try:
            attempt([i])
          except Exception as again:
            failed[i] = _said(again)
            self._log(f'{name}, failed: {failed[i]}')
    return [
      job if isinstance(job, Failure) else failed.get(i) or Trained(program, keys[i]) for i, job in enumerate(jobs)
    ]

  def _twice(self, name: str, make: Callable[[], Any]) -> Any:
    """What is made, at the second attempt if need be, or the Failure of that."""
    for outcome in ('once more', 'failed'):
      try:
        return make()
      except Exception as error:  # of any kind: a failed cell is shown and the table goes on
        failure = _said(error)
        self._log(f'{name}, {outcome}: {failure}')
    return failure

  def _state(self, trained: Trained) -> PyTree:
    return self._store.read(trained.key, _without_optimiser(self._fits[trained.program].template))

  def _sampled(self, config: ConfigDict, cell: Cell, generator: Trained) -> tuple[str, Split]:
    classes = len(self._class_names)
    count = self._config.candidates * classes
    code = code_of(config, assemble(config, self._example).spec)
    key = self._store.key('sampled', code, generator=generator.key, count=count, seed=cell.seed)
    if key not in self._store:
      if generator.program not in self._samplers:
        self._samplers[generator.program] = Evaluator(assemble(config, self._example))
      batches = self._samplers[generator.program].samples(self._state(generator), count, jax.random.key(cell.seed))
      self._store.write(key, {'image': np.concatenate(list(batches))})
    return key, Split({'image': self._store.read(key)['image'], 'label': np.arange(count, dtype=np.int32) % classes})

  def _filtered(self, sampled: tuple[str, Split], classifier: Trained) -> Split:
    from_key, candidates = sampled
    task = self._config.classifier.task
    key = self._store.key(
      'filtered', self._codes[task], sampled=from_key, classifier=classifier.key, kept=self._config.kept
    )
    if key not in self._store:
      label = candidates.arrays['label']
      probabilities = self._evaluators[task].outputs(self._state(classifier), candidates)['probabilities']
      rows = top_confidence(probabilities[np.arange(len(label)), label], label, self._config.kept)
      self._store.write(key, {'row': rows})
    return candidates.take(self._store.read(key)['row'])

  def _test(self, row: str, trained: Trained) -> dict[str, float]:
    task = self._classifier(row).task
    key = self._store.key('tested', self._codes[task], trained=trained.key, images=self._test_images[0])
    if key not in self._store:
      self._store.write(key, self._evaluators[task](self._state(trained), self._test_images[1]))
    scores = {name.removeprefix('eval/'): value for name, value in self._store.read(key).items()}
    return {name: value for name, value in scores.items() if isinstance(value, float) and '/' not in name}

  @cached_property
  def _test_images(self) -> tuple[str, Split]:
    test = sources.load(_only(self._data, self._data.test_split), self._data_dir, log=self._log)
    split = test.of_classes(self._class_names).train
    if self._data.name == 'image_folder':
      unlabelled = [self._pool] * any(self._config.rows[row].unlabelled for row in self._config.order)
      seen = sum(len(copies(shots.train, split)) for shots in [*self._shots.values(), *unlabelled])
      if seen:
        problem = f'classifiers would be trained on {seen} images of the test split, to the pixel'
        remedy = 'remove the copies from one of the two folders'
        raise InputError('data.folder', self._data.folder, problem, remedy)
    return fingerprint(split.arrays), split

  def _sizes(self) -> dict[str, Any]:
    arrays = self._test_images[1].arrays
    return {'shape': list(arrays['image'].shape[1:]), 'classes': list(self._class_names), 'test': len(arrays['label'])}

  def _classifier(self, row: str) -> ConfigDict:
    unlabelled = self._config.rows[row].unlabelled
    config = self._config['unlabelled' if unlabelled else 'classifier'].copy_and_resolve_references()
    config.data.update(self._data)
    config.model = self._config.classifier.model
    for name, settings in self._config.rows[row].augment.items():
      config.augment[name].update(settings)
    return config

  def _generator(self, name: str) -> ConfigDict:
    config = self._config.generators[name].copy_and_resolve_references()
    config.data = self._data
    return config


def _said(error: Exception) -> Failure:
  return f'{type(error).__name__}: {" ".join(str(error).split())}'


def _only(data: ConfigDict, split: str) -> ConfigDict:
  data = data.copy_and_resolve_references()
  data.update({'train_split': split, 'test_split': '', 'per_class': 0, 'validation': 0})
  return data


def _choose(pool: Dataset, cell: Cell, folds: int = 0, fold: int = 0) -> Dataset:
  """A data set of nothing but the cell's images; a fold of them, if asked for, is its test split."""
  validation = max(1, cell.per_class // folds) if folds else 0
  rows, held_out = subsets.choose(pool.train.arrays['label'], cell.per_class, cell.seed, validation, fold)
  train = pool.train.take(rows)
  return pool._replace(train=train, test=pool.train.take(held_out) if folds else train)


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


def top_confidence(confidence: Float[Array, ' n'], label: Int[Array, ' n'], kept: float) -> Int[np.ndarray, ' m']:
  """Rows of the share of every class that has the highest confidence, in order."""
  rows = [np.flatnonzero(label == value) for value in np.unique(label)]
  best = [some[np.argsort(-confidence[some], kind='stable')[: max(1, round(len(some) * kept))]] for some in rows]
  return np.sort(np.concatenate(best))
