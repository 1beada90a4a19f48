"""Few images of every class, and some of these held out: rows of a split, by their labels and a seed."""

import numpy as np
from jaxtyping import Int

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
