"""Flax modules. No loss, no optimiser, no randomness beyond initialisation; `registry.NETWORKS` lists them.

Modules with batch norm take `axis_name`, the mapped axis (of `pmap`, `shard_map` or `vmap`) that its statistics are
averaged over; None, the default, runs anywhere.
"""

from typing import NamedTuple

ImageShape = tuple[int, int, int]  # (height, width, channels)


class Spec(NamedTuple):
  """What a network must know of its data."""

  image_shape: ImageShape
  num_classes: int  # that it is conditioned on or predicts; 0: none
