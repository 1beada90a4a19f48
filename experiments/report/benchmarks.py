"""Markdown tables of the results of experiments.bench."""

import itertools
import re
import statistics

import numpy as np

from experiments.benchmarks import curves
from experiments.report.formatting import command_of, details, estimate, markdown, portable, unclear

_BATCH = re.compile(r'batch (\d+), ')
_TAKES = (
  'Medians. “genaug takes” is the time of genaug divided by that of the peer to its left, the median over blocks:'
  ' above 1 genaug is slower.'
)


def _commit(result: dict) -> str:
  return (result['environment']['git_commit'] or 'unknown')[:7]


def _about(result: dict, commit: bool = True) -> str:
  """Returns a line about a measurement: what was measured, versions, devices and, if wanted, the commit."""
  environment = result['environment']
  known = {'excluded: ': result.get('excluded'), 'threads: ': result.get('threads'), 'torch ': environment.get('torch')}
  parts = [f'{name}{value}' for name, value in known.items() if value]
  parts += [*environment['devices'], f'jax {environment["packages"]["jax"]}']
  parts += [f'XLA_FLAGS={xla_flags}'] if (xla_flags := environment.get('xla_flags')) else []
  return '; '.join([result['what'], *parts, *[f'commit {_commit(result)}'] * commit])


def _step(result: dict) -> list[str]:
  """Returns the table of training steps, a row per network; a program that could not be measured has the reason."""
  programs = dict.fromkeys(name for found in result.values() for name in (found['milliseconds'] | found['missing']))
  peers, rows = [name for name in programs if name != 'genaug'], []
  for network, found in result.items():
    medians = {name: f'{statistics.median(times):.1f}' for name, times in found['milliseconds'].items()}
    sizes = ['x'.join(map(str, found['images'])), ' + '.join(f'{count:,}' for count in found['parameters'].values())]
    rows.append([network, _BATCH.search(found['what'])[1], *sizes, medians['genaug']])
    for peer in peers:
      takes = found['genaug_takes'].get(peer)
      rows[-1] += [medians.get(peer) or found['missing'].get(peer, ''), f'{takes:.2f}' if takes else '']
    rows[-1].append(_commit(found))
  columns = [column for peer in peers for column in (peer, 'genaug takes')]
  about = dict.fromkeys(_BATCH.sub('', _about(found, commit=False)) for found in result.values())
  return [*about, markdown(['network', 'batch', 'images', 'parameters', 'genaug', *columns, 'commit'], rows), _TAKES]


def _layers(result: dict) -> list[str]:
  rows = []
  for name, blocks in result['milliseconds'].items():
    layer = result['layers'][name]
    groups = f', {layer["groups"]} groups' * (layer['groups'] > 1)
    side, features = layer['side'], f'{layer["in_features"]} to {layer["out_features"]}'
    medians = {who: f'{statistics.median(times):.2f}' for who, times in blocks.items()}
    others = [(medians[who], f'{takes:.2f}') for who, takes in result['genaug_takes'][name].items() if who != 'genaug']
    sizes = [f'{layer["op"]}{groups}', str(layer['batch']), f'{side}x{side}', features]
    rows.append([name, *sizes, medians['genaug'], *itertools.chain(*others)])
  header = ['layer', 'operation', 'batch', 'images', 'channels', 'genaug', 'XLA', 'genaug takes', 'torch eager']
  return [_about(result), markdown([*header, 'genaug takes'], rows), _TAKES]


def _in_step(result: dict) -> list[str]:
  rows = [
    [name, f'{statistics.median(times):.1f}', f'{100 * (result["takes"][name] - 1):+.1f} %']
    for name, times in result['milliseconds'].items()
  ]
  apart = [abs(some / other - 1) for some, other in itertools.pairwise(result['milliseconds']['none'])]
  note = f'Two consecutive blocks of one program differ by {100 * statistics.median(apart):.0f} % in the median.'
  return [_about(result), markdown(['augmentation', 'median', 'overhead over none, median over blocks'], rows), note]


def _dispatch(result: dict) -> list[str]:
  ways = ('in groups', 'everywhere')
  rows = [
    [name, *(f'{statistics.median(blocks[way]):.1f}' for way in ways)]
    for name, blocks in result['milliseconds'].items()
  ]
  return [_about(result), markdown(['batch', *ways], rows)]


def _roofline(result: dict) -> list[str]:
  rates = ', '.join(f'{name} {rate:.1f} GB/s' for name, rate in result['gb_per_s'].items())
  return [f'{rates}, {100 * result["share"]:.0f} % of what a copy moves: {_about(result)}']


