"""Trains one experiment, or resumes it.

python -m experiments.train --config configs/gan_mnist5k.py [--config.optim.lr=1e-4 ...] [--workdir runs/NAME]
"""

import contextlib
import pathlib
import time

from absl import flags

from experiments import cli
from genaug.errors import InputError

_STARTED = time.perf_counter()
_CONFIG = cli.define_config()
_DATA_DIR = cli.define_data_dir()
_WORKDIR = flags.DEFINE_string('workdir', None, 'Directory of the run. Default: runs/<config name>.')
_DRY_RUN = flags.DEFINE_bool(
  'dry_run', False, 'Print config, parameter counts, shapes and the cost of a step; train nothing.'
)
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed', False, 'Train as one of several processes, found through the cluster (SLURM, TPU pod, ...).'
)
_COORDINATOR = flags.DEFINE_string('coordinator', None, 'host:port of process 0, if no cluster provides it.')
_NUM_PROCESSES = flags.DEFINE_integer('num_processes', None, 'With --coordinator: number of processes.')
_PROCESS_ID = flags.DEFINE_integer('process_id', None, 'With --coordinator: index of this process, from 0.')
flags.mark_flag_as_required('config')
flags.adopt_module_key_flags(cli)


def _check_processes() -> None:
  given = {flag.name: flag.value for flag in (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID)}
  missing = [f'--{name}' for name, value in given.items() if value is None]
  if 0 < len(missing) < len(given):
    set_ones = ', '.join(f'--{name}={value}' for name, value in given.items() if value is not None)
    remedy = 'give --coordinator, --num_processes and --process_id, or none of them'
    raise InputError('command line', set_ones, f'{" and ".join(missing)} missing', remedy)
  if not missing and not 0 <= _PROCESS_ID.value < _NUM_PROCESSES.value:
    raise InputError('process_id', _PROCESS_ID.value, 'out of range', f'a number from 0 to {_NUM_PROCESSES.value - 1}')


def main() -> int:
  import jax

  from genaug.training import dry_run, hosts, loop
  from genaug.training.experiment import prepare
  from genaug.training.logs import say

  _check_processes()
  workdir = pathlib.Path(_WORKDIR.value or f'runs/{cli.config_name()}')
  with contextlib.ExitStack() as stack:
    if _COORDINATOR.value or _DISTRIBUTED.value:
      stack.enter_context(hosts.job(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value))
    log = say if jax.process_index() == 0 else lambda _: None
    with hosts.failing_together():
      experiment = prepare(_CONFIG.value, pathlib.Path(_DATA_DIR.value), log)
    if _DRY_RUN.value:
      print(dry_run.describe(experiment))
    else:
      loop.train(experiment, workdir, log, _STARTED)
  return 0


if __name__ == '__main__':
  cli.run(main)
