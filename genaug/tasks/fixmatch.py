"""Classification from few labelled and many unlabelled images: FixMatch (Sohn et al. 2020, arXiv:2001.07685).

A confident prediction for a weakly augmented image (`config.augment`) is the pseudo-label of the same image under
strong augmentation (`config.strong`).
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genaug.augment import Pipeline
from genaug.augment.registry import OPS
from genaug.errors import InputError
from genaug.losses.classification import cross_entropy
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.ranges import Number
from genaug.tasks import Definition, Keys, Sampler, Task
from genaug.tasks.updates import (
  apply_gradients,
  first_state,
  gradients,
  moving_average,
  optimizers,
  ranges_of,
  split_keys,
)


def pseudo_labels(logits: Float[Array, 'n k'], threshold: float) -> tuple[Int[Array, ' n'], Float[Array, ' n']]:
  """Returns (most probable class, 1 if its probability is at least `threshold`, else 0), without gradient: eq. 4."""
  probabilities = jax.lax.stop_gradient(jax.nn.softmax(logits))
  return probabilities.argmax(-1), (probabilities.max(-1) >= threshold).astype(jnp.float32)


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  settings, network = config.fixmatch, NETWORKS[config.model.network].build(config, spec, axis_name)['classifier']
  optimizer = optimizers(config, ('classifier',))
  weak, strong = Pipeline.from_config(config.augment), Pipeline.from_config(config.strong)
  try:
    strong.check(spec.image_shape)
  except ValueError as error:
    raise InputError(
      'strong', str(error), 'does not suit the images', 'correct --config.strong.OPERATION.KEY'
    ) from None

  def init(key):
    variables = network.init(key, jnp.zeros((1, *spec.image_shape)), train=False)
    params = {'classifier': variables['params']}
    stats = {'classifier': variables.get('batch_stats', {})}
    return first_state(optimizer, params, stats, {'params': params, 'stats': stats})

  def of_all(pipeline: Pipeline, keys: Keys, images: Float[Array, 'b r h w c']) -> Float[Array, 'b r h w c']:
    """Augments all r unlabelled images of each example, every image with a draw of its own."""
    count = images.shape[1]
    own = jax.vmap(lambda key: jax.random.split(key, count))(keys).reshape(-1)
    moved = pipeline(own, {'image': images.reshape(-1, *images.shape[2:])})['image']
    return moved.reshape(images.shape)

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('labelled', 'weak', 'strong'))
    examples = {
      'image': weak(streams['labelled'], {'image': batch['image']})['image'],
      'label': batch['label'],
      'weak': of_all(weak, streams['weak'], batch['unlabelled']),
      'strong': of_all(strong, streams['strong'], batch['unlabelled']),
    }

    def objective(params, part):
      labelled, unlabelled = len(part['label']), part['weak'].size // part['image'][0].size
      images = [part['image'], *(part[name].reshape(-1, *spec.image_shape) for name in ('weak', 'strong'))]
      variables = {'params': params, 'batch_stats': state.stats['classifier']}
      # One forward pass over all images, so that batch norm sees the same mixture at every step.
      logits, updated = network.apply(variables, 2 * jnp.concatenate(images) - 1, train=True, mutable='batch_stats')
      known, of_weak, of_strong = jnp.split(logits, (labelled, labelled + unlabelled))
      label, sure = pseudo_labels(of_weak, settings.threshold)
      one_hot = lambda label: jax.nn.one_hot(label, spec.num_classes)
      labelled_loss = cross_entropy(known, one_hot(part['label'])).mean()
      unlabelled_loss = (sure * cross_entropy(of_strong, one_hot(label))).mean()
      loss = labelled_loss + settings.weight * unlabelled_loss
      correct = (known.argmax(-1) == part['label']).mean()
      metrics = {'loss': loss, 'labelled_loss': labelled_loss, 'unlabelled_loss': unlabelled_loss}
      return loss, (updated.get('batch_stats', {}), metrics | {'accuracy': correct, 'sure': sure.mean()})

    grads, (stats, metrics) = gradients(
      objective, state.params['classifier'], examples, config.train.accumulate, axis_name
    )
    params, opt = apply_gradients(optimizer, {'classifier': grads}, state.opt, state.params)
    metrics['grad_norm'] = optax.tree.norm(grads)
    stats = {'classifier': stats}
    ema = moving_average(state.ema, {'params': params, 'stats': stats}, settings.ema, state.step)
    return state.replace(step=state.step + 1, params=params, stats=stats, ema=ema, opt=opt), metrics

  def eval_step(state, batch, keys):
    """Returns class probabilities [b, classes] of unaugmented images by the averaged (EMA) network."""
    del keys
    variables = {'params': state.ema['params']['classifier'], 'batch_stats': state.ema['stats']['classifier']}
    images = batch['image'].astype(jnp.float32) / 255
    return {'probabilities': jax.nn.softmax(network.apply(variables, 2 * images - 1, train=False))}

  def inputs(pipeline):
    """Returns the sampler of images augmented by `pipeline`; the draws differ at every step."""

    def sample(state, batch, keys):
      own = jax.vmap(lambda key: jax.random.fold_in(key, state.step))(keys)
      return pipeline(own, {'image': batch['image']})['image']

    return Sampler(sample, source='image', split='train')

  return Task(init, train_step, eval_step, {'inputs': inputs(weak), 'strong_inputs': inputs(strong)})


def _check(config) -> None:
  for name in ('augment', 'strong'):
    try:
      operations = Pipeline.from_config(config[name]).operations
    except ValueError as error:
      remedy = f'correct --config.{name}.OPERATION.KEY, see c.augment in configs/base.py'
      raise InputError(name, str(error), 'not a valid augmentation policy', remedy) from None
    if mixes := [operation for operation in operations if OPS[operation].stage == 'mix']:
      problem = 'mixes images, most of which have no label here'
      remedy = f'--config.{name}.{mixes[0]}.p=0, and leave it out of one_of and some_of'
      raise InputError(f'{name}.{mixes[0]}.p', config[name][mixes[0]].p, problem, remedy)


FIXMATCH = Definition(
  build,
  roles=('classifier',),
  inputs=('image', 'label', 'unlabelled'),
  provides=('inputs', 'strong_inputs', 'probabilities'),
  ranges={
    'data.unlabelled': Number(1),
    'fixmatch.threshold': Number(0, 1),
    'fixmatch.weight': Number(),
    'fixmatch.ema': Number(0, 1),
    **ranges_of(('classifier',)),
  },
  progress=('labelled_loss', 'unlabelled_loss', 'sure'),
  cost=6,
  check=_check,
)