def _curves(result: dict) -> list[str]:
  """Returns the table of how steps grow, a row per network, and the table of all measured points."""
  rows, every = [], []
  for kind, axes in result['points'].items():
    values = {axis: [(int(n), points[n]) for n in sorted(points, key=int)] for axis, points in axes.items()}
    every += [
      [kind, axis, f'{n}', f'{1e3 * one["seconds"]:.1f}', f'{one["mib"]:,.1f}', f'{one["gflop"]:.2f}']
      for axis, points in values.items()
      for n, one in points
    ]
    fit = lambda points, figure: curves.exponent([n for n, _ in points], [one[figure] for _, one in points])
    if len(by_batch := values.get('batch', [])) > 1 and len(by_side := values.get('side', [])) > 1:
      knee = curves.knee([n for n, _ in by_batch], [one['seconds'] for _, one in by_batch])
      beyond = [point for point in by_batch if point[0] >= knee]
      (fewest, least), (most, largest) = by_batch[0], by_batch[-1]
      rows.append(
        [
          kind,
          f'{knee}',
          f'{fit(beyond, "seconds"):.2f}' if len(beyond) > 1 else '',
          *(f'{fit(by_side, figure):.2f}' for figure in ('seconds', 'mib')),
          f'{(largest["mib"] - least["mib"]) / (most - fewest):.2f}',
        ]
      )
  header = ['', 'knee', 'time ~ batch^', 'time ~ side^', 'memory ~ side^', 'MiB per image of a batch']
  note = (
    'Knee: the smallest batch with 90 % of the highest throughput; the exponent of the batch is fitted from there on.'
    ' Networks for larger images also have more levels. Several devices are simulated on the cores of one CPU.'
  )
  if 'streamed' in result:
    note += f' Streaming the images at every step takes {result["streamed"]:.3f} of the time with resident ones.'
  table = markdown(['network', 'axis', 'value', 'ms', 'MiB', 'GFLOP'], every)
  return [_about(result), markdown(header, rows), note, details('Every point', table)]


def _bounds(result: dict) -> list[str]:
  rows = [[f'{i}', *(f'{value:.2f}' for value in pair)] for i, pair in enumerate(zip(*result['elbo_nats'].values()))]
  difference = result['difference']
  note = f'ELBO of genaug minus that of PyTorch: {difference["mean"]:+.2f} ± {difference["half_width_95"]:.2f} nats.'
  return [_about(result), markdown(['seed', *result['elbo_nats']], rows), note]


def _restored(result: dict) -> list[str]:
  """Returns answers, and the table of PSNR and SSIM of every method for every kind of damage."""
  rows, answers = [], []
  for problem, found in result['problems'].items():
    best, gain = found['best classical'], found['gain_db']
    verb = 'level with' if unclear(gain) else 'above' if gain['mean'] > 0 else '**below**'
    answers.append(f'- {problem}: the VAE is {verb} {best}, {estimate(gain, 2, "+")} dB, paired by image.')
    for method, score in found['methods'].items():
      parameter = found['parameters'].get(method)
      named = f'{method} ({parameter:g})' if parameter else method
      rows.append([problem, named, f'{score["psnr"]:.2f}', f'{score["ssim"]:.3f}'])
  table = markdown(['damage', 'method (its parameter)', 'PSNR, dB', 'SSIM'], rows)
  return ['\n'.join(answers), _about(result), details('Every method', table)]


def _compressed(result: dict) -> list[str]:
  """Returns the table of compression: curves of rate and PSNR with BD-rates, or sizes of lossless files."""
  if 'curves' in result:
    rows = [
      [name, ', '.join(f'{8 * size / result["values"]:.3f}: {quality:.2f}' for size, quality in curve)]
      for name, curve in result['curves'].items()
    ]
    rates = ', '.join(
      f'{name} {"no PSNR in common" if percent is None else f"{percent:+.0f} %"}'
      for name, percent in result['bd_rate_percent'].items()
    )
    table = markdown(['coder', 'bits per value: PSNR in dB'], rows)
    note = f'BD-rate, the bytes of the model relative to each codec at equal PSNR: {rates}. {_at_most_bytes(result)}'
    return [note, _about(result), table]
  bound = result['bound_bytes'] + result['initial_bytes']
  rows = [[name, f'{size:,}', f'{8 * size / result["values"]:.3f}'] for name, size in result['bytes'].items()]
  note = (
    f'The file of genaug is {100 * (result["bytes"]["genaug"] / bound - 1):+.2f} % larger than the bound of its model'
    f' ({result["bound_bytes"]:,.0f} bytes) with the initial bits ({result["initial_bytes"]:,.0f} bytes); its header'
    f' has {result["header_bytes"]:,} bytes. It was decoded in another process, bit by bit equal. The model, which a'
    ' decoder needs, is not counted; it was trained on other images of the same kind.'
  )
  return [_about(result), markdown(['coder', 'bytes', 'bits per value'], rows), note]


