"""Sentences about a headline table. Only a significant difference is called a gain or a loss."""

from collections.abc import Callable

from genaug.study.intervals import holm, paired_p

CAVEAT = (
  'Gains and losses, bold: p < 0.05 in a paired t-test over seeds, corrected for the number of rows within each column '
  '(Holm 1979). Brackets: BCa bootstrap 95 % intervals over seeds, not corrected; with few seeds they are too narrow '
  '(with 5, about 84 % contain the true mean). Differences (Δ) are taken seed by seed, in points. ECE: expected '
  'calibration error, %.'
)
_LEVEL = 0.05


def about_test(result: dict) -> str:
  """Returns a sentence on the test conditions: data set, classes, seeds, test images and classifier."""
  images, seeds = result['images'], result['config']['seeds']
  classes = f'{len(images["classes"])} classes'
  unlabelled = any(row.get('unlabelled') for row in result['config']['rows'].values())
  others = ' (FixMatch: and all others without labels)' * unlabelled
  about = f'{result["data"]}: {classes}, k training images each{others}, {seeds} seeds, {images["test"]:,} test images.'
  if not (classifier := result['config'].get('classifier')):
    return about
  model, train = classifier['model'], classifier['train']
  trained = f'{train["steps"]:,} steps of {train["batch_size"]} images'
  return f'{about} Classifier: {model.get("network", "cnn")} of width {model["width"]}, {trained}.'


def answers(result: dict) -> list[list[str]]:
  """Returns a few sentences for every k, the most important one first."""
  return [_answer(result, k) for k in result['per_class']]


def _answer(result: dict, k: str) -> list[str]:
  everything = with_p_values(result['per_class'][k]['rows'])
  rows = {name: row for name, row in everything.items() if 'accuracy' in row}
  of = '' if len(everything) == len(result['config']['order']) else f' ({len(everything)} rows so far)'
  if not rows:
    return [f'k = {k}{of}: every run failed.']
  best = _best(rows)
  sentences = [f'k = {k}{of}: the highest mean accuracy, {_accuracy(rows[best])}, is that of {_quoted(rows[best])}']
  if best == 'none' or 'to_none' not in rows[best]:
    sentences[0] += '.'
  else:
    others = [other for other in ('none', 'classic') if f'to_{other}' in rows[best] and other != best]
    sentences[0] += f': {", ".join(_difference(rows[best], other) for other in others)}.'
    if not is_significant(rows[best]['to_none']):
      sentences.append('More seeds may tell.')
  generated = {name: row for name, row in rows.items() if result['config']['rows'][name]['generator']}
  if generated and best not in generated:
    name = _best(generated)
    compared = [_difference(rows[name], other) for other in ('none', 'classic') if f'to_{other}' in rows[name]]
    sentences.append(
      f'The highest with generated images, {_accuracy(rows[name])}, is that of {_quoted(rows[name])}'
      + (f': {", ".join(compared)}.' if compared else '.')
    )
  return sentences


def verdicts(rows: dict[str, dict]) -> dict[str, list[str]]:
  """Groups rows by their difference from row `none`, as title and percentage points, in descending order."""
  groups: dict[str, list[str]] = {name: [] for name in ('Gains', 'Losses', 'No clear difference', 'One seed')}
  compared = [row for name, row in with_p_values(rows).items() if 'to_none' in row and name != 'none']
  for row in sorted(compared, key=lambda row: -row['to_none']['mean']):
    difference = row['to_none']
    unclear = 'One seed' if difference['seeds'] < 2 else 'No clear difference'
    verdict = ('Gains' if difference['mean'] > 0 else 'Losses') if is_significant(difference) else unclear
    groups[verdict].append(f'{_quoted(row)} {100 * difference["mean"]:+.1f}')
  return groups


def with_p_values(rows: dict[str, dict]) -> dict[str, dict]:
  """Adds p-values `p`, corrected for the number of rows, to the rows' differences from `none` and `classic`."""
  accuracy = {
    name: {run['seed']: run['accuracy'] for run in row['runs'] if 'accuracy' in run} for name, row in rows.items()
  }
  with_p = {name: dict(row) for name, row in rows.items()}
  for other in ('none', 'classic'):
    key, reference = f'to_{other}', accuracy.get(other, {})
    names = [name for name, row in rows.items() if key in row and name != other]
    p = [paired_p([accuracy[n][seed] - reference[seed] for seed in accuracy[n] if seed in reference]) for n in names]
    for name, corrected in zip(names, holm(p), strict=True):
      with_p[name][key] = rows[name][key] | {'p': corrected}
  return with_p


def is_significant(difference: dict) -> bool:
  """Whether a difference in rows returned by `with_p_values` is significant; with one seed none is."""
  return difference.get('p', 1) < _LEVEL


def _best(rows: dict[str, dict]) -> str:
  return max(rows, key=lambda name: rows[name]['accuracy']['mean'])


def _quoted(row: dict) -> str:
  return f'“{row["title"]}”'


def _accuracy(row: dict) -> str:
  return f'{100 * row["accuracy"]["mean"]:.1f} %'


def _difference(row: dict, other: str) -> str:
  difference = row[f'to_{other}']
  name = {'none': 'no augmentation', 'classic': 'classic augmentation'}[other]
  points = 100 * difference['mean']
  if difference['seeds'] < 2:
    return f'{points:+.1f} points relative to {name} with one seed, so no interval'
  low, high = (100 * bound for bound in difference['interval_95'])
  sure = f'[{low:+.1f}, {high:+.1f}], {_p(difference)}'
  if not is_significant(difference):
    return f'no clear difference from {name}: {points:+.1f} points {sure}'
  return f'a {"gain" if points > 0 else "loss"} of {abs(points):.1f} points against {name} {sure}'


def _p(difference: dict) -> str:
  return 'p < 0.001' if difference['p'] < 0.001 else f'p = {difference["p"]:.3f}'


def percent(summary: dict, sign: str = '') -> str:
  """Formats mean [low, high] in percent, of a share or a difference of shares."""
  low, high = summary['interval_95']
  return f'{100 * summary["mean"]:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]'


def figures(name: str, row: dict, marked: Callable[[str], str] = str) -> list[str]:
  """Returns cells of a row: accuracy, differences from rows `none` and `classic`, ECE.

  A difference that is missing, or from the row itself, is ''. `marked` formats those that are significant.
  """
  failed = sum('failed' in run for run in row['runs'])
  note = f' ({failed} of {len(row["runs"])} failed)' if failed else ''
  if 'accuracy' not in row:
    return [f'failed{note}', '', '', '']
  keys = 'to_none', 'to_classic'
  differences = {key: percent(row[key], sign='+') for key in keys if key in row and key != f'to_{name}'}
  shown = [
    marked(differences[key]) if key in differences and is_significant(row[key]) else differences.get(key, '')
    for key in keys
  ]
  return [percent(row['accuracy']) + note, *shown, f'{100 * row["ece"]["mean"]:.1f}']
