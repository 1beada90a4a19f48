"""One job of several processes: they find each other, refuse bad input together and end together."""

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from genaug.errors import DivergedError, InputError

_SILENCE = 60  # seconds without a heartbeat after which a process counts as dead; a busy host may be late with some
_PATIENCE = 3600  # seconds that the others wait at the end for process 0, which may be evaluating
_REMEDY = 'its own output says why; the same command on every host goes on from the last checkpoint'


def _end(message: str) -> None:
  """Ends this process at once: a normal exit would wait for the others, which wait for this one in a collective."""
  os.write(2, f'error: {message}\n'.encode())
  os._exit(1)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _on_abort(_: int) -> None:
  _end(f'XLA has aborted this process: another one of the job is dead, or cannot be reached\n  remedy: {_REMEDY}')


@contextlib.contextmanager
def job(coordinator: str | None, num_processes: int | None, process_id: int | None) -> Iterator[None]:
  """Makes this process one of a job while the context lasts; arguments that are None are detected from the cluster.

  When one process dies or fails, the others end within about a minute with status 1 and a message.
  Raises InputError if there is no cluster to ask.
  """
  # JAX notices a dead process, but then ends the others by abort() from a C++ thread, where no Python signal handler
  # runs.
  ctypes.CDLL(None).signal(signal.SIGABRT, _on_abort)
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      heartbeat_timeout_seconds=_SILENCE,
      shutdown_timeout_seconds=_PATIENCE,
    )
  except ValueError as error:
    remedy = '--coordinator HOST:PORT --num_processes N --process_id I'
    raise InputError('distributed', True, f'no cluster was found ({error})', remedy) from None
  try:
    yield
  except InputError:
    raise  # raised on every process, see failing_together
  except DivergedError as error:
    _end(str(error))
  except BaseException as error:
    traceback.print_exc()
    sys.stdout.flush()
    reason = f'{type(error).__name__}: {error}'.splitlines()[0]
    _end(f'this process, one of {jax.process_count()}, ends: {reason}\n  remedy: if another one has died, {_REMEDY}')


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
  """Raises InputError on every process if one raises it, instead of leaving the others to wait for that one."""
  error = None
  try:
    yield
  except InputError as raised:
    error = raised
  if jax.process_count() > 1 and multihost_utils.process_allgather(np.array(error is not None)).any():
    raise error or InputError(
      'process', jax.process_index(), 'another process has refused its input', 'see its message'
    )
  if error:
    raise error
