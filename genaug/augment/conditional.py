"""`when`: a condition that stays one under vmap.

vmap turns `lax.cond` into both branches and a choice, so a policy that draws one of many operations for every
image would pay for all of them. `when` is batched in one of two ways, with the same results:

  in_groups   the images that drew the operation are computed a sixteenth of the batch at a time and the others left
              alone, so that the work grows with the number of draws and the memory stays small. On CPU, and on TPU,
              where the gathers of a resample are dear in both.
  everywhere  all are computed and the result chosen: on GPU, where a group would leave most of the chip idle.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, PyTree

GROUPS = 16  # into which a batch is cut: fewer compute more images that nobody asked for, more have more overhead


def when(
  on: Bool[Array, ''], op: Callable[[Array, Any], Array], image: Float[Array, 'h w c'], params: PyTree = ()
) -> Float[Array, 'h w c']:
  """op(image, params) if `on`, else the image; shape and dtype must be kept. `op` must not close over arrays.

  Reverse-mode differentiable in the image and the floats of `params` (forward mode is not).
  """

  @jax.custom_vjp
  def run(on, image, params):
    return _change_if(on, op, image, params)

  def forward(on, image, params):
    return run(on, image, params), (on, image, params)

  def backward(saved, cotangent):
    on, image, params = saved
    leaves, tree = jax.tree.flatten(params)
    is_float = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]
    floats = [leaf for leaf, yes in zip(leaves, is_float) if yes]

    def merge(floats, leaves):
      floats = iter(floats)
      return tree.unflatten([next(floats) if yes else leaf for leaf, yes in zip(leaves, is_float)])

    def pull_back(cotangents, operands):
      image, floats, leaves = operands
      return jax.vjp(lambda image, floats: op(image, merge(floats, leaves)), image, floats)[1](cotangents[0])

    unchanged = cotangent, jax.tree.map(jnp.zeros_like, floats)
    to_image, to_floats = _change_if(on, pull_back, unchanged, (image, floats, leaves))
    return None, to_image, merge(to_floats, [None] * len(leaves))

  run.defvjp(forward, backward)
  return run(on, image, jax.tree.map(jnp.asarray, params))


def _change_if(on: Bool[Array, ''], op: Callable, state: PyTree, operands: PyTree) -> PyTree:
  """op(state, operands) if `on`, else the state, with the batching rule of this module."""

  @custom_vmap
  def one(on, state, operands):
    return jax.lax.cond(on, op, lambda state, operands: state, state, operands)

  @one.def_vmap
  def many(size, batched, *arguments):
    on, state, operands = jax.tree.map(
      lambda x, has_axis: x if has_axis else jnp.broadcast_to(x, (size, *x.shape)), arguments, tuple(batched)
    )
    grouped = partial(in_groups, op)
    # One condition for the whole batch needs no choice of images.
    whole = partial(everywhere, op) if batched[0] else partial(_all_or_none, op)
    changed = jax.lax.platform_dependent(
      on, state, operands, cpu=grouped if batched[0] else whole, tpu=grouped, default=whole
    )
    return changed, jax.tree.map(lambda _: True, changed)

  return one(on, state, operands)


def everywhere(op: Callable, on: Bool[Array, ' b'], state: PyTree, operands: PyTree) -> PyTree:
  """op(state, operands) of every example of a batch, kept where `on`."""

  def choose(new, old):
    return jnp.where(on.reshape(-1, *[1] * (new.ndim - 1)), new, old)

  return jax.tree.map(choose, jax.vmap(op)(state, operands), state)


def in_groups(op: Callable, on: Bool[Array, ' b'], state: PyTree, operands: PyTree) -> PyTree:
  """op(state, operands) of the examples that are `on`, a group after the other."""
  size = len(on)
  group = -(-size // GROUPS)
  # Those that are on come first; what fills the last group up is nobody's row.
  rows = jnp.nonzero(on, size=group * GROUPS, fill_value=size)[0]

  def compute(i, state):
    mine = jax.lax.dynamic_slice_in_dim(rows, i * group, group)
    mine_of = lambda tree: jax.tree.map(lambda x: x.at[mine].get(mode='clip'), tree)
    changed = jax.vmap(op)(mine_of(state), mine_of(operands))
    return jax.tree.map(lambda x, new: x.at[mine].set(new, mode='drop'), state, changed)

  # Every row is read before it is written and never again: XLA updates the batch in place.
  return jax.lax.fori_loop(0, -(-on.sum() // group), compute, state)


def _all_or_none(op, on, state, operands):
  return jax.lax.cond(on[0], jax.vmap(op), lambda state, operands: state, state, operands)
