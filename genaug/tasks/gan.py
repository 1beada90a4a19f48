"""Generative adversarial networks: one forward pass of the generator serves the updates of both players."""

import functools

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genaug.augment import Pipeline
from genaug.augment.ada import GROUPS, init_controller, random_ada, update_controller
from genaug.augment.diff_augment import POLICIES, random_diff_augment
from genaug.errors import InputError
from genaug.losses.adversarial import ADVERSARIAL_LOSSES, lecam
from genaug.losses.penalties import PENALTIES
from genaug.models import Spec, sown_features, spectral
from genaug.models.registry import NETWORKS
from genaug.ranges import ABOVE_ZERO, Choice, Number, Subset
from genaug.tasks import Definition, Due, Keys, OnDemand, Task, TrainState, from_noise
from genaug.tasks.diagnosis import diagnose_gan
from genaug.tasks.updates import (
  apply_gradients,
  at_step,
  average,
  first_state,
  gradients,
  moving_average,
  optimizers,
  over_slices,
  ranges_of,
  split_keys,
)

_ROLES = ('generator', 'discriminator')
_LECAM_DECAY = 0.99  # of the moving averages of logits

PRIORS = {
  'normal': jax.random.normal,
  'uniform': lambda key, shape: jax.random.uniform(key, shape, minval=-1.0, maxval=1.0),
}

