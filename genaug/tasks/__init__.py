"""What is trained: a task turns a config and the shape of the data into functions. `registry.TASKS` lists them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax
from jaxtyping import Array, Float, Int, Key, PyTree

from genaug.ranges import Range

Batch = Mapping[str, Array]
Keys = Key[Array, ' b']


class TrainState(flax.struct.PyTreeNode):
  """Everything that training changes, of every task; arrays only, in dicts by the name of a network."""

  step: Int[Array, '']
  params: dict[str, PyTree]
  stats: dict[str, PyTree]  # running statistics of batch norm
  ema: dict[str, PyTree]  # variables, averaged over the steps
  opt: dict[str, PyTree]  # of the optimisers
  extra: dict[str, PyTree]  # what else a task keeps


class Sampler(NamedTuple):
  """A way to make images, for snapshots, scores and `experiments.sample`."""

  sample: Callable[[TrainState, Batch, Keys], Float[Array, 'b h w c']]  # images in [0, 1]
  source: str = ''  # the entry of the batch that an image is made from and shown beneath; '' if it is made from noise
  split: str = 'test'  # where that entry is taken from: train | test


class Task(NamedTuple):
  """The functions of one experiment; its networks and optimisers are built once.

  `train_step` sees one device's share of the batch, with one key an example, and returns the same state on every
  device of the mapped axis that the task was built with.
  """

  init: Callable[[Key[Array, '']], TrainState]
  train_step: Callable[[TrainState, Batch, Keys], tuple[TrainState, dict[str, Float[Array, '']]]]
  eval_step: Callable[[TrainState, Batch, Keys], dict[str, Float[Array, 'b ...']]] | None
  samplers: dict[str, Sampler]  # the first one is what the task is shown by


class Definition(NamedTuple):
  """What is known of a task before it is built: enough to check a config without data."""

  build: Callable[..., Task]  # (config, spec, axis_name=None) -> Task
  roles: tuple[str, ...]  # networks that it takes from NETWORKS[config.model.network]
  inputs: tuple[str, ...]  # entries of an example that it always reads; 'label' also where config.model.conditional
  provides: tuple[str, ...]  # names of its samplers and of what eval_step returns; metrics need one of them
  ranges: dict[str, Range]  # of the config keys that are its own
  progress: tuple[str, ...]  # training metrics shown while it runs
  cost: float  # of a step, about, in steps of the cheapest task: for the time that a study has left
