"""Trains one config with several seeds and reports each score's mean and 95 % interval over them.

python -m experiments.seeds --config configs/gan_fashion_mnist.py --seeds 0,1,2 --output experiments/results/NAME.json

Seeds run one after another, each in WORKDIR/seed<N>. Run the same command again after an interruption: finished seeds
are read from their logs, an unfinished one resumes. The file is rewritten after every seed.
"""

import json
import math
import pathlib
import statistics
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

_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at 97.5 % for 1, 2, ... degrees of freedom."""


def summarise(runs: list[dict]) -> dict[str, dict[str, float]]:
  """Mean and half width of the 95 % t-interval of every score that all runs have; no interval for one run."""
  summary = {}
  for name in runs[0]:
    values = [run[name] for run in runs]
    if not name.startswith('eval/') or isinstance(values[0], str):
      continue
    entry = {'mean': statistics.fmean(values)}
    if 1 < len(values) <= len(_T_975) + 1:
      entry['half_width_95'] = _T_975[len(values) - 2] * statistics.stdev(values) / math.sqrt(len(values))
    summary[name] = entry
  return summary


def main() -> int:
  from genaug.errors import InputError
  from genaug.training import loop, workdir
  from genaug.training.experiment import prepare
  from genaug.training.metrics import say

  parent = pathlib.Path(_WORKDIR.value or f'runs/{cli.config_name()}')
  if not all(seed.isdigit() for seed in _SEEDS.value):
    raise InputError('seeds', ','.join(_SEEDS.value), 'not whole numbers', '--seeds 0,1,2')
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
    runs.append({'seed': seed, **scores, 'seconds': round(time.perf_counter() - start, 1)})
    output.parent.mkdir(parents=True, exist_ok=True)
    content = {
      'command': ['python', '-m', 'experiments.seeds', *sys.argv[1:]],
      'config': json.loads(_CONFIG.value.to_json()),
      'environment': workdir.environment(),
      'summary': summarise(runs),
      'runs': runs,
    }
    output.write_text(json.dumps(content, indent=2) + '\n')
  for name, entry in summarise(runs).items():
    print(f'{name}: {entry["mean"]:.4g} ± {entry.get("half_width_95", math.nan):.2g} (n = {len(runs)} seeds)')
  return 0


if __name__ == '__main__':
  cli.run(main)
