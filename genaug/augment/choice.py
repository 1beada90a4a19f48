"""Choices between operations: one of several, or some of them.

Operations are still applied in the order of the registry; a choice only decides which of its members happen.
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray


class Choice(NamedTuple):
  """A choice of `n` different operations that happen together, with probability p; see `some_of`."""

  n: int
  operations: Mapping[str, Mapping[str, Any]]
  p: float


def one_of(operations: Mapping[str, Mapping[str, Any]], p: float = 1.0) -> Choice:
  """Chooses exactly one of the operations with probability p in [0, 1], otherwise none; weights as in `some_of`."""
  return some_of(1, operations, p)


def some_of(n: int, operations: Mapping[str, Mapping[str, Any]], p: float = 1.0) -> Choice:
  """Chooses exactly `n` different operations with probability p in [0, 1], otherwise none.

  operations: name -> parameters, as for `Pipeline`, except that `p` of a member is its weight, in (0, 1]. Members are
  drawn one after the other without replacement, with probabilities proportional to the weights of those left. Without
  weights all are equally likely.
  """
  return Choice(n, operations, p)


class Group(NamedTuple):
  """A checked choice: its members in the order of the registry, and their weights."""

  n: int
  p: float
  names: tuple[str, ...]
  weights: tuple[float, ...]


def draw_members(key: PRNGKeyArray, group: Group) -> dict[str, Bool[Array, '']]:
  """Draws which members happen: none, or the n with the highest log weight plus Gumbel noise.

  Source: Kool et al. 2019, section 2.2.
  """
  # The stream depends on the members' names, so that no other operation or choice changes what is drawn.
  key = jax.random.fold_in(key, zlib.crc32(' | '.join(group.names).encode()))
  happens, order = jax.random.split(key)
  score = jnp.log(jnp.array(group.weights)) + jax.random.gumbel(order, (len(group.names),))
  rank = jnp.argsort(jnp.argsort(-score))
  on = jax.random.bernoulli(happens, group.p) & (rank < group.n)
  return dict(zip(group.names, on))
