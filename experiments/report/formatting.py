"""How tables of results are written in Markdown."""

import shlex
from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def details(summary: str, content: str) -> str:
  return f'<details><summary>{summary}</summary>\n\n{content}\n\n</details>'


def portable(command: list[str], where: tuple[str, ...] = ('--data_dir', '--workdir')) -> str:
  """Without the flags `where`, spelt --flag=value or --flag value, that only say where files lie on one machine."""
  kept = [word for before, word in zip(['', *command], command) if before not in where]
  return f'`{shlex.join(word for word in kept if not word.startswith(where))}`'


def interval(result: dict, name: str, digits: int) -> str:
  entry = result['summary'].get(name)
  width = f' ± {entry["half_width_95"]:.{digits}f}' if entry and 'half_width_95' in entry else ''
  return f'{entry["mean"]:.{digits}f}{width}' if entry else ''
