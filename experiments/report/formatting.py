"""Markdown of results: tables, links, commands and estimates."""

import pathlib
import re
import shlex
from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def anchor(heading: str) -> str:
  """Returns the fragment, without #, of a link to this heading on GitHub."""
  return re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')


def details(summary: str, content: str) -> str:
  return f'<details><summary>{summary}</summary>\n\n{content}\n\n</details>'


def portable(command: list[str], where: tuple[str, ...] = ('--data_dir', '--workdir')) -> str:
  """Returns the command as code, without the flags `where`, which only say where files lie on one machine.

  Flags may be spelt --flag=value or --flag value.
  """
  kept = [word for before, word in zip(['', *command], command) if before not in where]
  return f'`{shlex.join(word for word in kept if not word.startswith(where))}`'


def command_of(environment: dict) -> list[str]:
  """Returns the command as it was typed, from the `command` of an environment, which begins with the program's file."""
  program, *arguments = environment['command']
  return ['python', '-m', f'experiments.{pathlib.PurePath(program).stem}', *arguments]


def estimate(entry: dict, digits: int, sign: str = '') -> str:
  """Formats a mean, with the half width of its interval if it has one."""
  width = f' ± {entry["half_width_95"]:.{digits}f}' if 'half_width_95' in entry else ''
  return f'{entry["mean"]:{sign}.{digits}f}{width}'


def unclear(entry: dict) -> bool:
  """Whether a mean difference is not clearly different from 0: its interval includes 0, or it has none."""
  return abs(entry['mean']) <= entry.get('half_width_95', float('inf'))


def interval(result: dict, name: str, digits: int) -> str:
  """Formats the estimate of a score in the result's summary; '' if it is not there."""
  entry = result['summary'].get(name)
  return estimate(entry, digits) if entry else ''
