"""Variational autoencoder: reparameterised draws, an explicit likelihood, the ELBO or a tighter bound, all in nats."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree
from ml_collections import ConfigDict

from genaug.augment import Pipeline
from genaug.errors import InputError
from genaug.losses.bounds import doubly_reparameterized, importance_weighted
from genaug.losses.likelihood import LIKELIHOODS, bits_per_dim, kl_to_standard_normal, normal_log_density
from genaug.models import Spec, mixture
from genaug.models.registry import NETWORKS
from genaug.models.vae import Level, Normal
from genaug.ranges import Choice, Number
from genaug.tasks import Definition, OnDemand, Sampler, Task, from_noise
from genaug.tasks.updates import apply_gradients, average, first_state, gradients, optimizers, ranges_of, split_keys

_ROLES = ('encoder', 'decoder')
_REFINING_STEPS, _REFINING_LR = 50, 0.02  # of Adam on the encoder's output for an image
_CHUNK = 10  # draws per iteration of `many_draws`, decoded one after another to save memory; all of `amortisation`

Label = Int[Array, ' b']
Noise = Float[Array, 'b z']  # of all levels concatenated, the coarsest first
PerExample = Float[Array, ' b']


class Model(NamedTuple):
  """Encoder, decoder and prior, as functions of their parameters."""

  init: Callable[[Key[Array, '']], dict[str, PyTree]]
  encode: Callable[[PyTree, Float[Array, 'b h w c'], Label], PyTree]  # returns the argument `encoded` of `decode`
  decode: Callable[..., tuple]  # (params, noise, label, encoded=None) -> (outputs, log scale, levels)
  log_prior: Callable[[PyTree, tuple[Level, ...]], PerExample]
  from_prior: Callable[[PyTree, Noise], Noise]  # standard normal -> draw from the prior, for `decode`
  sizes: list[int]  # number of latents of each level, the coarsest first
  noise: int  # size of the noise that `from_prior` takes

  @property
  def latents(self) -> int:
    return sum(self.sizes)


def model(config: ConfigDict, spec: Spec, axis_name: str | None = None) -> Model:
  networks = NETWORKS[config.model.network].build(config, spec, axis_name)
  encoder, decoder = (networks[role] for role in _ROLES)
  shapes = decoder.latent_shapes
  sizes = [math.prod(shape) for shape in shapes]
  components = config.vae.pseudo_inputs if config.vae.prior == 'vamp' else 0

  def init(key):
    e_key, d_key = jax.random.split(key)
    label, one = jnp.zeros(1, jnp.int32), jnp.zeros((1, *spec.image_shape))
    encoded, variables = encoder.init_with_output(e_key, one, label)
    noise = tuple(jnp.zeros((1, *shape)) for shape in shapes)
    pseudo_inputs = jax.random.normal(jax.random.fold_in(key, 2), (components, *spec.image_shape))
    return {
      'encoder': variables['params'],
      'decoder': decoder.init(d_key, noise, label, encoded)['params'],
      'prior': {'pseudo_inputs': pseudo_inputs} if components else {},
    }

  def encode(params, x, label):
    return encoder.apply({'params': params['encoder']}, x, label)

  def decode(params, noise, label, encoded=None):
    parts = jnp.split(noise, list(itertools.accumulate(sizes))[:-1], axis=-1)
    noise = tuple(part.reshape(-1, *shape) for part, shape in zip(parts, shapes))
    outputs, log_scale, levels = decoder.apply({'params': params['decoder']}, noise, label, encoded)
    if log_scale is not None and config.vae.sigma:
      log_scale = jnp.full_like(log_scale, math.log(config.vae.sigma))
    return outputs, log_scale, levels

  def posteriors(params) -> Normal:
    """Returns the components of the VampPrior: posteriors of pseudo-inputs, which are learned."""
    pseudo_inputs = jax.nn.sigmoid(params['prior']['pseudo_inputs'])
    return encode(params, pseudo_inputs, jnp.zeros(components, jnp.int32))

  def log_prior(params, levels):
    if not components:
      return sum(_per_example(normal_log_density(level.z, *level.prior)) for level in levels)
    mean, log_var = posteriors(params)
    each = normal_log_density(levels[0].z[:, None], mean, log_var).sum(-1)  # [b, components]
    return importance_weighted(each.T)  # the log of the mean density

  def from_prior(params, noise):
    if not components:
      return noise
    chosen = noise[:, :components].argmax(-1)  # all components are equally probable
    return Normal(*(part[chosen] for part in posteriors(params))).at(noise[:, components:])

  return Model(init, encode, decode, log_prior, from_prior, sizes, sum(sizes) + components)


def _per_example(x: Float[Array, 'b ...']) -> PerExample:
  return x.reshape(len(x), -1).sum(-1)


def standardised_posterior(levels: tuple[Level, ...]) -> Normal:
  """Returns the posterior of all levels concatenated, each standardised by its prior given the coarser levels."""

  def relative(level):
    mean = (level.posterior.mean - level.prior.mean) * jnp.exp(-0.5 * level.prior.log_var)
    return Normal(*(x.reshape(len(x), -1) for x in (mean, level.posterior.log_var - level.prior.log_var)))

  return Normal(*(jnp.concatenate(parts, axis=-1) for parts in zip(*map(relative, levels))))


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  vae, settings = model(config, spec, axis_name), config.vae
  likelihood = LIKELIHOODS[settings.likelihood]
  optimizer = optimizers(config, (*_ROLES, 'prior'))
  pipeline = Pipeline.from_config(config.augment)

  def init(key):
    params = vae.init(key)
    return first_state(optimizer, params)

  def normal(keys, size: int) -> Float[Array, 'b n']:
    return jax.vmap(lambda key: jax.random.normal(key, (size,)))(keys)

  def log_joint(params, x, label, decoded) -> PerExample:
    outputs, log_scale, levels = decoded
    return likelihood.log_prob(x, outputs, log_scale) + vae.log_prior(params, levels)

  def log_posterior(levels) -> PerExample:
    return sum(_per_example(normal_log_density(level.z, *level.posterior)) for level in levels)

  def elbo_terms(params, x, label, noise, encoded) -> dict[str, Array]:
    """Returns the terms of the ELBO of one draw, log_likelihood - kl, in nats.

    Also the KL and posterior mean of every latent, standardised by the prior, and the latents of the coarsest level.
    """
    outputs, log_scale, levels = vae.decode(params, noise, label, encoded)
    relative = standardised_posterior(levels)
    by_latent = kl_to_standard_normal(*relative)
    vamp = settings.prior == 'vamp'  # a mixture: no closed form
    kl = log_posterior(levels) - vae.log_prior(params, levels) if vamp else by_latent.sum(-1)
    return {
      'log_likelihood': likelihood.log_prob(x, outputs, log_scale),
      'kl': kl,
      'kl_by_latent': by_latent,
      'posterior_means': relative.mean,
      'latents': levels[0].z,
    }

  def log_weights(params, x, label, noise: Float[Array, 'k b z'], each=jax.vmap) -> Float[Array, 'k b']:
    encoded = vae.encode(params, x, label)

    def of_draw(noise):
      decoded = vae.decode(params, noise, label, encoded)
      return log_joint(params, x, label, decoded) - log_posterior(decoded[-1])

    return each(of_draw)(noise)

  def doubly(params, x, label, noise: Float[Array, 'k b z']) -> tuple[PerExample, PerExample]:
    posterior = vae.encode(params, x, label)
    fixed = jax.lax.stop_gradient(posterior)

    def of_draw(z):
      decoded = vae.decode(params, z, label)  # with a standard normal prior, noise and latents are the same
      return log_joint(params, x, label, decoded) - normal_log_density(z, *fixed).sum(-1)

    return doubly_reparameterized(jax.vmap(of_draw), posterior.at(noise))

  def objective(params, part, beta):
    """Returns (loss, metrics).

    For one draw the loss is the negative ELBO, with `beta` and free bits. For more it is the negative
    importance-weighted bound or, for doubly reparameterised gradients, its surrogate.
    """
    x, label, keys = part['x'], part['label'], part['keys']
    if settings.samples == 1:
      terms = elbo_terms(params, x, label, normal(keys, vae.latents), vae.encode(params, x, label))
      kl = terms['kl'].mean()
      spent = kl
      if settings.free_bits:
        by_latent = average(terms['kl_by_latent'].mean(0), axis_name)
        spent = jnp.maximum(by_latent, settings.free_bits).sum()
      log_likelihood = terms['log_likelihood'].mean()
      return beta * spent - log_likelihood, {'elbo_nats': log_likelihood - kl, 'kl_nats': kl}
    noise = normal(keys, settings.samples * vae.latents).reshape(len(x), settings.samples, -1).swapaxes(0, 1)
    if settings.gradient == 'doubly_reparameterized':
      bound, surrogate = doubly(params, x, label, noise)
    else:
      bound = surrogate = importance_weighted(log_weights(params, x, label, noise))
    # The logged loss is the negative bound; the surrogate, which is differentiated, need not be a bound.
    return -surrogate.mean(), {'loss': -bound.mean(), 'bound_nats': bound.mean()}

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('augment', 'observe', 'posterior'))
    images = pipeline(streams['augment'], batch)['image']
    warm_up = settings.kl_warmup_steps
    beta = settings.beta * (jnp.minimum(1.0, (state.step + 1) / warm_up) if warm_up else 1.0)

    def loss_of(params, part):
      loss, figures = objective(params, part, beta)
      return loss, {'loss': loss} | figures

    x = likelihood.observe(streams['observe'], images)
    examples = {'x': x, 'label': batch['label'], 'keys': streams['posterior']}
    grads, metrics = gradients(loss_of, state.params, examples, config.train.accumulate, axis_name)
    params, opt = apply_gradients(optimizer, grads, state.opt, state.params)
    metrics |= {'beta': jnp.asarray(beta, jnp.float32), 'grad_norm': optax.tree.norm(grads)}
    return state.replace(step=state.step + 1, params=params, opt=opt), metrics

  def observed(keys, batch) -> Float[Array, 'b h w c']:
    return likelihood.observe(keys, batch['image'].astype(jnp.float32) / 255)

  def many_draws(state, batch, keys) -> dict[str, PerExample]:
    """Returns the importance-weighted bound of `eval_samples` draws, rounded down to whole chunks."""
    streams = split_keys(keys, ('observe', 'draws'))
    one_by_one = lambda function: lambda noise: jax.lax.map(function, noise)
    x, label = observed(streams['observe'], batch), batch['label']

    def add(i, so_far):
      own = jax.vmap(lambda key: jax.random.fold_in(key, i))(streams['draws'])
      noise = normal(own, _CHUNK * vae.latents).reshape(len(x), _CHUNK, -1).swapaxes(0, 1)
      return jnp.logaddexp(so_far, jax.nn.logsumexp(log_weights(state.params, x, label, noise, one_by_one), axis=0))

    chunks = settings.eval_samples // _CHUNK
    total = jax.lax.fori_loop(0, chunks, add, jnp.full(len(x), -jnp.inf))
    return {'nats': total - math.log(chunks * _CHUNK), 'draws': jnp.full(len(x), chunks * _CHUNK)}

  def amortisation(state, batch, keys) -> dict[str, PerExample]:
    """Returns each image's ELBO by the encoder's posterior, and after gradient steps on that posterior for the image.

    The difference is what the bound loses because one encoder serves all images: Kim et al. 2018 (arXiv:1802.02550),
    section 3.
    """
    streams = split_keys(keys, ('observe', 'steps', 'draws'))
    x, label = observed(streams['observe'], batch), batch['label']
    own = lambda name, i: normal(jax.vmap(lambda key: jax.random.fold_in(key, i))(streams[name]), vae.latents)
    adam = optax.adam(_REFINING_LR)

    def elbo(encoded, noise) -> PerExample:
      terms = elbo_terms(state.params, x, label, noise, encoded)
      return terms['log_likelihood'] - terms['kl']

    def refine(i, carry):
      encoded, opt = carry
      updates, opt = adam.update(jax.grad(lambda e: -elbo(e, own('steps', i)).sum())(encoded), opt)
      return optax.apply_updates(encoded, updates), opt

    first = vae.encode(state.params, x, label)
    refined, _ = jax.lax.fori_loop(0, _REFINING_STEPS, refine, (first, adam.init(first)))
    of_draws = lambda encoded: jax.lax.map(lambda i: elbo(encoded, own('draws', i)), jnp.arange(_CHUNK)).mean(0)
    steps = jnp.full(len(x), _REFINING_STEPS)
    return {'encoder_nats': of_draws(first), 'refined_nats': of_draws(refined), 'steps': steps}

  def eval_step(state, batch, keys):
    """Returns the one-draw ELBO of unaugmented images and its terms, per example, in nats and bits per dimension."""
    streams = split_keys(keys, ('observe', 'posterior'))
    x, label = observed(streams['observe'], batch), batch['label']
    encoded = vae.encode(state.params, x, label)
    terms = elbo_terms(state.params, x, label, normal(streams['posterior'], vae.latents), encoded)
    elbo, dims = terms['log_likelihood'] - terms['kl'], math.prod(spec.image_shape)
    return {
      'elbo_nats': elbo,
      'log_likelihood_nats': terms['log_likelihood'],
      'kl_nats': terms['kl'],
      'bits_per_dim': bits_per_dim(-elbo, dims, settings.likelihood),
      'posterior_means': terms['posterior_means'],
      'latents': terms['latents'],
    }

  def generate(state, batch, noise):
    """Returns the likelihood's mean images for noise from the prior."""
    return likelihood.mean(vae.decode(state.params, vae.from_prior(state.params, noise), batch['label'])[0])

  def fit(outputs) -> mixture.Mixture:
    """Fits a mixture to the coarsest latents of training images: Ghosh et al. 2020 (arXiv:1903.12436), section 4."""
    return mixture.fit(outputs['latents'])

  def of_mixture(state, batch, noise):
    coarsest, rest = jnp.split(noise, [mixture.COMPONENTS + vae.sizes[0]], axis=-1)
    noise = jnp.concatenate([mixture.draw(batch['fitted'], coarsest), rest], axis=-1)
    return likelihood.mean(vae.decode(state.params, noise, batch['label'])[0])

  def reconstruct(state, batch, keys):
    """Returns mean images decoded from the posterior means of uint8 images, which are observed as in training."""
    x, label = observed(keys, batch), batch['label']
    encoded = vae.encode(state.params, x, label)
    return likelihood.mean(vae.decode(state.params, jnp.zeros((len(x), vae.latents)), label, encoded)[0])

  samples = from_noise(lambda keys: normal(keys, vae.noise), generate)
  samplers = {
    'reconstructions': Sampler(reconstruct, source='image'),
    'samples': samples,
    'samples_mixture': from_noise(lambda keys: normal(keys, mixture.COMPONENTS + vae.latents), of_mixture, fit=fit),
  }
  probed = lambda state, batch, keys: {'features': eval_step(state, batch, keys)['posterior_means']}
  on_demand = {
    'iwae': OnDemand(many_draws, settings.eval_images),
    'amortisation': OnDemand(amortisation, settings.eval_images),
    'features': OnDemand(probed),
  }
  return Task(init, train_step, eval_step, samplers, on_demand=on_demand)


