"""What is trained. Each task module offers the same names: State, init, train_step, eval_step; generative ones sample.

`train_step` runs inside a mapped axis called `models.DEVICES`, sees one device's share of the batch with one key
per example, and returns the same state on every device.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from genaug.models import DEVICES


def split_keys(keys: Key[Array, ' b'], names: tuple[str, ...]) -> dict[str, Key[Array, ' b']]:
  """One independent stream of per-example keys for each name."""
  return {name: jax.vmap(lambda k: jax.random.fold_in(k, i))(keys) for i, name in enumerate(names)}  # noqa: B023


def over_slices(
  step: Callable[[PyTree], tuple[PyTree, PyTree]], examples: PyTree, slices: int
) -> tuple[PyTree, PyTree]:
  """step(examples) -> (means, rows), but computed for one slice of the examples after another.

  Means are averaged over the slices, rows come back in the order of the examples.
  """
  if slices == 1:
    return step(examples)
  # Every so-manyth example, not runs of them: a slice then is the same on any number of devices.
  parts = jax.tree.map(lambda x: x.reshape(-1, slices, *x.shape[1:]).swapaxes(0, 1), examples)
  means, _ = jax.eval_shape(step, jax.tree.map(lambda x: x[0], parts))

  def add(sums, part):
    means, rows = step(part)
    return jax.tree.map(jnp.add, sums, means), rows

  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), means)
  # Convolutions lose their threaded kernels in a loop on CPU, and unrolled there is none.
  sums, rows = jax.lax.scan(add, zeros, parts, unroll=jax.default_backend() == 'cpu')
  rows = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), rows)
  return jax.tree.map(lambda x: x / slices, sums), rows


def gradients(objective: Callable, params: PyTree, examples: PyTree, slices: int) -> tuple[PyTree, PyTree]:
  """(gradients, aux) of objective(params, examples) -> (loss, aux), a mean over examples, averaged over devices.

  Slices are computed one after another and averaged, the running statistics of batch norm in `aux` included. Batch
  norm normalises each slice, of all devices, by its own statistics: there the result is not that of the whole batch.
  """
  means, _ = over_slices(lambda part: (jax.grad(objective, has_aux=True)(params, part), ()), examples, slices)
  return average(means)


def average(tree: PyTree) -> PyTree:
  """Mean over devices: of gradients, so that all take one step; of metrics, so that all report one figure."""
  return jax.lax.pmean(tree, DEVICES)


def adam(config) -> optax.GradientTransformation:
  """AdamW as `config.optim` says, with a constant or cosine learning rate over `config.train.steps`."""
  lr = config.optim.lr
  if config.optim.schedule == 'cosine':
    lr = optax.cosine_decay_schedule(lr, config.train.steps)
  if not config.optim.weight_decay:
    return optax.adam(lr, b1=config.optim.b1, b2=config.optim.b2)
  return optax.adamw(lr, b1=config.optim.b1, b2=config.optim.b2, weight_decay=config.optim.weight_decay)
