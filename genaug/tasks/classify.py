"""Classification, with soft labels where images are mixed."""

import jax
import jax.numpy as jnp
import optax

from genaug.augment import Pipeline
from genaug.losses.classification import cross_entropy
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.tasks import Batch, Definition, Keys, Sampler, Task
from genaug.tasks.updates import apply_gradients, first_state, gradients, optimizers, ranges_of


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  network = NETWORKS[config.model.network].build(config, spec, axis_name)['classifier']
  optimizer = optimizers(config, ('classifier',))
  pipeline = Pipeline.from_config(config.augment)

  def init(key):
    variables = network.init(key, jnp.zeros((1, *spec.image_shape)), train=False)
    params = {'classifier': variables['params']}
    stats = {'classifier': variables.get('batch_stats', {})}
    return first_state(optimizer, params, stats)

  def augmented(batch: Batch, keys: Keys) -> Batch:
    """Returns the batch with augmented and mixed images in [0, 1] and with soft labels."""
    return pipeline(keys, dict(batch) | {'label': jax.nn.one_hot(batch['label'], spec.num_classes)})

  def train_step(state, batch, keys):
    batch = augmented(batch, keys)

    def objective(params, batch):
      variables = {'params': params, 'batch_stats': state.stats['classifier']}
      logits, updated = network.apply(variables, 2 * batch['image'] - 1, train=True, mutable='batch_stats')
      loss = cross_entropy(logits, batch['label']).mean()
      correct = (logits.argmax(-1) == batch['label'].argmax(-1)).mean()
      return loss, (updated.get('batch_stats', {}), {'loss': loss, 'accuracy': correct})

    examples = {name: batch[name] for name in ('image', 'label')}
    grads, (stats, metrics) = gradients(
      objective, state.params['classifier'], examples, config.train.accumulate, axis_name
    )
    params, opt = apply_gradients(optimizer, {'classifier': grads}, state.opt, state.params)
    metrics['grad_norm'] = optax.tree.norm(grads)
    return state.replace(step=state.step + 1, params=params, stats={'classifier': stats}, opt=opt), metrics

  def eval_step(state, batch, keys):
    """Returns class probabilities [b, classes] of unaugmented images."""
    del keys
    variables = {'params': state.params['classifier'], 'batch_stats': state.stats['classifier']}
    images = batch['image'].astype(jnp.float32) / 255
    return {'probabilities': jax.nn.softmax(network.apply(variables, 2 * images - 1, train=False))}

  def inputs(state, batch, keys):
    """Returns images augmented as in training; the draws differ at every step."""
    return augmented(batch, jax.vmap(lambda key: jax.random.fold_in(key, state.step))(keys))['image']

  return Task(init, train_step, eval_step, {'inputs': Sampler(inputs, source='image', split='train')})


CLASSIFY = Definition(
  build,
  roles=('classifier',),
  inputs=('image', 'label'),
  provides=('inputs', 'probabilities'),
  ranges=ranges_of(('classifier',)),
  progress=('loss', 'accuracy'),
  cost=1,
)
