"""Tables of experiments.compare: scores of many trained models, on which images, and which models are best."""

import itertools
import statistics

from experiments.report.answers import is_significant
from experiments.report.formatting import interval, markdown, portable
from genaug.study.intervals import mean_interval, paired_p

_SCORES = {  # key: (column, digits)
  'eval/fd': ('FD', 2),
  'eval/kid': ('KID', 3),
  'eval/coverage': ('coverage', 2),
  'eval/authpct': ('AuthPct', 0),
  'eval/modes': ('modes', 0),
  'eval/modes_kl': ('KL, nats', 3),
  'eval/elbo_nats': ('ELBO, nats', 1),
  'eval/elbo_train_nats': ('ELBO of training images', 1),
  'eval/iwae_nats': ('IWAE, nats', 1),
  'eval/iwae_elbo_nats': ('ELBO of the same images', 1),
  'eval/bits_per_dim': ('bits/dim', 3),
  'eval/active_units': ('active units', 0),
  'eval/translation_l1': ('L1', 3),
  'eval/translation_ssim': ('SSIM', 3),
  'eval/translation_lpips': ('LPIPS', 3),
  'eval/translation_fd': ('FD', 1),
  'eval/style_total': ('weighted loss', 1),
  'eval/content_loss': ('content loss', 2),
  'eval/style_loss': ('style loss', 2),
  'eval/accuracy': ('accuracy', 3),
  'eval/ece': ('ECE', 3),
  'eval/probe_accuracy': ('accuracy of a linear probe', 3),
}
_SETTINGS = {  # name in a caption: (section, key) in a config
  'network': ('model', 'network'),
  'width': ('model', 'width'),
  'batch': ('train', 'batch_size'),
  'learning rate': ('optim', 'lr'),
}
_HIGHER = {'eval/translation_ssim'}  # translation scores of which a higher one is better


def compares(result: dict, score: str) -> bool:
  """Whether any row of the table has the score; always, if the score is ''."""
  return not score or any(score in row['summary'] for row in result['rows'].values())


def compared(result: dict) -> list[str]:
  """Returns a table's section: answers, scores (the first one also at earlier evaluations), scored images, command."""
  rows = {name: result['rows'][name] for name in result['order'] if name in result['rows']}
  shown = [key for key in _SCORES if any(key in row['summary'] for row in rows.values())]
  curves = [[line[shown[0]] for line in row['runs'][0]['curve'] if shown[0] in line] for row in rows.values()]
  header = ['model', 'seeds', 'steps', 'minutes', *(_SCORES[key][0] for key in shown)]
  body = []
  for row in rows.values():
    seconds = [run['seconds'] for run in row['runs'] if run['seconds']]
    minutes = f'{statistics.fmean(seconds) / 60:.1f}' if seconds else ''
    scores = [interval(row, key, _SCORES[key][1]) for key in shown]
    body.append([row['title'], str(len(row['runs'])), f'{row["config"]["train"]["steps"]:,}', minutes, *scores])
  for name, title in (
    ('baseline', 'real images'),
    ('identity', 'untranslated images'),
    ('pixels', 'a linear probe of pixels'),
  ):
    scores = [interval(row, f'{key}_{name}', _SCORES[key][1]) for key in shown]
    body += [[title, '', '', '', *scores]] if any(scores) else []
  if any(curves):
    header.append(f'{_SCORES[shown[0]][0]} at evaluations before')
    digits = _SCORES[shown[0]][1]
    for line, curve in itertools.zip_longest(body, curves, fillvalue=()):
      line.append(', '.join(f'{value:.{digits}f}' for value in curve))
  answers = [*_lowest(rows, shown), *_gains(rows), *_to_identity(rows, shown)]
  missing = [name for name in result['order'] if name not in rows]
  missing = [f'Not run yet: {", ".join(missing)}.'] if missing else []
  return [*answers, markdown(header, body), *missing, _scored_on(rows), portable(result['command'])]


def _to_identity(rows: dict, shown: list[str]) -> list[str]:
  """Says of every row in which scores its translations are better than untranslated images."""
  parts = []
  for row in rows.values():
    means = {key: (row['summary'].get(key), row['summary'].get(f'{key}_identity')) for key in shown}
    known = {key: (own['mean'], identity['mean']) for key, (own, identity) in means.items() if own and identity}
    better = {key for key, (own, identity) in known.items() if (own > identity) == (key in _HIGHER)}
    if known:
      names = [', '.join(_SCORES[key][0] for key in known if (key in better) == of) for of in (True, False)]
      verdict = f'{names[0] or "no score"}; not in {names[1]}' if names[1] else 'every score'
      seeds = ' (one seed)' * all('half_width_95' not in row['summary'][key] for key in known)
      parts.append(f'- {row["title"]}{seeds}: better than images as they are in {verdict}.')
  return ['\n'.join(parts)] if parts else []


