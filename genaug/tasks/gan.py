"""Generative adversarial training: one generator forward pass feeds both players."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genaug.augment import Pipeline
from genaug.augment.ada import GROUPS, init_controller, random_ada, update_controller
from genaug.augment.diff_augment import POLICIES, random_diff_augment
from genaug.losses.adversarial import ADVERSARIAL_LOSSES
from genaug.losses.penalties import PENALTIES
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.ranges import Choice, Number, Subset
from genaug.tasks import Definition, Keys, Sampler, Task, TrainState
from genaug.tasks.updates import (
  apply_gradients,
  at_step,
  average,
  gradients,
  moving_average,
  optimizers,
  over_slices,
  ranges_of,
  split_keys,
)

_ROLES = ('generator', 'discriminator')

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
  optimizer = optimizers(config, _ROLES)
  pipeline = Pipeline.from_config(config.augment)
  adversarial_loss = ADVERSARIAL_LOSSES[config.gan.loss]
  penalties = {name: penalty for name, penalty in PENALTIES.items() if config.gan[name]}
  slices = config.train.accumulate

  def init(key):
    g_key, d_key = jax.random.split(key)
    label = jnp.zeros((2,), jnp.int32)
    g = generator.init(g_key, jnp.zeros((2, config.model.z_dim)), label, train=True)
    d = discriminator.init(d_key, jnp.zeros((2, *spec.image_shape)), label)
    params = {'generator': g['params'], 'discriminator': d['params']}
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      stats={'generator': g.get('batch_stats', {})},
      # The average starts as a copy: two leaves of a donated state must not share one buffer.
      ema={'generator': jax.tree.map(jnp.copy, g)},
      opt={role: optimizer[role].init(params[role]) for role in _ROLES},
      extra={'controller': init_controller(config.gan.ada_p)},  # at rest without ADA
    )

  def latents(keys: Keys) -> Float[Array, 'b z']:
    return jax.vmap(lambda key: PRIORS[config.gan.z_prior](key, (config.model.z_dim,)))(keys)

  def train_step(state, batch, keys):
    """One update of the discriminator by all slices of the batch, then one of the generator against the new one."""
    streams = split_keys(keys, ('augment', 'latent', 'real', 'fake', 'generated', 'penalty'))
    real = 2 * pipeline(streams['augment'], batch)['image'] - 1
    examples = {'real': real, 'z': latents(streams['latent']), 'label': batch['label'], 'keys': streams}
    controller = state.extra['controller']

    def generate(params):
      def generate_slice(part):
        variables = {'params': params, 'batch_stats': state.stats['generator']}
        images, updated = generator.apply(variables, part['z'], part['label'], train=True, mutable='batch_stats')
        return updated.get('batch_stats', {}), images

      # A slice's intermediates are computed again for its backward pass, not kept through the discriminator's update.
      forward = jax.checkpoint(generate_slice) if slices > 1 else generate_slice
      stats, images = over_slices(forward, {name: examples[name] for name in ('z', 'label')}, slices)
      return images, stats

    def discriminate(params, images, keys, label):
      """Logits of images in [-1, 1], real and generated ones augmented alike."""
      d_augment = D_AUGMENT[config.gan.d_augment]
      images = jax.vmap(lambda key, image: d_augment(config, key, image, controller.p))(keys, images)
      return discriminator.apply({'params': params}, images, label, mutable='batch_stats')[0]

    def discriminator_objective(params, part):
      keys, label = part['keys'], part['label']
      real_logits = discriminate(params, part['real'], keys['real'], label)
      fake_logits = discriminate(params, part['fake'], keys['fake'], label)
      loss = adversarial_loss(real_logits, fake_logits)[0].mean()
      metrics = {'d_real': real_logits.mean(), 'd_fake': fake_logits.mean()}
      metrics['r_t'] = adversarial_loss.real_sign(real_logits, fake_logits).mean()
      critic = lambda images, keys: discriminate(params, images, keys, label)
      for name, penalty in penalties.items():
        metrics[name] = penalty(critic, part['real'], part['fake'], keys['penalty']).mean()
        loss += at_step(config.gan[name], config, state.step) * metrics[name]
      return loss, metrics | {'d_loss': loss}

    def generator_objective(images, part):
      keys, label = part['keys'], part['label']
      real_logits = discriminate(params['discriminator'], part['real'], keys['real'], label)
      fake_logits = discriminate(params['discriminator'], images, keys['generated'], label)
      return adversarial_loss(real_logits, fake_logits)[1].mean()

    fake, pull_back, stats = jax.vjp(generate, state.params['generator'], has_aux=True)
    examples['fake'] = fake
    d_grads, metrics = gradients(discriminator_objective, state.params['discriminator'], examples, slices, axis_name)
    params, opt = apply_gradients(optimizer, {'discriminator': d_grads}, state.opt, state.params)

    g_loss, image_grads = over_slices(
      lambda part: jax.value_and_grad(generator_objective)(part['fake'], part), examples, slices
    )
    g_grads, g_loss = average((pull_back(image_grads / slices)[0], g_loss), axis_name)
    params, opt = apply_gradients(optimizer, {'generator': g_grads}, opt, params)

    if config.gan.d_augment == 'ada':
      metrics['ada_p'] = controller.p
      batch_size, kimg = config.train.batch_size, config.gan.ada_kimg
      controller = update_controller(controller, metrics['r_t'], batch_size, config.gan.ada_target, kimg)
    metrics |= {
      'g_loss': g_loss,
      'd_grad_norm': optax.tree.norm(d_grads),
      'g_grad_norm': optax.tree.norm(g_grads),
    }
    variables = {'params': params['generator']} | ({'batch_stats': stats} if stats else {})
    new_state = TrainState(
      step=state.step + 1,
      params=params,
      stats={'generator': stats},
      ema=moving_average(state.ema, {'generator': variables}, config.gan.ema, state.step),
      opt=opt,
      extra={'controller': controller},
    )
    return new_state, metrics

  def sampler(variables):
    """Images in [0, 1] of the generator with these variables of the state, batch norm in inference mode."""
    return Sampler(
      lambda state, batch, keys: (generator.apply(variables(state), latents(keys), batch['label'], train=False) + 1) / 2
    )

  samplers = {
    'samples': sampler(lambda state: state.ema['generator']),
    'samples_raw': sampler(
      lambda state: {'params': state.params['generator'], 'batch_stats': state.stats['generator']}
    ),
  }
  return Task(init, train_step, None, samplers)  # no score of one example, only distances between sets of samples


GAN = Definition(
  build,
  roles=_ROLES,
  inputs=('image',),
  provides=('samples', 'samples_raw'),
  ranges={
    'model.z_dim': Number(1),
    'gan.z_prior': Choice(PRIORS),
    'gan.loss': Choice(ADVERSARIAL_LOSSES),
    **{f'gan.{name}': Number(schedule=True) for name in PENALTIES},
    'gan.ema': Number(0, 1),
    'gan.d_augment': Choice(D_AUGMENT),
    'gan.diff_augment': Subset(POLICIES),
    'gan.ada_transforms': Subset(GROUPS),
    'gan.ada_target': Number(-1, 1),
    'gan.ada_kimg': Number(5e-324),
    'gan.ada_p': Number(0, 1),
    **ranges_of(_ROLES),
  },
  progress=('d_loss', 'g_loss'),
  cost=4,
)
