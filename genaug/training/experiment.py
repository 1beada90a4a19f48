"""A config, checked against its data and this machine, ready to train or to evaluate."""

import pathlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Key, PyTree
from ml_collections import ConfigDict

from genaug.data import record, sources
from genaug.data.dataset import Dataset
from genaug.errors import InputError
from genaug.metrics.registry import METRICS
from genaug.models import Spec
from genaug.tasks import Task
from genaug.tasks.registry import TASKS
from genaug.training import checkpoint, checks, workdir

DEVICES = 'devices'
"""Name of the mapped axis of devices."""


def best_metric(config: ConfigDict) -> tuple[str | None, str]:
  """Returns (the first metric's score, which decides the best checkpoint, 'min' or 'max'); (None, 'min') if none."""
  for name in config.eval.metrics:
    return METRICS[name].key, METRICS[name].better
  return None, 'min'


class RunKeys(NamedTuple):
  """Independent key streams of one seed. With the step and the global index in the batch they fix every draw."""

  init: Key[Array, '']
  train: Key[Array, '']
  eval: Key[Array, '']
  snapshot: Key[Array, '']


class Experiment(NamedTuple):
  config: ConfigDict
  dataset: Dataset
  spec: Spec
  task: Task
  steps_per_call: int

  @property
  def keys(self) -> RunKeys:
    return RunKeys(*jax.random.split(jax.random.key(self.config.seed), len(RunKeys._fields)))

  def init(self) -> PyTree:
    """Returns the state before the first step."""
    return jax.jit(self.task.init)(self.keys.init)


def steps_per_call(config: ConfigDict) -> int:
  """Returns optimiser steps per dispatch: 1 on CPU, where convolutions in a while loop lose their threaded kernels."""
  return 1 if jax.default_backend() == 'cpu' else config.train.steps_per_call


def assemble(config: ConfigDict, dataset: Dataset) -> Experiment:
  """Builds an experiment from a config and data that were checked."""
  classes = dataset.num_classes if checks.reads_labels(config) else 0
  captions = 'caption' in TASKS[config.task].inputs
  spec = Spec(dataset.image_shape, classes, len(dataset.vocabulary) if captions else 0)
  task = TASKS[config.task].build(config, spec, DEVICES)
  return Experiment(config, dataset, spec, task, steps_per_call(config))


def prepare(
  config: ConfigDict,
  data_dir: pathlib.Path,
  log: Callable[[str], None] = print,
  training: bool = True,
  prepared: str = '',
) -> Experiment:
  """Checks the config, loads its data, checks both against each other and, for training, the machine.

  `prepared` is where an earlier run had its prepared data, see `sources.load`. Raises InputError.
  """
  checks.check_config(config)
  if training:
    checks.check_devices(config, jax.device_count(), steps_per_call(config))
    TASKS[config.task].check_files(config)
  image_shape, class_names = sources.expected(config.data, data_dir, prepared)
  if None not in image_shape:  # fail before spending time on preparing the images
    checks.check_model(config, image_shape, len(class_names))
  dataset = sources.load(config.data, data_dir, log=log, prepared=prepared)
  checks.check_data(config, dataset)
  if training:
    log(dataset.summary)
  return assemble(config, dataset)


def load_trained(
  directory: pathlib.Path,
  data_dir: pathlib.Path,
  which: str,
  log: Callable[[str], None] = print,
  images: bool = True,
  overrides: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Experiment, PyTree]:
  """Returns the experiment of a workdir and its state at the 'best', the 'latest' or a given step's checkpoint.

  Without any evaluation the best is the latest. Without `images` the data set is empty, and the files that the run was
  trained on need not exist; with `images`, the records prepared from a folder that is gone are enough. `overrides` set
  keys that change no parameter. Changes nothing in the workdir. Raises InputError, also for data of other classes;
  other images are reported to `log`.
  """
  config = ConfigDict(workdir.read_config(directory))
  metric = best_metric(config)  # of the run, whatever is scored now
  for key, value in overrides.items():
    section, _, name = key.partition('.')
    if name not in config.get(section, {}):
      problem = f'is a setting of task {section}, and this run is of task {config.task}'
      raise InputError(name, value, problem, 'leave it out')
    config.update_from_flattened_dict({key: value})
  saved = checkpoint.Checkpoints(directory, 1, *metric, read_only=True)
  steps = [str(step) for step in saved.steps()]
  if not steps or which not in ('best', 'latest', *steps):
    problem = f'its checkpoints are of steps {", ".join(steps)}' if steps else 'it holds no checkpoint'
    remedy = 'best, latest or one of those steps' if steps else 'wait for the first, see train.checkpoint_every'
    raise InputError('checkpoint', which, f'not in {directory}: {problem}', remedy)
  recorded = workdir.read_data(directory)
  if recorded and not images:
    checks.check_config(config)
    experiment = assemble(config, record.placeholder(recorded))
  else:
    experiment = prepare(config, data_dir, log, training=False, prepared=(recorded or {}).get('prepared', ''))
    _compare_data(directory, experiment.dataset, log)
  step = saved.best() if which == 'best' else int(which) if which in steps else None
  state = saved.restore(jax.eval_shape(experiment.init), log, step)
  saved.close()
  return experiment, state


def _compare_data(directory: pathlib.Path, dataset: Dataset, log: Callable[[str], None]) -> None:
  found = workdir.data_differences(directory, dataset)
  if found and found.names:
    problem = f'has other classes than this run was trained on ({found})'
    raise InputError('data', dataset.name, problem, 'give the folders their old names')
  if found and found.images:
    log(f'not the data that this run was trained on ({found}): scores are of what is there now')
