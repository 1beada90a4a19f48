"""Runs of one config with different seeds, and the mean and interval of their scores."""

import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from genaug.study.intervals import mean_interval
from genaug.training import loop
from genaug.training.experiment import prepare
from genaug.training.logs import logged


def train(
  config: ConfigDict, seed: int, directory: pathlib.Path, data_dir: pathlib.Path, log: Callable[[str], None]
) -> dict[str, Any] | None:
  """Trains and returns the final scores, `seconds`, `picture`, and `curve`, the log lines of earlier evaluations.

  `picture` is the path of its last grid of images. If `data.per_class` is set, the seed also draws the images. Resumes
  from what `directory` holds: `seconds` is None if an earlier run was interrupted. Returns None if this one was.
  """
  start = time.perf_counter()
  config = config.copy_and_resolve_references()
  config.seed = seed
  if config.data.per_class:
    config.data.subset_seed = seed
  experiment = prepare(config, data_dir, log)
  scores = loop.train(experiment, directory, log, start)
  if scores is None:
    return None
  summary = json.loads((directory / 'summary.json').read_text())
  curve = [line for line in logged(directory) if any(name.startswith('eval/') for name in line)]
  seconds = None if summary['resumed_at'] else summary['seconds']
  picture = directory / 'figures' / f'{next(iter(experiment.task.samplers))}_{summary["steps"]:06d}.png'
  return {'seed': seed, **scores, 'seconds': seconds, 'picture': picture, 'curve': curve[:-1]}


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
  """Returns mean and interval of every score."""
  names = [name for name, value in runs[0].items() if name.startswith('eval/') and not isinstance(value, str)]
  return {name: mean_interval([run[name] for run in runs]) for name in names}
