"""The headline table on the page: the answer first, then charts, then figures."""

from html import escape

from experiments.pages import charts
from experiments.pages.answers import CAVEAT, answers, clear, percent, tested, verdicts
from experiments.pages.markup import figure, quiet, table


def section(result: dict) -> list[str]:
  parts = [f'<h2>{escape(result["data"])}: do augmented and generated images help where there are few?</h2>']
  for answer, cell in zip(answers(result), result['per_class'].values()):
    first, *more = answer
    lines = [f'<p class="first">{escape(first)}</p>', *(f'<p>{escape(line)}</p>' for line in more)]
    for verdict, titles in verdicts(cell['rows']).items():
      lines += [quiet(f'{verdict} (to no augmentation): {", ".join(titles)}.')] * bool(titles)
    parts.append(f'<div class="answer">{"".join(lines)}</div>')
  plots = [figure(_forest(result, k), f'k = {k}: test accuracy, %') for k in result['per_class']]
  parts += [f'<div class="charts wide">{"".join(plots)}</div>', _LEGEND]
  for k in result['per_class']:
    parts.append(f'<h3>k = {escape(k)}</h3>')
    parts.append(table(['', 'accuracy, %', 'to none', 'to classic', 'ECE, %', 'seeds'], _cells(result, k)))
  return [*parts, quiet(f'{tested(result)} {CAVEAT}')]


_KEY = '<span><svg viewBox="0 0 22 12"><circle cx="11" cy="6" r="4.5" class="mean {}"/></svg>{}</span>'
_LEGEND = (
  '<div class="legend">'
  + _KEY.format('real', 'real images')
  + _KEY.format('generated', 'with generated images')
  + _KEY.format('real hollow', 'no clear difference to no augmentation')
  + '<span><svg viewBox="0 0 22 12"><line x1="11" y1="0" x2="11" y2="12" class="reference"/></svg>'
  'no augmentation</span>'
  '<span>bar: 95 % interval; small dots: seeds</span></div>'
)


def _rows(result: dict, k: str) -> list[tuple[str, dict]]:
  rows = result['per_class'][k]['rows']
  return [(name, rows[name]) for name in result['config']['order'] if name in rows]


def _cells(result: dict, k: str) -> list[list[str]]:
  rows = []
  for name, row in _rows(result, k):
    failed = sum('failed' in run for run in row['runs'])
    seeds = f'{len(row["runs"]) - failed}' + f' ({failed} failed)' * bool(failed)
    if 'accuracy' not in row:
      rows.append([row['title'], 'failed', '', '', '', seeds])
      continue
    gains = [percent(row[key], '+') if key in row and key != f'to_{name}' else '' for key in ('to_none', 'to_classic')]
    rows.append([row['title'], percent(row['accuracy']), *gains, f'{100 * row["ece"]["mean"]:.1f}', seeds])
  return rows


def _forest(result: dict, k: str) -> str:
  """Best first; accuracies in %."""
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
    sure = name == 'none' or clear(row.get('to_none', {'interval_95': (0, 0), 'seeds': 0}))
    told = percent(row['accuracy']) + f', {note}' * bool(missing)
    shown.append(charts.Interval(row['title'], told, 100 * mean, 100 * low, 100 * high, points, kind, sure))
    reference = 100 * mean if name == 'none' else reference
  shown.sort(key=lambda row: -row.mean)
  return charts.forest(f'accuracy of every row with {k} images a class', shown, reference, failed)
