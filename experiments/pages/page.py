"""One HTML page of runs: no script, no other file, nothing from the network.

Every string of a file goes through `escape`, here, in page_headline.py, markup.py or charts.py.
"""

import datetime
import json
import math
import pathlib
import shlex
from collections.abc import Sequence
from html import escape

from experiments.pages import charts, page_headline, runs
from experiments.pages.markup import details, figure, number, picture, pre, quiet, table
from experiments.pages.runs import Found, Group, Result
from genaug.errors import InputError
from genaug.study.intervals import mean_interval
from genaug.training.workdir import flatten

_MARKER = '<!-- genaug report -->'
_SHOWN = ('eval/', 'train/loss', 'train/d_loss', 'train/g_loss', 'train/elbo_nats', 'train/accuracy')
_ABSENT = 'absent'
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write(paths: Sequence[pathlib.Path], output: pathlib.Path) -> None:
  """Raises InputError, before anything is written, for what is no run and for an output that is something else."""
  check_output(output)
  page = render(runs.read(paths), datetime.datetime.now(datetime.UTC))
  output.parent.mkdir(parents=True, exist_ok=True)
  partial = output.with_suffix('.partial')
  partial.write_text(page)
  partial.replace(output)


def check_output(output: pathlib.Path) -> None:
  """Raises InputError for a file that no report of ours would overwrite."""
  if output.is_dir() or (output.exists() and _MARKER.encode() not in output.read_bytes()[:1000]):
    raise InputError('output', str(output), 'exists and is no report', 'name another --output')


def render(found: Found, now: datetime.datetime) -> str:
  sections = [
    *(part for result in found.headlines for part in page_headline.section(result.content)),
    *_training(found.groups),
    *(part for sweep in found.sweeps for part in _sweep(sweep)),
    *_configs(found.groups),
    *_making(found),
  ]
  count = sum(len(group.runs) for group in found.groups)
  what = [f'headline table of {result.content["data"]}' for result in found.headlines]
  what += [f'{count} training run{"s" * (count > 1)}'] * bool(count)
  what += [f'sweep of {len(sweep.content["trials"])} trials' for sweep in found.sweeps]
  machines = dict.fromkeys(_machine(environment) for _, environment, _ in _sources(found))
  meta = f'{now:%Y-%m-%d %H:%M} UTC. {"; ".join(what).capitalize()}. {"; ".join(machines)}.'
  style = pathlib.Path(__file__).with_name('page.css').read_text()
  return '\n'.join(
    [
      '<!doctype html>',
      _MARKER,
      '<html lang="en">',
      '<head>',
      '<meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
      '<title>genaug report</title>',
      f'<style>\n{style}</style>',
      '</head>',
      '<body><main>',
      '<h1>genaug report</h1>',
      quiet(meta),
      *sections,
      '</main></body>',
      '</html>\n',
    ]
  )


# ---------------------------------------------------------------- training runs, sweeps


def _training(groups: Sequence[Group]) -> list[str]:
  if not groups:
    return []
  parts = ['<h2>Training runs</h2>', _scores(groups)]
  names = dict.fromkeys(name for group in groups for run in group.runs for name in run.series)
  plots = {name: plot for name in names if (plot := _curves(name, groups))}
  for title, wanted in (('', True), ('More curves', False)):
    some = ''.join(plot for name, plot in plots.items() if name.startswith(_SHOWN) == wanted)
    if some:
      box = f'<div class="charts">{some}</div>'
      parts.append(details(title, box) if title else _curve_legend(groups) + box)
  pictures = [
    picture(path, f'{run.name}: {path.stem}')
    for group in groups
    for run in group.runs
    for path in run.pictures.values()
  ]
  return [*parts, f'<div class="charts">{"".join(pictures)}</div>']


def _scores(groups: Sequence[Group]) -> str:
  """A table for every set of scores, a row for every run."""
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
  shown = [
    table(['', 'minutes', *(name.removeprefix('eval/').replace('_', ' ') for name in names)], rows)
    for names, rows in tables.items()
  ]
  return ''.join(shown) + quiet('Scores after the last step; ± half width of a 95 % t-interval over seeds.')


def _over_seeds(values: list) -> str:
  if len(set(values)) < 2:
    return ', '.join(map(number, set(values)))
  summary = mean_interval(values)
  return f'{summary["mean"]:.4g} ± {summary["half_width_95"]:.2g}'