def _at_most_bytes(result: dict) -> str:
  """Returns a sentence about the models' PSNR where they take most bytes, and that of the codecs there."""
  most, best = max(result['curves']['genaug'])
  codecs = {name: np.transpose(sorted(curve)) for name, curve in result['curves'].items() if name != 'genaug'}
  there = ', '.join(
    f'{name} {np.interp(most, *curve):.2f} dB' if curve[0, 0] <= most else f'{name} takes more at every quality'
    for name, curve in codecs.items()
  )
  rate = f'{8 * most / result["values"]:.3f} bits per value'
  return f'With the most bytes of a model, {rate}, it reaches {best:.2f} dB; {there}.'


def _stylised(result: dict) -> list[str]:
  """Returns answers, and the table of losses and seconds of the network and of optimising the pixels."""
  columns = ('style_total', 'content_loss', 'style_loss', 'tv_loss')
  rows = [
    [name, *(f'{score[column]:.4f}' for column in columns), f'{score["seconds"]:.4f}']
    for name, score in result['methods'].items()
  ]
  answers = []
  for name, difference in result['more_than_gatys'].items():
    verdict = 'unclear' if unclear(difference) else 'worse' if difference['mean'] > 0 else 'better'
    more = estimate(difference, 3, '+')
    answers.append(
      f'- Weighted loss of the network minus that of {name} of Gatys, paired by image: {more} ({verdict}).'
    )
  if larger := result.get('network_at'):
    shape = 'x'.join(map(str, larger['shape']))
    answers.append(f'- The network stylises {1 / larger["seconds"]:.0f} images of {shape} per second.')
  table = markdown(['', 'weighted loss', 'content', 'style', 'total variation', 'seconds per image'], rows)
  return ['\n'.join(answers), _about(result), table]


def _upscaled(result: dict) -> list[str]:
  """Returns answers, and the table of scores of every run and resizer, by how the inputs were downscaled."""
  rows, answers = [], []
  for way, found in result['inputs'].items():
    for name, gain in found['more_than_bicubic'].items():
      decibels, distance = gain['psnr_y'], gain['lpips']
      answers.append(
        f'- {way}: {name} differs from bicubic by {estimate(decibels, 2, "+")} dB and'
        f' {estimate(distance, 3, "+")} LPIPS, paired by image.'
      )
    for name, scores in found['methods'].items():
      digits = {'psnr': 2, 'ssim': 4, 'lpips': 3}
      cells = [
        f'{scores[score]:.{digits[score.removesuffix("_y")]}f}' if score in scores else ''
        for score in ('psnr_y', 'ssim_y', 'psnr', 'ssim', 'lpips')
      ]
      rows.append([way, name, *cells])
  trained = '; '.join(f'{name}: {text}' for name, text in result['trained'].items())
  header = ['inputs', 'method', 'PSNR of Y, dB', 'SSIM of Y', 'PSNR, dB', 'SSIM', 'LPIPS (AlexNet)']
  return ['\n'.join(answers), f'{_about(result)}. {trained}.', markdown(header, rows)]


def _throughput(result: dict) -> list[str]:
  versions = ', '.join(f'{name} {version}' for name, version in result['versions'].items() if version)
  how = ' '.join(f'{who}: {text}.' for who, text in result['how'].items())
  commit = result['environment']['git_commit']
  later = {
    op for op, sizes in result['operations'].items() if any(cell['git_commit'] != commit for cell in sizes.values())
  }
  measured = f'commit {(commit or "unknown")[:7]}' + f', {", ".join(sorted(later))} at a later one' * bool(later)
  about = f'{result["what"]}. {how} {result["threads"]} threads; jax {versions.replace("genaug ", "", 1)}; {measured}.'
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
  columns = [column for n in (32, 224) for column in (f'genaug, {n}', 'best peer', 'genaug / peer', 'of a copy')]
  table = markdown(['images/s', *columns], every) + '\n\n\\* one draw for the whole batch; ° in uint8.'
  note = 'Geometric means. “Best of all” includes OpenCV and Pillow called directly.'
  return [about, markdown(header, rows), note, details('Every operation', table)]


