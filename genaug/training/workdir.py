"""Files of a workdir that describe its run: the resolved config, the data, and the environment that it ran in."""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
from typing import TextIO

import jax
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from genaug.data import record
from genaug.data.dataset import Dataset
from genaug.errors import InputError

_FREE = {  # keys that may change between starts, as no state depends on them
  'data.device_mib',
  'train.steps_per_call',
  'train.patience',
  'train.log_every',
  'train.snapshot_every',
  'train.checkpoint_every',
  'train.checkpoints_kept',
}
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'tensorflow-datasets')


def create(workdir: pathlib.Path) -> None:
  """Creates the workdir. Raises InputError when nothing can be written there."""
  try:
    (workdir / 'checkpoints').mkdir(parents=True, exist_ok=True)
    probe = workdir / '.writable'
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise InputError(
      'workdir', str(workdir), f'cannot be written: {error.strerror}', 'name another --workdir'
    ) from None


def lock(workdir: pathlib.Path, flag: str = 'workdir', doing: str = 'training') -> TextIO:
  """Returns a lock on the workdir, held until it is closed or the process ends.

  Raises InputError, naming the flag, while another process holds it.
  """
  file = (workdir / '.lock').open('w')
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    file.close()
    remedy = f'wait for it, stop it, or name another --{flag}'
    raise InputError(flag, str(workdir), f'another process is {doing} here', remedy) from None
  return file


def claim(workdir: pathlib.Path, config: ConfigDict, dataset: Dataset) -> None:
  """Writes config.json, data.json and environment.json, or makes sure that the run here has this config and data.

  `train.steps` may be larger than in that run if this changes no earlier step. Raises InputError with the differing
  keys, or classes, for a workdir of another run.
  """
  path = workdir / 'config.json'
  mine = json.loads(config.to_json())
  if path.exists():
    there = read_config(workdir)
    _refuse_other_rates(there, mine)
    there_steps, steps = there['train']['steps'], mine['train']['steps']
    longer = {'train': there['train'] | {'steps': max(there_steps, steps)}}
    check_same_config(workdir, _deciding(there | longer, there_steps), _deciding(mine, steps))
    if (differing := data_differences(workdir, dataset)) and any(differing):
      problem = f'is not what this run was trained on ({differing})'
      raise InputError('data', dataset.name, problem, 'restore those files, or name another --workdir')
  else:
    write_json(workdir / 'data.json', record.describe(dataset))
  write_json(path, mine)
  _add_environment(workdir, environment())


def _add_environment(workdir: pathlib.Path, now: dict) -> None:
  """Writes environment.json at the first start, environment_1.json and so on at later ones unlike all before."""
  earlier = sorted(workdir.glob('environment*.json'))
  if now not in [json.loads(path.read_text()) for path in earlier]:
    write_json(workdir / (f'environment_{len(earlier)}.json' if earlier else 'environment.json'), now)


def _deciding(config: dict, steps: int) -> dict:
  """Returns the part of a config that decides the states of a run planned for that many steps."""
  optim = dict(config['optim'])
  length = optim.pop('schedule_steps', 0) or steps
  if optim['schedule'] != 'constant':
    optim['schedule_steps'] = length
  return {name: value for name, value in config.items() if name != 'sweep'} | {'optim': optim}


def _refuse_other_rates(there: dict, mine: dict) -> None:
  """Raises InputError for more steps if the schedule is as long as the run, as all learning rates would change."""
  steps, optim = mine['train']['steps'], mine['optim']
  old = there['train']['steps']
  if steps > old and optim['schedule'] != 'constant' and not optim.get('schedule_steps'):
    problem = f'this run was planned for {old} steps, and optim.schedule={optim["schedule"]} ends with it: more '
    problem += 'steps would change the learning rates of those already done'
    remedy = f'--config.optim.schedule_steps={old} keeps them and goes on with the last learning rate'
    raise InputError('train.steps', steps, problem, remedy)


def data_differences(workdir: pathlib.Path, dataset: Dataset) -> record.Differences | None:
  """Returns how these data differ from those the run was trained on; None if an older version has not recorded them."""
  there = read_data(workdir)
  return there and record.differences(there, dataset)


def read_data(workdir: pathlib.Path) -> dict | None:
  """Returns the record (`genaug.data.record`) of the data that a workdir was trained on, or None."""
  path = workdir / 'data.json'
  return _read_json(workdir, path) if path.exists() else None


def check_same_config(workdir: pathlib.Path, there: dict, now: dict, flag: str = 'workdir') -> None:
  """Raises InputError, naming `flag` and the differing keys, if a workdir's config `there` differs from `now`."""
  theirs, ours = flatten_dict(there, sep='.'), flatten_dict(now, sep='.')
  keys = (theirs.keys() | ours.keys()) - _FREE
  differing = {k: (theirs.get(k), ours.get(k)) for k in keys if theirs.get(k) != ours.get(k)}
  if differing:
    listed = ', '.join(f'{k}: {old!r} there, {new!r} now' for k, (old, new) in sorted(differing.items()))
    problem, remedy = f'was made with another config ({listed})', f'name another --{flag}, or set those keys back'
    raise InputError(flag, str(workdir), problem, remedy)


def read_config(workdir: pathlib.Path) -> dict:
  """Returns the config that a workdir was trained with. Raises InputError if there is none."""
  return _read_json(workdir, workdir / 'config.json')


def read_environment(workdir: pathlib.Path) -> dict:
  """Returns the environment of a run's first start. Raises InputError if there is none."""
  return _read_json(workdir, workdir / 'environment.json')


def _read_json(workdir: pathlib.Path, path: pathlib.Path) -> dict:
  try:
    return json.loads(path.read_text())
  except (OSError, json.JSONDecodeError) as error:
    raise InputError(
      'workdir',
      str(workdir),
      f'{path.name} cannot be read: {error}',
      'name a --workdir that experiments.train has written',
    ) from None


def write_json(path: pathlib.Path, content: dict) -> None:
  """Writes JSON atomically and creates the directory."""
  path.parent.mkdir(parents=True, exist_ok=True)
  write_atomic(path, (json.dumps(content, indent=2) + '\n').encode())


def write_atomic(path: pathlib.Path, content: bytes) -> None:
  """Writes a file atomically, even if other processes, of other hosts too, write the same file."""
  partial = path.with_suffix(f'.{socket.gethostname()}-{os.getpid()}.partial')
  try:
    partial.write_bytes(content)
    partial.replace(path)
  except BaseException:
    with contextlib.suppress(OSError):  # where nothing can be written, nothing is left behind
      partial.unlink(missing_ok=True)
    raise


def environment() -> dict:
  devices = jax.devices()
  return {
    'command': [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    'python': platform.python_version(),
    'platform': platform.platform(),
    'packages': {name: importlib.metadata.version(name) for name in _PACKAGES},
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
    'backend': jax.default_backend(),
    'devices': [f'{d.device_kind} {d.id}' for d in devices],
    'processes': jax.process_count(),
    'git_commit': _git('rev-parse', 'HEAD'),
    'git_changes': _git('status', '--porcelain'),
  }


def _git(*arguments: str) -> str | None:
  here = pathlib.Path(__file__).parent
  try:
    done = subprocess.run(['git', *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10)
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()
