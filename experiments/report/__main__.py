"""Renders runs as one HTML page; without RUNS, rewrites the generated tables of the READMEs.

python -m experiments.report RUNS... [--output report.html]
python -m experiments.report [--check]

RUNS are workdirs and result files of experiments.reproduce, compare, seeds and sweep. The page needs no network and no
other file.

The generated tables are: all of RESULTS/README.md, from RESULTS/*.json and experiments/features.py; headline and
configs in README.md; operations in genaug/augment/README.md, from genaug.augment.registry. The last three stand between
<!-- NAME --> and <!-- end of NAME -->. So no number is typed by hand, and no table goes stale.
"""

import pathlib

from absl import flags

from experiments import cli
from genaug.errors import InputError

_OUTPUT = flags.DEFINE_string('output', 'report.html', 'HTML file to write the page of RUNS to.')
_README = flags.DEFINE_string('readme', 'README.md', 'File with the tables headline and configs.')
_OPERATIONS = flags.DEFINE_string('operations', 'genaug/augment/README.md', 'File with the table operations.')
_RESULTS = flags.DEFINE_string('results', 'experiments/results', 'Directory of the result files.')
_CHECK = flags.DEFINE_bool('check', False, 'Change nothing; fail if the tables are out of date.')


def _with_sections(path: pathlib.Path, sections: dict[str, str]) -> str:
  """Returns the file's text with these sections replaced. Raises InputError for a section that it does not have."""
  text = path.read_text()
  for name, content in sections.items():
    begin, end = f'<!-- {name} -->', f'<!-- end of {name} -->'
    if not 0 <= text.find(begin) < text.find(end):
      raise InputError('readme', str(path), f'has no section {name}', f'put {begin} and {end} where the table belongs')
    before, _, rest = text.partition(begin)
    text = f'{before}{begin}\n\n{content}\n\n{end}{rest.partition(end)[2]}'
  return text


def _update_readmes() -> int:
  """Rewrites the READMEs whose tables are stale or, with --check, lists them. Returns the exit status."""
  from experiments.report import tables

  results, readme, operations = (pathlib.Path(flag.value) for flag in (_RESULTS, _README, _OPERATIONS))
  sections = {'headline': tables.chosen_headline(results), 'configs': tables.configs(results)}
  updated = {
    readme: _with_sections(readme, sections),
    operations: _with_sections(operations, {'operations': tables.operations()}),
    results / 'README.md': tables.results(results),
  }
  stale = [path for path, text in updated.items() if not path.exists() or path.read_text() != text]
  for path in stale:
    if _CHECK.value:
      print(f'{path} is out of date: run make docs')
    else:
      path.write_text(updated[path])
  return int(_CHECK.value and bool(stale))


def main(*names: str) -> int:
  if not names:
    return _update_readmes()
  if _CHECK.value:
    raise InputError('check', True, "is of the READMEs' tables", 'leave out RUNS, or --check')
  from experiments.report import page

  output = pathlib.Path(_OUTPUT.value)
  page.write([pathlib.Path(name) for name in names], output)
  print(f'{output}: {output.stat().st_size / 1e6:.1f} MB')
  return 0


if __name__ == '__main__':
  cli.run(main, many=True)
