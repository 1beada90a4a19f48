"""The training loop, and the only use of pmap."""

import contextlib
import pathlib
import signal
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from genaug.data import batches
from genaug.errors import InputError
from genaug.metrics import Scores
from genaug.training.experiment import DEVICES, Experiment, best_metric
from genaug.training.hosts import failing_together
from genaug.training.logs import Window, progress
from genaug.training.run_logger import RunLogger


def make_step(experiment: Experiment, models: int = 0) -> Callable:
  """Returns step(state, device_data, batch) -> (state, metrics): `steps_per_call` optimiser steps on every device.

  `device_data` and `batch` come from `make_batches`. Keys depend only on run, step and global index in the batch, never
  on the device count. If `models` is not 0, it is a number of runs, differing in seed and images, that are trained side
  by side: every array has a leading axis [models], after that of the devices.
  """
  task = experiment.task

  def one_step(state, device_data, batch):
    batch = dict(batch)
    due = [batch.pop('due')] if 'due' in batch else []
    if 'row' in batch:
      batch = jax.tree.map(lambda array: array[batch['row']], device_data['split'])
    share = len(batch['label'])
    index = jax.lax.axis_index(DEVICES) * share + jnp.arange(share)
    step_key = jax.random.fold_in(device_data['key'], state.step)
    example_keys = jax.vmap(lambda i: jax.random.fold_in(step_key, i))(index)
    return task.train_step(state, batch, example_keys, *due)

  def call(state, device_data, batch):
    if experiment.steps_per_call == 1:
      return one_step(state, device_data, jax.tree.map(lambda x: x[0], batch))
    return jax.lax.scan(lambda s, b: one_step(s, device_data, b), state, batch)

  step = jax.vmap(call) if models else call
  return jax.pmap(step, axis_name=DEVICES, in_axes=(None, None, 0), out_axes=None, donate_argnums=0)


def make_batches(experiment: Experiment) -> tuple[PyTree, Callable[[int], PyTree]]:
  """Returns (device_data, batch(step)) for `make_step`.

  `device_data` is the run's key and, if it is at most `data.device_mib`, the training split. A batch then holds row
  numbers [local devices, steps, batch / devices], and the examples themselves for a larger split. The key is an
  argument so that a step is compiled once for all seeds. Where a call is a single step, the batch also has its `due`.
  """
  config, arrays = experiment.config, experiment.dataset.train.arrays
  size, total = len(arrays['label']), sum(array.nbytes for array in arrays.values())
  local, devices = jax.local_device_count(), jax.device_count()
  mine = slice(jax.process_index() * local, (jax.process_index() + 1) * local)
  everywhere = NamedSharding(Mesh(np.array(jax.local_devices()), DEVICES), PartitionSpec())

  def rows(step: int) -> np.ndarray:
    steps = range(step, step + experiment.steps_per_call)
    index = [batches.batch_indices(config.seed, s, config.train.batch_size, size) for s in steps]
    per_device = np.stack(index).reshape(len(index), devices, -1).swapaxes(0, 1)
    return per_device[mine]  # [local devices, steps, batch / devices]

  small = total <= config.data.device_mib * 2**20
  device_data = {'key': experiment.keys.train, 'split': arrays if small else {}}
  due = experiment.task.due if experiment.steps_per_call == 1 else None

  def batch(step: int) -> PyTree:
    found = {'row': rows(step)} if small else {name: array[rows(step)] for name, array in arrays.items()}
    return found | ({'due': due(step)} if due else {})

  return jax.device_put(device_data, everywhere), batch


