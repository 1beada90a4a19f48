"""Variational autoencoder: reparameterised sampling, an explicit likelihood, the ELBO in nats."""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from genaug.augment import Pipeline
from genaug.losses import likelihood
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.ranges import Choice, Number
from genaug.tasks import Definition, Sampler, Task, TrainState, from_noise
from genaug.tasks.updates import apply_gradients, gradients, optimizers, ranges_of, split_keys

_ROLES = ('encoder', 'decoder')


def observe(likelihood: str, keys: Key[Array, ' b'], images: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
  """What the likelihood is a likelihood of: binary draws, dequantised or rounded pixels.

  bernoulli: dynamic binarisation, a pixel is 1 with probability its grey value (Salakhutdinov and Murray 2008);
  gaussian: uniform dequantisation to [0, 1] (Theis et al. 2016); discretized_logistic: the nearest of 256 levels.
  """
  uniform = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))
  if likelihood == 'bernoulli':
    return (uniform(keys) < images).astype(images.dtype)
  if likelihood == 'gaussian':
    return (images * 255 + uniform(keys)) / 256
  return jnp.round(images * 255) / 255


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  networks = NETWORKS[config.model.network].build(config, spec, axis_name)
  encoder, decoder = (networks[role] for role in _ROLES)
  optimizer = optimizers(config, _ROLES)
  pipeline = Pipeline.from_config(config.augment)

  def init(key):
    e_key, d_key = jax.random.split(key)
    label = jnp.zeros((1,), jnp.int32)
    params = {
      'encoder': encoder.init(e_key, jnp.zeros((1, *spec.image_shape)), label)['params'],
      'decoder': decoder.init(d_key, jnp.zeros((1, config.model.z_dim)), label)['params'],
    }
    opt = {role: optimizer[role].init(params[role]) for role in _ROLES}
    return TrainState(jnp.zeros((), jnp.int32), params, {}, {}, opt, {})

  def encode(params, x, label):
    return encoder.apply({'params': params['encoder']}, x, label)

  def decode(params, z, label):
    return decoder.apply({'params': params['decoder']}, z, label)

  def elbo_terms(params, images, label, keys) -> dict[str, Float[Array, ' b']]:
    """log_likelihood and kl per example, in nats; the ELBO is their difference."""
    streams = split_keys(keys, ('observe', 'posterior'))
    x = observe(config.vae.likelihood, streams['observe'], images)
    mean, log_var = encode(params, x, label)
    noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(streams['posterior'])
    logits, log_scale = decode(params, mean + jnp.exp(0.5 * log_var) * noise, label)
    return {
      'log_likelihood': likelihood.LIKELIHOODS[config.vae.likelihood](x, logits, log_scale),
      'kl': likelihood.kl_to_standard_normal(mean, log_var),
    }

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('augment', 'elbo'))
    images = pipeline(streams['augment'], batch)['image']
    warm_up = config.vae.kl_warmup_steps
    beta = config.vae.beta * (jnp.minimum(1.0, (state.step + 1) / warm_up) if warm_up else 1.0)

    def objective(params, part):
      terms = elbo_terms(params, **part)
      loss = (-terms['log_likelihood'] + beta * terms['kl']).mean()
      elbo = (terms['log_likelihood'] - terms['kl']).mean()
      return loss, {'loss': loss, 'elbo_nats': elbo, 'kl_nats': terms['kl'].mean()}

    examples = {'images': images, 'label': batch['label'], 'keys': streams['elbo']}
    grads, metrics = gradients(objective, state.params, examples, config.train.accumulate, axis_name)
    params, opt = apply_gradients(optimizer, grads, state.opt, state.params)
    metrics |= {'beta': jnp.asarray(beta, jnp.float32), 'grad_norm': optax.tree.norm(grads)}
    return state.replace(step=state.step + 1, params=params, opt=opt), metrics

  def eval_step(state, batch, keys):
    """Single-sample ELBO of unaugmented images and its parts, per example, in nats and bits a dimension."""
    images = batch['image'].astype(jnp.float32) / 255
    terms = elbo_terms(state.params, images, batch['label'], keys)
    elbo = terms['log_likelihood'] - terms['kl']
    return {
      'elbo_nats': elbo,
      'log_likelihood_nats': terms['log_likelihood'],
      'kl_nats': terms['kl'],
      'bits_per_dim': likelihood.bits_per_dim(-elbo, math.prod(spec.image_shape), config.vae.likelihood),
    }

  def latents(keys):
    return jax.vmap(lambda key: jax.random.normal(key, (config.model.z_dim,)))(keys)

  def generate(state, batch, z):
    """Mean images."""
    return jax.nn.sigmoid(decode(state.params, z, batch['label'])[0])

  def reconstruct(state, batch, keys):
    """Mean images decoded from the posterior means of uint8 images, observed as in training."""
    x = observe(config.vae.likelihood, keys, batch['image'].astype(jnp.float32) / 255)
    mean, _ = encode(state.params, x, batch['label'])
    return jax.nn.sigmoid(decode(state.params, mean, batch['label'])[0])

  samplers = {'reconstructions': Sampler(reconstruct, source='image'), 'samples': from_noise(latents, generate)}
  return Task(init, train_step, eval_step, samplers)


VAE = Definition(
  build,
  roles=_ROLES,
  inputs=('image',),
  provides=('reconstructions', 'samples', 'elbo_nats', 'log_likelihood_nats', 'kl_nats', 'bits_per_dim'),
  ranges={
    'model.z_dim': Number(1),
    'vae.likelihood': Choice(likelihood.LIKELIHOODS),
    'vae.beta': Number(),
    'vae.kl_warmup_steps': Number(),
    **ranges_of(_ROLES),
  },
  progress=('loss', 'elbo_nats'),
  cost=2,
)