# Augmentation of every image, real or generated, that the discriminator sees: (config, key, image in [-1, 1], p).
D_AUGMENT = {
  'none': lambda config, key, image, p: image,
  'diff_augment': lambda config, key, image, p: random_diff_augment(key, image, config.gan.diff_augment),
  'ada': lambda config, key, image, p: random_ada(key, image, p, config.gan.ada_transforms),
}


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  networks = NETWORKS[config.model.network].build(config, spec, axis_name)
  generator, discriminator = (networks[role] for role in _ROLES)
  unmapped = NETWORKS[config.model.network].build(config, spec, None)['discriminator']  # for evaluation
  optimizer = optimizers(config, _ROLES, every={'generator': config.gan.d_steps})
  pipeline = Pipeline.from_config(config.augment)
  adversarial_loss = ADVERSARIAL_LOSSES[config.gan.loss]
  penalties = {name: penalty for name, penalty in PENALTIES.items() if config.gan[name]}
  slices = config.train.accumulate
  # Parts computed only every so many steps, and their metrics, which keep their last values in between.
  intervals = {'penalties': config.gan.penalty_every if penalties else 1, 'generator': config.gan.d_steps}
  intervals = {name: interval for name, interval in intervals.items() if interval > 1}
  metrics_of = {'penalties': tuple(penalties), 'generator': ('g_loss', 'g_grad_norm')}

  def due(step: int) -> Due:
    return Due(frozenset(name for name, interval in intervals.items() if step % interval == 0))

  def init(key):
    g_key, d_key = jax.random.split(key)
    label = jnp.zeros((2,), jnp.int32)
    g = generator.init(g_key, jnp.zeros((2, config.model.z_dim)), label, train=True)
    d = discriminator.init(d_key, jnp.zeros((2, *spec.image_shape)), label)
    params = {'generator': g['params'], 'discriminator': d['params']}
    stats, extra = {'generator': g.get('batch_stats', {})}, {'controller': init_controller(config.gan.ada_p)}
    if config.model.d_norm == 'spectral':
      stats['discriminator'] = spectral.init_vectors(jax.random.fold_in(d_key, 1), d['params'])
    if config.gan.lecam:
      extra['lecam'] = {'real': jnp.zeros(()), 'fake': jnp.zeros(())}
    if intervals:
      extra['metrics'] = {name: {metric: jnp.zeros(()) for metric in metrics_of[name]} for name in intervals}
    return first_state(optimizer, params, stats, {'generator': g}, extra)  # without ADA the controller never changes

  def latents(keys: Keys) -> Float[Array, 'b z']:
    return jax.vmap(lambda key: PRIORS[config.gan.z_prior](key, (config.model.z_dim,)))(keys)

  def raw_generator(state):
    return {'params': state.params['generator'], 'batch_stats': state.stats['generator']}

  def discriminate(network, params, vectors, images, keys, label, p):
    """Returns logits of images in [-1, 1], real or generated, after `gan.d_augment`."""
    d_augment = D_AUGMENT[config.gan.d_augment]
    images = jax.vmap(lambda key, image: d_augment(config, key, image, p))(keys, images)
    params = spectral.normalized(params, vectors)
    return network.apply({'params': params}, images, label, mutable='batch_stats')[0]

  def at_interval(name, state, due, compute, otherwise):
    """Returns compute() at steps at which part `name` is due, else otherwise(). If `due` is None, the step decides."""
    if name not in intervals:
      return compute()
    if due is not None:
      return compute() if name in due.names else otherwise()
    return jax.lax.cond(state.step % intervals[name] == 0, compute, otherwise)

  def generate(params, state, inputs):
    """Returns (images in [-1, 1], batch-norm statistics) for all slices."""

    def of_slice(part):
      variables = {'params': params, 'batch_stats': state.stats['generator']}
      images, updated = generator.apply(variables, part['z'], part['label'], train=True, mutable='batch_stats')
      return updated.get('batch_stats', {}), images

    # A slice's activations are recomputed in its backward pass, not kept through the discriminator's update.
    stats, images = over_slices(jax.checkpoint(of_slice) if slices > 1 else of_slice, inputs, slices)
    return images, stats

  def update_discriminator(state, examples, logits, due):
    """Returns (params, opt, metrics) after one step of the discriminator."""

    def weight(name):
      return at_step(config.gan[name], config, state.step)

    def objective(params, part):
      keys, label = part['keys'], part['label']
      real_logits = logits(params, part['real'], keys['real'], label)
      fake_logits = logits(params, part['fake'], keys['fake'], label)
      loss = adversarial_loss(real_logits, fake_logits)[0].mean()
      metrics = {'d_real': real_logits.mean(), 'd_fake': fake_logits.mean()}
      metrics['r_t'] = adversarial_loss.real_sign(real_logits, fake_logits).mean()
      metrics['d_accuracy'] = adversarial_loss.accuracy(real_logits, fake_logits).mean()
      if config.gan.lecam:
        averages = state.extra['lecam']
        metrics['lecam'] = lecam(real_logits, fake_logits, averages['real'], averages['fake']).mean()
        loss += weight('lecam') * metrics['lecam']
      return loss, metrics | {'d_loss': loss}

    def penalty_objective(params, part):
      critic = lambda images, keys: logits(params, images, keys, part['label'])
      values = {
        name: penalty(critic, part['real'], part['fake'], part['keys']['penalty']).mean()
        for name, penalty in penalties.items()
      }
      loss = sum(weight(name) * value for name, value in values.items())
      return intervals.get('penalties', 1) * loss, values

    before = state.params['discriminator']
    grads, metrics = gradients(objective, before, examples, slices, axis_name)
    if penalties:
      penalise = lambda: gradients(penalty_objective, before, examples, slices, axis_name)
      nothing = lambda: (jax.tree.map(jnp.zeros_like, before), state.extra['metrics']['penalties'])
      penalty_grads, values = at_interval('penalties', state, due, penalise, nothing)
      grads = jax.tree.map(jnp.add, grads, penalty_grads)
      metrics |= values
      metrics['d_loss'] += sum(weight(name) * value for name, value in values.items())
    params, opt = apply_gradients(optimizer, {'discriminator': grads}, state.opt, state.params)
    return params, opt, metrics | {'d_grad_norm': optax.tree.norm(grads)}

  def update_generator(params, opt, examples, logits, pull_back):
    """Returns (params, opt, metrics) after one step of the generator.

    `pull_back` maps gradients of the images to those of the parameters that made them.
    """

    def objective(images, part):
      keys, label = part['keys'], part['label']
      real_logits = logits(params['discriminator'], part['real'], keys['real'], label)
      fake_logits = logits(params['discriminator'], images, keys['generated'], label)
      return adversarial_loss(real_logits, fake_logits)[1].mean()

    loss, image_grads = over_slices(lambda part: jax.value_and_grad(objective)(part['fake'], part), examples, slices)
    grads, loss = average((pull_back(image_grads / slices)[0], loss), axis_name)
    updated = apply_gradients(optimizer, {'generator': grads}, opt, params)
    return *updated, {'g_loss': loss, 'g_grad_norm': optax.tree.norm(grads)}

  def next_extra(state, metrics):
    extra = dict(state.extra)
    if config.gan.d_augment == 'ada':
      batch_size, target, kimg = config.train.batch_size, config.gan.ada_target, config.gan.ada_kimg
      extra['controller'] = update_controller(extra['controller'], metrics['r_t'], batch_size, target, kimg)
    if config.gan.lecam:
      latest = {'real': metrics['d_real'], 'fake': metrics['d_fake']}
      extra['lecam'] = moving_average(extra['lecam'], latest, _LECAM_DECAY, state.step)
    if intervals:
      extra['metrics'] = {name: {metric: metrics[metric] for metric in metrics_of[name]} for name in intervals}
    return extra

  def train_step(state, batch, keys, due=None):
    """Updates the discriminator on all slices of the batch, then the generator against the updated discriminator."""
    streams = split_keys(keys, ('augment', 'latent', 'real', 'fake', 'generated', 'penalty'))
    real = 2 * pipeline(streams['augment'], batch)['image'] - 1
    inputs = {'z': latents(streams['latent']), 'label': batch['label']}
    p, vectors = state.extra['controller'].p, state.stats.get('discriminator', {})
    vectors = spectral.power_iteration(state.params['discriminator'], vectors) if vectors else {}

    def logits(params, images, keys, label):
      return discriminate(discriminator, params, vectors, images, keys, label, p)

    generate_with = functools.partial(generate, state=state, inputs=inputs)
    fake, pull_back, stats = jax.vjp(generate_with, state.params['generator'], has_aux=True)
    examples = inputs | {'real': real, 'fake': fake, 'keys': streams}
    params, opt, metrics = update_discriminator(state, examples, logits, due)
    params, opt, values = at_interval(
      'generator',
      state,
      due,
      lambda: update_generator(params, opt, examples, logits, pull_back),
      lambda: (params, opt, state.extra['metrics']['generator']),
    )
    metrics |= values | ({'ada_p': p} if config.gan.d_augment == 'ada' else {})
    variables = {'params': params['generator']} | ({'batch_stats': stats} if stats else {})
    new_state = TrainState(
      step=state.step + 1,
      params=params,
      stats={'generator': stats} | ({'discriminator': vectors} if vectors else {}),
      ema=moving_average(state.ema, {'generator': variables}, config.gan.ema, state.step),
      opt=opt,
      extra=next_extra(state, metrics),
    )
    return new_state, metrics

  def generated(variables, batch, z):
    return generator.apply(variables, z, batch['label'], train=False)

  def eval_step(state, batch, keys):
    """Returns whether the discriminator takes a test image for real: 1, 0, or 1/2 if it can't tell.

    The image is augmented by `gan.d_augment`, as in training.
    """
    streams = split_keys(keys, ('latent', 'real', 'fake'))
    images = {
      'real': 2 * batch['image'].astype(jnp.float32) / 255 - 1,
      'fake': generated(raw_generator(state), batch, latents(streams['latent'])),
    }
    variables = state.params['discriminator'], state.stats.get('discriminator', {})
    real, fake = (
      discriminate(unmapped, *variables, images[name], streams[name], batch['label'], state.extra['controller'].p)
      for name in ('real', 'fake')
    )
    return {'taken_for_real': 0.5 + 0.5 * adversarial_loss.real_sign(real, fake)}

  def probed(state, batch, keys):
    """Returns the discriminator's features of unaugmented images, in which its logit is linear."""
    images = 2 * batch['image'].astype(jnp.float32) / 255 - 1
    params = spectral.normalized(state.params['discriminator'], state.stats.get('discriminator', {}))
    return {'features': sown_features(unmapped, {'params': params}, images, batch['label'])}

  def sampler(variables):
    """Returns the sampler of images in [0, 1] by a generator with `variables(state)`, batch norm in inference mode."""
    return from_noise(latents, lambda state, batch, z: jnp.clip((generated(variables(state), batch, z) + 1) / 2, 0, 1))

  samplers = {'samples': sampler(lambda state: state.ema['generator']), 'samples_raw': sampler(raw_generator)}
  on_demand = {'features': OnDemand(probed)}
  return Task(init, train_step, eval_step, samplers, due if intervals else None, on_demand)


