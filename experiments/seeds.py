"""Trains one config with several seeds and reports each score's mean and 95 % interval over them.

python -m experiments.seeds --config configs/gan_fashion_mnist.py --seeds 0,1,2 --output experiments/results/NAME.json

If data.per_class is set, every seed draws other images. The last picture of the first seed is saved beside the output.
Seeds run one after another, each in WORKDIR/seed<N>. Run the same command again after an interruption: finished seeds
are read from their logs, an unfinished one resumes. The file is rewritten after every seed.
"""

import json
import math
import pathlib
import shutil
import sys

from absl import flags

from experiments import cli

_CONFIG = cli.define_config()
_DATA_DIR = cli.define_data_dir()
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds to train with.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Parent directory of the runs. Default: runs/<config name>.')
_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write scores, means and intervals to.', required=True)
flags.mark_flag_as_required('config')
flags.adopt_module_key_flags(cli)


def main() -> int:
  from genaug.errors import InputError
  from genaug.study import seeds
  from genaug.training import workdir
  from genaug.training.logs import say

  parent = pathlib.Path(_WORKDIR.value or f'runs/{cli.config_name()}')
  if not _SEEDS.value or not all(seed.isdigit() for seed in _SEEDS.value) or len(set(_SEEDS.value)) < len(_SEEDS.value):
    raise InputError('seeds', ','.join(_SEEDS.value), 'must be different whole numbers', '--seeds 0,1,2')
  output, runs = pathlib.Path(_OUTPUT.value), []
  for seed in map(int, _SEEDS.value):
    directory = parent / f'seed{seed}'
    say(f'seed {seed}')
    run = seeds.train(_CONFIG.value, seed, directory, pathlib.Path(_DATA_DIR.value), say)
    if run is None:
      return 0
    picture = run.pop('picture')
    del run['curve']
    runs.append(run)
    content = {
      'command': ['python', '-m', 'experiments.seeds', *sys.argv[1:]],
      'config': json.loads(_CONFIG.value.to_json()),
      'environment': workdir.environment(),
      'summary': seeds.summarise(runs),
      'runs': runs,
    }
    workdir.write_json(output, content)
    if seed == int(_SEEDS.value[0]):
      shutil.copy(picture, output.with_suffix('.png'))
  for name, entry in content['summary'].items():
    print(f'{name}: {entry["mean"]:.4g} ± {entry.get("half_width_95", math.nan):.2g} (n = {len(runs)} seeds)')
  return 0


if __name__ == '__main__':
  cli.run(main)
