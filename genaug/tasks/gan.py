"""Generative adversarial training: one generator forward pass feeds both players."""

import flax
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from genaug import losses
from genaug.augment import pipeline
from genaug.augment.ada import Controller, init_controller, random_ada, update_controller
from genaug.augment.diff_augment import random_diff_augment
from genaug.models import Spec
from genaug.models.dcgan import Discriminator, Generator
from genaug.tasks import adam, average, gradients, over_slices, split_keys


class State(flax.struct.PyTreeNode):
  """Everything that training changes; arrays only."""

  step: Int[Array, '']
  generator: PyTree  # {'params', 'batch_stats'}
  discriminator: PyTree  # parameters
  ema: PyTree  # exponential moving average of `generator`
  generator_opt: PyTree
  discriminator_opt: PyTree
  controller: Controller  # of the probability of ADA; at rest without it


PRIORS = {
  'normal': jax.random.normal,
  'uniform': lambda key, shape: jax.random.uniform(key, shape, minval=-1.0, maxval=1.0),
}


# What is done to every image, real or fake, that the discriminator sees: (config, key, image in [-1, 1], p) -> image.
D_AUGMENT = {
  'none': lambda config, key, image, p: image,
  'diff_augment': lambda config, key, image, p: random_diff_augment(key, image, config.gan.diff_augment),
  'ada': lambda config, key, image, p: random_ada(key, image, p, config.gan.ada_transforms),
}


def _networks(config, spec: Spec) -> tuple[Generator, Discriminator]:
  shared = {'spec': spec, 'width': config.model.width, 'dtype': jnp.dtype(config.dtype)}
  return Generator(**shared), Discriminator(**shared)


def _latents(config, keys: Key[Array, ' b']) -> Float[Array, 'b z']:
  return jax.vmap(lambda key: PRIORS[config.model.z_prior](key, (config.model.z_dim,)))(keys)


def init(config, spec: Spec, key: Key[Array, '']) -> State:
  generator, discriminator = _networks(config, spec)
  g_key, d_key = jax.random.split(key)
  label = jnp.zeros((2,), jnp.int32)
  g = generator.init(g_key, jnp.zeros((2, config.model.z_dim)), label, train=True)
  d = discriminator.init(d_key, jnp.zeros((2, *spec.image_shape)), label)['params']
  opt = adam(config)
  # The average starts as a copy: two leaves of a donated state must not share one buffer.
  ema = jax.tree.map(jnp.copy, g)
  controller = init_controller(config.gan.ada_p)
  return State(jnp.zeros((), jnp.int32), g, d, ema, opt.init(g['params']), opt.init(d), controller)


def train_step(
  config, spec: Spec, state: State, batch: dict[str, Array], keys: Key[Array, ' b']
) -> tuple[State, dict[str, Float[Array, '']]]:
  """One update of the discriminator by all slices of the batch, then one of the generator against the new one."""
  generator, discriminator = _networks(config, spec)
  discriminator_loss, generator_loss = losses.ADVERSARIAL_LOSSES[config.gan.loss]
  opt = adam(config)
  streams = split_keys(keys, ('augment', 'latent', 'real', 'fake', 'generated'))
  real = 2 * pipeline.input_step(config.augment)(streams['augment'], batch)['image'] - 1
  slices = config.train.accumulate
  examples = {'real': real, 'z': _latents(config, streams['latent']), 'label': batch['label'], 'keys': streams}

  def generate(params):
    def generate_slice(part):
      variables = {'params': params, 'batch_stats': state.generator['batch_stats']}
      images, updated = generator.apply(variables, part['z'], part['label'], train=True, mutable='batch_stats')
      return updated['batch_stats'], images

    # A slice's intermediates are computed again for its backward pass, not kept through the discriminator's update.
    forward = jax.checkpoint(generate_slice) if slices > 1 else generate_slice
    batch_stats, images = over_slices(forward, {name: examples[name] for name in ('z', 'label')}, slices)
    return images, batch_stats

  def discriminate(params, images, keys, label):
    """The one door to the discriminator: whatever is done to its images is done to real and fake alike."""
    images = jax.vmap(lambda key, image: D_AUGMENT[config.gan.d_augment](config, key, image, state.controller.p))(
      keys, images
    )
    return discriminator.apply({'params': params}, images, label, mutable='batch_stats')[0]

  fake, pull_back, batch_stats = jax.vjp(generate, state.generator['params'], has_aux=True)
  examples['fake'] = fake

  def discriminator_objective(params, part):
    real_logits = discriminate(params, part['real'], part['keys']['real'], part['label'])
    fake_logits = discriminate(params, part['fake'], part['keys']['fake'], part['label'])
    loss = discriminator_loss(real_logits, fake_logits).mean()
    signs = jnp.sign(real_logits).mean()
    return loss, {'d_loss': loss, 'd_real': real_logits.mean(), 'd_fake': fake_logits.mean(), 'r_t': signs}

  def generator_objective(images, part):
    return generator_loss(discriminate(d_params, images, part['keys']['generated'], part['label'])).mean()

  d_grads, metrics = gradients(discriminator_objective, state.discriminator, examples, slices)
  updates, d_opt = opt.update(d_grads, state.discriminator_opt, state.discriminator)
  d_params = optax.apply_updates(state.discriminator, updates)

  g_loss, image_grads = over_slices(
    lambda part: jax.value_and_grad(generator_objective)(part['fake'], part), examples, slices
  )
  g_grads, g_loss = average((pull_back(image_grads / slices)[0], g_loss))
  updates, g_opt = opt.update(g_grads, state.generator_opt, state.generator['params'])
  g = {'params': optax.apply_updates(state.generator['params'], updates), 'batch_stats': batch_stats}

  controller = state.controller
  if config.gan.d_augment == 'ada':
    metrics['ada_p'] = controller.p
    batch_size = config.train.batch_size
    kimg = config.gan.ada_kimg
    controller = update_controller(controller, metrics['r_t'], batch_size, config.gan.ada_target, kimg)

  # Early on the average would mostly remember the initialisation, so it starts short and grows to its length.
  decay = jnp.minimum(config.gan.ema, (1.0 + state.step) / (10.0 + state.step))
  metrics |= {
    'g_loss': g_loss,
    'd_grad_norm': optax.tree.norm(d_grads),
    'g_grad_norm': optax.tree.norm(g_grads),
  }
  new_state = State(
    step=state.step + 1,
    generator=g,
    discriminator=d_params,
    ema=optax.incremental_update(g, state.ema, 1 - decay),
    generator_opt=g_opt,
    discriminator_opt=d_opt,
    controller=controller,
  )
  return new_state, metrics


def eval_step(
  config, spec: Spec, state: State, batch: dict[str, Array], keys: Key[Array, ' b']
) -> dict[str, Float[Array, ' b']]:
  """Empty: a GAN has no per-example score, only distances between sets of samples (evaluation/distances.py)."""
  del config, spec, state, batch, keys
  return {}


def sample(
  config, spec: Spec, state: State, keys: Key[Array, ' b'], label: Int[Array, ' b'], ema: bool = True
) -> Float[Array, 'b h w c']:
  """Images in [0, 1], batch norm in inference mode; `ema=False` samples the raw generator."""
  generator, _ = _networks(config, spec)
  images = generator.apply(state.ema if ema else state.generator, _latents(config, keys), label, train=False)
  return (images + 1) / 2