def _check(config) -> None:
  if config.gan.lecam and config.gan.loss == 'relativistic':
    problem = 'LeCam regularises single logits, but gan.loss = relativistic only uses their differences'
    raise InputError('gan.lecam', config.gan.lecam, problem, '--config.gan.lecam=0, or --config.gan.loss=hinge')


GAN = Definition(
  build,
  roles=_ROLES,
  inputs=('image',),
  provides=('samples', 'samples_raw', 'taken_for_real', 'features'),
  ranges={
    'model.z_dim': Number(1),
    'model.max_width': Number(1),
    'model.blocks': Number(1),
    'model.stride': Number(1, 2),
    'model.d_norm': Choice(('batch', 'none', 'spectral')),
    'gan.z_prior': Choice(PRIORS),
    'gan.loss': Choice(ADVERSARIAL_LOSSES),
    **{f'gan.{name}': Number(schedule=True) for name in PENALTIES},
    'gan.penalty_every': Number(1),
    'gan.lecam': Number(schedule=True),
    'gan.d_steps': Number(1),
    'gan.ema': Number(0, 1),
    'gan.d_augment': Choice(D_AUGMENT),
    'gan.diff_augment': Subset(POLICIES),
    'gan.ada_transforms': Subset(GROUPS),
    'gan.ada_target': Number(-1, 1),
    'gan.ada_kimg': Number(ABOVE_ZERO),
    'gan.ada_p': Number(0, 1),
    **ranges_of(_ROLES),
  },
  progress=('d_loss', 'g_loss'),
  cost=4,
  check=_check,
  diagnose=diagnose_gan,
)
