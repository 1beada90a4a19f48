"""The headline table: how augmented and generated images affect a classifier that is trained on few images.

For every k and seed, k images per class are chosen; generators are trained on them alone, sampled, and their samples
filtered; classifiers are trained on real, augmented and generated images, for equally many steps, and tested on real
ones. Rows with `unlabelled` also see all other training images, without labels, and have their own number of steps.
Every stage is kept in a `Store`.
"""

import pathlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from genaug import ranges
from genaug.data import sources, subsets
from genaug.data.dataset import Dataset, Split, duplicate_test_rows, mix, with_unlabelled
from genaug.errors import InputError
from genaug.metrics import features
from genaug.metrics.registry import METRICS
from genaug.ranges import ABOVE_ZERO, Choice, Number
from genaug.study import summaries
from genaug.study.stages import Failure, Images, Job, Stages, Trained
from genaug.study.store import Store, fingerprint
from genaug.tasks.registry import TASKS
from genaug.training import checks
from genaug.training.experiment import Experiment, assemble, steps_per_call


class Cell(NamedTuple):
  """One k (images per class) and one seed, which decides images, initialisation, order and augmentation alike."""

  per_class: int
  seed: int


class Table:
  """All cells of one data set.

  `config` is that of configs/headline.py, `data` is the section `data` of an experiment's config. Raises InputError,
  before anything is trained, if they don't suit each other. Only `_test` evaluates on test images. Only rows with
  `unlabelled` are trained on images beyond the k per class of their cell, and without the labels of these.
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
    _check(config)
    self._config, self._data_dir = config, data_dir
    self._data = data.copy_and_resolve_references()
    if jax.default_backend() == 'cpu':
      self._data.device_mib = 0  # streamed batches have the same shape for all k, so steps are compiled once
    self._log = log
    pool = self._with_large_classes(sources.load(_one_split(data, data.train_split), data_dir, log=log))
    smallest = int(np.bincount(pool.train.arrays['label']).min())
    self.per_class = [k for k in config.per_class if k <= smallest] or [smallest]
    if len(self.per_class) < len(config.per_class):
      log(f'{data.name}: its smallest class has {smallest} training images, so k is {self.per_class}')
    self._pool = pool
    self._shots = {cell: _choose(pool, cell) for k in self.per_class for cell in self._cells(k)}
    few = min(self.per_class)
    if len(config.lr) > 1 and not 2 <= config.folds <= few:
      problem = f'{few} images of a class cannot be parted so, to choose among {len(config.lr)} learning rates'
      remedy = 'at least 2 and at most k, the images per class, or a single --config.lr'
      raise InputError('folds', config.folds, problem, remedy)
    folds = range(config.folds if len(config.lr) > 1 else 0)
    tuning = {k: Cell(k, config.tuning_seed) for k in self.per_class}
    self._folds = {k: [_choose(pool, cell, config.folds, f) for f in folds] for k, cell in tuning.items()}
    self._class_names = pool.class_names
    self._example = self._shots[self.cells[0]]
    self._generators = sorted({config.rows[row].generator for row in config.order} - {''})
    self._check_trained()
    self._score = METRICS[config.classifier.eval.metrics[0]].key.removeprefix('eval/')
    scored = {one.task: assemble(one, self._example) for one in map(self._classifier, ('none', *config.order))}
    self._stages = Stages(store, self._example, scored, config.seeds, advance, log)

  def _check_trained(self) -> None:
    """Raises InputError for a classifier or a generator that can't be trained here."""
    trained = {row: (self._classifier(row), self._images(row, self.cells[0])) for row in self._config.order}
    trained |= {f'{name}, generator': (self._generator(name), self._example) for name in self._generators}
    for name, (one, images) in trained.items():
      checks.check_config(one)
      if isinstance(images, Failure):
        self._log(f'{self._data.name}: row {name} is left out: {images}')
      else:
        checks.check_data(one, images)
      checks.check_devices(one, jax.device_count(), steps_per_call(one))
    for name in self._generators:
      if not self._generator(name).model.conditional:
        problem = 'its samples would have no class labels for the classifiers'
        key = f'generators.{name}.model.conditional'
        raise InputError(key, False, problem, f'--config.{key}=True')

  def _with_large_classes(self, pool: Dataset) -> Dataset:
    """Returns classes with enough images for the folds. Raises InputError for others, unless they may be left out."""
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
    """Total of the values that `advance` is called with."""
    trainings = self.trainings()
    counts = {name: count for name, (_, count) in trainings.items()}
    if 'none' in self._config.order:
      counts['none'] += len(self._shots)  # trained as the filter, and found in the store as a row
    cost = lambda one: TASKS[one.task].cost * one.train.steps
    return sum(counts[name] * cost(experiment.config) for name, (experiment, _) in trainings.items())

  def trainings(self) -> dict[str, tuple[Experiment, int]]:
    """Returns {name: (experiment, number of trainings)} for all that is trained."""
    config, cells = self._config, len(self._shots)
    tried = len(self.per_class) * len(config.lr) * config.folds * (len(config.lr) > 1)
    counts = dict.fromkeys(('none', *config.order), cells)  # `none` is the filter, whether it is a row or not
    counts |= {name: counts.get(name, 0) + tried for name in ('none', 'classic')}
    trained = {name: (self._classifier(name), self._images(name, self.cells[0]), n) for name, n in counts.items() if n}
    trained |= {f'{name}, generator': (self._generator(name), self._example, cells) for name in self._generators}
    return {
      name: (assemble(one, images), count)
      for name, (one, images, count) in trained.items()
      if not isinstance(images, Failure)
    }

  def run(self, save: Callable[[dict], None]) -> dict:
    """Computes and returns the result; passes the result so far to `save` after every row."""
    result = {'images': self.sizes(), 'per_class': {}}
    for k in self.per_class:
      chosen = self.learning_rate(k)
      rows: dict[str, dict] = {}
      result['per_class'][str(k)] = chosen
      self._log(f'{self._data.name}, k = {k}: learning rate {chosen["lr"]:g}')
      for row, result_of_row in self._rows(self._cells(k), chosen):
        rows[row] = result_of_row
        self._log(
          f'{self._data.name}, k = {k}, {self._config.rows[row].title}: {summaries.text(rows[row], self._score)}'
        )
        result['per_class'][str(k)]['rows'] = summaries.compared(rows, self._score)
        save(result)
    return result

  def make(self, cell: Cell, chosen: dict[str, Any]) -> None:
    """Computes all stages of one cell into the store; `chosen` is the result of `learning_rate`."""
    for _ in self._rows([cell], chosen):
      pass

  # ---------------------------------------------------------------- rows

  def _rows(self, cells: list[Cell], chosen: dict[str, Any]) -> Iterator[tuple[str, dict]]:
    """Yields (name, result) of every row, over these cells."""
    jobs = [Job(cell.seed, self._shots[cell]) for cell in cells]
    filters = self._stages.train('none', self._tuned('none', chosen), jobs)
    states = {name: self._stages.train(name, self._generator(name), jobs) for name in self._generators}
    kinds = {(row.generator, row.authentic) for row in map(self._config.rows.get, self._config.order) if row.generator}
    generated = {
      (name, authentic): self._generated(name, authentic, cells, states[name], filters)
      for name, authentic in sorted(kinds)
    }
    for row in self._config.order:
      yield row, self._row(row, cells, chosen, generated)

  def _row(self, row: str, cells: list[Cell], chosen: dict, generated: dict[tuple, list[Split | Failure]]) -> dict:
    settings = self._config.rows[row]
    jobs: list[Job | Failure] = []
    for number, cell in enumerate(cells):
      added = generated[settings.generator, settings.authentic][number] if settings.generator else None
      images = added if isinstance(added, Failure) else self._images(row, cell, added)
      jobs.append(images if isinstance(images, Failure) else Job(cell.seed, images))
    trained = self._stages.train(row, self._tuned(row, chosen), jobs)
    runs = []
    for cell, one in zip(cells, trained):
      scores = one if isinstance(one, Failure) else self._stages.with_retry(row, lambda one=one: self._test(row, one))
      runs.append({'seed': cell.seed, **({'failed': scores} if isinstance(scores, Failure) else scores)})
    return {'title': settings.title, 'runs': runs}

  def _images(self, row: str, cell: Cell, generated: Split | None = None) -> Dataset | Failure:
    """Returns what a row is trained on, or a Failure if too few unlabelled images are left."""
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
    """Chooses the learning rate with the best mean accuracy of rows `none` and `classic` in cross-validation.

    The folds are those of the images that `tuning_seed` draws.
    """
    if len(self._config.lr) == 1:
      return {'lr': self._config.lr[0]}
    scores = {}
    for lr in self._config.lr:
      fold_scores = []
      for row in ('none', 'classic'):
        jobs = [Job(self._config.tuning_seed, fold) for fold in self._folds[k]]
        for fold, one in zip(self._folds[k], self._stages.train(row, self._tuned(row, {'lr': lr}), jobs)):
          fold_scores.append(0.0 if isinstance(one, Failure) else self._validated(one, fold.test))
      scores[lr] = float(np.mean(fold_scores))
    return {'lr': max(scores, key=scores.get), f'{self._score}_by_lr': {f'{lr:g}': mean for lr, mean in scores.items()}}

  def _validated(self, trained: Trained, fold: Split) -> float:
    return self._stages.validated(self._config.classifier.task, trained, fold)[f'eval/{self._score}']

  def _generated(
    self,
    name: str,
    authentic: bool,
    cells: list[Cell],
    generators: list[Trained | Failure],
    filters: list[Trained | Failure],
  ) -> list[Split | Failure]:
    """Returns for every cell the generated images of which its filter is most confident.

    The filter is a classifier trained on the real images of the cell. If `authentic`, copies of training images are
    removed before.
    """
    config, task = self._generator(name), self._config.classifier.task

    def make_split(cell: Cell, generator: Trained, classifier: Trained) -> Split:
      images = self._stages.sampled(config, generator, self._config.candidates, cell.seed)
      if authentic:
        images = self._stages.authentic(config.eval, images, self._shots[cell].train)
      return self._stages.confident(task, images, classifier, self._config.kept).split

    splits: list[Split | Failure] = []
    for inputs in zip(cells, generators, filters):
      failure = next((one for one in inputs if isinstance(one, Failure)), None)
      splits.append(failure or self._stages.with_retry(name, lambda inputs=inputs: make_split(*inputs)))
    return splits

  # ---------------------------------------------------------------- images and configs

  def _test(self, row: str, trained: Trained) -> dict[str, float]:
    return self._stages.tested(self._classifier(row).task, trained, self._test_images)

  @cached_property
  def _test_images(self) -> Images:
    test = sources.load(_one_split(self._data, self._data.test_split), self._data_dir, log=self._log)
    split = test.of_classes(self._class_names).train
    if self._data.name == 'image_folder':
      unlabelled = any(self._config.rows[row].unlabelled for row in self._config.order)
      trained_on = [self._pool] if unlabelled else self._shots.values()
      images = np.concatenate([one.train.arrays['image'] for one in trained_on])
      if seen := len(duplicate_test_rows(Split({'image': images}), split)):
        problem = f'classifiers would be trained on {seen} images of the test split, identical to the pixel'
        remedy = 'remove the copies from one of the two folders'
        raise InputError('data.folder', self._data.folder, problem, remedy)
    return Images(fingerprint(split.arrays), split)

  def sizes(self) -> dict[str, Any]:
    """Returns the image shape, the class names and the number of test images.

    Reads the test split. Raises InputError if it holds training images.
    """
    arrays = self._test_images.split.arrays
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


