"""The HTML page of runs, which needs no script, no other file and no network."""

import datetime
import json
import math
import pathlib
import shlex
from collections.abc import Sequence

from flax.traverse_util import flatten_dict

from experiments.report import charts, runs
from experiments.report.answers import (
  CAVEAT,
  about_test,
  answers,
  figures,
  is_significant,
  percent,
  verdicts,
  with_p_values,
)
from experiments.report.jinja import ENVIRONMENT, number
from experiments.report.runs import Found, Group, Result
from genaug.errors import InputError
from genaug.metrics.registry import METRICS
from genaug.study.intervals import mean_interval
from genaug.training import workdir

_MARKER = '<!-- genaug report -->'
_SHOWN = ('eval/', 'train/loss', 'train/d_loss', 'train/g_loss', 'train/elbo_nats', 'train/accuracy')
_ABSENT = 'absent'


def write(paths: Sequence[pathlib.Path], output: pathlib.Path) -> None:
  """Writes the page of these runs. Raises InputError, before it writes, for a path that is no run or a bad output."""
  check_output(output)
  page = render(runs.read(paths), datetime.datetime.now(datetime.UTC))
  output.parent.mkdir(parents=True, exist_ok=True)
  workdir.write_atomic(output, page.encode())


def check_output(output: pathlib.Path) -> None:
  """Raises InputError if the output exists and is not an earlier report, which may be overwritten."""
  if output.is_dir() or (output.exists() and _MARKER.encode() not in output.read_bytes()[:1000]):
    raise InputError('output', str(output), 'exists and is no report', 'name another --output')


def render(found: Found, now: datetime.datetime) -> str:
  sources = [*found.headlines, *found.groups, *found.sweeps]
  return ENVIRONMENT.get_template('page.html').render(
    about=_about(found, sources, now),
    headlines=[_headline(result.content) for result in found.headlines],
    **_training(found.groups),
    sweeps=[_sweep(sweep) for sweep in found.sweeps],
    **_configs(found.groups),
    sources=[_source(source) for source in sources],
  )


def _about(found: Found, sources: Sequence[Result | Group], now: datetime.datetime) -> str:
  """Returns a line that says when the page was made, of which runs, and on which machines they ran."""
  count = sum(len(group.runs) for group in found.groups)
  what = [f'headline table of {result.content["data"]}' for result in found.headlines]
  what += [f'{count} training run{"s" * (count > 1)}'] * bool(count)
  what += [f'sweep of {len(sweep.content["trials"])} trials' for sweep in found.sweeps]
  machines, said = dict.fromkeys(_machine(source.environment) for source in sources), '; '.join(what)
  return f'{now:%Y-%m-%d %H:%M} UTC. {said[:1].upper()}{said[1:]}. {"; ".join(machines)}.'


def _machine(environment: dict) -> str:
  jax = environment.get('packages', {}).get('jax', '?')
  return f'{", ".join(environment.get("devices", ()))} ({environment.get("platform", "?")}), jax {jax}'


# ---------------------------------------------------------------- headline tables


def _headline(result: dict) -> dict:
  """Returns what the template shows of a headline table: for every k answers, verdicts, a chart and a table."""
  cells = [
    {
      'k': k,
      'answer': answer,
      'verdicts': verdicts(cell['rows']),
      'chart': _forest(result, k),
      'rows': [[row['title'], *figures(name, row), _seeds(row)] for name, row in _rows(result, k)],
    }
    for answer, (k, cell) in zip(answers(result), result['per_class'].items())
  ]
  return {'data': result['data'], 'cells': cells, 'caveat': f'{about_test(result)} {CAVEAT}'}


def _rows(result: dict, k: str) -> list[tuple[str, dict]]:
  rows = with_p_values(result['per_class'][k]['rows'])
  return [(name, rows[name]) for name in result['config']['order'] if name in rows]


def _seeds(row: dict) -> str:
  return f'{sum("accuracy" in run for run in row["runs"])}'


def _forest(result: dict, k: str) -> str:
  """Returns a forest plot of the rows at one k, best first, with accuracies in %."""
  shown, failed, reference = [], [], None
  for name, row in _rows(result, k):
    missing = sum('failed' in run for run in row['runs'])
    note = f'{missing} of {len(row["runs"])} failed'
    if 'accuracy' not in row:
      failed.append((row['title'], note))
      continue
    mean, (low, high) = row['accuracy']['mean'], row['accuracy']['interval_95']
    points = [100 * run['accuracy'] for run in row['runs'] if 'accuracy' in run]
    kind = 'generated' if result['config']['rows'][name]['generator'] else 'real'
    filled = name == 'none' or is_significant(row.get('to_none', {}))
    text = percent(row['accuracy']) + f', {note}' * bool(missing)
    shown.append(charts.Interval(row['title'], text, 100 * mean, 100 * low, 100 * high, points, kind, filled))
    reference = 100 * mean if name == 'none' else reference
  shown.sort(key=lambda row: -row.mean)
  return charts.forest(f'accuracy of every row with {k} images a class', shown, reference, failed)


# ---------------------------------------------------------------- training runs, sweeps


