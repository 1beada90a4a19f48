"""`when`: a conditional that stays one under vmap.

vmap turns `lax.cond` into both branches and a select, so a policy that samples one of many operations for every
image would pay for all of them. `when` is batched in one of two ways, with the same results:

  in_groups   computes the images that get the operation, a sixteenth of the batch at a time, and leaves the others
              alone, so that the work grows with their number and memory use stays small. Used on CPU and TPU; the
              gathers of a resample are expensive on both.
  everywhere  computes all images and selects the results. Used on GPU, where a group would leave most of the chip
              idle.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float, PyTree

GROUPS = 16  # per batch: with fewer, more images are computed in vain; with more, the overhead is larger


def when(
  on: Bool[Array, ''], op: Callable[..., Array], image: Float[Array, 'h w c'], params: PyTree = (), **static
) -> Float[Array, 'h w c']:
  """Returns op(image, params, **static) if `on`, else the image; `op` must keep shape and dtype.

  Reverse-mode differentiable in the image and the floats of `params`. Forward mode (`jax.jvp`, `jax.jacfwd`) and
  differentiating twice are not supported: JAX raises TypeError or ValueError.

  `op` must be the same object at every call, such as a module-level function, and close over no arrays; `static` must
  be hashable. What is compiled for them is cached, so that calls outside `jax.jit` compile once.
  """
  return _conditional(op, tuple(static.items()))(on, image, jax.tree.map(jnp.asarray, params))


@lru_cache(maxsize=256)
def _conditional(op: Callable[..., Array], static: tuple[tuple[str, Any], ...]) -> Callable[..., Array]:
  op = partial(op, **dict(static))

  def pull_back(cotangents, operands):
    image, floats, others = operands
    return jax.vjp(lambda image, floats: op(image, _merge(floats, others)), image, floats)[1](cotangents[0])

  forwards, backwards = _change_if(op), _change_if(pull_back)

  @jax.custom_vjp
  def run(on, image, params):
    return forwards(on, image, params)

  def forward(on, image, params):
    return run(on, image, params), (on, image, params)

  def backward(saved, cotangent):
    on, image, params = saved
    floats, others = _split(params)
    unchanged = cotangent, jax.tree.map(jnp.zeros_like, floats)
    return None, *backwards(on, unchanged, (image, floats, others))

  run.defvjp(forward, backward)
  return jax.jit(run, inline=True)


def _split(params: PyTree) -> tuple[PyTree, PyTree]:
  """Splits a pytree into its floating-point leaves and its other leaves, with None in place of what is left out."""
  is_float = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)
  floats = jax.tree.map(lambda leaf: leaf if is_float(leaf) else None, params)
  return floats, jax.tree.map(lambda leaf: None if is_float(leaf) else leaf, params)


def _merge(floats: PyTree, others: PyTree) -> PyTree:
  return jax.tree.map(lambda a, b: b if a is None else a, floats, others, is_leaf=lambda leaf: leaf is None)


def _change_if(op: Callable) -> Callable[[Bool[Array, ''], PyTree, PyTree], PyTree]:
  """Returns (on, state, operands) -> op(state, operands) if `on`, else state, with this module's batching rule."""

  @custom_vmap
  def one(on, state, operands):
    return jax.lax.cond(on, op, _keep, state, operands)

  @one.def_vmap
  def many(size, batched, *arguments):
    on, state, operands = jax.tree.map(
      lambda x, has_axis: x if has_axis else jnp.broadcast_to(x, (size, *x.shape)), arguments, tuple(batched)
    )
    grouped = partial(in_groups, op)
    # If `on` is the same for the whole batch, no images need to be selected.
    whole = partial(everywhere, op) if batched[0] else partial(_all_or_none, op)
    changed = jax.lax.platform_dependent(
      on, state, operands, cpu=grouped if batched[0] else whole, tpu=grouped, default=whole
    )
    return changed, jax.tree.map(lambda _: True, changed)

  return one


def everywhere(op: Callable, on: Bool[Array, ' b'], state: PyTree, operands: PyTree) -> PyTree:
  """Computes op(state, operands) for every example of a batch and keeps the results where `on`."""

  def choose(new, old):
    return jnp.where(on.reshape(-1, *[1] * (new.ndim - 1)), new, old)

  return jax.tree.map(choose, jax.vmap(op)(state, operands), state)


def in_groups(op: Callable, on: Bool[Array, ' b'], state: PyTree, operands: PyTree) -> PyTree:
  """Computes op(state, operands) only for the examples that are `on`, one group after the other."""
  size = len(on)
  group = -(-size // GROUPS)
  # Indices of the examples that are on; the rest is filled up with an index outside the batch.
  rows = jnp.nonzero(on, size=group * GROUPS, fill_value=size)[0]

  def compute(i, state):
    mine = jax.lax.dynamic_slice_in_dim(rows, i * group, group)
    mine_of = lambda tree: jax.tree.map(lambda x: x.at[mine].get(mode='clip'), tree)
    changed = jax.vmap(op)(mine_of(state), mine_of(operands))
    return jax.tree.map(lambda x, new: x.at[mine].set(new, mode='drop'), state, changed)

  # Every row is read before it is written and not read again, so XLA updates the batch in place.
  return jax.lax.fori_loop(0, -(-on.sum() // group), compute, state)


def _all_or_none(op, on, state, operands):
  return jax.lax.cond(on[0], jax.vmap(op), _keep, state, operands)


def _keep(state, operands):
  del operands
  return state
