"""Types that define a task, which turns a config and the `Spec` of the data into init, step and sampling functions.

`registry.TASKS` lists all tasks.
"""

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
  """Everything that training changes, in any task; arrays only. `params`, `stats` and `opt` have a key per network."""

  step: Int[Array, '']
  params: dict[str, PyTree]
  stats: dict[str, PyTree]  # running statistics of batch norm, singular vectors of spectral norm
  ema: dict[str, PyTree]  # exponential moving averages of variables over the steps
  opt: dict[str, PyTree]  # optimiser states
  extra: dict[str, PyTree]  # any other state of a task


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Due:
  """Names of those parts of the step that are computed at this step, but not at every step.

  It is static under jit, so every set of names has a compiled program of its own, without a branch: XLA's CPU backend
  computes gradients of convolutions inside `lax.cond` ten times slower than outside.
  """

  names: frozenset[str]


class Sampler(NamedTuple):
  """A way to make images, for snapshots, scores and `experiments.sample`."""

  sample: Callable[[TrainState, Batch, Keys], Float[Array, 'b h w c']]  # images in [0, 1]
  source: str = ''  # batch entry that each image is made from and shown beneath; '' if it is made from noise
  truth: str = ''  # batch entry with the ground truth, shown below the image; '' if there is none
  split: str = 'test'  # split that these entries are taken from: train | test
  # Samplers from noise: noise(keys), and generate(state, batch, noise), which makes images from it.
  noise: Callable[[Keys], Float[Array, 'b ...']] | None = None
  generate: Callable[[TrainState, Batch, Float[Array, 'b ...']], Float[Array, 'b h w c']] | None = None
  # fit(outputs of eval_step for training images) -> batch entry `fitted`.
  fit: Callable[[dict[str, Float[Array, 'n ...']]], PyTree] | None = None


def from_noise(noise: Callable, generate: Callable, fit: Callable | None = None) -> Sampler:
  """Returns the sampler that computes generate(state, batch, noise(keys))."""
  sample = lambda state, batch, keys: generate(state, batch, noise(keys))
  return Sampler(sample, noise=noise, generate=generate, fit=fit)


class OnDemand(NamedTuple):
  """Outputs that take too long to compute for every test image, or every time that `eval_step` runs."""

  compute: Callable[[TrainState, Batch, Keys], dict[str, Float[Array, 'b ...']]]
  images: int = 10_000  # it is computed for at most so many, the first of the split


class Task(NamedTuple):
  """The functions of one experiment; its networks and optimisers are built once.

  `train_step` takes one device's share of the batch, with one key per example, and returns the same state on every
  device of the mapped axis that the task was built with. If the task has `due`, it takes `due(step)` as a fourth
  argument where the step is known before tracing.
  """

  init: Callable[[Key[Array, '']], TrainState]
  train_step: Callable[..., tuple[TrainState, dict[str, Float[Array, '']]]]  # (state, batch, keys, [due])
  eval_step: Callable[[TrainState, Batch, Keys], dict[str, Float[Array, 'b ...']]] | None
  samplers: dict[str, Sampler]  # the first one's pictures represent the task
  due: Callable[[int], Due] | None = None  # step -> its due parts; None: all steps compute the same
  on_demand: Mapping[str, OnDemand] = MappingProxyType({})  # computed only when a metric asks for them


History = Sequence[Mapping[str, float | int | str]]
"""The lines of a run's log, oldest first."""


class Definition(NamedTuple):
  """Registry entry of a task: what is known of it before it is built, enough to check a config without data."""

  build: Callable[..., Task]  # (config, spec, axis_name=None) -> Task
  roles: tuple[str, ...]  # names of its networks in NETWORKS[config.model.network]
  inputs: tuple[str, ...]  # batch entries that it always needs; also 'label' if config.model.conditional
  provides: tuple[str, ...]  # samplers, on-demand and eval_step outputs; a metric needs one of them
  ranges: dict[str, Range]  # allowed values of its own config keys
  progress: tuple[str, ...]  # training metrics shown in the progress bar
  cost: float  # approximate, of a step, relative to the cheapest task: for a study's remaining time
  check: Callable[[ConfigDict], None] = lambda config: None  # raises InputError for incompatible settings
  # Raises InputError if files that training reads besides the data are missing or broken; called for training only.
  check_files: Callable[[ConfigDict], None] = lambda config: None
  diagnose: Callable[[History], dict[str, str]] = lambda history: {}  # condition -> what is wrong and what to try
