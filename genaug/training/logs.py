"""Logs of a run's metrics: JSON lines, TensorBoard events and the progress bar."""

import json
import math
import pathlib
import sys
import time
from collections.abc import Mapping

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from genaug.errors import DivergedError
from genaug.training.workdir import write_atomic


class Window:
  """Per-step metrics since the last line of the log, left on the device until they are read."""

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self._calls: list[tuple[int, Mapping]] = []
    self._since = time.perf_counter()

  def add(self, first_step: int, metrics: Mapping) -> None:
    """Adds the metrics of one call: scalars, or one value per step. Waits for the call before, so that none pile up."""
    if self._calls:
      for value in self._calls[-1][1].values():
        value.block_until_ready()
    self._calls.append((first_step, metrics))

  def mean(self) -> dict[str, float]:
    """Returns the means over the window, with images per second, and empties it.

    Raises DivergedError at the first value that is not finite.
    """
    sums: dict[str, list[float]] = {}
    for first_step, metrics in self._calls:
      host = {name: np.atleast_1d(np.asarray(value, np.float64)) for name, value in metrics.items()}
      for i in range(len(next(iter(host.values())))):
        for name, values in host.items():
          if not math.isfinite(values[i]):
            raise DivergedError(first_step + i, name, float(values[i]))
          sums.setdefault(name, []).append(float(values[i]))
    self._calls.clear()
    now = time.perf_counter()
    elapsed, self._since = now - self._since, now
    means = {f'train/{name}': math.fsum(values) / len(values) for name, values in sums.items()}
    return means | {'train/images_per_second': len(next(iter(sums.values()))) * self._batch_size / elapsed}

  def restart_clock(self) -> None:
    """Excludes what was just done (evaluating, saving) from images per second."""
    self._since = time.perf_counter()


class Log:
  """Writer of metrics.jsonl and TensorBoard events in a workdir; `history` holds all lines.

  Earlier lines beyond step `start` were left by a run that was cut off, and are dropped.
  """

  def __init__(self, workdir: pathlib.Path, start: int):
    path = workdir / 'metrics.jsonl'
    self.history = kept = [line for line in logged(workdir) if line['step'] <= start]
    write_atomic(path, ''.join(json.dumps(line) + '\n' for line in kept).encode())
    self._file = path.open('a')
    self._events = SummaryWriter(str(workdir / 'tensorboard'), purge_step=start + 1 if start else None)

  def write(self, step: int, values: Mapping[str, float | int | str]) -> None:
    self.history.append({'step': step, **values})
    self._file.write(json.dumps(self.history[-1], allow_nan=False) + '\n')
    self._file.flush()
    for name, value in values.items():
      if not isinstance(value, str):
        self._events.add_scalar(name, value, step)

  def image(self, step: int, name: str, picture: np.ndarray) -> None:
    self._events.add_image(name, picture, step, dataformats='HWC')

  def close(self) -> None:
    self._file.close()
    self._events.close()


def logged(workdir: pathlib.Path) -> list[dict]:
  """Returns the lines of metrics.jsonl, without a last one that was cut short by a kill."""
  path = workdir / 'metrics.jsonl'
  lines = []
  for line in path.read_text().splitlines() if path.exists() else ():
    try:
      lines.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return lines


def progress(total: int, start: int, enabled: bool = True, unit: str = 'step') -> tqdm:
  """Returns a bar with rate and time left, updated once a second on a terminal, twice a minute in a log file."""
  terminal = sys.stderr.isatty()
  interval = 1.0 if terminal else 30.0
  return tqdm(
    total=total,
    initial=start,
    unit=unit,
    disable=not enabled,
    mininterval=interval,
    maxinterval=interval,
    dynamic_ncols=terminal,
    smoothing=0.1,
  )


def say(message: str) -> None:
  """Prints a line above the progress bar and flushes it, even into a file."""
  tqdm.write(message)
  sys.stdout.flush()