def _training(groups: Sequence[Group]) -> dict:
  names = dict.fromkeys(name for group in groups for run in group.runs for name in run.series)
  curves = [(f'{name} over steps', chart) for name in names if (chart := curve(name, groups))]
  return {
    'scores': _scores(groups),
    'legend': [(i % 6, group.name) for i, group in enumerate(groups) if any(run.series for run in group.runs)],
    'banded': any(len(group.runs) > 1 for group in groups),
    'shown': [curve for curve in curves if curve[0].startswith(_SHOWN)],
    'hidden': [curve for curve in curves if not curve[0].startswith(_SHOWN)],
    'samples': [
      (path, f'{run.name}: {path.stem}') for group in groups for run in group.runs for path in run.pictures.values()
    ],
  }


def _scores(groups: Sequence[Group]) -> list[tuple[list[str], list[list[str]]]]:
  """Returns (header, rows) for each distinct set of scores: a row per run, and one for the mean over several seeds."""
  tables: dict[tuple[str, ...], list[list[str]]] = {}
  for group in groups:
    names = tuple(dict.fromkeys(name for run in group.runs for name in run.scores))
    rows = tables.setdefault(names, [])
    if len(group.runs) > 1:
      means = [_over_seeds([run.scores[name] for run in group.runs if name in run.scores]) for name in names]
      rows.append([f'{group.name}: mean of {len(group.runs)} seeds', '', *means])
    for run in group.runs:
      minutes = f'{run.seconds / 60:.1f}' if run.seconds else ''
      rows.append([run.name, minutes, *(number(run.scores.get(name, '')) for name in names)])
  short = lambda name: name.removeprefix('eval/').replace('_', ' ')
  return [(['', 'minutes', *map(short, names)], rows) for names, rows in tables.items()]


def _over_seeds(values: list) -> str:
  if len(set(values)) < 2:
    return ', '.join(map(number, set(values)))
  summary = mean_interval(values)
  return f'{summary["mean"]:.4g} ± {summary["half_width_95"]:.2g}'


def curve(name: str, groups: Sequence[Group]) -> str:
  """Returns a chart of one metric, at steps that all runs of a group have logged; '' if the metric never changes."""
  series = []
  for color, group in enumerate(groups):
    logged = [run.series[name] for run in group.runs if name in run.series]
    steps = sorted(set.intersection(*map(set, logged))) if logged else []
    if len(steps) > 1:
      values = [[one[step] for one in logged] for step in steps]
      mean = [sum(some) / len(some) for some in values]
      band = ([min(some) for some in values], [max(some) for some in values]) if len(logged) > 1 else ((), ())
      series.append(charts.Series(group.name, color % 6, steps, mean, *band))
  return '' if all(len(set(one.mean)) == 1 for one in series) else charts.lines(f'{name} over steps', series)


def _sweep(sweep: Result) -> dict:
  content, best = sweep.content, sweep.content.get('best')
  scored = [trial for trial in content['trials'] if math.isfinite(trial.get('mean', math.nan))]
  best_mean = next((trial['mean'] for trial in scored if trial['id'] == best), None)
  descending = any(metric.better == 'max' for metric in METRICS.values() if metric.key == content['objective'])
  scored.sort(key=lambda trial: (trial['status'] != 'finished', -trial['mean'] if descending else trial['mean']))
  trials = scored + [trial for trial in content['trials'] if trial not in scored]
  keys = sorted({key for trial in trials for key in trial['overrides']})
  rows = [
    [
      f'{trial["id"]}' + ' (best)' * (trial['id'] == best),
      trial['status'],
      number(trial.get('mean', '')),
      ', '.join(map(number, trial.get('scores', ()))),
      *(number(trial['overrides'].get(key, '')) for key in keys),
    ]
    for trial in trials
  ]
  text = (
    f'Best mean of {content["objective"]}: {number(best_mean)}, of trial {best}.' if best else 'No trial has a score.'
  )
  text += ' The best of many is an optimistic estimate of itself; a test on other data says what it is worth.'
  header = ['trial', 'status', 'mean', 'folds', *keys]
  pictures = [(path, path.stem.replace('_', ' ')) for path in sweep.pictures]
  return {'name': sweep.name, 'text': text, 'header': header, 'rows': rows, 'pictures': pictures}


# ---------------------------------------------------------------- how it was made


def _source(source: Result | Group) -> dict:
  lines = '\n'.join(shlex.join(map(str, command)) for command in source.commands)
  rows = [[key, _text(value)] for key, value in source.environment.items() if key != 'command']
  return {'name': source.name, 'commands': lines, 'environment': rows, 'config': source.config}


def _text(value: object) -> str:
  if isinstance(value, dict):
    return ', '.join(f'{key} {version}' for key, version in value.items())
  return ', '.join(map(str, value)) if isinstance(value, list) else str(value)


def _configs(groups: Sequence[Group]) -> dict:
  """Returns rows of the config keys that differ: `shared` keys, which all groups have; `partly`, which some lack."""
  flat = [flatten_dict(group.config, sep='.') for group in groups]
  setting = lambda config, key: json.dumps(config[key]) if key in config else _ABSENT
  rows = [
    [key, *(setting(one, key) for one in flat)] for key in sorted({key for one in flat for key in one} - {'seed'})
  ]
  differing = [row for row in rows if len(set(row[1:])) > 1]
  return {
    'configs': groups and ['differs', *(group.name for group in groups)],
    'shared': [row for row in differing if _ABSENT not in row[1:]],
    'partly': [row for row in differing if _ABSENT in row[1:]],
  }
