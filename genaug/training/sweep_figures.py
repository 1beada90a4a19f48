"""Pictures of a sweep, drawn by Optuna from its record."""

import pathlib
import warnings

import matplotlib
import optuna

from genaug.training.sweeps import Record


def save(record: Record, directory: pathlib.Path) -> list[pathlib.Path]:
  """Parallel coordinates and importances of the suggested keys; nothing before two trials have a score."""
  if len(record.ranked()) < 2:
    return []
  matplotlib.use('Agg')
  from optuna.visualization import matplotlib as plots

  directory.mkdir(exist_ok=True)
  study, pictures = record.study(), []
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
    for name, plot in (
      ('parallel_coordinates', plots.plot_parallel_coordinate),
      ('importances', plots.plot_param_importances),
    ):
      axes = plot(study, target_name=record.sweep.objective)
      figure = axes.figure
      pictures.append(directory / f'{name}.png')
      figure.savefig(pictures[-1], dpi=150, bbox_inches='tight')
      matplotlib.pyplot.close(figure)
  return pictures
