"""The trials of a sweep and their results; nothing here knows how trials are run."""

import hashlib
import json
import math
import pathlib
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import optuna
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from genaug.errors import DivergedError, InputError
from genaug.training import checks, loop, workdir
from genaug.training.experiment import best_metric, prepare

Overrides = dict[str, object]
GetSweep = Callable[[optuna.Trial], Overrides | None]

_SAMPLES = 100  # draws from a search space, to learn its dimensions and find settings that a config refuses
_HELD_OUT = 40  # validation images of each class, where data.per_class is not set
_TRACED = 3  # samples whose augmentation is traced in the check, which takes tenths of a second
DONE = ('finished', 'stopped', 'diverged')
"""Statuses that another attempt would not change: all folds done, cut short by the scheduler, not finite."""


class Sweep(NamedTuple):
  """What all trials share."""

  config: ConfigDict
  folds: int
  objective: str
  mode: str
  space: dict[str, str]
  """Optuna's distribution of each suggested key, as JSON."""


def define(config: ConfigDict, folds: int, get_sweep: GetSweep, data_dir: pathlib.Path, log: Callable) -> Sweep:
  """Reads the data, splits them into folds and checks samples of the search space. Raises InputError."""
  objective, mode = best_metric(config)
  if objective is None:
    raise InputError('eval.metrics', (), 'a sweep needs a score', '--config.eval.metrics="(\'accuracy\',)" or another')
  config = config.copy_and_resolve_references().unlock()
  del config['sweep']  # the resources of trials do not change the sweep
  config.data.test_split = ''  # never read: a test score would be biased if it had chosen the settings
  if config.data.folder:
    config.data.folder = str(pathlib.Path(config.data.folder).absolute())
  if not config.data.validation:
    config.data.validation = max(1, config.data.per_class // folds) if config.data.per_class else _HELD_OUT
  config.lock()
  dataset = prepare(fold_config(config, {}, folds - 1), data_dir, log, training=False).dataset
  distributions = {}
  study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
  for _ in range(_SAMPLES):
    trial = study.ask()
    constants = get_sweep(trial) or {}
    tried = fold_config(config, trial.params | constants, 0)
    checks.check_config(tried)
    checks.check_data(tried if trial.number < _TRACED else _switched_off(tried), dataset)
    distributions |= trial.distributions
  space = {key: optuna.distributions.distribution_to_json(distributions[key]) for key in sorted(distributions)}
  return Sweep(config, folds, objective, mode, space)


def fold_config(config: ConfigDict, overrides: Mapping[str, object], fold: int) -> ConfigDict:
  """Returns the config of one fold of a trial. Raises InputError for an override that can't be set."""
  config = config.copy_and_resolve_references()
  known = flatten_dict(config.to_dict(), sep='.')
  for key, value in overrides.items():
    if key not in known:
      raise InputError(
        'get_sweep', key, 'no such config key', 'a key of configs/base.py, such as augment.rotate.degrees'
      )
    if key.startswith('data.'):
      raise InputError('get_sweep', key, 'all trials see the same images', 'set it with --config instead')
    try:
      config.update_from_flattened_dict({key: value})
    except TypeError as error:
      raise InputError(key, value, str(error), f'a {type(known[key]).__name__} such as {known[key]!r}') from None
  config.data.fold = fold
  return config


def _switched_off(config: ConfigDict) -> ConfigDict:
  """Returns the config with its augmentation off, so that nothing is traced; strengths are checked all the same."""
  config = config.copy_and_resolve_references()
  for settings in config.augment.values():
    if isinstance(settings, ConfigDict) and 0 < settings.p <= 1:
      settings.p = 0.0
  return config


def identity(overrides: Overrides) -> str:
  """Returns the name of a trial's directory, so that the same overrides find what an earlier attempt has left."""
  return hashlib.sha256(json.dumps(overrides, sort_keys=True).encode()).hexdigest()[:10]


def score(sweep: Sweep, overrides: Overrides, fold: int, directory: pathlib.Path, data_dir: pathlib.Path) -> float:
  """Returns the score of one fold, which is trained, resumed or, if it has finished, read. NaN if it diverges.

  A finished fold keeps its scores, log and pictures, not its checkpoints: those of hundreds of folds fill a disk.
  """
  directory = directory / 'trials' / identity(overrides) / f'fold{fold}'
  summary = directory / 'summary.json'
  if summary.exists():
    return json.loads(summary.read_text())[sweep.objective]
  silent = lambda _: None
  try:
    scores = loop.train(prepare(fold_config(sweep.config, overrides, fold), data_dir, silent), directory, silent)
  except DivergedError:
    return math.nan
  if scores is None:
    raise RuntimeError('stopped by a signal')
  shutil.rmtree(directory / 'checkpoints')
  return scores[sweep.objective]


class Record:
  """sweep.json: every trial with its overrides, status, scores; rewritten whenever one of them changes."""

  def __init__(self, directory: pathlib.Path, sweep: Sweep):
    """Goes on with an existing file. Raises InputError with the differing keys if that is of another sweep."""
    self.sweep, self._path = sweep, directory / 'sweep.json'
    head = {
      'config': json.loads(sweep.config.to_json()),
      'folds': sweep.folds,
      'objective': sweep.objective,
      'space': sweep.space,
    }
    self._constant = {'environment': workdir.environment(), **head}
    self.trials: dict[str, dict] = {}
    if self._path.exists():
      saved = json.loads(self._path.read_text())
      workdir.check_same_config(directory, {name: saved[name] for name in head}, head)
      self.trials = {trial['id']: trial | {'overrides': _with_tuples(trial['overrides'])} for trial in saved['trials']}

  def update(self, overrides: Overrides, **changes: object) -> None:
    name = identity(overrides)
    trial = self.trials.setdefault(name, {'id': name, 'overrides': overrides, 'status': 'running', 'scores': []})
    trial |= changes
    if trial['scores']:
      trial['mean'] = math.fsum(trial['scores']) / len(trial['scores'])
    self.write()

  def write(self) -> None:
    best = next((trial['id'] for trial in self.ranked()), None)
    workdir.write_json(self._path, {**self._constant, 'best': best, 'trials': list(self.trials.values())})

  def with_status(self, *statuses: str) -> list[dict]:
    return [trial for trial in self.trials.values() if trial['status'] in statuses]

  def ranked(self) -> list[dict]:
    """Returns the trials that finished all folds, best first, then those that were stopped."""
    sign = -1 if self.sweep.mode == 'max' else 1
    done = self.with_status('finished', 'stopped')
    return sorted(done, key=lambda trial: (trial['status'] != 'finished', sign * trial['mean']))

  def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
    found = {key: optuna.distributions.json_to_distribution(text) for key, text in self.sweep.space.items()}
    for key, distribution in found.items():
      if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        found[key] = optuna.distributions.CategoricalDistribution(_with_tuples(list(distribution.choices)))
    return found

  def study(self, storage: optuna.storages.BaseStorage | None = None) -> optuna.Study:
    """Returns the study that Optuna learns from: the trials that have ended with a score."""
    direction = {'max': 'maximize', 'min': 'minimize'}[self.sweep.mode]
    study = optuna.create_study(direction=direction, storage=storage, study_name='sweep')
    space = self.distributions()
    for trial in self.with_status('finished', 'stopped'):
      params = {key: value for key, value in trial['overrides'].items() if key in space}
      distributions = {key: space[key] for key in params}
      study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=trial['mean']))
    return study


