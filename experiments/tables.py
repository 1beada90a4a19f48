"""Markdown tables of results."""


def markdown(header: list[str], rows: list[list[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def headline(result: dict) -> str:
  """Accuracy of every row at every k, and what it gains over rows `none` and `classic`, with bootstrap intervals."""
  ks = list(result['per_class'])
  header = [result['data']]
  for k in ks:
    header += [f'k = {k}: accuracy', 'to none', 'to classic', 'ECE']
  rows = []
  for name in result['config']['order']:
    cells = [result['per_class'][k]['rows'].get(name) for k in ks]
    title = next((cell['title'] for cell in cells if cell), None)
    if title:
      rows.append([title, *(text for cell in cells for text in _cell(name, cell))])
  return markdown(header, rows)


def _cell(name: str, cell: dict | None) -> list[str]:
  if not cell:
    return [''] * 4
  failed = sum('failed' in run for run in cell['runs'])
  note = f' ({failed} of {len(cell["runs"])} failed)' if failed else ''
  if 'accuracy' not in cell:
    return [f'failed{note}', '', '', '']
  gains = [
    _percent(cell[key], sign='+') if key in cell and key != f'to_{name}' else '' for key in ('to_none', 'to_classic')
  ]
  return [_percent(cell['accuracy']) + note, *gains, f'{100 * cell["ece"]["mean"]:.1f}']


def _percent(summary: dict, sign: str = '') -> str:
  low, high = summary['interval_95']
  return f'{100 * summary["mean"]:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]'
