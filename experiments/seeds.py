"""Trains one config with several seeds and reports each score's mean and 95 % interval over them.

python -m experiments.seeds --config configs/gan_fashion_mnist.py --seeds 0,1,2 --output experiments/results/NAME.json

The last picture of the first seed goes beside the output. Seeds run one after another, each in WORKDIR/seed<N>. Run the
same command again after an interruption: finished seeds are read from their logs, an unfinished one resumes. The file
is rewritten after every seed.
"""

import json
import math
import pathlib
import shutil
import sys
import time

from absl import flags

from experiments import cli

_CONFIG = cli.define_config()
_DATA_DIR = cli.define_data_dir()
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds to train with.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Parent of the runs. Default: runs/<config name>.')
_OUTPUT = flags.DEFINE_string('output', None, 'JSON file of raw scores, means and intervals.', required=True)
flags.mark_flag_as_required('config')
flags.adopt_module_key_flags(cli)


def _summarise(runs: list[dict]) -> dict[str, dict[str, float]]:
  """Mean and interval of every score."""
  from genaug.study.intervals import mean_interval

  names = [name for name, value in runs[0].items() if name.startswith('eval/') and not isinstance(value, str)]
  return {name: mean_interval([run[name] for run in runs]) for name in names}


def main() -> int:
  from genaug.errors import InputError
  from genaug.training import loop, workdir
  from genaug.training.experiment import prepare
  from genaug.training.logs import say

  parent = pathlib.Path(_WORKDIR.value or f'runs/{cli.config_name()}')
  if not all(seed.isdigit() for seed in _SEEDS.value) or len(set(_SEEDS.value)) < len(_SEEDS.value):
    raise InputError('seeds', ','.join(_SEEDS.value), 'not different whole numbers', '--seeds 0,1,2')
  output, runs = pathlib.Path(_OUTPUT.value), []
  for seed in map(int, _SEEDS.value):
    config = _CONFIG.value.copy_and_resolve_references()
    config.seed = seed
    start = time.perf_counter()
    say(f'seed {seed}')
    experiment = prepare(config, pathlib.Path(_DATA_DIR.value), say)
    directory = parent / f'seed{seed}'
    scores = loop.train(experiment, directory, say, start)
    if scores is None:
      return 0
    summary = json.loads((directory / 'summary.json').read_text())
    # Only a run that was never interrupted says how long one takes.
    seconds = None if summary['resumed_at'] else summary['seconds']
    runs.append({'seed': seed, **scores, 'seconds': seconds})
    content = {
      'command': ['python', '-m', 'experiments.seeds', *sys.argv[1:]],
      'config': json.loads(_CONFIG.value.to_json()),
      'environment': workdir.environment(),
      'summary': _summarise(runs),
      'runs': runs,
    }
    workdir.write_json(output, content)
    if seed == int(_SEEDS.value[0]):
      name = next(iter(experiment.task.samplers))
      shutil.copy(directory / 'figures' / f'{name}_{config.train.steps:06d}.png', output.with_suffix('.png'))
  for name, entry in _summarise(runs).items():
    print(f'{name}: {entry["mean"]:.4g} ± {entry.get("half_width_95", math.nan):.2g} (n = {len(runs)} seeds)')
  return 0


if __name__ == '__main__':
  cli.run(main)
