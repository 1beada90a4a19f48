"""Which images make a batch."""

import numpy as np
import pytest

from genaug.data.batches import batch_indices, prefetch


def test_every_epoch_shows_every_image_once_in_a_new_order():
  size, batch = 30, 7  # batches straddle epochs
  stream = np.concatenate([batch_indices(3, step, batch, size) for step in range(30)])
  epochs = stream[: 7 * size].reshape(7, size)
  assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 7


def test_a_batch_depends_on_seed_and_step_alone():
  later = batch_indices(5, 1234, 16, 100)
  for step in range(20):
    batch_indices(5, step, 16, 100)
  np.testing.assert_array_equal(batch_indices(5, 1234, 16, 100), later)
  assert (batch_indices(6, 1234, 16, 100) != later).any()


def test_a_batch_may_be_larger_than_the_split():
  counts = np.bincount(batch_indices(0, 0, 25, 10), minlength=10)
  assert set(counts) <= {2, 3}


def test_prefetch_keeps_order_and_stops_early():
  made = []
  feed = prefetch(lambda step: made.append(step) or step * 10, range(3, 1000))
  assert [next(feed) for _ in range(4)] == [30, 40, 50, 60]
  feed.close()
  assert len(made) < 20


def test_prefetch_hands_on_exceptions():
  feed = prefetch(lambda step: 1 // (2 - step), range(5))
  assert [next(feed), next(feed)] == [0, 1]
  with pytest.raises(ZeroDivisionError):
    next(feed)
