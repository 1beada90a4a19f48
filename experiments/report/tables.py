"""Results in Markdown: sections of README.md, genaug/augment/README.md, and all of experiments/results/README.md."""

import ast
import json
import pathlib
import re
import shlex
import statistics
from collections.abc import Sequence

from experiments.report.answers import CAVEAT, about_test, answers, figures

_CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _details(summary: str, content: str) -> str:
  return f'<details><summary>{summary}</summary>\n\n{content}\n\n</details>'


def _read(directory: pathlib.Path, pattern: str = '*.json') -> dict[str, dict]:
  return {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob(pattern))}


def _portable(command: list[str]) -> str:
  """Without the flags that only say where files lie on one machine, spelt --flag=value or --flag value."""
  where = ('--data_dir', '--workdir')
  kept = [word for before, word in zip(['', *command], command) if before not in where]
  return f'`{shlex.join(word for word in kept if not word.startswith(where))}`'


# ---------------------------------------------------------------- README.md


def chosen_headline(directory: pathlib.Path) -> str:
  """The headline table of one data set, the one with the most test images."""
  return _headline(max(_read(directory, 'headline_*.json').values(), key=lambda result: result['images']['test']))


def configs(directory: pathlib.Path) -> str:
  """Every config: the first line of its docstring, its paper, and what its result file says."""
  rows = []
  for path in sorted(_CONFIGS.glob('*.py')):
    about = (ast.get_docstring(ast.parse(path.read_text())) or '').partition('\n')[0]
    if path.stem in ('base', 'comparisons', 'headline'):
      continue
    paper = re.search(r' \(([^()]*), arXiv:([\d.]+\d)\)', about)
    results = _read(directory, f'{path.stem}.json').values()
    time, score = next(((_time(result), _score(result)) for result in results), ('', ''))
    link = f'[{paper[1].removeprefix("networks of ")}](https://arxiv.org/abs/{paper[2]})' if paper else ''
    about = about.replace(paper[0], '') if paper else about
    rows.append([f'[`{path.stem}`](configs/{path.name})', about.rstrip('.'), link, time, score])
  return markdown(['config', 'trains', 'paper', 'time', 'score'], rows)


def _time(result: dict) -> str:
  seconds = [run['seconds'] for run in result['runs'] if run['seconds']]
  environment = result['environment']
  minutes = f'{statistics.fmean(seconds) / 60:.1f} min' if seconds else 'unknown'
  return f'{minutes} on {len(environment["devices"])} {environment["backend"]}'


def _score(result: dict) -> str:
  named = (('eval/fd', 'FD', 2), ('eval/elbo_nats', 'ELBO, nats', 1))
  return ', '.join(
    f'{name} {_interval(result, key, digits)}' for key, name, digits in named if key in result['summary']
  )


def _interval(result: dict, name: str, digits: int) -> str:
  entry = result['summary'].get(name)
  width = f' ± {entry["half_width_95"]:.{digits}f}' if entry and 'half_width_95' in entry else ''
  return f'{entry["mean"]:.{digits}f}{width}' if entry else ''


# ---------------------------------------------------------------- experiments/results/README.md


def results(directory: pathlib.Path) -> str:
  """Every table that the project publishes, each with its command."""
  loaded, parts = _read(directory), [_INTRODUCTION]
  parts += ['## Few-shot accuracy with augmentation, synthetic data, or both']
  parts += [_headline(result) for name, result in loaded.items() if name.startswith('headline_')]
  parts += ['## Augmentation found by a sweep']
  parts += [_found(r['search']) + '\n\n' + _headline(r) for name, r in loaded.items() if name.startswith('sweep_')]
  trained = {name: result for name, result in loaded.items() if {'runs', 'summary'} <= result.keys()}
  parts += ['## Generative models', _TRAINED, _quality(trained)]
  parts += [_portable(result['command']) for result in trained.values()]
  compared = [result for result in loaded.values() if {'order', 'rows'} <= result.keys()]
  if compared:
    parts += ['## Which generator, of how many images', _COMPARED]
    parts += [part for result in compared for part in (f'### {result["title"]}', *_generators(result))]
  for name, (title, table, render) in BENCHMARKS.items():
    if name in loaded:
      command = f'`python -m experiments.bench {table} --output experiments/results/{name}.json`'
      parts += [f'## {title}', *render(loaded[name]), command]
  parts += ['## What other libraries have', 'Names are checked by `python -m experiments.features`.', _features()]
  return '\n\n'.join(parts) + '\n'


