"""Sweeps on Ray Tune: Optuna suggests trials, ASHA stops them early, each trains its folds one after another."""

import logging
import math
import pathlib
import shutil
import types
import warnings
from collections.abc import Callable

import jax
import numpy as np
import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from genaug.study import cluster, sweeps

_SCORE = 'mean_score'


class Trial(tune.Trainable):
  """A trial, of which one iteration is one fold.

  It is a class, because Tune runs functions in a thread, where no signal can be caught.
  """

  def setup(self, config: dict, sweep: sweeps.Sweep, directory: pathlib.Path, data_dir: pathlib.Path, cores: float):
    cluster.set_up_worker(cores, pathlib.Path(self.logdir, 'compiled'))  # folds differ in data, not in program
    self._sweep, self._directory, self._data_dir = sweep, directory, data_dir
    self.reset_config(config)

  def reset_config(self, new_config: dict) -> bool:
    """Begins the next trial in this process, which has imported everything already."""
    self._overrides, self._scores = new_config, []
    jax.clear_caches()
    return True

  def step(self) -> dict:
    score = sweeps.score(self._sweep, self._overrides, len(self._scores), self._directory, self._data_dir)
    self._scores.append(score)
    diverged = math.isnan(score)
    means = sweeps.running_means(self._scores)
    return {_SCORE: means[-1], 'scores': [] if diverged else self._scores, 'diverged': diverged, 'done': diverged}


class _Recorder(tune.Callback):
  """Callback that updates the record, and calls `ended` when a trial ends."""

  def __init__(self, record: sweeps.Record, ended: Callable[[dict], None]):
    self._record, self._ended = record, ended

  def on_trial_start(self, iteration, trials, trial, **info):
    self._record.update(trial.config, status='running')

  def on_trial_result(self, iteration, trials, trial, result, **info):
    self._record.update(
      trial.config, scores=result['scores'], host=result['hostname'], seconds=round(result['time_total_s'], 1)
    )

  def on_trial_complete(self, iteration, trials, trial, **info):
    whole = len(trial.last_result['scores']) == self._record.sweep.folds
    status = 'diverged' if trial.last_result['diverged'] else 'finished' if whole else 'stopped'
    self._end(trial, status=status)

  def on_trial_error(self, iteration, trials, trial, **info):
    self._end(trial, status='failed', error=str(trial.get_error()))

  def _end(self, trial, **changes):
    self._record.update(trial.config, **changes)
    self._ended(self._record.trials[sweeps.identity(trial.config)])


def _scheduler(record: sweeps.Record) -> ASHAScheduler:
  """Returns an ASHA scheduler that knows earlier attempts' scores after each fold, which Tune itself forgets."""
  folds = record.sweep.folds
  scheduler = ASHAScheduler(metric=_SCORE, mode=record.sweep.mode, max_t=folds, grace_period=1, reduction_factor=2)
  for trial in record.with_status('finished', 'stopped'):
    stand_in = types.SimpleNamespace(trial_id=trial['id'])
    scheduler.on_trial_add(None, stand_in)
    for fold, mean in enumerate(sweeps.running_means(trial['scores']), 1):
      scheduler.on_trial_result(None, stand_in, {'training_iteration': fold, _SCORE: mean})
  return scheduler


def run(
  record: sweeps.Record,
  get_sweep: sweeps.GetSweep,
  trials: int,
  directory: pathlib.Path,
  data_dir: pathlib.Path,
  request: dict[str, float],
  retries: int,
  seed: int,
  ended: Callable[[dict], None],
) -> None:
  """Runs trials until there are `trials`; those that an earlier attempt began come first. Needs `cluster.connect`."""
  logging.getLogger('ray.tune').setLevel('CRITICAL')  # the record has the errors
  done = record.with_status(*sweeps.DONE)
  # A different stream on every attempt: the same one would repeat its earlier suggestions.
  stream = int(np.random.SeedSequence((seed, len(record.trials))).generate_state(1)[0])
  storage, sampler = optuna.storages.InMemoryStorage(), optuna.samplers.TPESampler(seed=stream)
  study = record.study(storage)
  for trial in record.with_status('running', 'failed'):
    study.enqueue_trial({key: value for key, value in trial['overrides'].items() if key in record.sweep.space})
  search = OptunaSearch(
    get_sweep,
    metric=_SCORE,
    mode=record.sweep.mode,
    sampler=sampler,
    storage=storage,
    study_name=study.study_name,
  )
  scratch = directory / 'ray'
  shutil.rmtree(scratch, ignore_errors=True)
  trainable = tune.with_parameters(
    Trial, sweep=record.sweep, directory=directory, data_dir=data_dir, cores=request['CPU']
  )
  tuner = tune.Tuner(
    tune.with_resources(trainable, request),
    tune_config=tune.TuneConfig(
      search_alg=search, scheduler=_scheduler(record), num_samples=trials - len(done), reuse_actors=True
    ),
    run_config=tune.RunConfig(
      name=scratch.name,
      storage_path=str(directory),
      checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # trials keep checkpoints of their own
      failure_config=tune.FailureConfig(max_failures=retries),
      callbacks=[_Recorder(record, ended)],
      stop={'training_iteration': record.sweep.folds},
      verbose=0,
    ),
  )
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'The reported value is ignored', UserWarning)  # a retry reports its folds again
    tuner.fit()
  shutil.rmtree(scratch)