def _check(config: ConfigDict) -> None:
  """Raises InputError for the first invalid key of the study itself or of its rows."""
  counts = {name: Number(1) for name in ('seeds', 'candidates')}
  ranges.check(config, counts | {'kept': Number(ABOVE_ZERO, 1)})
  for key, allowed in {'per_class': Number(1), 'lr': Number(ABOVE_ZERO)}.items():
    for value in config[key]:
      if found := allowed.problem(value):
        raise InputError(key, value, *found)
  for key in ('per_class', 'lr', 'order'):
    if not config[key]:
      raise InputError(key, config[key], 'is empty', f'one or more, such as --config.{key}=...')
  for name in config.order:
    if name not in config.rows:
      raise InputError('order', name, 'no such row', f'any of {", ".join(config.rows)}')
    row, key = config.rows[name], f'rows.{name}'
    if row.generator:
      generator = {f'{key}.generator': Choice(tuple(config.generators)), f'{key}.share': Number(ABOVE_ZERO, 1)}
      ranges.check(config, generator)
    elif row.authentic:
      problem = 'needs generated images, but this row has no generator'
      raise InputError(
        f'{key}.authentic', True, problem, f'--config.{key}.generator=NAME, one of {", ".join(config.generators)}'
      )
    if row.authentic:
      features.check(config.generators[row.generator])


def _one_split(data: ConfigDict, split: str) -> ConfigDict:
  data = data.copy_and_resolve_references()
  data.update({'train_split': split, 'test_split': '', 'per_class': 0, 'validation': 0})
  return data


def _choose(pool: Dataset, cell: Cell, folds: int = 0, fold: int = 0) -> Dataset:
  """Returns a data set of the cell's images alone; if `folds` is not 0, one fold of them is its test split."""
  validation = max(1, cell.per_class // folds) if folds else 0
  rows, held_out = subsets.choose(pool.train.arrays['label'], cell.per_class, cell.seed, validation, fold)
  train = pool.train.take(rows)
  return pool._replace(train=train, test=pool.train.take(held_out) if folds else train)