def _check(config) -> None:
  """Raises InputError for incompatible settings."""
  vae, ladder = config.vae, config.model.network == 'ladder_vae'
  several = vae.samples > 1
  if vae.free_bits and config.train.accumulate > 1:
    problem = 'applies to the mean over a whole batch, which train.accumulate > 1 splits'
    raise InputError('vae.free_bits', vae.free_bits, problem, '--config.train.accumulate=1')
  of_one = {'vae.beta': 1.0, 'vae.kl_warmup_steps': 0, 'vae.free_bits': 0.0}
  for key, off in of_one.items():
    value = config.vae[key.split('.')[1]]
    if several and value != off:
      raise InputError(key, value, 'is for the ELBO, but vae.samples > 1 trains another bound', f'--config.{key}={off}')
  if vae.gradient == 'doubly_reparameterized' and (not several or ladder or vae.prior == 'vamp'):
    problem = 'needs vae.samples > 1, a network with one latent vector and vae.prior=normal'
    raise InputError('vae.gradient', vae.gradient, problem, '--config.vae.gradient=reparameterized')
  if vae.prior == 'vamp' and (ladder or config.model.conditional or vae.free_bits):
    problem = 'needs a network with one latent vector, an unconditional model and vae.free_bits=0'
    raise InputError('vae.prior', vae.prior, problem, '--config.vae.prior=normal')
  if vae.sigma and not LIKELIHOODS[vae.likelihood].has_scale:
    scaled = ', '.join(name for name, likelihood in LIKELIHOODS.items() if likelihood.has_scale)
    remedy = f'--config.vae.sigma=0, or one of these as vae.likelihood: {scaled}'
    raise InputError('vae.sigma', vae.sigma, f'vae.likelihood={vae.likelihood} has no scale', remedy)


VAE = Definition(
  build,
  roles=_ROLES,
  inputs=('image',),
  provides=(
    'reconstructions',
    'samples',
    'samples_mixture',
    'elbo_nats',
    'log_likelihood_nats',
    'kl_nats',
    'bits_per_dim',
    'posterior_means',
    'latents',
    'iwae',
    'amortisation',
    'features',
  ),
  ranges={
    'model.z_dim': Number(1),
    'model.blocks': Number(0),
    'model.map_channels': Number(1),
    'vae.likelihood': Choice(LIKELIHOODS),
    'vae.sigma': Number(),
    'vae.prior': Choice(('normal', 'vamp')),
    'vae.pseudo_inputs': Number(1),
    'vae.beta': Number(),
    'vae.kl_warmup_steps': Number(),
    'vae.free_bits': Number(),
    'vae.samples': Number(1),
    'vae.gradient': Choice(('reparameterized', 'doubly_reparameterized')),
    'vae.eval_samples': Number(_CHUNK),
    'vae.eval_images': Number(1),
    **ranges_of(_ROLES),
  },
  progress=('loss',),
  cost=2,
  check=_check,
)
