"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957) of all kernels and embeddings of a network.

It is a function of the parameters, so it works for any network, and one power iteration per step serves all forward
passes of that step.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

Vectors = dict[str, Float[Array, ' d']]
"""Path of each matrix in the parameters -> estimate of its first singular vector on the output side."""


def init_vectors(key: Key[Array, ''], params: PyTree) -> Vectors:
  """Draws random unit vectors for all matrices of the parameters."""
  sizes = {path: matrix.shape[-1] for path, matrix in _matrices(params).items()}
  keys = jax.random.split(key, len(sizes))
  return {path: _unit(jax.random.normal(k, (sizes[path],))) for k, path in zip(keys, sizes)}


def power_iteration(params: PyTree, vectors: Vectors) -> Vectors:
  """Updates the vectors by one power iteration with these parameters: algorithm 1 of the paper."""
  return {path: _unit(_unit(matrix @ vectors[path]) @ matrix) for path, matrix in _matrices(params).items()}


def normalized(params: PyTree, vectors: Vectors) -> PyTree:
  """Divides each matrix by the estimate of its largest singular value that the vectors give.

  Gradients treat the vectors as constants.
  """

  def divide(path, leaf):
    name = jax.tree_util.keystr(path)
    if name not in vectors:
      return leaf
    matrix, out = leaf.reshape(-1, leaf.shape[-1]), jax.lax.stop_gradient(vectors[name])
    into = jax.lax.stop_gradient(_unit(matrix @ out))
    return leaf / jnp.maximum(into @ matrix @ out, 1e-12)

  return jax.tree_util.tree_map_with_path(divide, params)


def _matrices(params: PyTree) -> dict[str, Float[Array, 'i o']]:
  """Returns all kernels and embeddings as matrices, by their paths."""
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {
    jax.tree_util.keystr(path): leaf.reshape(-1, leaf.shape[-1])
    for path, leaf in leaves
    if path[-1].key in ('kernel', 'embedding')
  }


def _unit(x: Float[Array, ' d']) -> Float[Array, ' d']:
  return x / jnp.maximum(jnp.linalg.norm(x), 1e-12)
