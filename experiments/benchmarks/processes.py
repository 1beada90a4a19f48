"""Programs in processes of their own, and blocks of steps that take turns."""

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

_SAME = ('threads', 'versions', 'python', 'platform', 'packages', 'devices')
_RUNS: dict[str, Callable[[int], None]] = {}  # of the process this is imported in


def worker(tuned: bool = True, devices: int = 1) -> ProcessPoolExecutor:
  """A process; `tuned` sets the memory allocator as experiments.train sets it. On CPU JAX sees so many devices."""
  return ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), _start, (tuned, devices))


def _start(tuned: bool, devices: int) -> None:
  if devices > 1:
    flags = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = f'{flags} --xla_force_host_platform_device_count={devices}'
  os.environ['NO_ALBUMENTATIONS_UPDATE'] = '1'  # it would ask the network for a newer version
  warnings.simplefilter('ignore')
  if tuned:
    keep_freed_memory()


def _make(name: str, make: Callable, arguments: tuple, settings: dict) -> Any:
  try:
    _RUNS[name] = make(*arguments, **settings)
  except Exception as error:  # another library may raise anything, that need not survive the way between processes
    raise RuntimeError(f'{type(error).__name__}: {" ".join(str(error).split())[:200]}') from None
  return getattr(_RUNS[name], 'report', None)


def _seconds(name: str, steps: int) -> float:
  start = time.perf_counter()
  _RUNS[name](steps)
  return time.perf_counter() - start


class Program:
  """`make(*arguments, **settings)` gives run(steps), in each of the workers; raises RuntimeError if that fails.

  With several workers `make` also gets which of how many it is. A step is `times` of those that run takes.
  """

  def __init__(self, workers: list[ProcessPoolExecutor], name: str, make: Callable, *arguments, **settings):
    self.workers, self._name, self.times = workers, name, 1
    calls = [
      worker.submit(_make, name, make, arguments, settings | ({'share': (i, len(workers))} if len(workers) > 1 else {}))
      for i, worker in enumerate(workers)
    ]
    self.report, *_ = [call.result() for call in calls]

  def milliseconds(self, steps: int) -> float:
    """What one of so many steps takes, in the slowest process."""
    calls = [worker.submit(_seconds, self._name, steps * self.times) for worker in self.workers]
    return max(call.result() for call in calls) / (steps * self.times) * 1e3


def alternate(programs: dict[str, Program], rounds: int, steps: int) -> dict[str, list[float]]:
  """Milliseconds a step of every block, the programs taking turns so that a drifting machine hits all alike.

  Each of them in turn is the first one of a round, so that none always comes after the same other.
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
  """`alternate`, of programs whose processes end with it."""
  blocks = alternate(programs, rounds, steps)
  for program in programs.values():
    for process in program.workers:
      process.shutdown()
  return blocks


def check_same(output: pathlib.Path, before: dict, now: dict, remedy: str) -> None:
  """Raises InputError where a file that is gone on with is of another machine, or of other versions."""
  where = lambda some: {**some['environment'], 'threads': some.get('threads'), 'versions': some.get('versions')}
  if differing := [key for key in _SAME if where(before)[key] != where(now)[key]]:
    raise InputError('output', str(output), f'of another environment ({", ".join(differing)} differ)', remedy)


def ratios(blocks: dict[str, list[float]], reference: str, of_reference: bool = False) -> dict[str, float]:
  """Median, block by block, of what each takes over what the reference takes, or the other way round."""
  pairs = {name: zip(blocks[reference], times) for name, times in blocks.items()}
  return {name: statistics.median(a / b if of_reference else b / a for a, b in pair) for name, pair in pairs.items()}
