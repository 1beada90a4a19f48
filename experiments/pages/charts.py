"""Charts as inline SVG: no script, colours from the page's style sheet, text that stays readable on a phone."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

_WIDTH = 360  # of every chart, in its own units: about the pixels of a phone
_ROW = 36


class Interval(NamedTuple):
  """A row of a forest plot."""

  label: str
  told: str  # the figures in words
  mean: float
  low: float
  high: float
  points: Sequence[float] = ()  # what the mean is of
  kind: str = 'real'  # class of the style sheet
  clear: bool = True  # filled, or hollow


class Series(NamedTuple):
  """A line over steps, in a band."""

  name: str
  color: int
  steps: Sequence[int]
  mean: Sequence[float]
  low: Sequence[float] = ()
  high: Sequence[float] = ()


def scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
  return lambda value: start + (value - low) / (high - low) * (end - start)


def ticks(low: float, high: float, about: int) -> list[float]:
  """At least 2 and about so many multiples of 1, 2, 2.5 or 5 times a power of ten, within [low, high]."""
  power = 10 ** math.floor(math.log10((high - low) / about))
  step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (power * factor) <= about)
  first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
  return [round(i * step, 12) for i in range(first, last + 1)]


def _extent(values: Sequence[float], margin: float) -> tuple[float, float]:
  low, high = min(values), max(values)
  spare = margin * (high - low) or abs(high) * 0.05 or 1.0
  return low - spare, high + spare


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
  content = '\n'.join(parts)
  size = f'viewBox="0 0 {_WIDTH} {height:g}"'
  return f'<svg {size} role="img" aria-label="{escape(title)}">\n{content}\n</svg>'


def _text(x: float, y: float, content: str, anchor: str = 'start', css: str = '') -> str:
  style = f' class="{css}"' if css else ''
  return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(content)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
  return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def _dot(x: float, y: float, radius: float, css: str) -> str:
  return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{css}"/>'


def forest(
  title: str, rows: Sequence[Interval], reference: float | None, failed: Sequence[tuple[str, str]] = ()
) -> str:
  """Means with intervals and what they are of, top to bottom; `failed`: labels with what is to be said instead."""
  shown = [value for row in rows for value in (row.low, row.high, row.mean, *row.points)]
  low, high = _extent([*shown, *([] if reference is None else [reference])], 0.04) if shown else (0, 1)
  x, bottom = scale(low, high, 8, _WIDTH - 8), _ROW * (len(rows) + len(failed))
  parts = [_line(x(tick), 0, x(tick), bottom, 'grid') for tick in ticks(low, high, 5)]
  for i, row in enumerate(rows):
    top = i * _ROW
    if reference is not None:
      parts.append(_line(x(reference), top + 16, x(reference), top + 34, 'reference'))
    parts += [_text(2, top + 12, row.label, css='label'), _text(_WIDTH - 2, top + 12, row.told, 'end')]
    parts.append(_line(x(row.low), top + 22, x(row.high), top + 22, f'interval {row.kind}'))
    parts += [_dot(x(point), top + 30, 1.8, f'point {row.kind}') for point in row.points]
    parts.append(_dot(x(row.mean), top + 22, 4.5, f'mean {row.kind}' + ' hollow' * (not row.clear)))
  for i, (label, told) in enumerate(failed, len(rows)):
    parts += [_text(2, i * _ROW + 12, label, css='label'), _text(_WIDTH - 2, i * _ROW + 12, told, 'end', 'failed')]
  if shown:
    parts.append(_line(0, bottom, _WIDTH, bottom, 'axis'))
    parts += [_text(x(tick), bottom + 15, f'{tick:g}', 'middle', 'tick') for tick in ticks(low, high, 5)]
  return _svg(bottom + 20, title, parts)


def lines(title: str, series: Sequence[Series]) -> str:
  """Values over steps; a band where a series has one."""
  height, left, floor = 200, 46, 176
  values = [value for one in series for value in (*one.mean, *one.low, *one.high)]
  last = max(one.steps[-1] for one in series)
  low, high = _extent(values, 0.05)
  x, y = scale(0, last, left, _WIDTH - 24), scale(low, high, floor, 8)
  parts = []
  for tick in ticks(low, high, 4):
    parts += [_line(left, y(tick), _WIDTH, y(tick), 'grid'), _text(left - 5, y(tick) + 4, f'{tick:g}', 'end', 'tick')]
  parts.append(_line(left, floor, _WIDTH, floor, 'axis'))
  parts += [_text(x(tick), floor + 16, f'{tick:,g}', 'middle', 'tick') for tick in ticks(0, last, 4)]
  for one in series:
    across = [x(step) for step in one.steps]
    if one.low:
      edge = [*zip(across, one.high), *reversed([*zip(across, one.low)])]
      parts.append(f'<polygon points="{_points(edge, y)}" class="band c{one.color}"/>')
    parts.append(f'<polyline points="{_points(zip(across, one.mean), y)}" class="curve c{one.color}"/>')
    parts.append(_dot(across[-1], y(one.mean[-1]), 2.5, f'mean c{one.color}'))
  return _svg(height, title, parts)


def _points(pairs, y: Callable[[float], float]) -> str:
  return ' '.join(f'{across:.1f},{y(value):.1f}' for across, value in pairs)
