"""What is trained. Each task module offers the same names: State, init, train_step, eval_step; generative ones sample.

`train_step` runs inside a mapped axis called `models.DEVICES`, sees one device's share of the batch with one key
per example, and returns the same state on every device.
"""

import jax
import optax
from jaxtyping import Array, Key, PyTree

from genaug.models import DEVICES


def split_keys(keys: Key[Array, ' b'], names: tuple[str, ...]) -> dict[str, Key[Array, ' b']]:
  """One independent stream of per-example keys for each name."""
  return {name: jax.vmap(lambda k: jax.random.fold_in(k, i))(keys) for i, name in enumerate(names)}  # noqa: B023


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
