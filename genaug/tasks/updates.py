"""Building blocks of all training steps: gradients over slices and devices, optimisers, moving averages."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike
from ml_collections import ConfigDict

from genaug.ranges import Choice, Number
from genaug.tasks import TrainState


def split_keys(keys: Key[Array, ' b'], names: tuple[str, ...]) -> dict[str, Key[Array, ' b']]:
  """Returns an independent stream of per-example keys for each name."""
  return {name: jax.vmap(lambda k: jax.random.fold_in(k, i))(keys) for i, name in enumerate(names)}  # noqa: B023


def over_slices(
  step: Callable[[PyTree], tuple[PyTree, PyTree]], examples: PyTree, slices: int
) -> tuple[PyTree, PyTree]:
  """Returns step(examples), a pair (means, rows), computed for `slices` slices of the examples one after another.

  Means are averaged over the slices; rows, one per example, come back in the order of the examples.
  """
  if slices == 1:
    return step(examples)
  # Strided slices, not contiguous ones: a slice then holds the same examples on any number of devices.
  parts = jax.tree.map(lambda x: x.reshape(-1, slices, *x.shape[1:]).swapaxes(0, 1), examples)
  means, _ = jax.eval_shape(step, jax.tree.map(lambda x: x[0], parts))

  def add(sums, part):
    means, rows = step(part)
    return jax.tree.map(jnp.add, sums, means), rows

  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), means)
  # On CPU, convolutions in a loop lose their threaded kernels, so the scan is unrolled.
  sums, rows = jax.lax.scan(add, zeros, parts, unroll=jax.default_backend() == 'cpu')
  rows = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), rows)
  return jax.tree.map(lambda x: x / slices, sums), rows


def gradients(
  objective: Callable, params: PyTree, examples: PyTree, slices: int, axis_name: str | None
) -> tuple[PyTree, PyTree]:
  """Returns (gradients, aux) of objective(params, examples) -> (loss, aux), averaged over devices.

  The objective is a mean over examples. Slices are computed one after another and averaged, including batch norm's
  running statistics in `aux`. Batch norm normalises each slice, across devices, by that slice's statistics, so with it
  the result is not that of the whole batch.
  """
  means, _ = over_slices(lambda part: (jax.grad(objective, has_aux=True)(params, part), ()), examples, slices)
  return average(means, axis_name)


def average(tree: PyTree, axis_name: str | None) -> PyTree:
  """Averages over devices: gradients, so that all take the same step; metrics, so that all report the same value."""
  return jax.lax.pmean(tree, axis_name) if axis_name else tree


# ---------------------------------------------------------------- optimisers

BELOW_ONE = 1 - 2**-53  # at 1 Adam's bias correction divides by zero
_HYPERPARAMETERS = {
  'lr': Number(schedule=True),
  'b1': Number(0, BELOW_ONE, schedule=True),
  'b2': Number(0, BELOW_ONE, schedule=True),
  'weight_decay': Number(schedule=True),
}
SHAPES = {'constant', 'cosine', 'linear'}
RANGES = {
  'optim.clip': Number(),
  'optim.schedule': Choice(SHAPES),
  'optim.schedule_steps': Number(),
  'optim.warmup_steps': Number(),
  **{f'optim.{name}': allowed for name, allowed in _HYPERPARAMETERS.items()},
}
"""Allowed values of the keys of `config.optim`."""


def ranges_of(networks: Iterable[str]) -> dict[str, Number]:
  """Returns the allowed values of overrides for single networks, `optim.NETWORK.lr` and so on; None is no override."""
  return {
    f'optim.{network}.{name}': allowed._replace(optional=True)
    for network in networks
    for name, allowed in _HYPERPARAMETERS.items()
  }


def schedule(
  value: float | tuple[float, float], shape: str, steps: int
) -> float | Callable[[Int[ScalarLike, '']], Float[Array, '']]:
  """Returns a number as it is, and a pair as a function of the step.

  The function goes from the first to the second number, which it reaches after `steps`.
  """
  if not isinstance(value, tuple | list):
    return value
  first, last = value
  if shape == 'linear':
    return optax.linear_schedule(first, last, steps)
  cosine = optax.cosine_decay_schedule(1.0, steps)
  return lambda step: last + (first - last) * cosine(step)


def schedule_steps(config: ConfigDict) -> int:
  """Returns the length of `optim.schedule` in steps, warm-up included."""
  return config.optim.schedule_steps or config.train.steps


def at_step(value: float | tuple[float, float], config: ConfigDict, step: Int[Array, '']) -> ScalarLike:
  """Returns the value at one step of the run of a setting that may be a pair."""
  found = schedule(value, config.optim.schedule, schedule_steps(config))
  return found(step) if callable(found) else found


def optimizers(
  config: ConfigDict,
  networks: Iterable[str],
  every: Mapping[str, int] = MappingProxyType({}),
  first: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, optax.GradientTransformation]:
  """Returns an AdamW optimiser per network, by `config.optim` and the overrides in `config.optim.NETWORK`.

  Schedules count the steps of the run, even for a network that is updated only every `every[network]` steps or only
  from step `first[network]` on.
  """
  return {
    name: _optimizer(config, config.optim.get(name) or {}, every.get(name, 1), first.get(name, 0)) for name in networks
  }


def _optimizer(config: ConfigDict, own, every: int, first: int) -> optax.GradientTransformation:
  optim, steps = config.optim, schedule_steps(config)
  values = {name: own.get(name) if own.get(name) is not None else optim[name] for name in _HYPERPARAMETERS}
  lr = values.pop('lr')
  if optim.schedule != 'constant' or optim.warmup_steps:
    lr = _learning_rate(lr, optim.schedule, steps, optim.warmup_steps)
  values = {name: schedule(value, optim.schedule, steps) for name, value in values.items()}
  lr, values = jax.tree.map(lambda value: _of_step(value, every, first), (lr, values))
  if not values['weight_decay']:
    del values['weight_decay']
  make = optax.adamw if 'weight_decay' in values else optax.adam
  make = optax.inject_hyperparams(make) if any(map(callable, values.values())) else make
  optimizer = make(lr, **values)
  return optax.chain(optax.clip_by_global_norm(optim.clip), optimizer) if optim.clip else optimizer


def _of_step(value: float | optax.Schedule, every: int, first: int) -> float | optax.Schedule:
  """Converts a schedule over steps of the run to one over updates, which Optax counts; returns a number as it is."""
  return (lambda update: value(first + every * update)) if callable(value) else value


def _learning_rate(lr, shape: str, steps: int, warmup: int):
  """Returns a learning rate that rises from 0 in `warmup` steps, then follows `shape`.

  A single number stays constant or falls to 0; a pair goes from the first to the second.
  """
  first, last = lr if isinstance(lr, tuple | list) else (lr, lr if shape == 'constant' else 0.0)
  if shape == 'cosine' and not last:
    main = optax.cosine_decay_schedule(first, steps - warmup)
  else:
    main = schedule((first, last), shape, steps - warmup)
  return optax.join_schedules([optax.linear_schedule(0.0, first, warmup), main], [warmup]) if warmup else main


def first_state(
  optimizers: dict[str, optax.GradientTransformation],
  params: dict[str, PyTree],
  stats: dict[str, PyTree] | None = None,
  averaged: dict[str, PyTree] | None = None,
  extra: dict[str, PyTree] | None = None,
) -> TrainState:
  """Returns the state at step 0. `averaged` is copied, as two leaves of a donated state must not share a buffer."""
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    stats=stats or {},
    ema=jax.tree.map(jnp.copy, averaged or {}),
    opt={name: optimizer.init(params[name]) for name, optimizer in optimizers.items()},
    extra=extra or {},
  )


def apply_gradients(
  optimizers: dict[str, optax.GradientTransformation],
  grads: dict[str, PyTree],
  opt: dict[str, PyTree],
  params: dict[str, PyTree],
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
  """Returns (params, opt) after one optimiser step of the networks named in `grads`; the others stay as they are."""
  params, opt = dict(params), dict(opt)
  for name, gradient in grads.items():
    updates, opt[name] = optimizers[name].update(gradient, opt[name], params[name])
    params[name] = optax.apply_updates(params[name], updates)
  return params, opt


def moving_average(average: PyTree, new: PyTree, decay: ScalarLike, step: Int[Array, '']) -> PyTree:
  """Returns the exponential moving average after `step`.

  Early on, when it would mostly remember the initialisation, the decay is lower.
  """
  decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
  return optax.incremental_update(new, average, 1 - decay)
