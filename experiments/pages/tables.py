"""Results in Markdown and in words."""

import json
import pathlib
import shlex
import statistics

from experiments.pages.answers import CAVEAT, answers, percent, tested


def markdown(header: list[str], rows: list[list[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def headlines(directory: pathlib.Path) -> str:
  """What experiments.reproduce has written there: answers, table and command of every data set, then of every sweep."""
  parts = []
  for path in [*sorted(directory.glob('headline_*.json')), *sorted(directory.glob('sweep_*.json'))]:
    result = json.loads(path.read_text())
    if 'search' in result:
      parts.append(_found(result['search']))
    parts += [
      '\n'.join(f'- {" ".join(answer)}' for answer in answers(result)),
      headline(result),
      f'{tested(result)} {CAVEAT}',
    ]
    parts.append(f'`{_portable(result["command"])}`')
  return '\n\n'.join(parts)


def _found(search: dict) -> str:
  """How a sweep found what is then confirmed on fresh images, and what that is."""
  best = next(trial for trial in search['trials'] if trial['id'] == search['best'])
  settings = ', '.join(f'{key.removeprefix("augment.")}={value:.3g}' for key, value in best['overrides'].items())
  command = ' '.join(['python', '-m', 'experiments.sweep', *search['environment']['command'][1:]])
  return (
    f'`{command}`: the best of {len(search["trials"])} trials has {search["objective"]} {best["mean"]:.3f} over'
    f' {len(best["scores"])} folds of the k images of one subset: {settings}. On fresh subsets and the test images:'
  )


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
    percent(cell[key], sign='+') if key in cell and key != f'to_{name}' else '' for key in ('to_none', 'to_classic')
  ]
  return [percent(cell['accuracy']) + note, *gains, f'{100 * cell["ece"]["mean"]:.1f}']


def _interval(summary: dict, name: str, digits: int) -> str:
  if name not in summary:
    return ''
  entry = summary[name]
  width = f' ± {entry["half_width_95"]:.{digits}f}' if 'half_width_95' in entry else ''
  return f'{entry["mean"]:.{digits}f}{width}'


def _quality_row(name: str, result: dict) -> list[str]:
  run, summary = result['runs'][0], result['summary']
  config, environment = result['config'], result['environment']
  reference = [f'{run[key]:,}' for key in ('eval/samples', 'eval/reference_samples') if key in run]
  images = ' v '.join(reference) or f'{run["eval/elbo_images"]:,}'
  times = [r['seconds'] for r in result['runs'] if r['seconds']]
  minutes = f'{sum(times) / len(times) / 60:.1f} min' if times else 'unknown'
  return [
    f'[`{name}`](configs/{name}.py)',
    f'{config["train"]["steps"]:,}',
    f'{len(result["runs"])}',
    _interval(summary, 'eval/fd_alexnet', 2),
    _interval(summary, 'eval/fd_alexnet_floor', 2),
    _interval(summary, 'eval/kid_alexnet', 3),
    _interval(summary, 'eval/elbo_nats', 1),
    images,
    f'{minutes} on {len(environment["devices"])} {environment["backend"]}',
  ]


def results(directory: pathlib.Path) -> str:
  """What experiments.seeds and experiments.bench have written there."""
  loaded = {path.stem: json.loads(path.read_text()) for path in sorted(directory.glob('*.json'))}
  quality = {name: result for name, result in loaded.items() if 'runs' in result and 'summary' in result}
  header = ['config', 'steps', 'seeds', 'FD (AlexNet relu5)', 'floor', 'KID', 'test ELBO, nats', 'images', 'time a run']
  parts = [markdown(header, [_quality_row(name, result) for name, result in quality.items()])]
  parts += [f'`{_portable(result["command"])}`' for result in quality.values()]
  if 'step_time' in loaded:
    timing = loaded['step_time']
    rows = [
      [name, f'{statistics.median(times):.1f}', f'{timing["genaug_takes"][name]:.2f}']
      for name, times in timing['milliseconds'].items()
    ]
    parts.append(
      f'{timing["what"]}; excluded: {timing["excluded"]}; {timing["threads"]} threads; '
      'torch ' + timing['environment']['torch'] + ', jax ' + timing['environment']['packages']['jax']
    )
    parts.append(markdown(['program', 'median', 'genaug takes, of it'], rows))
    parts.append('`python -m experiments.bench step`')
  for name, render in BENCHES.items():
    if name in loaded:
      parts += render(loaded[name])
  return '\n\n'.join(parts)


def _portable(command: list[str]) -> str:
  """Without the flags that only say where files lie on one machine, spelt --flag=value or --flag value."""
  where = ('--data_dir', '--workdir')
  kept = [word for before, word in zip(['', *command], command) if before not in where]
  return shlex.join(word for word in kept if not word.startswith(where))


def _throughput(result: dict) -> list[str]:
  parts = [f'{result["what"]}. ' + ' '.join(f'{who}: {how}.' for who, how in result['how'].items())]
  versions = ', '.join(f'{name} {version}' for name, version in result['versions'].items() if version)
  parts[0] += f' {result["threads"]} threads; jax {versions.replace("genaug ", "", 1)}.'
  rows = [
    [
      f'{n}x{n}',
      f'{figures["operations"]}',
      f'{figures["geometric_mean_to_libraries"]:.2f}',
      f'{figures["geometric_mean"]:.2f}',
      ', '.join(f'{op} {ratio:.2f}' for op, ratio in sorted(figures['below_0.5'].items(), key=lambda x: x[1]))
      or 'none',
    ]
    for n, figures in result['summary'].items()
  ]
  header = ['images', 'operations', 'genaug / best library', 'genaug / best of all', 'below 0.5 of the best of all']
  parts.append(markdown(header, rows) + '\n\nGeometric means; of all: with OpenCV and Pillow called directly.')
  rows = []
  for op, sizes in sorted(result['operations'].items()):
    cells = [cell for n in ('32', '224') for cell in _throughput_cell(sizes.get(n))]
    rows.append([f'`{op}`', *cells])
  header = ['images/s', 'genaug, 32', 'best peer', 'ratio', 'genaug, 224', 'best peer', 'ratio']
  table = markdown(header, rows)
  marks = '\\* one draw for the whole batch; ° in uint8.'
  parts.append(f'<details><summary>Every operation</summary>\n\n{table}\n\n{marks}\n\n</details>')
  parts.append('`python -m experiments.bench augment --output experiments/results/augment_throughput.json`')
  return parts


def _throughput_cell(cell: dict | None) -> list[str]:
  if not cell or not cell['best_peer']:
    return ['', '', '']
  best, speeds = cell['best_peer'], cell['images_per_s']
  marks = ' '.join(cell['marks'].get(best, ()))
  sign = '\\*' * ('batch' in marks) + '°' * ('uint8' in marks)
  return [f'{speeds[cell["compared"]]:,.0f}', f'{best} {speeds[best]:,.0f}{sign}', f'{cell["ratio"]:.2f}']


def _in_step(result: dict) -> list[str]:
  rows = [
    [name, f'{statistics.median(times):.1f}', f'{100 * (result["takes"][name] - 1):+.1f} %']
    for name, times in result['milliseconds'].items()
  ]
  title = f'{result["what"]}; excluded: {result["excluded"]}; {_machine(result)}'
  command = '`python -m experiments.bench in-step --output experiments/results/augment_in_step.json`'
  return [title, markdown(['augmentation', 'median', 'more than none, median block by block'], rows), command]


def _dispatch(result: dict) -> list[str]:
  rows = [
    [name, *(f'{statistics.median(blocks[way]):.1f}' for way in ('in groups', 'everywhere'))]
    for name, blocks in result['milliseconds'].items()
  ]
  command = '`python -m experiments.bench dispatch --output experiments/results/policy_dispatch.json`'
  return [f'{result["what"]}; {_machine(result)}', markdown(['batch', 'in groups', 'everywhere'], rows), command]


def _roofline(result: dict) -> list[str]:
  rates = ', '.join(f'{name} {rate:.1f} GB/s' for name, rate in result['gb_per_s'].items())
  command = '`python -m experiments.bench roofline --output experiments/results/roofline.json`'
  return [f'{result["what"]}: {rates}, a share of {result["share"]:.2f}; {_machine(result)}', command]


def _machine(result: dict) -> str:
  environment = result['environment']
  return f'{", ".join(environment["devices"])}, jax {environment["packages"]["jax"]}'


BENCHES = {
  'augment_throughput': _throughput,
  'augment_in_step': _in_step,
  'policy_dispatch': _dispatch,
  'roofline': _roofline,
}


def features() -> str:
  """What the peers have, by the name of it; ours by its test."""
  from experiments.features import FEATURES, VERSIONS

  rows = []
  for feature, names in FEATURES.items():
    test = names['genaug'].partition('::')[0]
    ours = f'[{names["genaug"].partition("::")[2].removeprefix("test_").replace("_", " ")}]({test})'
    rows.append([feature, ours, *(f'`{names[peer].rpartition(".")[2]}`' if names[peer] else '' for peer in VERSIONS)])
  header = ['', 'genaug: the test', *(f'{peer} {version}' for peer, version in VERSIONS.items())]
  return f'<details><summary>{len(rows)} features</summary>\n\n{markdown(header, rows)}\n\n</details>'


def operations() -> str:
  """Every operation of a config, in its order."""
  from genaug.augment import registry

  return registry.table()
