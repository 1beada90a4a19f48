"""A config, checked against its data and this machine, ready to train or to evaluate."""

import pathlib
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import jax
from jaxtyping import Array, Key, PyTree
from ml_collections import ConfigDict

from genaug.data import sources
from genaug.models import Spec
from genaug.training import checks


class RunKeys(NamedTuple):
  """Independent streams of one seed. With the step and the global index in the batch they fix every draw."""

  init: Key[Array, '']
  train: Key[Array, '']
  eval: Key[Array, '']
  snapshot: Key[Array, '']


class Experiment(NamedTuple):
  config: ConfigDict
  dataset: sources.Dataset
  spec: Spec
  steps_per_call: int

  @property
  def task(self) -> ModuleType:
    return checks.TASKS[self.config.task]

  @property
  def keys(self) -> RunKeys:
    return RunKeys(*jax.random.split(jax.random.key(self.config.seed), len(RunKeys._fields)))

  def init(self) -> PyTree:
    """The state before the first step."""
    return jax.jit(lambda key: self.task.init(self.config, self.spec, key))(self.keys.init)


def prepare(config: ConfigDict, data_dir: pathlib.Path, log: Callable[[str], None] = print) -> Experiment:
  """Checks the config, loads its data, checks both against each other. Raises InputError."""
  checks.check_config(config)
  # Convolutions inside a while-loop lose their threaded kernels on CPU, where dispatch costs nothing anyway.
  steps_per_call = 1 if jax.default_backend() == 'cpu' else config.train.steps_per_call
  checks.check_devices(config, jax.device_count(), steps_per_call)
  dataset = sources.load(config.data, data_dir, log=log)
  checks.check_data(config, dataset)
  spec = Spec(dataset.image_shape, dataset.num_classes if config.model.conditional else 0)
  return Experiment(config, dataset, spec, steps_per_call)
