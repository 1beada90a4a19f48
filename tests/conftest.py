"""What tests share: prepared digits, tiny configs, and programs run as a user runs them."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import jax
import pytest

from configs import classify_mnist5k, gan_mnist5k, vae_mnist5k
from genaug.data import sources

# The first process of a session makes the directory; pytest-xdist's workers and the programs under test inherit it.
_COMPILED = tempfile.TemporaryDirectory(prefix='genaug-compiled-') if 'GENAUG_COMPILED' not in os.environ else None
os.environ.setdefault('GENAUG_COMPILED', _COMPILED.name if _COMPILED else '')
jax.config.update('jax_compilation_cache_dir', os.environ['GENAUG_COMPILED'])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
ROOT = pathlib.Path(__file__).parents[1]
TINY = {
  'model.width': 4,
  'model.z_dim': 8,
  'train.batch_size': 16,
  'train.log_every': 5,
  'train.checkpoint_every': 5,
  'train.snapshot_every': 1000,
  'eval.every': 1000,
  'eval.metrics': (),
  'augment.rotate.p': 1.0,
  'augment.rotate.degrees': 10.0,
  'augment.translate.p': 1.0,
  'augment.cutout.p': 0.5,
  'augment.cutout.size': 0.2,
}
ADA = {'gan__door': 'ada', 'gan__ada_p': 0.5, 'gan__ada_kimg': 1.0}  # p moves within a few steps


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory) -> pathlib.Path:
  """MNIST-5k, prepared once for the whole session."""
  directory = tmp_path_factory.mktemp('data')
  sources.load(gan_mnist5k.get_config().data, directory, log=lambda _: None)
  return directory


def tiny_config(task: str, **overrides):
  """A config that trains in milliseconds; overrides spell dots as double underscores."""
  config = {'gan': gan_mnist5k, 'vae': vae_mnist5k, 'classify': classify_mnist5k}[task].get_config()
  config.update_from_flattened_dict(TINY | {k.replace('__', '.'): v for k, v in overrides.items()})
  return config


def tiny_flags(**overrides) -> list[str]:
  flat = TINY | {k.replace('__', '.'): v for k, v in overrides.items()}
  return [f'--config.{key}={value}' for key, value in flat.items()]


def environment(devices: int = 1, **extra: str) -> dict[str, str]:
  """For a program with so many fake devices; programs of one test session share what they compile."""
  shared = {
    'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': os.environ['GENAUG_COMPILED'],
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.5',
  }
  return {**os.environ, **shared, **extra}


@pytest.fixture(scope='session')
def forked():
  """`program` for what must be refused: without the seconds of importing, and with every compilation logged."""
  server = subprocess.Popen(
    [sys.executable, '-m', 'tests.forked'],
    cwd=ROOT,
    env=environment(JAX_LOG_COMPILES='1'),
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )

  def run(name: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [name, *map(str, arguments)]
    print(json.dumps(command), file=server.stdin, flush=True)
    return subprocess.CompletedProcess(command, *json.loads(server.stdout.readline()))

  with server:
    yield run
    server.stdin.close()


def program(name: str, *arguments: str, env=None, timeout: int = 240) -> subprocess.CompletedProcess:
  """Runs `python -m NAME ARGUMENTS` from the root of the repository."""
  command = [sys.executable, '-m', name, *map(str, arguments)]
  return subprocess.run(
    command, cwd=ROOT, env=env or environment(), capture_output=True, text=True, timeout=timeout, check=False
  )


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]
