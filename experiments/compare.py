"""Trains every row of a table with several seeds and writes the scores: which generator for how many images?

python -m experiments.compare --config configs/comparisons.py:few_images [--tables raccoons] [--rows dcgan,flow]

Every table is a JSON file in OUTPUT, rewritten after each run, with a picture of each row's first seed beside it. After
an interruption the same command continues: runs in the file are not trained again, and an unfinished one resumes from
WORKDIR/TABLE/ROW/seed<N>.
"""

import json
import pathlib
import shutil
import sys

from absl import flags

from experiments import cli
from genaug.errors import InputError

_CONFIG = cli.define_config()
_DATA_DIR = cli.define_data_dir()
_TABLES = flags.DEFINE_list('tables', None, 'Names of the tables of the config to train. Default: all.')
_ROWS = flags.DEFINE_list('rows', None, 'Names of the rows of these tables to train. Default: all.')
_WORKDIR = flags.DEFINE_string('workdir', 'runs/comparisons', 'Parent directory of the runs.')
_OUTPUT = flags.DEFINE_string('output', None, 'Directory to write the tables to. Default: WORKDIR.')
flags.mark_flag_as_required('config')
flags.adopt_module_key_flags(cli)


def _chosen(flag: flags.FlagHolder, names: tuple[str, ...]) -> list[str]:
  """Returns the names that the flag selects, or all of them. Raises InputError for an unknown one."""
  for name in flag.value or ():
    if name not in names:
      raise InputError(flag.name, name, 'not in this config', f'any of {", ".join(names)}')
  return [name for name in names if name in (flag.value or names)]


def _saved_rows(path: pathlib.Path, table: dict) -> dict:
  """Returns rows of an earlier file, {name: {title, config, runs, summary}}. Raises InputError if a config differs."""
  from genaug.training import workdir

  if not path.exists():
    return {}
  try:
    rows = json.loads(path.read_text())['rows']
  except (ValueError, KeyError, TypeError) as error:
    problem = f'is no table of this program ({type(error).__name__}: {error})'
    raise InputError('output', str(path), problem, 'move it away, or name another --output') from None
  for name in rows.keys() & table['rows'].keys():
    workdir.check_same_config(path, rows[name]['config'], table['rows'][name]['config'], 'output')
  return rows


def _checked_tables() -> dict:
  """Returns the chosen tables. Raises InputError, before anything is trained, for a row that cannot be trained."""
  from genaug.data.sources import USER_DATA_SETS
  from genaug.training import checks

  tables = {name: _CONFIG.value.tables[name] for name in _chosen(_TABLES, _CONFIG.value.order)}
  for name, table in tables.items():
    for row in _chosen(_ROWS, table.order):
      config = table.rows[row].config
      checks.check_config(config)
      if config.data.name in USER_DATA_SETS and not pathlib.Path(config.data.folder).expanduser().is_dir():
        key = f'config.tables.{name}.rows.{row}.config.data.folder'
        raise InputError(key, config.data.folder, 'is not a folder', f'--{key}=FOLDER, or choose other --tables')
  return tables


def main() -> int:
  from genaug.study import seeds
  from genaug.training import workdir
  from genaug.training.logs import say

  output = pathlib.Path(_OUTPUT.value or _WORKDIR.value)
  for name, table in _checked_tables().items():
    path, plain = output / f'generators_{name}.json', json.loads(table.to_json())
    for seed in range(table.seeds):
      for row in _chosen(_ROWS, table.order):
        if any(run['seed'] == seed for run in _saved_rows(path, plain).get(row, {}).get('runs', [])):
          continue
        say(f'{name}, {row}, seed {seed}')
        directory = pathlib.Path(_WORKDIR.value) / name / row / f'seed{seed}'
        run = seeds.train(table.rows[row].config, seed, directory, pathlib.Path(_DATA_DIR.value), say)
        if run is None:
          return 0
        picture = run.pop('picture')
        say(f'  {picture}')
        rows = _saved_rows(path, plain)  # another process may have added rows meanwhile
        runs = [*rows.get(row, {}).get('runs', []), run]
        rows[row] = plain['rows'][row] | {'runs': runs, 'summary': seeds.summarise(runs)}
        content = {
          'command': ['python', '-m', 'experiments.compare', *sys.argv[1:]],
          'environment': workdir.environment(),
          'title': table.title,
          'order': list(table.order),
          'rows': rows,
        }
        workdir.write_json(path, content)
        if seed == 0:
          shutil.copy(picture, path.with_name(f'{path.stem}_{row}.png'))
  return 0


if __name__ == '__main__':
  cli.run(main)
