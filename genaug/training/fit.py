"""Training without a workdir, for the many short runs of one config that the cells of a table need."""

import contextlib
import math
from collections.abc import Callable, Sequence
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from genaug.data import batches
from genaug.errors import DivergedError
from genaug.training.experiment import Experiment
from genaug.training.loop import make_batches, make_step

_PAUSE = 50  # calls dispatched before the host waits for the device


def stack_experiments(
  experiments: Sequence[Experiment], states: Sequence[PyTree]
) -> tuple[PyTree, Callable[[int], PyTree], PyTree]:
  """Returns (device_data, batch(step), state), stacked over the experiments, for `make_step(experiment, models)`."""
  data = [make_batches(experiment) for experiment in experiments]
  stack = lambda *arrays: jnp.stack(arrays)
  device_data = jax.tree.map(stack, *(device_data for device_data, _ in data))

  def batch(step: int) -> PyTree:
    return jax.tree.map(lambda *arrays: np.stack(arrays, axis=1), *(batch(step) for _, batch in data))

  return device_data, batch, jax.tree.map(stack, *states)


class Fit:
  """Trainer of experiments that differ from a given one only in seed and images, up to `at_once` in one vmapped step.

  On CPU, where a vmapped convolution is slow, `at_once` is 1.
  """

  def __init__(self, experiment: Experiment, models: int):
    self.at_once = 1 if jax.default_backend() == 'cpu' else models
    self._config, self._experiment, self._steps = experiment.config, experiment, {}
    self._init = jax.jit(experiment.task.init)

  @cached_property
  def template(self) -> PyTree:
    """Shapes and dtypes of a state."""
    return jax.eval_shape(self._init, self._experiment.keys.init)

  def __call__(self, experiments: Sequence[Experiment], advance: Callable[[int], None]) -> list[PyTree]:
    """Returns the trained state of every experiment; `advance(steps)` reports progress. Raises DivergedError."""
    states = [self._init(experiment.keys.init) for experiment in experiments]
    if len(experiments) == 1:
      return [self._run(0, *make_batches(experiments[0]), states[0], advance)]
    together = self._run(len(experiments), *stack_experiments(experiments, states), advance)
    return [jax.tree.map(lambda array, i=i: array[i], together) for i in range(len(experiments))]

  def _run(self, models, device_data, make_batch, state, advance):
    if models not in self._steps:
      self._steps[models] = make_step(self._experiment, models)
    step, stride = self._steps[models], self._experiment.steps_per_call
    calls = range(0, self._config.train.steps, stride)
    with contextlib.closing(batches.prefetch(make_batch, calls)) as prefetched:
      for number, batch in enumerate(prefetched):
        state, metrics = step(state, device_data, batch)
        if number % _PAUSE == 0:
          jax.block_until_ready(state)
        advance(stride * max(models, 1))
    for name, values in metrics.items():  # the last ones suffice: what is not finite stays so
      for value in np.asarray(values, np.float64).flat:
        if not math.isfinite(value):
          raise DivergedError(self._config.train.steps, name, value)
    return state
