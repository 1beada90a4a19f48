"""Autoencoder with finite scalar quantisation (FSQ) and a causal transformer over its codes, trained jointly.

The transformer learns from the codes that the encoder produces at that step, and sends no gradient to the encoder.
log p(x | codes of x) + log p(codes of x) is a lower bound on log p(x), as other codes could produce x too.
"""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genaug.augment import Pipeline
from genaug.errors import InputError
from genaug.losses.likelihood import LIKELIHOODS, bits_per_dim
from genaug.models import Spec
from genaug.models.fsq import codes_of, latents_of
from genaug.models.layers import base_and_doublings
from genaug.models.mixture import gumbel_of
from genaug.models.registry import NETWORKS
from genaug.ranges import Choice, Number
from genaug.tasks import Definition, Sampler, Task, from_noise
from genaug.tasks.updates import BELOW_ONE, apply_gradients, first_state, gradients, optimizers, ranges_of, split_keys

_ROLES = ('tokenizer', 'detokenizer', 'prior')
_MOST_CODES = 1 << 16

PerExample = Float[Array, ' b']


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  networks = NETWORKS[config.model.network].build(config, spec, axis_name)
  tokenizer, detokenizer, prior = (networks[role] for role in _ROLES)
  likelihood, levels = LIKELIHOODS[config.fsq.likelihood], tuple(config.fsq.levels)
  optimizer = optimizers(config, _ROLES)
  pipeline = Pipeline.from_config(config.augment)
  side, _ = base_and_doublings(spec.image_shape[0])
  count, label_of_init = side * side, jnp.zeros(1, jnp.int32)

  def init(key):
    keys = dict(zip(_ROLES, jax.random.split(key, 3)))
    inputs = {
      'tokenizer': (jnp.zeros((1, *spec.image_shape)),),
      'detokenizer': (jnp.zeros((1, side, side, len(levels))),),
      'prior': (jnp.zeros((1, count), jnp.int32), label_of_init),
    }
    params = {role: networks[role].init(keys[role], *inputs[role])['params'] for role in _ROLES}
    return first_state(optimizer, params)

  def decode(params, z):
    return detokenizer.apply({'params': params['detokenizer']}, z)

  def log_prob_of_codes(params, codes, label, keys=None) -> PerExample:
    logits = prior.apply({'params': params['prior']}, codes, label, keys)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), codes[..., None], axis=-1).sum((1, 2))

  def terms(params, x, label, keys=None) -> tuple[PerExample, PerExample, Int[Array, 'b n']]:
    """Returns (log p(x | codes), log p(codes), codes), in nats."""
    z = tokenizer.apply({'params': params['tokenizer']}, x)
    codes = codes_of(jax.lax.stop_gradient(z), levels).reshape(len(x), -1)
    return likelihood.log_prob(x, *decode(params, z)), log_prob_of_codes(params, codes, label, keys), codes

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('augment', 'observe', 'dropout'))
    images = pipeline(streams['augment'], batch)['image']

    def objective(params, part):
      log_likelihood, log_prior, _ = terms(params, part['x'], part['label'], part['keys'])
      elbo = (log_likelihood + log_prior).mean()
      return -elbo, {'loss': -elbo, 'log_likelihood_nats': log_likelihood.mean(), 'kl_nats': -log_prior.mean()}

    examples = {
      'x': likelihood.observe(streams['observe'], images),
      'label': batch['label'],
      'keys': streams['dropout'],
    }
    grads, metrics = gradients(objective, state.params, examples, config.train.accumulate, axis_name)
    params, opt = apply_gradients(optimizer, grads, state.opt, state.params)
    metrics['grad_norm'] = optax.tree.norm(grads)
    return state.replace(step=state.step + 1, params=params, opt=opt), metrics

  def observed(keys, batch) -> Float[Array, 'b h w c']:
    return likelihood.observe(keys, batch['image'].astype(jnp.float32) / 255)

  def eval_step(state, batch, keys):
    """Returns codes of unaugmented images, the bound and its terms, per example, in nats and bits per dimension."""
    log_likelihood, log_prior, codes = terms(state.params, observed(keys, batch), batch['label'])
    elbo, dims = log_likelihood + log_prior, math.prod(spec.image_shape)
    return {
      'elbo_nats': elbo,
      'log_likelihood_nats': log_likelihood,
      'kl_nats': -log_prior,
      'bits_per_dim': bits_per_dim(-elbo, dims, config.fsq.likelihood),
      'codes': codes,
    }

  def images_of(params, codes) -> Float[Array, 'b h w c']:
    z = latents_of(codes, levels).reshape(-1, side, side, len(levels))
    return likelihood.mean(decode(params, z)[0])

  def noise_of(keys) -> Float[Array, 'b n k']:
    return jax.vmap(lambda key: jax.random.normal(key, (count, math.prod(levels))))(keys)

  def generate(state, batch, noise):
    """Draws code after code as the argmax of logits plus Gumbel noise; scaling `noise` down favours probable codes."""
    gumbel = gumbel_of(noise)

    def add(i, drawn):
      codes, cache = drawn
      logits, cache = prior.apply({'params': state.params['prior']}, codes, batch['label'], cache=cache, at=i)
      return codes.at[:, i].set((logits[:, 0] + gumbel[:, i]).argmax(-1)), cache

    start = jnp.zeros((len(noise), count), jnp.int32), prior.empty_cache(len(noise), count)
    codes, _ = jax.lax.fori_loop(0, count, add, start)
    return images_of(state.params, codes)

  def reconstruct(state, batch, keys):
    z = tokenizer.apply({'params': state.params['tokenizer']}, observed(keys, batch))
    return likelihood.mean(decode(state.params, z)[0])

  samplers = {
    'reconstructions': Sampler(reconstruct, source='image'),
    'samples': from_noise(noise_of, generate),
  }
  return Task(init, train_step, eval_step, samplers)


def _check(config) -> None:
  levels = config.fsq.levels
  if not levels or not all(isinstance(count, int) and count > 2 for count in levels) or math.prod(levels) > _MOST_CODES:
    remedy = f'a tuple of integers of at least 3, whose product is at most {_MOST_CODES:,}, such as (8, 5, 5, 5)'
    raise InputError('fsq.levels', levels, 'not valid numbers of levels', remedy)


FSQ = Definition(
  build,
  roles=_ROLES,
  inputs=('image',),
  provides=(
    'reconstructions',
    'samples',
    'elbo_nats',
    'log_likelihood_nats',
    'kl_nats',
    'bits_per_dim',
    'codes',
  ),
  ranges={
    'model.blocks': Number(0),
    'model.layers': Number(1),
    'model.dropout': Number(0, BELOW_ONE),
    'fsq.likelihood': Choice(LIKELIHOODS),
    **ranges_of(_ROLES),
  },
  progress=('loss',),
  cost=6,
  check=_check,
)
