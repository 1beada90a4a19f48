"""Classification, with labels that may be shares of classes."""

import flax
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from genaug import losses
from genaug.augment import pipeline
from genaug.models import Spec
from genaug.models.classifiers import CLASSIFIERS
from genaug.tasks import adam, gradients


class State(flax.struct.PyTreeNode):
  """Everything that training changes; arrays only."""

  step: Int[Array, '']
  params: PyTree
  batch_stats: PyTree
  opt: PyTree


def _network(config, spec: Spec):
  return CLASSIFIERS[config.classify.network](config, spec=spec, dtype=jnp.dtype(config.dtype))


def init(config, spec: Spec, key: Key[Array, '']) -> State:
  variables = _network(config, spec).init(key, jnp.zeros((1, *spec.image_shape)), train=False)
  params, batch_stats = variables['params'], variables['batch_stats']
  return State(jnp.zeros((), jnp.int32), params, batch_stats, adam(config).init(params))


def inputs(config, spec: Spec, batch: dict[str, Array], keys: Key[Array, ' b']) -> dict[str, Array]:
  """What the network is trained on: images in [0, 1], augmented and mixed, and labels as shares of classes."""
  shares = jax.nn.one_hot(batch['label'], spec.num_classes)
  return pipeline.input_step(config.augment)(keys, batch | {'label': shares})


def train_step(
  config, spec: Spec, state: State, batch: dict[str, Array], keys: Key[Array, ' b']
) -> tuple[State, dict[str, Float[Array, '']]]:
  seen = inputs(config, spec, batch, keys)

  def objective(params, seen):
    variables = {'params': params, 'batch_stats': state.batch_stats}
    logits, updated = _network(config, spec).apply(variables, 2 * seen['image'] - 1, train=True, mutable='batch_stats')
    loss = losses.cross_entropy(logits, seen['label']).mean()
    right = (logits.argmax(-1) == seen['label'].argmax(-1)).mean()
    return loss, (updated['batch_stats'], {'loss': loss, 'accuracy': right})

  examples = {name: seen[name] for name in ('image', 'label')}
  grads, (batch_stats, metrics) = gradients(objective, state.params, examples, config.train.accumulate)
  updates, opt = adam(config).update(grads, state.opt, state.params)
  metrics['grad_norm'] = optax.tree.norm(grads)
  return State(state.step + 1, optax.apply_updates(state.params, updates), batch_stats, opt), metrics


def eval_step(
  config, spec: Spec, state: State, batch: dict[str, Array], keys: Key[Array, ' b']
) -> dict[str, Float[Array, 'b k']]:
  """Probabilities of the classes of unaugmented images."""
  del keys
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  images = batch['image'].astype(jnp.float32) / 255
  return {'probabilities': jax.nn.softmax(_network(config, spec).apply(variables, 2 * images - 1, train=False))}
