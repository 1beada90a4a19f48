"""Flax modules. No loss, no optimiser, no randomness beyond initialisation."""

from typing import NamedTuple

DEVICES = 'devices'
"""Name of the mapped device axis that batch norm and the tasks average over."""


class Spec(NamedTuple):
  """What a model must know of its data: (height, width, channels) and how many classes it is told of (0: none)."""

  image_shape: tuple[int, int, int]
  num_classes: int
