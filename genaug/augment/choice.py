"""Choices between operations: one of several, or some of them.

The order of work stays that of the registry; a choice decides together which of its members happen.
"""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray


class Choice(NamedTuple):
  """`n` different ones of the operations happen, with probability p; see `some_of`."""

  n: int
  operations: Mapping[str, Mapping[str, Any]]
  p: float


def one_of(operations: Mapping[str, Mapping[str, Any]], p: float = 1.0) -> Choice:
  """Exactly one of the operations, with probability p in [0, 1]; otherwise none. See `some_of` for the weights."""
  return some_of(1, operations, p)


def some_of(n: int, operations: Mapping[str, Mapping[str, Any]], p: float = 1.0) -> Choice:
  """Exactly `n` different ones of the operations, with probability p in [0, 1]; otherwise none.

  operations: as those of `Pipeline`, name -> parameters, but `p` of a member is its weight, in (0, 1]: the members
  are drawn one after the other without replacement, each in proportion to the weights of those left. Without weights
  all are equally likely.
  """
  return Choice(n, operations, p)


class Group(NamedTuple):
  """A choice whose members were looked up."""

  n: int
  p: float
  names: tuple[str, ...]
  weights: tuple[float, ...]


def draw_members(key: PRNGKeyArray, group: Group) -> dict[str, Bool[Array, '']]:
  """Which members happen: the n of the highest log weight plus Gumbel noise, see Kool et al. 2019, section 2.2."""
  # By the members' names, so that no other operation or choice changes what is drawn.
  key = jax.random.fold_in(key, zlib.crc32(' | '.join(group.names).encode()))
  happens, order = jax.random.split(key)
  score = jnp.log(jnp.array(group.weights)) + jax.random.gumbel(order, (len(group.names),))
  rank = jnp.argsort(jnp.argsort(-score))
  on = jax.random.bernoulli(happens, group.p) & (rank < group.n)
  return dict(zip(group.names, on))
