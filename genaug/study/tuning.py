"""Runs a sweep on Ray Tune: Optuna suggests, ASHA stops, a trial trains its folds one after another."""

import logging
import math
import os
import pathlib
import shutil
import socket
import types
import warnings
from collections.abc import Callable

import jax
import numpy as np
import optuna
import ray
from ml_collections import ConfigDict
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from genaug.errors import InputError
from genaug.study import sweeps
from genaug.training.allocator import keep_freed_memory

_SCORE = 'mean_score'


def connect(address: str | None) -> None:
  """Joins the cluster at host:port, or starts Ray on this machine for as long as the program runs.

  Raises InputError for an address that does not answer.
  """
  logging.getLogger('ray.tune').setLevel('CRITICAL')  # the record has the errors
  quiet = {'log_to_driver': False, 'logging_level': 'ERROR'}
  if not address:
    with warnings.catch_warnings():
      warnings.filterwarnings('ignore', r'os\.fork', RuntimeWarning)  # Ray's children exec at once
      ray.init(address='local', num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, **quiet)
    return
  host, _, port = address.rpartition(':')
  try:
    socket.create_connection((host, int(port)), timeout=5).close()  # Ray itself tries for minutes
    ray.init(address=address, **quiet)
  except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
    remedy = 'the host:port that `ray start --head` printed, with the RAY_AUTH_MODE and token of that cluster'
    raise InputError('address', address, ' '.join(str(error).split()), remedy) from None


def check_resources(settings: ConfigDict) -> None:
  """Raises InputError unless each of `c.sweep` is a number of at least 0, or -1."""
  for name, value in settings.items():
    if value < 0 and value != -1:
      raise InputError(f'sweep.{name}', value, 'out of range', 'a number of at least 0, or -1, see configs/base.py')


def resources(settings: ConfigDict) -> dict[str, float]:
  """What a trial gets. By default one GPU, where there are any, and its share of the cores of the smallest node.

  Raises InputError for more than any node has, which would be waited for without end.
  """
  nodes = [node['Resources'] for node in ray.nodes() if node['Alive']]
  smallest = min(nodes, key=lambda node: node.get('CPU', 0))
  share = smallest.get('CPU', 1) // max(smallest.get('GPU', 0), 1)
  cpus, gpus = settings.cpus_per_trial, settings.gpus_per_trial
  request = {'CPU': share if cpus < 0 else cpus, 'GPU': min(smallest.get('GPU', 0), 1) if gpus < 0 else gpus}
  if not any(all(node.get(name, 0) >= amount for name, amount in request.items()) for node in nodes):
    largest = {name: max(node.get(name, 0) for node in nodes) for name in request}
    raise InputError('sweep.cpus_per_trial, sweep.gpus_per_trial', request, 'no node has as much', f'at most {largest}')
  return request


class Trial(tune.Trainable):
  """One iteration is one fold. A class, because Tune runs functions in a thread, where no signal can be caught."""

  def setup(self, config: dict, sweep: sweeps.Sweep, directory: pathlib.Path, data_dir: pathlib.Path, cores: float):
    os.environ['NPROC'] = str(max(1, int(cores)))  # threads of XLA's CPU backend, which has not started yet
    keep_freed_memory()
    if not jax.config.jax_compilation_cache_dir:  # folds differ in data, not in program
      jax.config.update('jax_compilation_cache_dir', f'{self.logdir}/compiled')
    self._sweep, self._directory, self._data_dir = sweep, directory, data_dir
    self.reset_config(config)

  def reset_config(self, new_config: dict) -> bool:
    """The next trial in this process, which has imported everything already."""
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
  """Tells the record what happens, and the terminal when a trial ends."""

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
  """ASHA that knows how the trials of earlier attempts stood after each fold; Tune itself forgets."""
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
  """Runs what is missing of so many trials; what an earlier attempt has begun comes first. Needs `connect`."""
  done = record.with_status(*sweeps.DONE)
  # Another stream on every attempt: the same one would suggest again what it has suggested before.
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
      checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # trials keep their own
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
