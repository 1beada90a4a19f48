"""Flax modules. No loss, no optimiser, no randomness beyond initialisation; `registry.NETWORKS` lists them.

Decoders of VAEs ask a likelihood how many numbers a pixel it takes.

Modules with batch norm take `axis_name`, the mapped axis (of `pmap`, `shard_map` or `vmap`) that its statistics are
averaged over; None, the default, runs anywhere.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

ImageShape = tuple[int, int, int]  # (height, width, channels)


class Spec(NamedTuple):
  """What a network must know of its data."""

  image_shape: ImageShape
  num_classes: int  # that it is conditioned on or predicts; 0: none
  vocabulary: int = 0  # tokens of captions that it is conditioned on; 0: none


class Network(NamedTuple):
  """Modules that are trained together, by their role in a task."""

  roles: tuple[str, ...]
  build: Callable[[ConfigDict, Spec, str | None], Mapping[str, nn.Module]]  # (config, spec, axis_name)
  # (config.model, image shape), raises ValueError for images that it can't take.
  check: Callable[[ConfigDict, ImageShape], None] = lambda model, shape: None


def sown_features(network: nn.Module, variables: PyTree, *args, **kwargs) -> Float[Array, 'b d']:
  """What the network sows, its representation of images, when it is applied to the arguments."""
  _, sown = network.apply(variables, *args, **kwargs, mutable=('batch_stats', 'intermediates'))
  (found,) = jax.tree.leaves(sown['intermediates'])
  return found


def settings(config: ConfigDict, spec: Spec) -> dict[str, Any]:
  """What the modules of every network take."""
  return {'spec': spec, 'dtype': jnp.dtype(config.dtype)}
