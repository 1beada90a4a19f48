"""Batches as a pure function of (seed, step), so that resuming and sharding cannot change them; prefetching."""

import functools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from jaxtyping import Int

T = TypeVar('T')


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, size: int) -> Int[np.ndarray, ' size']:
  return np.random.default_rng((seed, epoch)).permutation(size).astype(np.int32)


def batch_indices(seed: int, step: int, batch_size: int, size: int) -> Int[np.ndarray, ' batch_size']:
  """Returns the rows of the split that step `step` (counted from 0) trains on.

  Every epoch is a new permutation. No remainder is dropped: a batch may end one epoch and begin the next.
  """
  position = step * batch_size + np.arange(batch_size)
  epoch, row = np.divmod(position, size)
  return np.concatenate([_epoch_order(seed, int(e), size)[row[epoch == e]] for e in np.unique(epoch)])


def padded(array: np.ndarray, size: int) -> np.ndarray:
  """Fills up a batch with zeros to `size` rows."""
  return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])


def prefetch(make: Callable[[int], T], steps: range, depth: int = 2) -> Iterator[T]:
  """Yields `make(step)` for every step; a thread fills a queue of `depth` results. Its exceptions are raised here."""
  ready: queue.Queue = queue.Queue(depth)
  closed = threading.Event()

  def put(item) -> None:
    while not closed.is_set():
      try:
        return ready.put(item, timeout=0.1)
      except queue.Full:
        continue

  def work() -> None:
    try:
      for step in steps:
        if closed.is_set():
          return
        put((make(step), None))
    except BaseException as error:
      put((None, error))

  thread = threading.Thread(target=work, daemon=True, name='prefetch')
  thread.start()
  try:
    for _ in steps:
      item, error = ready.get()
      if error is not None:
        raise error
      yield item
  finally:
    closed.set()
    thread.join()
