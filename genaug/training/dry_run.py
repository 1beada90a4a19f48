"""Descriptions of what an experiment would do: its config, its sizes, and the cost of one step according to XLA."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import PyTree

from genaug.training.checks import check_augment
from genaug.training.experiment import Experiment
from genaug.training.loop import make_batches, make_step

_CALLS = 4  # calls to warm up, and as many that are timed
_CALLS_DUE = 8  # the same where steps differ, as with gan.d_steps = 2 and gan.penalty_every = 4


def _count(tree: PyTree) -> int:
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _mib(size: float) -> str:
  return f'{size / 2**20:,.1f} MiB'


class Cost(NamedTuple):
  """Cost of a step, on all devices together."""

  gflop: float
  seconds: float
  mib: float  # memory of arguments, including data on the device, results and temporaries


def step_cost(experiment: Experiment) -> Cost:
  """Returns the cost of a step, which it compiles and runs a few times."""
  device_data, batch = make_batches(experiment)
  state, step, steps = experiment.init(), make_step(experiment), experiment.steps_per_call
  compiled = step.lower(state, device_data, batch(0)).compile()
  # Steps differ where parts are due only at some of them; each kind of step is compiled when it first comes.
  differ = bool(experiment.task.due and steps == 1)
  run = step if differ else compiled

  def call(number: int) -> None:
    nonlocal state
    state, _ = jax.block_until_ready(run(state, device_data, batch(number * steps)))

  cost = cost_of(compiled, call, _CALLS_DUE if differ else _CALLS)
  return cost._replace(gflop=cost.gflop / steps, seconds=cost.seconds / steps)


def cost_of(compiled: jax.stages.Compiled, call: Callable[[int], None], calls: int = _CALLS) -> Cost:
  """Returns the cost of a compiled program.

  The seconds are the mean of `calls` calls of `call(number)`, after as many to warm up.
  """
  for number in range(calls):
    call(number)
  started = time.perf_counter()
  for number in range(calls, 2 * calls):
    call(number)
  seconds = (time.perf_counter() - started) / calls
  memory, devices = compiled.memory_analysis(), jax.device_count()
  total = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
  return Cost(
    gflop=compiled.cost_analysis()['flops'] * devices / 1e9,
    seconds=seconds,
    mib=(total - memory.alias_size_in_bytes) * devices / 2**20,
  )


def describe(experiment: Experiment) -> str:
  """Returns a description of an experiment. Compiles the step, but does not run it."""
  config, dataset = experiment.config, experiment.dataset
  state = jax.eval_shape(experiment.init)
  device_data, batch = make_batches(experiment)
  compiled = make_step(experiment).lower(state, device_data, batch(0)).compile()
  memory, cost = compiled.memory_analysis(), compiled.cost_analysis()

  settings = config.to_dict()
  on = check_augment(config.augment).operations
  off = [name for name, value in settings['augment'].items() if isinstance(value, dict) and name not in on]
  settings['augment'] = {name: value for name, value in settings['augment'].items() if name not in off}
  lines = [
    'config',
    *(f'  {key} = {value!r}' for key, value in flatten_dict(settings, sep='.').items()),
    f'  {len(off)} operations of augment are off',
    'data',
  ]
  for name, split in (('train', dataset.train), ('test', dataset.test)):
    arrays = ', '.join(f'{key} {value.dtype}{list(value.shape)}' for key, value in split.arrays.items())
    lines.append(f'  {name}: {arrays}')
  lines.append(f'  classes: {", ".join(dataset.class_names)}')
  lines.append('networks')
  lines += [f'  {name}: {_count(tree):,} parameters' for name, tree in state.params.items()]
  lines.append(f'  training state: {_count(state):,} numbers')
  lines.append('samplers')
  for name, sampler in experiment.task.samplers.items():
    split = dataset.train if sampler.split == 'train' else dataset.test
    batch = {key: array[: config.train.batch_size] for key, array in split.arrays.items()}
    keys = jax.random.split(experiment.keys.snapshot, len(batch['label']))
    if sampler.fit:
      batch['fitted'] = jax.eval_shape(sampler.fit, jax.eval_shape(experiment.task.eval_step, state, batch, keys))
    images = jax.eval_shape(sampler.sample, state, batch, keys)
    lines.append(f'  {name}: {images.dtype}{list(images.shape)}')
  lines += [
    f'one call: {experiment.steps_per_call} step(s) on each of {jax.device_count()} {jax.default_backend()} device(s)',
    f'  arguments {_mib(memory.argument_size_in_bytes)}, outputs {_mib(memory.output_size_in_bytes)}'
    f' ({_mib(memory.alias_size_in_bytes)} of them in the arguments), temporary {_mib(memory.temp_size_in_bytes)}',
    f'  {cost["flops"] / 1e9:,.2f} GFLOP, {_mib(cost["bytes accessed"])} accessed, as XLA estimates for one device',
    'dry run: nothing was trained',
  ]
  return '\n'.join(lines)


def describe_all(trainings: dict[str, tuple[Experiment, int]]) -> str:
  """Returns how long trainings {name: (experiment, count)} would take one after another, as text.

  Runs a few steps of every kind. Trainings of the same task, model settings and batch size are one kind: they are taken
  to be as fast as the first of them.
  """
  costs: dict[tuple, Cost] = {}
  lines, minutes = [], 0.0
  for name, (experiment, count) in trainings.items():
    config = experiment.config
    kind = config.task, config.model.to_json(), config.train.batch_size
    if kind not in costs:
      costs[kind] = step_cost(experiment)
    cost = costs[kind]
    needed = count * config.train.steps * cost.seconds / 60
    lines.append(f'  {name}: {count} x {config.train.steps:,} steps of {cost.gflop:,.2f} GFLOP, {needed:,.1f} minutes')
    minutes += needed
  lines.append(f'  in all {minutes / 60:.1f} hours, without compilation and scores; dry run: nothing was trained')
  return '\n'.join(lines)
