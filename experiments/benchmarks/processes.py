"""Runs programs in processes of their own, and times them in blocks of steps that take turns."""

import collections
import multiprocessing
import os
import pathlib
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from genaug.errors import InputError
from genaug.training.allocator import keep_freed_memory

_SAME = ('threads', 'versions', 'python', 'platform', 'packages', 'devices')  # what `check_same` compares
_RUNS: dict[str, Callable[[int], None]] = {}  # in a worker process: its programs by name


def worker(tuned: bool = True, devices: int = 1, xla_flags: str = '') -> ProcessPoolExecutor:
  """Returns a process to run programs in.

  `tuned` sets its memory allocator as experiments.train does. On CPU, JAX sees `devices` devices there. `xla_flags` are
  added to the environment's.
  """
  return ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), _start, (tuned, devices, xla_flags))


def _start(tuned: bool, devices: int, xla_flags: str) -> None:
  if devices > 1:
    xla_flags += f' --xla_force_host_platform_device_count={devices}'
  if xla_flags:
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {xla_flags}'
  os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'  # it would ask the network for a newer version
  warnings.simplefilter('ignore')
  if tuned:
    keep_freed_memory()


def _make(name: str, make: Callable, arguments: tuple, settings: dict) -> Any:
  try:
    _RUNS[name] = make(*arguments, **settings)
  except Exception as error:  # other libraries raise anything, which may not be picklable
    raise RuntimeError(f'{type(error).__name__}: {" ".join(str(error).split())[:200]}') from None
  return getattr(_RUNS[name], 'report', None)


def _seconds(name: str, steps: int) -> float:
  start = time.perf_counter()
  _RUNS[name](steps)
  return time.perf_counter() - start


class Program:
  """The function run(steps) that `make(*arguments, **settings)` returns in each of the worker processes.

  With several workers `make` also gets `share`, (number of the worker, number of workers). A step of the program is
  `times` steps of run. Raises RuntimeError if `make` fails.
  """

  def __init__(self, workers: list[ProcessPoolExecutor], name: str, make: Callable, *arguments, **settings):
    self.workers, self._name, self.times = workers, name, 1
    calls = [
      worker.submit(_make, name, make, arguments, settings | ({'share': (i, len(workers))} if len(workers) > 1 else {}))
      for i, worker in enumerate(workers)
    ]
    self.report, *_ = [call.result() for call in calls]

  def milliseconds(self, steps: int) -> float:
    """Runs `steps` steps; returns milliseconds per step of run, in the slowest process."""
    calls = [worker.submit(_seconds, self._name, steps * self.times) for worker in self.workers]
    return max(call.result() for call in calls) / (steps * self.times) * 1e3


def alternate(programs: dict[str, Program], rounds: int, steps: int) -> dict[str, list[float]]:
  """Returns milliseconds per step of every block; programs take turns, so that a drifting machine affects all alike.

  Every program in turn is the first of a round, so that none always follows the same other one.
  """
  for program in programs.values():
    program.milliseconds(steps)  # compiles and warms up
  blocks, turns = {name: [] for name in programs}, collections.deque(programs)
  for _ in range(rounds):
    for name in turns:
      blocks[name].append(programs[name].milliseconds(steps))
    turns.rotate(-1)
  return blocks


def compare(programs: dict[str, Program], rounds: int, steps: int) -> dict[str, list[float]]:
  """Runs `alternate`, then ends the processes of the programs."""
  blocks = alternate(programs, rounds, steps)
  for program in programs.values():
    for process in program.workers:
      process.shutdown()
  return blocks


def check_same(output: pathlib.Path, before: dict, now: dict, remedy: str) -> None:
  """Raises InputError if a file to be continued was measured on another machine or with other versions."""
  where = lambda some: {**some['environment'], 'threads': some.get('threads'), 'versions': some.get('versions')}
  if differing := [key for key in _SAME if where(before)[key] != where(now)[key]]:
    problem = f'was measured in another environment ({", ".join(differing)} differ)'
    raise InputError('output', str(output), problem, remedy)


def ratios(blocks: dict[str, list[float]], reference: str, of_reference: bool = False) -> dict[str, float]:
  """Returns the median over blocks of each program's time over the reference's or, if `of_reference`, the inverse."""
  pairs = {name: zip(blocks[reference], times) for name, times in blocks.items()}
  return {name: statistics.median(a / b if of_reference else b / a for a, b in pair) for name, pair in pairs.items()}
