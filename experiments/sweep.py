"""Searches the keys that a config's `get_sweep(trial)` suggests, with Optuna on Ray Tune.

python -m experiments.sweep --config configs/classify_mnist5k.py --trials 24 [--workdir runs/NAME] [--address HOST:PORT]

A trial is cross-validated within its training images: it trains fold after fold, each scored on its held-out images,
and ASHA stops it if its mean so far is in the worse half. The test split is never read. Run the same command again
after an interruption: finished trials are kept, unfinished ones resume; a larger --trials extends the sweep. The
config's `sweep.cpus_per_trial` and `sweep.gpus_per_trial` are the resources of a trial, and so decide how many run side
by side.

On a cluster, the repository, --data_dir and --workdir must be at the same paths on every node.
"""

import importlib.util
import pathlib
import sys

from absl import flags

from experiments import cli
from genaug.errors import InputError

_CONFIG = cli.define_config()
_DATA_DIR = cli.define_data_dir()
_TRIALS = flags.DEFINE_integer('trials', 20, 'Total number of trials, including those of earlier runs.', lower_bound=1)
_FOLDS = flags.DEFINE_integer('folds', 5, 'Folds of the training images; each is held out once.', lower_bound=1)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the sweep. Default: runs/<config name>-sweep.')
_ADDRESS = flags.DEFINE_string(
  'address', None, 'host:port of a Ray cluster. Default: Ray on this machine, loopback only.'
)
_RETRIES = flags.DEFINE_integer('retries', 2, 'Retries of a trial that fails or whose node is lost.')
_SEED = flags.DEFINE_integer('seed', 0, "Seed of the search; training uses the config's seed.")
flags.mark_flag_as_required('config')
flags.adopt_module_key_flags(cli)


def _get_sweep(file: str):
  """Returns `get_sweep` of a config file. Raises InputError if it has none."""
  spec = importlib.util.spec_from_file_location('config_of_sweep', file)
  module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # Tune pickles functions by module
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_sweep'):
    raise InputError('config', file, 'has no get_sweep(trial)', 'write one as in configs/classify_mnist5k.py')
  return module.get_sweep


def main() -> int:
  from genaug.study import cluster

  cluster.prepare(_ADDRESS.value, ('optuna', 'ray'))
  import optuna
  import ray

  optuna.logging.set_verbosity(optuna.logging.WARNING)

  from genaug.study import sweep_figures, sweeps, tuning
  from genaug.training import workdir
  from genaug.training.logs import progress, say

  file = flags.FLAGS['config'].config_filename.partition(':')[0]
  directory = pathlib.Path(_WORKDIR.value or f'runs/{cli.config_name()}-sweep').absolute()
  data_dir = pathlib.Path(_DATA_DIR.value).absolute()
  get_sweep = _get_sweep(file)
  wanted = {f'sweep.{name}': _CONFIG.value.sweep[name] for name in ('cpus_per_trial', 'gpus_per_trial')}
  cluster.check_resources(wanted)
  sweep = sweeps.define(_CONFIG.value, _FOLDS.value, get_sweep, data_dir, say)
  directory.mkdir(parents=True, exist_ok=True)
  with workdir.lock(directory):
    record = sweeps.Record(directory, sweep)
    done = len(record.with_status(*sweeps.DONE))
    if done < _TRIALS.value:
      cluster.connect(_ADDRESS.value)
      request = cluster.resources(wanted)
      with progress(_TRIALS.value, done, unit='trial') as bar:

        def ended(trial: dict) -> None:
          if trial['status'] == 'failed':
            say(f'trial {trial["id"]} failed: {trial["error"].strip().splitlines()[-1]}')
          if best := record.ranked()[:1]:
            bar.set_postfix(best=f'{best[0]["mean"]:.4f}', refresh=False)
          bar.update()

        tuning.run(record, get_sweep, _TRIALS.value, directory, data_dir, request, _RETRIES.value, _SEED.value, ended)
      ray.shutdown()
    print(sweeps.table(record))
    for picture in sweep_figures.save(record, directory / 'figures'):
      print(f'  {picture}')
  if not record.ranked():
    print('error: no trial has ended with a score; sweep.json says why', file=sys.stderr)
    return 1
  print(f'best, trial {record.ranked()[0]["id"]}: {sweeps.flags(record.ranked()[0]["overrides"])}')
  return 0


if __name__ == '__main__':
  cli.run(main)
