"""Variational autoencoder: reparameterised sampling, an explicit likelihood, the ELBO in nats."""

import math

import flax
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from genaug import losses
from genaug.augment import pipeline
from genaug.models import Spec
from genaug.models.vae import Decoder, Encoder
from genaug.tasks import adam, gradients, split_keys


class State(flax.struct.PyTreeNode):
  """Everything that training changes; arrays only."""

  step: Int[Array, '']
  params: PyTree  # {'encoder', 'decoder'}
  opt: PyTree


def _networks(config, spec: Spec) -> tuple[Encoder, Decoder]:
  shared = {'spec': spec, 'width': config.model.width, 'dtype': jnp.dtype(config.dtype)}
  has_scale = config.vae.likelihood != 'bernoulli'
  return Encoder(**shared, z_dim=config.model.z_dim), Decoder(**shared, has_scale=has_scale)


def init(config, spec: Spec, key: Key[Array, '']) -> State:
  encoder, decoder = _networks(config, spec)
  e_key, d_key = jax.random.split(key)
  label = jnp.zeros((1,), jnp.int32)
  params = {
    'encoder': encoder.init(e_key, jnp.zeros((1, *spec.image_shape)), label)['params'],
    'decoder': decoder.init(d_key, jnp.zeros((1, config.model.z_dim)), label)['params'],
  }
  return State(jnp.zeros((), jnp.int32), params, adam(config).init(params))


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


def _elbo_terms(config, spec, params, images, label, keys) -> dict[str, Float[Array, ' b']]:
  """log_likelihood and kl per example, in nats; the ELBO is their difference."""
  encoder, decoder = _networks(config, spec)
  streams = split_keys(keys, ('observe', 'posterior'))
  x = observe(config.vae.likelihood, streams['observe'], images)
  mean, log_var = encoder.apply({'params': params['encoder']}, x, label)
  noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(streams['posterior'])
  z = mean + jnp.exp(0.5 * log_var) * noise
  logits, log_scale = decoder.apply({'params': params['decoder']}, z, label)
  return {
    'log_likelihood': losses.LIKELIHOODS[config.vae.likelihood](x, logits, log_scale),
    'kl': losses.kl_to_standard_normal(mean, log_var),
  }


def train_step(
  config, spec: Spec, state: State, batch: dict[str, Array], keys: Key[Array, ' b']
) -> tuple[State, dict[str, Float[Array, '']]]:
  streams = split_keys(keys, ('augment', 'elbo'))
  images = pipeline.input_step(config.augment)(streams['augment'], batch)['image']
  warm_up = config.vae.kl_warmup_steps
  beta = config.vae.beta * (jnp.minimum(1.0, (state.step + 1) / warm_up) if warm_up else 1.0)

  def objective(params, part):
    terms = _elbo_terms(config, spec, params, **part)
    loss = (-terms['log_likelihood'] + beta * terms['kl']).mean()
    elbo = (terms['log_likelihood'] - terms['kl']).mean()
    return loss, {'loss': loss, 'elbo_nats': elbo, 'kl_nats': terms['kl'].mean()}

  examples = {'images': images, 'label': batch['label'], 'keys': streams['elbo']}
  grads, metrics = gradients(objective, state.params, examples, config.train.accumulate)
  updates, opt = adam(config).update(grads, state.opt, state.params)
  metrics |= {'beta': jnp.asarray(beta, jnp.float32), 'grad_norm': optax.tree.norm(grads)}
  return State(state.step + 1, optax.apply_updates(state.params, updates), opt), metrics


def eval_step(
  config, spec: Spec, state: State, batch: dict[str, Array], keys: Key[Array, ' b']
) -> dict[str, Float[Array, ' b']]:
  """Single-sample ELBO of unaugmented images and its parts, per example, in nats and bits a dimension."""
  images = batch['image'].astype(jnp.float32) / 255
  terms = _elbo_terms(config, spec, state.params, images, batch['label'], keys)
  elbo = terms['log_likelihood'] - terms['kl']
  return {
    'elbo_nats': elbo,
    'log_likelihood_nats': terms['log_likelihood'],
    'kl_nats': terms['kl'],
    'bits_per_dim': losses.bits_per_dim(-elbo, math.prod(spec.image_shape), config.vae.likelihood),
  }


def sample(
  config, spec: Spec, state: State, keys: Key[Array, ' b'], label: Int[Array, ' b']
) -> Float[Array, 'b h w c']:
  """Mean images in [0, 1] of latents drawn from the prior."""
  _, decoder = _networks(config, spec)
  z = jax.vmap(lambda key: jax.random.normal(key, (config.model.z_dim,)))(keys)
  return jax.nn.sigmoid(decoder.apply({'params': state.params['decoder']}, z, label)[0])


def reconstruct(
  config, spec: Spec, state: State, batch: dict[str, Array], keys: Key[Array, ' b']
) -> Float[Array, 'b h w c']:
  """Mean images in [0, 1] decoded from the posterior means of uint8 images, observed as in training."""
  encoder, decoder = _networks(config, spec)
  images = observe(config.vae.likelihood, keys, batch['image'].astype(jnp.float32) / 255)
  mean, _ = encoder.apply({'params': state.params['encoder']}, images, batch['label'])
  return jax.nn.sigmoid(decoder.apply({'params': state.params['decoder']}, mean, batch['label'])[0])
