"""Rewrites the result tables of README.md from experiments/results/*.json, so that no figure is typed by hand.

python -m experiments.report [--check]
"""

import json
import pathlib
import statistics

from absl import flags

from experiments import cli

_README = flags.DEFINE_string('readme', 'README.md', 'File with <!-- results --> ... <!-- end of results -->.')
_RESULTS = flags.DEFINE_string('results', 'experiments/results', 'Directory of what seeds and bench have written.')
_CHECK = flags.DEFINE_bool('check', False, 'Change nothing; fail if the tables are out of date.')
_BEGIN, _END = '<!-- results -->', '<!-- end of results -->'


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


def _table(header: list[str], rows: list[list[str]]) -> str:
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def tables(results: pathlib.Path) -> str:
  """The text between the markers."""
  loaded = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob('*.json'))}
  quality = {name: result for name, result in loaded.items() if 'runs' in result}
  header = ['config', 'steps', 'seeds', 'FD (AlexNet relu5)', 'floor', 'KID', 'test ELBO, nats', 'images', 'time a run']
  parts = [_table(header, [_quality_row(name, result) for name, result in quality.items()])]
  parts += [f'`{" ".join(_portable(result["command"]))}`' for result in quality.values()]
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
    parts.append(_table(['program', 'median', 'genaug takes, of it'], rows))
    parts.append('`python -m experiments.bench step`')
  return '\n\n'.join(parts)


def _portable(command: list[str]) -> list[str]:
  """Without the flags that only say where files lie on one machine."""
  return [word for word in command if not word.startswith(('--data_dir', '--workdir'))]


def main() -> int:
  readme = pathlib.Path(_README.value)
  text = readme.read_text()
  before, _, rest = text.partition(_BEGIN)
  after = rest.partition(_END)[2]
  updated = f'{before}{_BEGIN}\n\n{tables(pathlib.Path(_RESULTS.value))}\n\n{_END}{after}'
  if _CHECK.value and updated != text:
    print(f'{readme} is out of date: run python -m experiments.report')
    return 1
  if not _CHECK.value:
    readme.write_text(updated)
  return 0


if __name__ == '__main__':
  cli.run(main)
