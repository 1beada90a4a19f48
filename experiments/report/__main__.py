"""Renders runs as one HTML page; without RUNS, rewrites the generated tables of the READMEs.

python -m experiments.report RUNS... [--output report.html]
python -m experiments.report [--check]

RUNS are workdirs and result files of experiments.reproduce headline, experiments.seeds and experiments.sweep. The page
needs no network and no other file.

In README.md: headline and results, from experiments/results/*.json, and features, from experiments/features.py. In
genaug/augment/README.md: operations, from genaug.augment.registry. Each stands between <!-- NAME --> and
<!-- end of NAME -->, so that no figure is typed by hand and no table goes stale.
"""

import pathlib

from absl import flags

from experiments import cli
from genaug.errors import InputError

_OUTPUT = flags.DEFINE_string('output', 'report.html', 'The page of RUNS.')
_README = flags.DEFINE_string('readme', 'README.md', 'File with results and features.')
_OPERATIONS = flags.DEFINE_string('operations', 'genaug/augment/README.md', 'File with operations.')
_RESULTS = flags.DEFINE_string('results', 'experiments/results', 'Directory of what programs have written.')
_CHECK = flags.DEFINE_bool('check', False, 'Change nothing; fail if the tables are out of date.')


def _rewritten(text: str, name: str, content: str) -> str:
  begin, end = f'<!-- {name} -->', f'<!-- end of {name} -->'
  before, _, rest = text.partition(begin)
  return before + '\n\n'.join(filter(None, (begin, content, end))) + rest.partition(end)[2]


def _readmes() -> int:
  from experiments.report import tables

  results = pathlib.Path(_RESULTS.value)
  sections = {
    _README.value: {
      'headline': lambda: tables.headlines(results),
      'results': lambda: tables.results(results),
      'features': tables.features,
    },
    _OPERATIONS.value: {'operations': tables.operations},
  }
  stale = 0
  for name, contents in sections.items():
    path = pathlib.Path(name)
    text = updated = path.read_text()
    for section, content in contents.items():
      updated = _rewritten(updated, section, content())
    if _CHECK.value and updated != text:
      print(f'{path} is out of date: run python -m experiments.report')
      stale = 1
    elif updated != text:
      path.write_text(updated)
  return stale


def main(*names: str) -> int:
  if not names:
    return _readmes()
  if _CHECK.value:
    raise InputError('check', True, "is of the READMEs' tables", 'leave out RUNS, or --check')
  from experiments.report import page

  output = pathlib.Path(_OUTPUT.value)
  page.write([pathlib.Path(name) for name in names], output)
  print(f'{output}: {output.stat().st_size / 1e6:.1f} MB')
  return 0


if __name__ == '__main__':
  cli.run(main, many=True)