def train(
  experiment: Experiment,
  workdir: pathlib.Path,
  log: Callable[[str], None] = print,
  started: float | None = None,
) -> Scores | None:
  """Trains until `train.steps` or the end of `train.patience`, from the workdir's newest readable checkpoint, if any.

  Returns the final scores, or None if stopped by a signal: SIGINT and SIGTERM save a checkpoint and end the loop early.
  Raises InputError for a workdir of another config, and DivergedError when a metric is not finite; checkpoints written
  before stay. `started` is when the program began, from which the run and its first step are timed.
  """
  started = started or time.perf_counter()
  config, total, stride = experiment.config, experiment.config.train.steps, experiment.steps_per_call
  with contextlib.ExitStack() as stack:
    with failing_together():
      logger = stack.enter_context(RunLogger(experiment, workdir, log)) if jax.process_index() == 0 else None
      state = experiment.init()
      if logger:
        state = logger.saved.restore(state, warn=log) or state
    state = _same_everywhere(state)
    start = int(state.step)
    if start == total:
      log(f'{workdir} is trained to step {total:,} already')
    elif start:
      log(f'resuming at step {start:,} of {total:,}')
    if start % stride:
      problem = f'does not divide step {start:,}, at which this run resumes'
      raise InputError('train.steps_per_call', stride, problem, '--config.train.steps_per_call=1')
    if logger:
      logger.open(start)
    patience = f'{config.train.patience} evaluations without a better {best_metric(config)[0]}'

    def out_of_patience() -> bool:  # a collective, so only runs with patience call it
      return bool(config.train.patience) and _anywhere(lambda: bool(logger) and logger.out_of_patience(), ask=True)

    over = start < total and out_of_patience()
    if over:
      log(f'{workdir} ended early at step {start:,}, after {patience}')
    if over or start == total:
      return logger.conclude(start, state, started) if logger else {}

    step, window = make_step(experiment), Window(config.train.batch_size)
    device_data, make_batch = make_batches(experiment)
    calls = range(start, total, stride)
    scores: Scores = {}
    stopped = stack.enter_context(stop_signals())
    prefetched = stack.enter_context(contextlib.closing(batches.prefetch(make_batch, calls)))
    bar = stack.enter_context(progress(total, start, enabled=logger is not None))

    for first, batch in zip(calls, prefetched):
      state, metrics = step(state, device_data, batch)
      window.add(first + 1, metrics)
      done = first + stride
      bar.update(stride)
      if first == start:
        jax.block_until_ready(state)
        log(f'first step after {time.perf_counter() - started:.1f} s (data and compilation included)')

      def due(every: int, done=done) -> bool:
        return done % every == 0 or done == total

      logging = due(config.train.log_every)
      stopping = _anywhere(stopped, ask=logging)
      evaluating = bool(config.eval.metrics) and due(config.eval.every) and not (stopping and done < total)
      saving = due(config.train.checkpoint_every) or evaluating or stopping
      if logging or saving:
        # `mean` raises if a metric is not finite, so no checkpoint is saved after that.
        means = window.mean()
      if logger:
        if logging or saving:
          logger.log_metrics(done, means, bar)
        if saving:
          scores = logger.save(done, state, evaluating)
      ended = evaluating and done < total and out_of_patience()
      if logger:
        if due(config.train.snapshot_every) or stopping or ended:
          logger.snapshot(done, state)
        if saving:
          window.restart_clock()
      if ended:
        log(f'step {done:,}: ended early, after {patience}')
        break
      if stopping and done < total:
        log(f'stopped at step {done:,}; the same command goes on from there')
        return None
    if logger:
      logger.summarise(int(state.step), time.perf_counter() - started, scores)
  return scores


def _anywhere(condition: Callable[[], bool], ask: bool) -> bool:
  """Whether `condition()` is true on any process. With several, False unless `ask`, as asking takes a collective."""
  if jax.process_count() == 1:
    return condition()
  return ask and bool(multihost_utils.process_allgather(np.array(condition())).any())


def _same_everywhere(state: PyTree) -> PyTree:
  """Broadcasts the state of process 0, which alone reads checkpoints, so that hosts need no shared file system."""
  return multihost_utils.broadcast_one_to_all(state) if jax.process_count() > 1 else state


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
  """Yields a function that says whether SIGINT or SIGTERM has come. A second Ctrl-C interrupts at once."""
  received = []

  def handle(number, frame):
    if number in received and number == signal.SIGINT:
      raise KeyboardInterrupt
    received.append(number)

  previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield lambda: bool(received)
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)
