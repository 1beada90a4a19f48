"""Pictures of a sweep: every trial as a line across its keys, and how much each key mattered."""

import math
import pathlib
import warnings

import matplotlib.figure
import numpy as np
import optuna
from matplotlib import cm, colors
from optuna.distributions import BaseDistribution, CategoricalDistribution

from genaug.study.sweeps import Record


def save(record: Record, directory: pathlib.Path) -> list[pathlib.Path]:
  """parallel_coordinates.png and importances.png; nothing before two trials have a score."""
  if len(record.ranked()) < 2:
    return []
  directory.mkdir(exist_ok=True)
  pictures = {'parallel_coordinates': parallel_coordinates(record), 'importances': importances(record)}
  paths = {directory / f'{name}.png': figure for name, figure in pictures.items()}
  for path, figure in paths.items():
    figure.savefig(path, dpi=120, bbox_inches='tight')
  return list(paths)


def position(distribution: BaseDistribution, value: float | str | None) -> float:
  """Where between 0 and 1 a value stands on the axis of its key; NaN for a key that a trial has not."""
  if value is None:
    return math.nan
  if isinstance(distribution, CategoricalDistribution):
    return distribution.choices.index(value) / max(len(distribution.choices) - 1, 1)
  scale = math.log if distribution.log else float
  low, high = scale(distribution.low), scale(distribution.high)
  return (scale(value) - low) / (high - low)


def parallel_coordinates(record: Record) -> matplotlib.figure.Figure:
  """Bold is the best trial, faint are those that were stopped; the last axis and the colour are the score."""
  space = record.distributions()
  ranked = record.ranked()
  means = np.array([trial['mean'] for trial in ranked])
  shade = cm.ScalarMappable(colors.Normalize(means.min(), means.max()), 'viridis')
  figure = matplotlib.figure.Figure(figsize=(1.3 * len(space) + 2.5, 5))
  axes = figure.subplots()
  for place, (trial, mean) in reversed(list(enumerate(zip(ranked, means)))):
    values = [position(space[key], trial['overrides'].get(key)) for key in space]
    stopped = trial['status'] == 'stopped'
    style = {'lw': 4 if place == 0 else 0.8 if stopped else 1.8, 'alpha': 0.5 if stopped else 1.0}
    axes.plot([*values, shade.norm(mean)], color=shade.to_rgba(mean), marker='.', **style)
  for column, distribution in enumerate(space.values()):
    axes.axvline(column, color='black', lw=0.8, zorder=0)
    categorical = isinstance(distribution, CategoricalDistribution)
    for value in distribution.choices if categorical else (distribution.low, distribution.high):
      shown = f'{value:.3g}' if isinstance(value, float) else str(value)
      axes.annotate(shown, (column, position(distribution, value)), (4, 2), textcoords='offset points', fontsize=8)
  names = [key.removeprefix('augment.') for key in space]
  axes.set_xticks(range(len(space) + 1), [*names, record.sweep.objective], rotation=30, ha='right')
  axes.set_xlim(-0.1, len(space))
  axes.set_ylim(-0.03, 1.05)
  axes.yaxis.set_visible(False)
  axes.spines[:].set_visible(False)
  figure.colorbar(shade, ax=axes, pad=0.01)
  return figure


def importances(record: Record) -> matplotlib.figure.Figure:
  """Optuna's default, PED-ANOVA (Watanabe et al. 2023): what tells the better half of the trials from all of them."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # of few trials, which the title tells
    found = optuna.importance.get_param_importances(record.study())
  figure = matplotlib.figure.Figure(figsize=(6, 0.35 * len(found) + 1))
  axes = figure.subplots()
  names, values = zip(*reversed(found.items()))
  axes.barh([name.removeprefix('augment.') for name in names], values)
  axes.set_title(f'importance for {record.sweep.objective}, {len(record.ranked())} trials')
  axes.spines[['top', 'right']].set_visible(False)
  return figure
