"""Reads the output of programs: workdirs, and result files of reproduce, compare, seeds and sweep."""

import collections
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from flax.traverse_util import flatten_dict

from experiments.report.formatting import command_of
from genaug.errors import InputError
from genaug.training.logs import logged

_KINDS = {  # keys by which each program's result file is recognised; none has all those of another
  'headline': {'per_class', 'images', 'data', 'config', 'command', 'environment'},
  'seeds': {'runs', 'summary', 'config', 'command', 'environment'},
  'sweep': {'trials', 'objective', 'config', 'environment'},
  'compare': {'rows', 'order', 'title', 'command', 'environment'},
}
_REMEDY = 'a workdir of experiments.train, or a result file of experiments.reproduce, compare, seeds or sweep'


class Run(NamedTuple):
  """One training run: its last scores, its logged metrics and its pictures."""

  name: str
  seed: int
  seconds: float | None
  scores: dict[str, float | int | str]
  series: dict[str, dict[int, float]]  # {score: {step: value}}
  pictures: dict[str, pathlib.Path]  # the last picture of each kind, by name


class Group(NamedTuple):
  """Runs that differ only in their seed."""

  name: str
  config: dict
  environment: dict
  commands: list[list[str]]
  runs: list[Run]


class Result(NamedTuple):
  """A headline table of experiments.reproduce, or a sweep."""

  name: str
  content: dict
  config: dict
  environment: dict
  commands: list[list[str]]
  pictures: list[pathlib.Path]


class Found(NamedTuple):
  """Everything that was read, by kind."""

  headlines: list[Result]
  groups: list[Group]
  sweeps: list[Result]


def read(paths: Sequence[pathlib.Path]) -> Found:
  """Reads workdirs, result files and directories of result files. Raises InputError for anything else."""
  found, workdirs = Found([], [], []), {}
  files = {file.resolve(): file for path in paths for file in _files(path)}
  for file, name in zip(files.values(), _names(list(files))):
    if file.is_dir():
      workdirs[name] = file
      continue
    content = _json(file)
    kind = next((kind for kind, keys in _KINDS.items() if keys <= content.keys()), None)
    if kind in ('headline', 'sweep'):
      environment = content['environment']
      pictures = sorted((file.parent / 'figures').glob('*.png')) if kind == 'sweep' else []
      commands = [content.get('command') or command_of(environment)]
      results = found.headlines if kind == 'headline' else found.sweeps
      results.append(Result(name, content, content['config'], environment, commands, pictures))
    elif kind == 'seeds':
      found.groups.append(_seeds(name, content, file.with_suffix('.png')))
    elif kind == 'compare':
      origin = {key: content[key] for key in ('command', 'environment')}
      for row in (row for row in content['order'] if row in content['rows']):
        picture = file.with_name(f'{file.stem}_{row}.png')
        found.groups.append(_seeds(f'{name}, {row}', content['rows'][row] | origin, picture))
    else:
      raise InputError('RUNS', str(file), 'no result of a program here', _REMEDY)
  found.groups.extend(_grouped(workdirs))
  return found


def _grouped(workdirs: dict[str, pathlib.Path]) -> list[Group]:
  """Groups workdirs whose configs differ only in the seed."""
  groups: dict[tuple[str, int], list[tuple[dict, dict, Run]]] = {}
  occurrences = collections.Counter()
  for name, directory in workdirs.items():
    config, environment = _json(directory / 'config.json'), _json(directory / 'environment.json')
    flat = {key: value for key, value in flatten_dict(config, sep='.').items() if key != 'seed'}
    without_seed = json.dumps(flat, sort_keys=True)
    occurrences[without_seed, config['seed']] += 1  # a seed that occurs twice does not count as two seeds
    members = groups.setdefault((without_seed, occurrences[without_seed, config['seed']]), [])
    members.append((config, environment, _run(name, config['seed'], directory)))
  return [_group(members) for members in groups.values()]


def _group(members: list[tuple[dict, dict, Run]]) -> Group:
  runs, (config, environment, _) = [run for *_, run in members], members[0]
  commands = [command_of(environment) for _, environment, _ in members]
  return Group(_group_name([run.name for run in runs]), config, environment, commands, runs)


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the path if it is a file or a workdir, else the directory's files of reproduce, compare and sweep."""
  if not path.exists():
    raise InputError('RUNS', str(path), 'no such file or directory', _REMEDY)
  if path.is_file() or {'config.json', 'environment.json'} <= {file.name for file in path.iterdir()}:
    return [path]
  results = [file for kind in ('headline_*', 'generators_*', 'sweep*') for file in sorted(path.glob(f'{kind}.json'))]
  if not results:
    raise InputError('RUNS', str(path), 'no run in this directory', _REMEDY)
  return results


def _names(files: Sequence[pathlib.Path]) -> list[str]:
  """Returns the shortest path endings that differ for all files: a whole path says more of a machine than of a run."""
  for length in range(1, max(len(file.parts) for file in files) + 1):
    names = ['/'.join(file.parts[-length - file.is_dir() :]) for file in files]
    if len(set(names)) == len(names):
      return names


def _group_name(names: Sequence[str]) -> str:
  """Returns the name of a group: the parent directory that its runs share, or all their names."""
  parents = {str(pathlib.PurePath(name).parent) for name in names}
  return parents.pop() if len(parents) == 1 and len(names) > 1 and parents != {'.'} else ', '.join(names)


def _json(path: pathlib.Path) -> dict:
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise InputError('RUNS', str(path), f'cannot be read: {error}', _REMEDY) from None
  if not isinstance(content, dict):
    raise InputError('RUNS', str(path), 'no result of a program here', _REMEDY)
  return content


def _run(name: str, seed: int, directory: pathlib.Path) -> Run:
  """Reads a workdir, also of a run that still goes on: its scores are the last ones in the log."""
  series: dict[str, dict[int, float]] = {}
  scores: dict[str, float | int | str] = {}
  for values in logged(directory):
    step = values.pop('step')
    scores |= {key: value for key, value in values.items() if key.startswith('eval/')}
    for key, value in values.items():
      if not isinstance(value, str):
        series.setdefault(key, {})[step] = value
  summary = directory / 'summary.json'
  last = _json(summary) if summary.exists() else {}
  scores |= {key: value for key, value in last.items() if key.startswith('eval/')}
  seconds = last.get('seconds') if not last.get('resumed_at') else None
  pictures = {path.stem.rpartition('_')[0]: path for path in sorted((directory / 'figures').glob('*_*.png'))}
  return Run(name, seed, seconds, scores, series, pictures)


def _seeds(name: str, content: dict, picture: pathlib.Path) -> Group:
  """Returns the runs in a result file of experiments.seeds, or in a row of one of experiments.compare."""
  runs = []
  for number, run in enumerate(content['runs']):
    scores = {key: value for key, value in run.items() if key.startswith('eval/')}
    pictures = {'last picture': picture} if number == 0 and picture.exists() else {}
    runs.append(Run(f'{name}, seed {run["seed"]}', run['seed'], run.get('seconds'), scores, {}, pictures))
  return Group(name, content['config'], content['environment'], [content['command']], runs)
