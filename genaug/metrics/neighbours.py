"""Nearest neighbours among features: exact Euclidean distances in float64, in blocks that fit into memory."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

Features = Float[np.ndarray, 'n d']

_BLOCK = 2**21  # distances held at once, 16 MiB
# Squared distances up to this share of the squared norm count as 0: float32 features of one image, computed twice, can
# differ by as much.
_SAME = 2e-10


def blocks(a: Features, b: Features) -> Iterator[tuple[slice, Float[np.ndarray, 'r m']]]:
  """Yields (rows of `a`, their squared distances to all rows of `b`). Those of equal features are exactly 0."""
  centre = np.mean(b, 0, dtype=np.float64)
  a, b = a - centre, b - centre
  norms_a, norms_b = (a**2).sum(1), (b**2).sum(1)
  columns, step = -2 * b.T, max(1, _BLOCK // len(b))
  for first in range(0, len(a), step):
    rows = slice(first, min(first + step, len(a)))
    squared = a[rows] @ columns
    squared += norms_a[rows, None]
    squared += norms_b
    squared *= squared > _SAME * norms_a[rows, None]
    yield rows, squared


def nearest(a: Features, b: Features) -> tuple[Int[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
  """Returns (index, distance) of the row of `b` that is nearest to each row of `a`."""
  index, distance = np.empty(len(a), int), np.empty(len(a))
  for rows, squared in blocks(a, b):
    index[rows] = squared.argmin(1)
    distance[rows] = np.sqrt(squared.min(1))
  return index, distance


def radii(a: Features, k: int) -> Float[np.ndarray, ' n']:
  """Returns the distance from every row to its k-th nearest other row. Raises ValueError for at most k rows."""
  return np.sqrt(squared_radii(a, k))


def squared_radii(a: Features, k: int) -> Float[np.ndarray, ' n']:
  """Returns the squares of `radii`."""
  if len(a) <= k:
    raise ValueError(f'{len(a)} images have no {k}-th nearest other')
  distance = np.empty(len(a))
  for rows, squared in blocks(a, a):
    squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
    squared.partition(k - 1, axis=1)
    distance[rows] = squared[:, k - 1]
  return distance
