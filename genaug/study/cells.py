"""Makes headline tables on Ray: learning rates, then cells side by side, then whole tables of finished stages.

All nodes see the store and the data sets at the same paths. What a lost node had finished is in the store; its cell is
made again elsewhere, from there on.
"""

import pathlib
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ray
from ml_collections import ConfigDict

from genaug.study import cluster
from genaug.study.headline import Cell, Table
from genaug.study.store import Store


class Settings(NamedTuple):
  """What a `Table` is made from, on any node."""

  config: ConfigDict
  data: ConfigDict
  data_dir: pathlib.Path
  directory: pathlib.Path  # of the store, and of what is compiled
  cores: float


_tables: dict[str, Table] = {}  # the last one of this process: of the next cell it has the images and the programs


def _table(settings: Settings) -> Table:
  name = settings.config.to_json() + settings.data.to_json()
  if name not in _tables:
    cluster.set_up_worker(settings.cores, settings.directory / 'compiled')
    store = Store(settings.directory / 'stages')
    _tables.clear()
    _tables[name] = Table(settings.config, settings.data, settings.data_dir, store, log=lambda _: None)
  return _tables[name]


def _learning_rate(settings: Settings, per_class: int) -> dict[str, Any]:
  return _table(settings).learning_rate(per_class)


def _cell(settings: Settings, cell: Cell, chosen: dict[str, Any]) -> tuple[str, float]:
  """(host, seconds)."""
  started = time.perf_counter()
  _table(settings).make(cell, chosen)
  return socket.gethostname(), time.perf_counter() - started


def _whole(settings: Settings) -> dict[str, Any]:
  return _table(settings).run(save=lambda _: None)


def count(tables: dict[str, Table]) -> int:
  """Of the tasks that `run` calls `ended` for."""
  return sum(len(table.per_class) + len(table.cells) + 1 for table in tables.values())


def run(
  tables: dict[str, Table],
  settings: dict[str, Settings],
  request: dict[str, float],
  retries: int,
  ended: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
  """The result of every table; `ended` is told of every task. Needs `cluster.connect`.

  A task is tried `retries` times more if its node or process is lost. What fails in spite of that is tried once more,
  and shown if need be, by the task that makes the whole table.
  """
  options = {'num_cpus': request['CPU'], 'num_gpus': request['GPU'], 'max_retries': retries}
  start = lambda function, name, *more: ray.remote(function).options(**options).remote(settings[name], *more)
  waiting = {start(_learning_rate, name, k): (name, k) for name, table in tables.items() for k in table.per_class}
  left = {name: len(table.cells) for name, table in tables.items()}
  results: dict[str, dict[str, Any]] = {}
  while waiting:
    (ref,), _ = ray.wait(list(waiting))
    name, task = waiting.pop(ref)
    if task is None:
      results[name] = ray.get(ref)
      ended(f'{name}: whole')
    elif isinstance(task, Cell):
      ended(f'{name}, k = {task.per_class}, seed {task.seed}: {_said(ref)}')
      left[name] -= 1
    else:
      cells = [cell for cell in tables[name].cells if cell.per_class == task]
      try:
        chosen = ray.get(ref)
      except ray.exceptions.RayError as error:
        ended(f'{name}, k = {task}: {_failed(error)}')
        left[name] -= len(cells)
      else:
        ended(f'{name}, k = {task}: learning rate {chosen["lr"]:g}')
        waiting |= {start(_cell, name, cell, chosen): (name, cell) for cell in cells}
    if not left[name] and name not in results and name not in {other for other, _ in waiting.values()}:
      waiting[start(_whole, name)] = name, None
  return results


def _said(ref: ray.ObjectRef) -> str:
  try:
    host, seconds = ray.get(ref)
  except ray.exceptions.RayError as error:
    return _failed(error)
  return f'{seconds:.0f} s on {host}'


def _failed(error: Exception) -> str:
  return f'failed: {" ".join(str(error).split())[-200:]}'
