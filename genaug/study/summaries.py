"""Summaries of the rows of a table: means and intervals over seeds, and differences to baselines."""

from typing import Any

import numpy as np

from genaug.study.intervals import bootstrap_interval

BASELINES = ('none', 'classic')  # rows that others are compared with


def compared(rows: dict[str, dict], score: str) -> dict[str, dict]:
  """Returns the rows with mean and interval of a score, and of its difference, seed by seed, to each of BASELINES."""
  return {name: row | _summary(row['runs'], rows, score) for name, row in rows.items()}


def text(row: dict, score: str) -> str:
  """Returns the mean score of a row and how many of its runs failed, as text."""
  values = list(_by_seed(row['runs'], score).values())
  failed = len(row['runs']) - len(values)
  return (f'{np.mean(values):.1%}' if values else '') + (f' {failed} failed' if failed else '')


def _summary(runs: list[dict], rows: dict[str, dict], score: str) -> dict[str, Any]:
  scores = _by_seed(runs, score)
  if not scores:
    return {}
  summary = {name: _mean(list(_by_seed(runs, name).values())) for name in (score, 'ece')}
  for name in BASELINES:
    baseline = _by_seed(rows.get(name, {'runs': []})['runs'], score)
    if differences := [scores[seed] - baseline[seed] for seed in scores.keys() & baseline.keys()]:
      summary[f'to_{name}'] = _mean(differences)
  return summary


def _by_seed(runs: list[dict], score: str) -> dict[int, float]:
  return {run['seed']: run[score] for run in runs if score in run}


def _mean(values: list[float]) -> dict[str, Any]:
  return {'mean': float(np.mean(values)), 'interval_95': bootstrap_interval(values), 'seeds': len(values)}