_INTRODUCTION = """# Results

Raw results of the programs, and what they say. `make docs` writes this file; no figure in it is typed by hand."""
_TRAINED = """FD and KID use AlexNet's relu5 features (images bilinear to 64x64, 256 values; **not** the InceptionV3 of
"FID"), generated images against the test split, averaged weights, batch norm in inference mode. The real-vs-real
baseline is the distance of as many real training images (of all, where there are fewer). ± is the half width of a 95 %
t-interval over seeds."""


_COMPARED = """Scores as above; coverage and AuthPct: arXiv:2002.09797 with k = 5, arXiv:2102.08921. An AuthPct far
below that of real images means copies, which FD rewards. The last row has the figures of real images: training images
v test images, of AuthPct test images v training images; where there are few training images their FD is high as it
is. Minutes are of whole runs with three evaluations, on one or two cores beside other work: steps say more of cost."""


def _headline(result: dict) -> str:
  """Answers, table, what it is of and the command."""
  sentences = '\n'.join(f'- {" ".join(answer)}' for answer in answers(result))
  return '\n\n'.join([sentences, headline(result), f'{about_test(result)} {CAVEAT}', _portable(result['command'])])


def headline(result: dict) -> str:
  """Accuracy of every row at every k, and its differences to rows `none` and `classic`, with intervals."""
  ks = list(result['per_class'])
  header, rows = [result['data']], []
  for k in ks:
    header += [f'k = {k}: accuracy', 'Δ vs none', 'Δ vs classic', 'ECE']
  for name in result['config']['order']:
    cells = [result['per_class'][k]['rows'].get(name) for k in ks]
    title = next((cell['title'] for cell in cells if cell), None)
    if title:
      rows.append([title, *(text for cell in cells for text in (figures(name, cell) if cell else [''] * 4))])
  return markdown(header, rows)


def _found(search: dict) -> str:
  """How a sweep found what is then confirmed on fresh images, and what that is."""
  best = next(trial for trial in search['trials'] if trial['id'] == search['best'])
  settings = ', '.join(f'{key.removeprefix("augment.")}={value:.3g}' for key, value in best['overrides'].items())
  command = _portable(['python', '-m', 'experiments.sweep', *search['environment']['command'][1:]])
  return (
    f'{command}: the best of {len(search["trials"])} trials has {search["objective"]} {best["mean"]:.3f} over'
    f' {len(best["scores"])} folds of the k images of one subset: {settings}. On fresh subsets and the test images:'
  )


def _quality(trained: dict[str, dict]) -> str:
  header = ['config', 'steps', 'seeds', 'FD (AlexNet relu5)', 'real-vs-real baseline', 'KID', 'test ELBO, nats']
  rows = []
  for name, result in trained.items():
    run, config = result['runs'][0], result['config']
    counts = [f'{run[key]:,}' for key in ('eval/samples', 'eval/reference_samples') if key in run]
    scores = [('fd', 2), ('fd_baseline', 2), ('kid', 3), ('elbo_nats', 1)]
    images = ' v '.join(counts) or f'{run["eval/elbo_images"]:,}'
    start = [f'[`{name}`](../../configs/{name}.py)', f'{config["train"]["steps"]:,}', f'{len(result["runs"])}']
    rows.append([*start, *(_interval(result, f'eval/{key}', n) for key, n in scores), images, _time(result)])
  return markdown([*header, 'images', 'time a run'], rows)


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
  'eval/iwae_elbo_nats': ('ELBO of those', 1),
  'eval/bits_per_dim': ('bits/dim', 3),
  'eval/active_units': ('active units', 0),
}


