"""Lossy compression: an autoencoder trained jointly for few bits and little distortion (Balle et al. 2018).

Uniform noise replaces rounding in training only: Balle et al. 2017 (arXiv:1611.01704), section 3.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from genaug.augment import Pipeline
from genaug.models import Spec
from genaug.models.hyperprior import MULTIPLE, ROLES, log_mass_of_normal
from genaug.models.registry import NETWORKS
from genaug.ranges import Number
from genaug.tasks import Definition, Sampler, Task
from genaug.tasks.updates import apply_gradients, first_state, gradients, optimizers, ranges_of, split_keys

PerExample = Float[Array, ' b']


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  networks = NETWORKS[config.model.network].build(config, spec, axis_name)
  optimizer = optimizers(config, ROLES)
  pipeline = Pipeline.from_config(config.augment)
  height, width, _ = spec.image_shape

  def padded(images: Float[Array, 'b h w c']) -> Float[Array, 'b H W c']:
    return jnp.pad(images, ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), 'edge')

  def run(role, params, *inputs):
    return networks[role].apply({'params': params[role]}, *inputs)

  def init(key):
    keys = dict(zip(ROLES, jax.random.split(key, len(ROLES))))
    params, seen = {}, padded(jnp.zeros((1, *spec.image_shape)))

    def add(role, *inputs):
      out, variables = networks[role].init_with_output(keys[role], *inputs)
      params[role] = variables['params']
      return out

    y = add('analysis', seen)
    add('synthesis', y)
    z = add('hyper_analysis', y)
    add('hyper_synthesis', z)
    add('prior', z)
    return first_state(optimizer, params)

  def coded(params, images, quantise) -> tuple[Float[Array, 'b h w c'], PerExample]:
    """Returns (decoded images, bits per pixel); `quantise(name, x)` rounds the latents 'y' or 'z', or adds noise."""
    y = run('analysis', params, padded(images))
    z = quantise('z', run('hyper_analysis', params, y))
    scale, y = run('hyper_synthesis', params, z), quantise('y', y)
    nats = -log_mass_of_normal(y, scale).sum((1, 2, 3)) - run('prior', params, z).sum((1, 2, 3))
    return run('synthesis', params, y)[:, :height, :width], nats / jnp.log(2.0) / (height * width)

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('augment', 'y', 'z'))
    images = pipeline(streams['augment'], batch)['image']

    def objective(params, part):
      def noisy(name, x):
        return x + jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], minval=-0.5, maxval=0.5))(part[name])

      decoded, bits = coded(params, part['images'], noisy)
      distortion = ((decoded - part['images']) ** 2).mean()
      loss = bits.mean() + config.hyperprior.weight * 255**2 * distortion
      return loss, {'loss': loss, 'bits_per_pixel': bits.mean(), 'mse': distortion}

    examples = {'images': images, 'y': streams['y'], 'z': streams['z']}
    grads, metrics = gradients(objective, state.params, examples, config.train.accumulate, axis_name)
    params, opt = apply_gradients(optimizer, grads, state.opt, state.params)
    metrics['grad_norm'] = optax.tree.norm(grads)
    return state.replace(step=state.step + 1, params=params, opt=opt), metrics

  def decoded_of(state, batch) -> tuple[Float[Array, 'b h w c'], PerExample]:
    images = batch['image'].astype(jnp.float32) / 255
    decoded, bits = coded(state.params, images, lambda name, x: jnp.round(x))
    return jnp.clip(decoded, 0, 1), bits

  def eval_step(state, batch, keys):
    """Returns the model's bits per pixel, the squared error and their weighted sum, for unaugmented images.

    Latents are rounded. Errors are in grey levels of 0 to 255, after rounding the decoded images to these.
    """
    del keys
    decoded, bits = decoded_of(state, batch)
    error = ((jnp.round(decoded * 255) - batch['image']) ** 2).mean((1, 2, 3))
    loss = bits + config.hyperprior.weight * error
    return {'bits_per_pixel': bits, 'squared_error': error, 'rate_distortion': loss}

  reconstructions = Sampler(lambda state, batch, keys: decoded_of(state, batch)[0], source='image')
  return Task(init, train_step, eval_step, {'reconstructions': reconstructions})


HYPERPRIOR = Definition(
  build,
  roles=ROLES,
  inputs=('image',),
  provides=('reconstructions', 'bits_per_pixel', 'squared_error', 'rate_distortion'),
  ranges={'model.latent_width': Number(1), 'hyperprior.weight': Number(), **ranges_of(ROLES)},
  progress=('loss', 'bits_per_pixel'),
  cost=3,
)