def _curves(name: str, groups: Sequence[Group]) -> str:
  """One chart, of the steps that all runs of a group have logged; none of what never changes."""
  series = []
  for color, group in enumerate(groups):
    found = [run.series[name] for run in group.runs if name in run.series]
    steps = sorted(set.intersection(*map(set, found))) if found else []
    if len(steps) > 1:
      values = [[one[step] for one in found] for step in steps]
      mean = [sum(some) / len(some) for some in values]
      band = ([min(some) for some in values], [max(some) for some in values]) if len(found) > 1 else ((), ())
      series.append(charts.Series(group.name, color % 6, steps, mean, *band))
  if all(len(set(one.mean)) == 1 for one in series):
    return ''
  return figure(charts.lines(f'{name} over steps', series), f'{name} over steps')


def _curve_legend(groups: Sequence[Group]) -> str:
  swatch = '<svg viewBox="0 0 22 12" class="c{}"><line x1="0" y1="6" x2="22" y2="6" class="interval"/></svg>'
  entries = [
    f'<span>{swatch.format(color % 6)}{escape(group.name)}</span>'
    for color, group in enumerate(groups)
    if any(run.series for run in group.runs)
  ]
  band = ['<span>line: mean of seeds; band: lowest to highest</span>'] * any(len(group.runs) > 1 for group in groups)
  return f'<div class="legend">{"".join(entries + band)}</div>'


def _sweep(sweep: Result) -> list[str]:
  content, best = sweep.content, sweep.content.get('best')
  scored = [trial for trial in content['trials'] if math.isfinite(trial.get('mean', math.nan))]
  finished = [trial['mean'] for trial in scored if trial['status'] == 'finished']
  of_best = next((trial['mean'] for trial in scored if trial['id'] == best), None)
  descending = of_best is None or of_best == max(finished, default=of_best)
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
  title = f'<h2>Sweep {escape(sweep.name)}</h2>'
  told = (
    f'Best mean of {content["objective"]}: {number(of_best)}, of trial {best}.' if best else 'No trial has a score.'
  )
  told += ' The best of many is an optimistic estimate of itself; a test on other data says what it is worth.'
  trials = table(['trial', 'status', 'mean', 'folds', *keys], rows)
  pictures = ''.join(picture(path, path.stem.replace('_', ' ')) for path in sweep.pictures)
  return [title, f'<p>{escape(told)}</p>', trials, f'<div class="charts wide">{pictures}</div>']


# ---------------------------------------------------------------- how it was made


def _sources(found: Found) -> list[tuple[str, dict, list[list[str]]]]:
  """(name, environment, commands) of everything."""
  sources = [(result.name, result.content['environment'], [result.content['command']]) for result in found.headlines]
  sources += [(group.name, group.environment, group.commands) for group in found.groups]
  for sweep in found.sweeps:
    environment = sweep.content['environment']
    sources.append((sweep.name, environment, [sweep.content.get('command') or runs.command_of(environment)]))
  return sources


def _configs(groups: Sequence[Group]) -> list[str]:
  if not groups:
    return []
  parts, flat = ['<h2>Configs</h2>'], [flatten(group.config) for group in groups]
  keys = sorted({key for one in flat for key in one} - {'seed'})
  differing = {key: values for key in keys if len(set(values := [_setting(one, key) for one in flat])) > 1}
  header = ['differs', *(group.name for group in groups)]
  shared = [[key, *values] for key, values in differing.items() if _ABSENT not in values]
  partly = [[key, *values] for key, values in differing.items() if _ABSENT in values]
  if shared:
    parts.append(table(header, shared))
  elif len(groups) > 1:
    parts.append(quiet('What all of them set is the same.'))
  if partly:
    parts.append(details('Keys that not all of them have', table(header, partly)))
  return parts


def _setting(config: dict, key: str) -> str:
  return json.dumps(config[key]) if key in config else _ABSENT


def _making(found: Found) -> list[str]:
  parts = ['<h2>How it was made</h2>']
  configs = [result.content['config'] for result in found.headlines]
  configs += [group.config for group in found.groups] + [sweep.content['config'] for sweep in found.sweeps]
  for (name, environment, commands), config in zip(_sources(found), configs):
    rows = [[key, _told(value)] for key, value in environment.items() if key != 'command']
    parts += [f'<h3>{escape(name)}</h3>', pre('\n'.join(shlex.join(map(str, command)) for command in commands))]
    parts.append(details('Environment', table(['', ''], rows, 'words')))
    parts.append(details('Full config', pre(json.dumps(config, indent=2))))
  return parts


def _told(value: object) -> str:
  if isinstance(value, dict):
    return ', '.join(f'{key} {version}' for key, version in value.items())
  return ', '.join(map(str, value)) if isinstance(value, list) else str(value)


def _machine(environment: dict) -> str:
  jax = environment.get('packages', {}).get('jax', '?')
  return f'{", ".join(environment.get("devices", ()))} ({environment.get("platform", "?")}), jax {jax}'