def _generators(result: dict) -> list[str]:
  """A table of experiments.compare: every row's scores, the first also on the way, what they are of, the command."""
  rows = {name: result['rows'][name] for name in result['order'] if name in result['rows']}
  shown = [key for key in _SCORES if any(key in row['summary'] for row in rows.values())]
  curves = [[line[shown[0]] for line in row['runs'][0]['curve'] if shown[0] in line] for row in rows.values()]
  header = ['model', 'seeds', 'steps', 'minutes', *(_SCORES[key][0] for key in shown)]
  body = []
  for row in rows.values():
    seconds = [run['seconds'] for run in row['runs'] if run['seconds']]
    minutes = f'{statistics.fmean(seconds) / 60:.1f}' if seconds else ''
    scores = [_interval(row, key, _SCORES[key][1]) for key in shown]
    body.append([row['title'], str(len(row['runs'])), f'{row["config"]["train"]["steps"]:,}', minutes, *scores])
  real = [_interval(row, f'{key}_baseline', _SCORES[key][1]) for key in shown]
  if any(real):
    body.append(['real images', '', '', '', *real])
  if any(curves):
    header.append(f'{_SCORES[shown[0]][0]} on the way')
    digits = _SCORES[shown[0]][1]
    for line, curve in zip(body, [*curves, []]):
      line.append(', '.join(f'{value:.{digits}f}' for value in curve))
  return [*_lowest(rows, shown), markdown(header, body), _of_images(rows), _portable(result['command'])]


def _of_images(rows: dict) -> str:
  """What the scores are of, where all rows have them of the same."""
  scores = {name: value for row in rows.values() for name, value in row['runs'][0].items()}
  parts = []
  if 'eval/network' in scores:
    parts.append(
      f'{scores["eval/samples"]:,} samples v {scores["eval/reference_samples"]:,} of {scores["eval/reference_split"]},'
      f' {scores["eval/network"]}; baseline of {scores["eval/baseline_samples"]:,} training images'
    )
  if 'eval/elbo_images' in scores:
    parts.append(f'ELBO of {scores["eval/elbo_images"]:,} images of {scores["eval/elbo_split"]}')
  if 'eval/iwae_draws' in scores:
    parts.append(f'IWAE of {scores["eval/iwae_draws"]:,} draws of the first {scores["eval/iwae_images"]:,} of them')
  return '; '.join(parts)


def _lowest(rows: dict, shown: list[str]) -> list[str]:
  """Which two rows have the lowest distances, in a sentence; copies have low ones, too, and are left out."""
  mean = lambda row, key: row['summary'].get(key, {}).get('mean', 0)
  copies = [row for row in rows.values() if mean(row, 'eval/authpct') < mean(row, 'eval/authpct_baseline') - 10]
  parts, others = [], [row for row in rows.values() if row not in copies]
  for key in ('eval/fd', 'eval/kid'):
    if key in shown and len(others) > 1:
      first, second, *_ = sorted(others, key=lambda row: row['summary'][key]['mean'])
      named = (f'{row["title"]} ({_interval(row, key, _SCORES[key][1])})' for row in (first, second))
      parts.append(f'Lowest {_SCORES[key][0]}: {", then ".join(named)}.')
  if parts and copies:
    parts.append(f'Left out, as its AuthPct says copies: {", ".join(row["title"] for row in copies)}.')
  return [' '.join(parts)] if parts else []


def _about(result: dict) -> str:
  environment = result['environment']
  known = {'excluded: ': result.get('excluded'), 'threads: ': result.get('threads'), 'torch ': environment.get('torch')}
  parts = [f'{name}{value}' for name, value in known.items() if value]
  return '; '.join([result['what'], *parts, *environment['devices'], f'jax {environment["packages"]["jax"]}'])


def _step(result: dict) -> list[str]:
  """A row a network; where a program could not be measured, why."""
  programs = dict.fromkeys(name for found in result.values() for name in (found['milliseconds'] | found['missing']))
  peers, rows = [name for name in programs if name != 'genaug'], []
  for network, found in result.items():
    medians = {name: f'{statistics.median(times):.1f}' for name, times in found['milliseconds'].items()}
    sizes = ['x'.join(map(str, found['images'])), ' + '.join(f'{count:,}' for count in found['parameters'].values())]
    rows.append([network, *sizes, medians['genaug']])
    for peer in peers:
      takes = found['genaug_takes'].get(peer)
      rows[-1] += [medians.get(peer) or found['missing'].get(peer, ''), f'{takes:.2f}' if takes else '']
  columns = [column for peer in peers for column in (peer, 'genaug / peer')]
  about = dict.fromkeys(map(_about, result.values()))
  note = 'Medians; genaug / peer is the median block by block.'
  return [*about, markdown(['network', 'images', 'parameters', 'genaug', *columns], rows), note]


def _in_step(result: dict) -> list[str]:
  rows = [
    [name, f'{statistics.median(times):.1f}', f'{100 * (result["takes"][name] - 1):+.1f} %']
    for name, times in result['milliseconds'].items()
  ]
  return [_about(result), markdown(['augmentation', 'median', 'more than none, median block by block'], rows)]


