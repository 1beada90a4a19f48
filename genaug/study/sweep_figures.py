"""Pictures of a sweep, drawn by Optuna: every trial as a line across its keys, and how much each key mattered."""

import pathlib
import warnings

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from optuna.exceptions import ExperimentalWarning
from optuna.visualization import matplotlib as plots

from genaug.study.sweeps import Record


def save(record: Record, directory: pathlib.Path) -> list[pathlib.Path]:
  """Writes parallel_coordinates.png and importances.png and returns their paths.

  Writes nothing before two trials have a score.
  """
  if len(record.ranked()) < 2:
    return []
  directory.mkdir(exist_ok=True)
  plt.switch_backend('agg')
  paths = []
  for draw in (parallel_coordinates, importances):
    with warnings.catch_warnings(), plt.rc_context({'font.size': 9}):
      warnings.simplefilter('ignore', ExperimentalWarning)  # optuna.visualization.matplotlib is experimental
      warnings.simplefilter('ignore', UserWarning)  # about few trials, whose number the title gives
      axes = draw(record)
    paths.append(directory / f'{draw.__name__}.png')
    axes.figure.savefig(paths[-1], dpi=120, bbox_inches='tight')
    plt.close(axes.figure)
  return paths


def parallel_coordinates(record: Record) -> Axes:
  """Draws every trial as a line: the best one bold, stopped ones thin; colour and first axis are the score."""
  axes = plots.plot_parallel_coordinate(record.study(), target_name=record.sweep.objective)
  keys = {key for trial in record.ranked() for key in trial['overrides']} & record.sweep.space.keys()
  names = [key.removeprefix('augment.') for key in sorted(keys)]
  axes.set_xticks(range(len(names) + 1), [record.sweep.objective, *names], rotation=30, ha='right')
  axes.set_title('')
  axes.figure.set_size_inches(1.3 * len(names) + 4, 5)
  best, stopped = record.ranked()[0]['mean'], [trial['mean'] for trial in record.with_status('stopped')]
  (lines,) = axes.collections
  lines.set_linewidths([4 if mean == best else 0.8 if mean in stopped else 1.8 for mean in lines.get_array()])
  lines.set_cmap('viridis')
  return axes


def importances(record: Record) -> Axes:
  """Draws how much each key sets the better trials apart, by PED-ANOVA (Watanabe et al. 2023), Optuna's default."""
  axes = plots.plot_param_importances(record.study(), target_name=record.sweep.objective)
  axes.set_title(f'{len(record.ranked())} trials')
  return axes
