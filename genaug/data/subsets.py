"""Which rows of a data set are trained on and which are held out."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from genaug.errors import InputError

Rows = Int[np.ndarray, ' n']


def choose(
  label: Int[np.ndarray, ' n'], per_class: int, seed: int, validation: int = 0, fold: int = 0
) -> tuple[Rows, Rows]:
  """(rows to train on, rows held out) of `per_class` images of each class (0: all), drawn by the seed.

  Fold f holds out the f-th `validation` of them, so that a choice made by cross-validation sees nothing beyond the
  few. The images of a smaller `per_class` are among those of a larger one. Raises ValueError for a class that is too
  small.
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
  """Which rows are test rows: `fraction` of each class, at least one, but never a class's last image."""
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
  """Which rows are test rows: about `fraction` of each class, each row by its own identity, not by its neighbours.

  Adding or removing a row moves no other across, and rows of one identity stay together. Only where a class would have
  no test row, or nothing but test rows, is the identity nearest to the other side moved there.
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
  """Which of the images of one class are test images, about `fraction` of them, by their content.

  Raises InputError where no two differ.
  """
  identities = [hashlib.sha256(np.ascontiguousarray(image)).digest() for image in images]
  test = split_by_identity(identities, np.zeros(len(images), int), fraction)
  if not test.any():
    raise InputError(
      'data.folder', f'{len(images)} images', 'no two of its images differ, so none is left to test on', 'add one'
    )
  return test