def _gains(rows: dict) -> list[str]:
  """Says by how much the most accurate row is above the next one, seed by seed."""
  accuracies = {
    row['title']: {run['seed']: run['eval/accuracy'] for run in row['runs'] if 'eval/accuracy' in run}
    for row in rows.values()
  }
  mean = lambda name: statistics.fmean(accuracies[name].values())
  ranked = sorted((name for name, scores in accuracies.items() if scores), key=mean, reverse=True)
  if len(ranked) < 2:
    return []
  best, second = (accuracies[name] for name in ranked[:2])
  differences = [100 * (best[seed] - second[seed]) for seed in sorted(best.keys() & second.keys())]
  gain = mean_interval(differences)
  width = f' ± {gain["half_width_95"]:.1f}' if 'half_width_95' in gain else ''
  unclear = 'No clear difference: ' * (not is_significant({'p': paired_p(differences)}))
  return [f'{unclear}“{ranked[0]}” is {gain["mean"]:.1f}{width} points above “{ranked[1]}”, seed by seed.']


def _scored_on(rows: dict) -> str:
  """Returns a line on what the scores were computed on, taken to be the same in all rows, and on shared settings."""
  scores = {name: value for row in rows.values() for name, value in row['runs'][0].items()}
  parts = []
  if 'eval/network' in scores:
    parts.append(
      f'{scores["eval/samples"]:,} samples v {scores["eval/reference_samples"]:,} of {scores["eval/reference_split"]},'
      f' {scores["eval/network"]}; baseline of {scores["eval/baseline_samples"]:,} training images'
    )
  if 'eval/translations' in scores:
    network = scores['eval/translation_network']
    parts.append(
      f'{scores["eval/translations"]:,} images of {scores["eval/translation_split"]}, FD {network}, LPIPS alexnet'
    )
  if 'eval/accuracy_images' in scores:
    parts.append(f'accuracy on {scores["eval/accuracy_images"]:,} images of {scores["eval/accuracy_split"]}')
  if 'eval/style_images' in scores:
    network, split = scores['eval/style_network'], scores['eval/style_split']
    parts.append(f'losses by {network} of {scores["eval/style_images"]:,} images of {split}, each in a random style')
  if 'eval/probe_images' in scores:
    labels, images, split = (scores[f'eval/probe_{name}'] for name in ('labels', 'images', 'split'))
    parts.append(f'probes of {labels} labels a class, tested on {images:,} images of {split}')
  if 'eval/elbo_images' in scores:
    parts.append(f'ELBO of {scores["eval/elbo_images"]:,} images of {scores["eval/elbo_split"]}')
  if 'eval/iwae_draws' in scores:
    parts.append(f'IWAE of {scores["eval/iwae_draws"]:,} draws of the first {scores["eval/iwae_images"]:,} of them')
  return '; '.join([*parts, *_shared_settings(rows)])


def _shared_settings(rows: dict) -> list[str]:
  """Returns the settings that are the same in all rows, as one entry, or none."""
  settings = []
  for name, (group, key) in _SETTINGS.items():
    values = {row['config'].get(group, {}).get(key) for row in rows.values()}
    if len(values) == 1 and None not in values:
      settings.append(f'{name} {values.pop()}')
  return [f'all rows: {", ".join(settings)}'] if settings else []


def _lowest(rows: dict, shown: list[str]) -> list[str]:
  """Says which two rows have the lowest FD, KID or loss; copies of training images, which score well, are left out."""
  mean = lambda row, key: row['summary'].get(key, {}).get('mean', 0)
  copies = [row for row in rows.values() if mean(row, 'eval/authpct') < mean(row, 'eval/authpct_baseline') - 10]
  parts, others = [], [row for row in rows.values() if row not in copies]
  for key in ('eval/fd', 'eval/kid', 'eval/style_total'):
    if key in shown and len(others) > 1:
      first, second, *_ = sorted(others, key=lambda row: row['summary'][key]['mean'])
      named = (f'{row["title"]} ({interval(row, key, _SCORES[key][1])})' for row in (first, second))
      apart = _apart(first, second, key)
      parts.append(f'Lowest {_SCORES[key][0]}: {", then ".join(named)}{apart}.')
  if parts and copies:
    parts.append(f'Left out, as its AuthPct says copies: {", ".join(row["title"] for row in copies)}.')
  return [' '.join(parts)] if parts else []


def _apart(first: dict, second: dict, key: str) -> str:
  """Returns a caveat if the order of two means may be chance: they are of one seed, or their intervals overlap."""
  single = [row['title'] for row in (first, second) if 'half_width_95' not in row['summary'][key]]
  if single:
    return '; of one seed' if len(single) == 2 else f'; {single[0]} of one seed'
  low, high = (row['summary'][key] for row in (first, second))
  overlap = low['mean'] + low['half_width_95'] > high['mean'] - high['half_width_95']
  return '; their intervals overlap' * overlap
