"""Headline tables on Ray: learning rates first, then cells in parallel, then whole tables from the finished stages.

All nodes must see the store and the data sets at the same paths. Stages that a lost node had finished are in the store;
its cell is resumed from them on another node.
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
  """Arguments from which any node can build a `Table`."""

  config: ConfigDict
  data: ConfigDict
  data_dir: pathlib.Path
  directory: pathlib.Path  # of the store and the compilation cache
  cores: float


_tables: dict[str, Table] = {}  # the last table of this process: the next cell reuses its images and programs


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
  """Makes a cell and returns (host, seconds)."""
  started = time.perf_counter()
  _table(settings).make(cell, chosen)
  return socket.gethostname(), time.perf_counter() - started


def _whole_table(settings: Settings) -> dict[str, Any]:
  return _table(settings).run(save=lambda _: None)


def count(tables: dict[str, Table]) -> int:
  """Returns the number of tasks that `run` reports to `ended`."""
  return sum(len(table.per_class) + len(table.cells) + 1 for table in tables.values())


def run(
  tables: dict[str, Table],
  settings: dict[str, Settings],
  request: dict[str, float],
  retries: int,
  ended: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
  """Returns the result of every table; every task is reported to `ended`. Needs `cluster.connect`.

  A task is retried up to `retries` times if its node or process is lost. What still fails is tried once more by the
  task that makes the whole table, which shows it if it fails again.
  """
  options = {'num_cpus': request['CPU'], 'num_gpus': request['GPU'], 'max_retries': retries}
  start = lambda function, name, *more: ray.remote(function).options(**options).remote(settings[name], *more)
  pending = {start(_learning_rate, name, k): (name, k) for name, table in tables.items() for k in table.per_class}
  results: dict[str, dict[str, Any]] = {}
  while pending:
    (ref,), _ = ray.wait(list(pending))
    name, task = pending.pop(ref)
    if task is None:
      results[name] = ray.get(ref)
      ended(f'{name}: complete')
    elif isinstance(task, Cell):
      ended(f'{name}, k = {task.per_class}, seed {task.seed}: {_outcome(ref)}')
    else:
      cells = [cell for cell in tables[name].cells if cell.per_class == task]
      try:
        chosen = ray.get(ref)
      except ray.exceptions.RayError as error:
        ended(f'{name}, k = {task}: {_failed(error)}')
      else:
        ended(f'{name}, k = {task}: learning rate {chosen["lr"]:g}')
        pending |= {start(_cell, name, cell, chosen): (name, cell) for cell in cells}
    if name not in results and name not in {other for other, _ in pending.values()}:
      pending[start(_whole_table, name)] = name, None
  return results


def _outcome(ref: ray.ObjectRef) -> str:
  try:
    host, seconds = ray.get(ref)
  except ray.exceptions.RayError as error:
    return _failed(error)
  return f'{seconds:.0f} s on {host}'


def _failed(error: Exception) -> str:
  return f'failed: {" ".join(str(error).split())[-200:]}'