def _of_another_day(result: dict, earlier: dict) -> list[str]:
  """Compares two measurements of all operations by `ratio`, genaug to the best peer, if both days had that peer."""
  lines, missing = [], {name for some in (result, earlier) for name, version in some['versions'].items() if not version}
  for n in result['summary']:
    now, then = (
      {
        op: sizes[n]['ratio']
        for op, sizes in some['operations'].items()
        if sizes.get(n, {}).get('ratio') and sizes[n]['best_peer'] not in missing
      }
      for some in (result, earlier)
    )
    if both := sorted(now.keys() & then.keys()):
      apart = {op: max(now[op] / then[op], then[op] / now[op]) for op in both}
      most = max(apart, key=apart.get)
      means = (statistics.geometric_mean([ratios[op] for op in both]) for ratios in (now, then))
      lines.append(
        f'- {n}x{n}: {" here, ".join(f"{mean:.2f}" for mean in means)} then, geometric means of {len(both)} operations.'
        f' The ratio of an operation changed by a factor of {statistics.median(apart.values()):.2f} in the median, at'
        f' most by {apart[most]:.2f} (`{most}`).'
      )
  commits = [_commit(some) for some in (result, earlier)]
  about = (
    f'Speed of genaug relative to the best peer, measured on two days (commit {commits[0]} here, {commits[1]} then),'
    f' for operations whose best peer was installed on both (missing on one: {", ".join(sorted(missing)) or "none"}):'
  )
  return [about, '\n'.join(lines)] if lines else []


def _speeds(cell: dict | None) -> list[str]:
  """Returns cells of an operation at one size: speeds of genaug and of the best peer, their ratio, share of a copy."""
  if not cell or not cell['best_peer']:
    return ['', '', '', '']
  best, speeds = cell['best_peer'], cell['images_per_s']
  marks = ' '.join(cell['marks'].get(best, ()))
  sign = '\\*' * ('batch' in marks) + '°' * ('uint8' in marks)
  ours = cell['compared']
  share = f'{cell["of_a_copy"][ours]:.2f}' if 'of_a_copy' in cell else ''
  return [f'{speeds[ours]:,.0f}', f'{best} {speeds[best]:,.0f}{sign}', f'{cell["ratio"]:.2f}', share]


_PATH_FLAGS = ('--data_dir',)  # flags left out of commands: they do not say what was measured
BENCHMARKS = {  # result file: (title, function that renders it)
  'step_time': ('A training step', _step),
  'layer_time': ('Single convolutions', _layers),
  'augment_throughput': ('Throughput of operations', _throughput),
  'augment_in_step': ('Augmentation inside a training step', _in_step),
  'step_curves': ('Cost of a step against batch size, image side and devices', _curves),
  'policy_dispatch': ('Policies: operations computed for the images that drew them, or for all', _dispatch),
  'vae_in_pytorch': ('The same VAE in genaug and in PyTorch', _bounds),
  'roofline': ('Memory bandwidth', _roofline),
}

_RUN_BENCHMARKS = {  # prefix of result files: (title, function that renders one)
  'restoration_': ('Restoration: a VAE and classical methods', _restored),
  'upscaling_': ('Super-resolution: networks and resizers', _upscaled),
  'stylization_': ('Style transfer: a network against optimising the pixels', _stylised),
  'compression_': ('Compression: models against image codecs', _compressed),
}


def rendered(results: dict[str, dict]) -> list[str]:
  """Returns the sections of all results of benchmarks, which are {name of the file: content}."""
  parts = []
  for name, (title, render) in BENCHMARKS.items():
    if name in results:
      measured = [results[name]] if 'environment' in results[name] else results[name].values()
      commands = dict.fromkeys(portable(command_of(one['environment']), _PATH_FLAGS) for one in measured)
      parts += [f'## {title}', *render(results[name])]
      if name == 'augment_throughput' and f'{name}_earlier' in results:
        parts += _of_another_day(results[name], results[f'{name}_earlier'])
      parts += commands
  for start, (title, render) in _RUN_BENCHMARKS.items():
    found = {name: result for name, result in results.items() if name.startswith(start)}
    parts += [f'## {title}'] if found else []
    for name, result in found.items():
      commands = [*result.get('training_commands', []), command_of(result['environment'])]
      parts += [f'### {name.removeprefix(start)}', *render(result), *(portable(one, _PATH_FLAGS) for one in commands)]
  return parts
