"""Selection of the rows of a data set that are trained on and of those that are held out."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from genaug.errors import InputError

Rows = Int[np.ndarray, ' n']


def choose(
  label: Int[np.ndarray, ' n'], per_class: int, seed: int, validation: int = 0, fold: int = 0
) -> tuple[Rows, Rows]:
  """Draws `per_class` images of each class (0: all) by the seed; returns (rows to train on, rows held out).

  Fold f holds out the f-th `validation` images of these per class, so that cross-validation sees no image beyond the
  few. The images of a smaller `per_class` are among those of a larger one. Raises ValueError if a class is too small.
  """
  chosen, held_out = [], []
  for value in np.unique(label):
    rows = np.random.default_rng((seed, int(value))).permutation(np.flatnonzero(label == value))
    if len(rows) < per_class:
      raise ValueError(f'class {value} has {len(rows)} images')
    subset = rows[: per_class or None]
    first, last = fold * validation, (fold + 1) * validation
    if validation and (len(subset) < last or len(subset) == validation):
      raise ValueError(f'class {value} has {len(subset)} images, too few to hold out {validation} in fold {fold}')
    chosen.append(np.delete(subset, np.s_[first:last]))
    held_out.append(subset[first:last])
  return np.sort(np.concatenate(chosen)), np.sort(np.concatenate(held_out))


def stratified_test(labels: Int[np.ndarray, ' n'], fraction: float) -> Bool[np.ndarray, ' n']:
  """Returns a mask of test rows: `fraction` of each class, at least one image, but never all of a class."""
  test = np.zeros(len(labels), bool)
  for label in np.unique(labels):
    rows = np.flatnonzero(labels == label)
    n = min(max(1, round(fraction * len(rows))), len(rows) - 1)
    # RandomState, because its stream is frozen for good: a new NumPy must not move the test set.
    test[np.random.RandomState(label).permutation(rows)[:n]] = True
  return test


def split_by_identity(
  identities: Sequence[bytes], labels: Int[np.ndarray, ' n'], fraction: float
) -> Bool[np.ndarray, ' n']:
  """Returns a mask of test rows: about `fraction` of each class, where a hash of its identity alone decides on a row.

  Adding or removing a row moves no other row across, and rows of one identity stay together. Only if a class would have
  no test row, or nothing but test rows, the identity nearest to the threshold is moved across.
  """
  share = np.array([int.from_bytes(hashlib.sha256(identity).digest()[:8]) for identity in identities]) / 2.0**64
  test = share < fraction
  for label in np.unique(labels):
    rows = np.flatnonzero(labels == label)
    values = np.unique(share[rows])
    if len(values) == 1:
      test[rows] = False
    elif not test[rows].any():
      test[rows[share[rows] == values[0]]] = True
    elif test[rows].all():
      test[rows[share[rows] == values[-1]]] = False
  return test


def test_rows(images: Sequence[np.ndarray], fraction: float) -> Bool[np.ndarray, ' n']:
  """Returns a mask of test images among those of one class: about `fraction` of them, chosen by their content.

  Raises InputError if no two images differ.
  """
  identities = [hashlib.sha256(np.ascontiguousarray(image)).digest() for image in images]
  test = split_by_identity(identities, np.zeros(len(images), int), fraction)
  if not test.any():
    raise InputError(
      'data.folder', f'{len(images)} images', 'all are alike, so none is left for the test split', 'add another one'
    )
  return test
