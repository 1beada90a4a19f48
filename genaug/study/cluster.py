"""Ray, on a cluster or on this machine for as long as a program runs, and the resources of its tasks."""

import importlib
import os
import pathlib
import secrets
import socket
import sys
import warnings
from collections.abc import Sequence

import jax

from genaug.errors import InputError
from genaug.training.allocator import keep_freed_memory

_ENVIRONMENT = {  # read when Ray is imported
  'RAY_USAGE_STATS_ENABLED': '0',
  'RAY_CHDIR_TO_TRIAL_DIR': '0',
  'RAY_AIR_NEW_OUTPUT': '0',
  'TUNE_DISABLE_AUTO_CALLBACK_LOGGERS': '1',
  'TUNE_DISABLE_SIGINT_HANDLER': '1',
}
_LOCAL = {
  'RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER': '0',  # makes Ray listen on loopback only
  'RAY_AUTH_MODE': 'token',
  'RAY_AUTH_TOKEN': secrets.token_hex(32),  # otherwise Ray leaves a token in the home directory
}


def prepare(address: str | None, modules: Sequence[str] = ('ray',)) -> None:
  """Sets Ray's environment, before anything imports Ray. Raises InputError if one of the modules is not installed."""
  os.environ |= _ENVIRONMENT if address else _ENVIRONMENT | _LOCAL
  try:
    for name in modules:
      importlib.import_module(name)
  except ImportError as error:
    raise InputError('python', sys.executable, str(error), "pip install 'genaug[sweep]'") from None
  jax.config.update('jax_platforms', 'cpu')  # for this process; accelerators are for the tasks


def connect(address: str | None) -> None:
  """Joins the cluster at host:port, or starts Ray on this machine for as long as the program runs. Needs `prepare`.

  Raises InputError for an address that does not answer.
  """
  import ray

  quiet = {'log_to_driver': False, 'logging_level': 'ERROR'}
  if not address:
    with warnings.catch_warnings():
      warnings.filterwarnings('ignore', r'os\.fork', RuntimeWarning)  # Ray's children exec at once
      ray.init(address='local', num_cpus=_cores(), include_dashboard=False, **quiet)
    return
  host, _, port = address.rpartition(':')
  try:
    socket.create_connection((host, int(port)), timeout=5).close()  # Ray itself tries for minutes
    ray.init(address=address, **quiet)
  except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
    remedy = 'the host:port that `ray start --head` printed, with the RAY_AUTH_MODE and token of that cluster'
    raise InputError('address', address, ' '.join(str(error).split()), remedy) from None


def _cores() -> int:
  """Returns how many cores this process may run on; on macOS, which can't tell, how many there are."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def check_resources(wanted: dict[str, float]) -> None:
  """Raises InputError unless every value, given by its config key, is at least 0, or -1."""
  for name, value in wanted.items():
    if value < 0 and value != -1:
      raise InputError(name, value, 'out of range', 'a number of at least 0, or -1')


def resources(wanted: dict[str, float]) -> dict[str, float]:
  """Returns the cores and GPUs of a task, from what two config keys ask for, in that order. Needs `connect`.

  -1 is one GPU, where there are any, and its share of the cores, of the smallest node. Raises InputError for more than
  any node has, for which Ray would wait forever.
  """
  import ray

  nodes = [node['Resources'] for node in ray.nodes() if node['Alive']]
  smallest = min(nodes, key=lambda node: node.get('CPU', 0))
  share = smallest.get('CPU', 1) // max(smallest.get('GPU', 0), 1)
  cpus, gpus = wanted.values()
  request = {'CPU': share if cpus < 0 else cpus, 'GPU': min(smallest.get('GPU', 0), 1) if gpus < 0 else gpus}
  if not any(all(node.get(name, 0) >= amount for name, amount in request.items()) for node in nodes):
    largest = {name: max(node.get(name, 0) for node in nodes) for name in request}
    raise InputError(', '.join(wanted), request, 'no node has that much', f'at most {largest}')
  return request


def set_up_worker(cores: float, compiled: pathlib.Path) -> None:
  """Sets up a Ray process, before XLA's CPU backend starts; compiled programs are cached under `compiled`."""
  os.environ['NPROC'] = str(max(1, int(cores)))  # threads of that backend
  keep_freed_memory()
  if not jax.config.jax_compilation_cache_dir:
    jax.config.update('jax_compilation_cache_dir', str(compiled))
