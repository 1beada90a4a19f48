"""A Ray cluster of two nodes on this machine, and programs in the background, for tests."""

import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.conftest import ROOT, environment


@contextlib.contextmanager
def started(command, ray, **extra):
  """Runs a command in the background; prints its output on errors, and kills its process group at the end."""
  with tempfile.TemporaryFile('w+') as output:
    process = subprocess.Popen(
      command,
      cwd=ROOT,
      env=environment(RAY_TMPDIR=ray, **extra),
      stdout=output,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    try:
      yield process
    except BaseException:
      output.seek(0)
      print(output.read())
      raise
    finally:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
      process.wait()


def wait(condition, process, seconds=120):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, 'ended early'
    assert time.monotonic() < end, 'timed out'
    time.sleep(0.1)


class Nodes(NamedTuple):
  address: str
  other: subprocess.Popen  # the node that is not the head
  run: Callable[..., subprocess.Popen]  # starts a command that may use the cluster


@contextlib.contextmanager
def two_nodes(ray: str) -> Iterator[Nodes]:
  """Starts two nodes with one core each; `ray` is a new directory with a short path."""
  start = [sys.executable, '-m', 'ray.scripts.scripts', 'start', '--block', '--num-cpus=1', '--disable-usage-stats']
  token = {'RAY_AUTH_MODE': 'token', 'RAY_AUTH_TOKEN': secrets.token_hex(32)}
  with contextlib.ExitStack() as stack:
    run = lambda *command: stack.enter_context(started(command, ray, **token))
    head = run(*start, '--head', '--port=0', '--include-dashboard=false')
    address = pathlib.Path(ray, 'ray', 'ray_current_cluster')
    wait(address.exists, head)
    address = address.read_text().strip()
    other = run(*start, f'--address={address}')
    state = [*start[:3], 'status', f'--address={address}']
    asked = lambda: subprocess.run(state, env=environment(**token), capture_output=True, text=True, check=False).stdout
    wait(lambda: asked().count(' node_') == 2, other)
    yield Nodes(address, other, run)
