"""Charts as inline SVG: without scripts, with colours from the page's style sheet, and readable on a phone."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from experiments.report.jinja import ENVIRONMENT

WIDTH = 360  # of every chart, in SVG units: about the pixels of a phone


class Interval(NamedTuple):
  """A row of a forest plot."""

  label: str
  text: str  # mean and interval, written out
  mean: float
  low: float
  high: float
  points: Sequence[float] = ()  # the values that the mean is taken of
  kind: str = 'real'  # class in the style sheet
  filled: bool = True  # whether the dot is filled, not hollow


class Series(NamedTuple):
  """A line over steps; `low` and `high`, if not empty, are the edges of a band around it."""

  name: str
  color: int
  steps: Sequence[int]
  mean: Sequence[float]
  low: Sequence[float] = ()
  high: Sequence[float] = ()


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
  """Returns the linear function that maps low to start and high to end, rounded to 0.1."""
  return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def ticks(low: float, high: float, about: int) -> list[float]:
  """Returns at least 2, and about `about`, multiples of 1, 2, 2.5 or 5 times a power of ten, within [low, high]."""
  power = 10 ** math.floor(math.log10((high - low) / about))
  step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (power * factor) <= about)
  first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
  return [round(i * step, 12) for i in range(first, last + 1)]


def _extent(values: Sequence[float], margin: float) -> tuple[float, float]:
  """Returns (low, high) of the values, widened on both sides by `margin` times their range."""
  low, high = min(values), max(values)
  spare = margin * (high - low) or abs(high) * 0.05 or 1.0
  return low - spare, high + spare


def forest(
  title: str, rows: Sequence[Interval], reference: float | None, failed: Sequence[tuple[str, str]] = ()
) -> Markup:
  """Draws rows of means, intervals and single values, top to bottom; `failed` rows are (label, note) without values."""
  values = [value for row in rows for value in (row.low, row.high, row.mean, *row.points)]
  low, high = _extent([*values, *([] if reference is None else [reference])], 0.04) if rows else (0, 1)
  x = scale(low, high, 8, WIDTH - 8)
  return ENVIRONMENT.get_template('charts.svg').module.forest(title, rows, failed, x, ticks(low, high, 5), reference)


def lines(title: str, series: Sequence[Series]) -> Markup:
  """Draws values over steps, with a band for every series that has one."""
  low, high = _extent([value for one in series for value in (*one.mean, *one.low, *one.high)], 0.05)
  last, left, bottom = max(one.steps[-1] for one in series), 46, 176
  x, y = scale(0, last, left, WIDTH - 24), scale(low, high, bottom, 8)
  axes = {'left': left, 'bottom': bottom, 'x_ticks': ticks(0, last, 4), 'y_ticks': ticks(low, high, 4)}
  return ENVIRONMENT.get_template('charts.svg').module.lines(title, series, x, y, axes)