def _dispatch(result: dict) -> list[str]:
  ways = ('in groups', 'everywhere')
  rows = [
    [name, *(f'{statistics.median(blocks[way]):.1f}' for way in ways)]
    for name, blocks in result['milliseconds'].items()
  ]
  return [_about(result), markdown(['batch', *ways], rows)]


def _roofline(result: dict) -> list[str]:
  rates = ', '.join(f'{name} {rate:.1f} GB/s' for name, rate in result['gb_per_s'].items())
  return [f'{rates}, a share of {result["share"]:.2f}: {_about(result)}']


def _bounds(result: dict) -> list[str]:
  rows = [[f'{i}', *(f'{value:.2f}' for value in pair)] for i, pair in enumerate(zip(*result['elbo_nats'].values()))]
  difference = result['difference']
  note = f'genaug is {difference["mean"]:+.2f} ± {difference["half_width_95"]:.2f} nats from PyTorch.'
  return [_about(result), markdown(['seed', *result['elbo_nats']], rows), note]


def _throughput(result: dict) -> list[str]:
  versions = ', '.join(f'{name} {version}' for name, version in result['versions'].items() if version)
  how = ' '.join(f'{who}: {text}.' for who, text in result['how'].items())
  about = f'{result["what"]}. {how} {result["threads"]} threads; jax {versions.replace("genaug ", "", 1)}.'
  rows = []
  for n, means in result['summary'].items():
    below = ', '.join(f'{op} {ratio:.2f}' for op, ratio in sorted(means['below_0.5'].items(), key=lambda x: x[1]))
    ratios = [f'{means[key]:.2f}' for key in ('geometric_mean_to_libraries', 'geometric_mean')]
    rows.append([f'{n}x{n}', f'{means["operations"]}', *ratios, below or 'none'])
  header = ['images', 'operations', 'genaug / best library', 'genaug / best of all', 'below 0.5 of the best of all']
  every = [
    [f'`{op}`', *(text for n in ('32', '224') for text in _speeds(sizes.get(n)))]
    for op, sizes in sorted(result['operations'].items())
  ]
  columns = [column for n in (32, 224) for column in (f'genaug, {n}', 'best peer', 'genaug / peer')]
  table = markdown(['images/s', *columns], every) + '\n\n\\* one draw for the whole batch; ° in uint8.'
  note = 'Geometric means; of all: with OpenCV and Pillow called directly.'
  return [about, markdown(header, rows), note, _details('Every operation', table)]


def _speeds(cell: dict | None) -> list[str]:
  if not cell or not cell['best_peer']:
    return ['', '', '']
  best, speeds = cell['best_peer'], cell['images_per_s']
  marks = ' '.join(cell['marks'].get(best, ()))
  sign = '\\*' * ('batch' in marks) + '°' * ('uint8' in marks)
  return [f'{speeds[cell["compared"]]:,.0f}', f'{best} {speeds[best]:,.0f}{sign}', f'{cell["ratio"]:.2f}']


BENCHMARKS = {  # result file: (title, table of experiments.bench, what renders it)
  'step_time': ('A training step', 'step', _step),
  'augment_throughput': ('Operations a second', 'augment', _throughput),
  'augment_in_step': ('Augmentation inside a training step', 'in-step', _in_step),
  'policy_dispatch': ('Operations of a policy, for the images that drew them or for all', 'dispatch', _dispatch),
  'vae_in_pytorch': ('A VAE here and in PyTorch', 'vae', _bounds),
  'roofline': ('Share of the memory bandwidth', 'roofline', _roofline),
}


def _features() -> str:
  """What the peers have, by the name of it; ours by its test."""
  from experiments.features import FEATURES, VERSIONS

  rows = []
  for feature, names in FEATURES.items():
    file, _, test = names['genaug'].partition('::')
    ours = f'[{test.removeprefix("test_").replace("_", " ")}](../../{file})'
    rows.append([feature, ours, *(f'`{names[peer].rpartition(".")[2]}`' if names[peer] else '' for peer in VERSIONS)])
  header = ['', 'genaug: the test', *(f'{peer} {version}' for peer, version in VERSIONS.items())]
  return _details(f'{len(rows)} features', markdown(header, rows))


# ---------------------------------------------------------------- genaug/augment/README.md


def operations() -> str:
  """Every operation of a config, in its order."""
  from genaug.augment.registry import table

  return table()
