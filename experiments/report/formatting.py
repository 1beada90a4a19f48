"""How tables of results are written in Markdown."""

import pathlib
import re
import shlex
from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def anchor(heading: str) -> str:
  """What a link to a heading of a page on GitHub ends with, after #."""
  return re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')


def details(summary: str, content: str) -> str:
  return f'<details><summary>{summary}</summary>\n\n{content}\n\n</details>'


def portable(command: list[str], where: tuple[str, ...] = ('--data_dir', '--workdir')) -> str:
  """Without the flags `where`, spelt --flag=value or --flag value, that only say where files lie on one machine."""
  kept = [word for before, word in zip(['', *command], command) if before not in where]
  return f'`{shlex.join(word for word in kept if not word.startswith(where))}`'


def command_of(environment: dict) -> list[str]:
  """What was typed, of the `command` of an environment, which names the program's file."""
  program, *arguments = environment['command']
  return ['python', '-m', f'experiments.{pathlib.PurePath(program).stem}', *arguments]


def estimate(entry: dict, digits: int, sign: str = '') -> str:
  """A mean with the half width of its interval, if it has one."""
  width = f' ± {entry["half_width_95"]:.{digits}f}' if 'half_width_95' in entry else ''
  return f'{entry["mean"]:{sign}.{digits}f}{width}'


def unclear(entry: dict) -> bool:
  """Whether a mean difference may be 0."""
  return abs(entry['mean']) <= entry.get('half_width_95', float('inf'))


def interval(result: dict, name: str, digits: int) -> str:
  entry = result['summary'].get(name)
  return estimate(entry, digits) if entry else ''