def read(path: pathlib.Path) -> dict:
  """Reads a sweep.json that has a best trial. Raises InputError for any other file."""
  try:
    record = json.loads(path.read_text())
    best = record['best']
  except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
    problem = f'is not a sweep.json ({type(error).__name__}: {error})'
    raise InputError('sweep', str(path), problem, 'name the sweep.json that experiments.sweep has written') from None
  if best is None:
    raise InputError('sweep', str(path), 'no trial has ended with a score', 'run the sweep again')
  return record


def running_means(scores: Sequence[float]) -> list[float]:
  """Returns the mean score after each fold, which is reported to the scheduler."""
  return [math.fsum(scores[:count]) / count for count in range(1, len(scores) + 1)]


def flags(overrides: Overrides) -> str:
  """Returns the overrides as flags, to be pasted behind `experiments.train --config ...`."""
  return ' '.join(shlex.quote(f'--config.{key}={value}') for key, value in sorted(overrides.items()))


def _with_tuples(value):
  """Converts lists of parsed JSON to tuples, as choices of a distribution, and so values of a trial, are tuples."""
  if isinstance(value, dict):
    return {key: _with_tuples(item) for key, item in value.items()}
  return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def table(record: Record, rows: int = 10) -> str:
  """Returns the best trials as text, the best first."""
  keys = sorted({key for trial in record.trials.values() for key in trial['overrides'] if key in record.sweep.space})
  lines = [('', record.sweep.objective, 'folds', *(key.removeprefix('augment.') for key in keys))]
  for place, trial in enumerate(record.ranked()[:rows], 1):
    values = (trial['overrides'].get(key, '') for key in keys)
    shown = (f'{value:.3g}' if isinstance(value, float) else str(value) for value in values)
    lines.append((str(place), f'{trial["mean"]:.4f}', str(len(trial['scores'])), *shown))
  widths = [max(map(len, column)) for column in zip(*lines)]
  return '\n'.join('  '.join(cell.rjust(width) for cell, width in zip(line, widths)) for line in lines)
