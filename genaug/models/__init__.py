"""Networks as Flax modules, without losses and optimisers; `registry.NETWORKS` lists them.

After initialisation their only randomness is dropout, from keys that they are passed. Builders of VAEs ask the
likelihood how many outputs per pixel the decoder must have.

Modules with batch norm take `axis_name`, the mapped axis (of `pmap`, `shard_map` or `vmap`) over which batch
statistics are averaged; None, the default, runs anywhere.
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
  """Image shape, class count and vocabulary size that a network is built for."""

  image_shape: ImageShape
  num_classes: int  # that the network is conditioned on or predicts; 0: none
  vocabulary: int = 0  # caption tokens that it is conditioned on; 0: no captions


class Network(NamedTuple):
  """Registry entry: modules that are trained together, each with its role in a task."""

  roles: tuple[str, ...]
  build: Callable[[ConfigDict, Spec, str | None], Mapping[str, nn.Module]]  # (config, spec, axis_name)
  # (config.model, image shape); raises ValueError for an image shape that the modules can't take.
  check: Callable[[ConfigDict, ImageShape], None] = lambda model, shape: None


def sown_features(network: nn.Module, variables: PyTree, *args, **kwargs) -> Float[Array, 'b d']:
  """Returns the representation that the network sows (Flax's `sow`) when it is applied to the arguments."""
  _, sown = network.apply(variables, *args, **kwargs, mutable=('batch_stats', 'intermediates'))
  (features,) = jax.tree.leaves(sown['intermediates'])
  return features


def settings(config: ConfigDict, spec: Spec) -> dict[str, Any]:
  """Returns the keyword arguments that all networks have in common."""
  return {'spec': spec, 'dtype': jnp.dtype(config.dtype)}
