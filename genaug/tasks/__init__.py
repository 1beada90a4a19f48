"""What is trained: a task turns a config and the shape of the data into functions. `registry.TASKS` lists them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import flax
import jax
from jaxtyping import Array, Float, Int, Key, PyTree
from ml_collections import ConfigDict

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


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Due:
  """Names of what is computed at this step and not at every; a constant of the program, without a branch.

  XLA's CPU backend computes gradients of convolutions inside `lax.cond` ten times slower than outside.
  """

  names: frozenset[str]


class Sampler(NamedTuple):
  """A way to make images, for snapshots, scores and `experiments.sample`."""

  sample: Callable[[TrainState, Batch, Keys], Float[Array, 'b h w c']]  # images in [0, 1]
  source: str = ''  # the entry of the batch that an image is made from and shown beneath; '' if it is made from noise
  truth: str = ''  # the entry that is shown below, what it should be
  split: str = 'test'  # where these entries are taken from: train | test
  noise: Callable[[Keys], Float[Array, 'b ...']] | None = None  # otherwise, what it is made from,
  generate: Callable[[TrainState, Batch, Float[Array, 'b ...']], Float[Array, 'b h w c']] | None = None  # and how
  fit: Callable[[dict[str, Float[Array, 'n ...']]], PyTree] | None = None  # of what eval_step says of training images,
  # the entry `fitted` of the batch


def from_noise(noise: Callable, generate: Callable, fit: Callable | None = None) -> Sampler:
  """The sampler of generate(state, batch, noise(keys))."""
  sample = lambda state, batch, keys: generate(state, batch, noise(keys))
  return Sampler(sample, noise=noise, generate=generate, fit=fit)


class OnDemand(NamedTuple):
  """What takes too long to compute of every test image, or whenever `eval_step` is."""

  compute: Callable[[TrainState, Batch, Keys], dict[str, Float[Array, 'b ...']]]
  images: int = 10_000  # test images, the first, that it is computed of


class Task(NamedTuple):
  """The functions of one experiment; its networks and optimisers are built once.

  `train_step` sees one device's share of the batch, with one key an example, and returns the same state on every
  device of the mapped axis that the task was built with. A task with `due` takes its value as a fourth argument where
  the step is known before it is traced.
  """

  init: Callable[[Key[Array, '']], TrainState]
  train_step: Callable[..., tuple[TrainState, dict[str, Float[Array, '']]]]  # (state, batch, keys, [due])
  eval_step: Callable[[TrainState, Batch, Keys], dict[str, Float[Array, 'b ...']]] | None
  samplers: dict[str, Sampler]  # the first one is what the task is shown by
  due: Callable[[int], Due] | None = None  # of a step; None: all steps compute the same
  on_demand: Mapping[str, OnDemand] = MappingProxyType({})  # computed only when a metric asks for one


History = Sequence[Mapping[str, float | int | str]]
"""The lines of a run's log, oldest first."""


class Definition(NamedTuple):
  """What is known of a task before it is built: enough to check a config without data."""

  build: Callable[..., Task]  # (config, spec, axis_name=None) -> Task
  roles: tuple[str, ...]  # networks that it takes from NETWORKS[config.model.network]
  inputs: tuple[str, ...]  # entries of an example that it always reads; 'label' also where config.model.conditional
  provides: tuple[str, ...]  # samplers, what is on demand, values of eval_step: metrics need one of them
  ranges: dict[str, Range]  # of the config keys that are its own
  progress: tuple[str, ...]  # training metrics shown while it runs
  cost: float  # of a step, about, in steps of the cheapest task: for the time that a study has left
  check: Callable[[ConfigDict], None] = lambda config: None  # raises InputError for settings that exclude each other
  check_files: Callable[[ConfigDict], None] = lambda config: None  # raises InputError for files that it is to be
  # trained with, besides the data; once it is trained, they need not be there
  diagnose: Callable[[History], dict[str, str]] = lambda history: {}  # condition -> what is wrong and what to try
