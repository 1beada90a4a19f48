"""Flow matching: a network learns the flow from noise to images, an ODE solver follows it (Lipman et al. 2023).

If the network is conditioned on classes, captions or image features, a share of these is dropped in training, for
classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598). Operations in `flow.augment` are non-leaky: the
network is conditioned on their parameters, which are zeros in sampling (see `augment.encoding`). Those in
`config.augment` leak into samples.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from genaug.augment import Pipeline
from genaug.augment.encoding import ENCODINGS, encode
from genaug.augment.registry import OPS
from genaug.errors import InputError
from genaug.losses.flow import flow_matching, heun, interpolate, logit_normal_times, stratified_times, velocity
from genaug.models import Spec, imagenet, sown_features, weights
from genaug.models.registry import NETWORKS
from genaug.ranges import Number, Subset
from genaug.tasks import Definition, OnDemand, Sampler, Task, from_noise
from genaug.tasks.updates import (
  BELOW_ONE,
  apply_gradients,
  first_state,
  gradients,
  moving_average,
  optimizers,
  ranges_of,
  split_keys,
)

_FEATURES = 256
_TIMES = 4  # number of times t at which the loss of a held-out image is averaged
_PROBED_AT = 0.9  # time t at which features are taken: the noise has weight 0.1


class Condition(NamedTuple):
  """What the network is conditioned on besides noisy images and time, as keyword arguments of `UNet`."""

  label: Int[Array, ' b']
  augment: Float[Array, 'b n']
  keys: Key[Array, ' b'] | None  # of dropout; None: no dropout
  caption: Int[Array, 'b l']
  features: Float[Array, 'b f'] | None


def alexnet_features(images: Float[Array, 'b h w c']) -> Float[Array, 'b 256']:
  """Returns AlexNet features of images in [0, 1], which say what they show, but not where.

  These are the activations of the last ReLU, averaged over pixels and scaled to a mean square of 1.
  """
  taps = imagenet.taps('alexnet', imagenet.variables('alexnet'), 255 * imagenet.resized(images))
  features = taps[-1].mean((1, 2))
  return features * jax.lax.rsqrt((features**2).mean(-1, keepdims=True) + 1e-8)


def build(config, spec: Spec, axis_name: str | None = None, of_images: bool = False) -> Task:
  """Builds the task; with `of_images` the network is conditioned on the `alexnet_features` of an image."""
  conditioned = spec.num_classes or spec.vocabulary or of_images
  if config.flow.guidance != 1 and not (conditioned and config.flow.label_dropout):
    problem = 'needs a network that is trained both with labels or captions and without them'
    remedy = '--config.model.conditional=True --config.flow.label_dropout=0.1'
    raise InputError('flow.guidance', config.flow.guidance, problem, remedy)
  network = NETWORKS[config.model.network].build(config, spec, axis_name)['denoiser']
  optimizer = optimizers(config, ('denoiser',))
  pipeline, non_leaky = Pipeline.from_config(config.augment), _non_leaky(config)

  def augmented(keys, images) -> tuple[Float[Array, 'b h w c'], Float[Array, 'b n']]:
    """Returns images in [0, 1] after the operations in `flow.augment`, and the encoded parameters of these."""
    if not non_leaky.operations:
      return images, jnp.zeros((len(images), 0))
    params = non_leaky.sample(keys, {'image': images})
    return non_leaky.apply(params, {'image': images})['image'], encode(params, non_leaky.operations)

  @functools.cache  # cached, as tracing the pipeline takes longer than all else here
  def encoded() -> int:
    """Returns the length of the vector that encodes how an image was augmented."""
    one = jnp.zeros((1, *spec.image_shape))
    _, augment = jax.eval_shape(augmented, jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1)), one)
    return augment.shape[-1]

  def null_condition(count: int) -> Condition:
    """Returns the null condition: the null class, no augmentation, no dropout, an empty caption, features of zeros."""
    return Condition(
      label=jnp.full(count, spec.num_classes),  # the null class
      augment=jnp.zeros((count, encoded())),
      keys=None,
      caption=jnp.zeros((count, 1), jnp.int32),
      features=jnp.zeros((count, _FEATURES)) if of_images else None,
    )

  def condition_of(batch, images) -> Condition:
    """Returns the condition of a batch, without augmentation; `images`, in [0, 1], are used only with `of_images`."""
    condition = null_condition(len(batch['label']))._replace(label=batch['label'])
    if spec.vocabulary:
      condition = condition._replace(caption=batch['caption'])
    return condition._replace(features=alexnet_features(images)) if of_images else condition

  def init(key):
    one = jnp.zeros((1, *spec.image_shape))
    params = {'denoiser': network.init(key, one, jnp.zeros(1), **null_condition(1)._asdict())['params']}
    return first_state(optimizer, params, averaged=params)

  def noise_of(keys: Key[Array, ' b']) -> Float[Array, 'b h w c']:
    return jax.vmap(lambda key: jax.random.normal(key, spec.image_shape))(keys)

  def losses(params, images, noise, t, condition: Condition) -> Float[Array, ' b']:
    x = interpolate(noise, images, t)
    return flow_matching(network.apply({'params': params}, x, t, **condition._asdict()), images, t)

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('augment', 'non_leaky', 'noise', 'time', 'label', 'dropout'))
    images, augment = augmented(streams['non_leaky'], pipeline(streams['augment'], batch)['image'])
    dropped = jax.vmap(lambda key: jax.random.bernoulli(key, config.flow.label_dropout))(streams['label'])
    drop = lambda value, null: jnp.where(jnp.expand_dims(dropped, range(1, value.ndim)), null, value)
    condition = jax.tree.map(drop, condition_of(batch, images), null_condition(len(images)))
    examples = {
      'images': 2 * images - 1,
      'noise': streams['noise'],
      'time': streams['time'],
      'condition': condition._replace(augment=augment, keys=streams['dropout']),
    }

    def objective(params, part):
      noise, t = noise_of(part['noise']), logit_normal_times(part['time'])
      loss = losses(params, part['images'], noise, t, part['condition']).mean()
      return loss, {'loss': loss}

    grads, metrics = gradients(objective, state.params['denoiser'], examples, config.train.accumulate, axis_name)
    params, opt = apply_gradients(optimizer, {'denoiser': grads}, state.opt, state.params)
    metrics['grad_norm'] = optax.tree.norm(grads)
    ema = moving_average(state.ema, params, config.flow.ema, state.step)
    return state.replace(step=state.step + 1, params=params, opt=opt, ema=ema), metrics

  def eval_step(state, batch, keys):
    """Returns the averaged (EMA) network's loss on unaugmented images, at times and with noise common to all states."""
    images = batch['image'].astype(jnp.float32) / 255
    condition = condition_of(batch, images)

    def at(i, t):
      noise = noise_of(jax.vmap(lambda key: jax.random.fold_in(key, i))(keys))
      return losses(state.ema['denoiser'], 2 * images - 1, noise, jnp.full(len(images), t), condition)

    return {'flow_loss': jax.lax.map(lambda i_t: at(*i_t), (jnp.arange(_TIMES), stratified_times(_TIMES))).mean(0)}

  def probed(state, batch, keys):
    """Returns the averaged (EMA) network's features of slightly noisy images: lowest resolution, mean over positions.

    Xiang et al. 2023, "Denoising Diffusion Autoencoders are Unified Self-supervised Learners", arXiv:2303.09769.
    """
    t = jnp.full(len(keys), _PROBED_AT)
    x = interpolate(noise_of(keys), 2 * batch['image'].astype(jnp.float32) / 255 - 1, t)
    variables, null = {'params': state.ema['denoiser']}, null_condition(len(keys))
    return {'features': sown_features(network, variables, x, t, **null._asdict())}

  def generator(params, by_batch: bool):
    """Returns generate(state, batch, noise), which makes images in [0, 1] with the parameters `params(state)`.

    They are conditioned on the batch's classes and, if `by_batch`, also on its captions or on AlexNet features of its
    images.
    """

    def generate(state, batch, noise):
      variables, guidance = {'params': params(state)['denoiser']}, config.flow.guidance
      null = null_condition(len(noise))
      condition = null._replace(label=batch['label'])
      if by_batch:
        condition = condition_of(batch, batch['image'].astype(jnp.float32) / 255 if of_images else None)

      def towards(x, t):
        conditional = network.apply(variables, x, t, **condition._asdict())
        if guidance == 1:
          return velocity(conditional, x, t)
        unconditional = network.apply(variables, x, t, **null._asdict())
        return velocity(unconditional + guidance * (conditional - unconditional), x, t)

      return jnp.clip((heun(towards, noise, config.flow.sample_steps) + 1) / 2, 0, 1)

    return generate

  def of_ema(state):
    return state.ema

  samplers = {}
  if spec.vocabulary or of_images:
    generate = generator(of_ema, by_batch=True)
    name = 'variations' if of_images else 'from_text'
    samplers[name] = Sampler(lambda state, batch, keys: generate(state, batch, noise_of(keys)), source='image')
  for name, params in {'samples': of_ema, 'samples_raw': lambda state: state.params}.items():
    samplers[name] = from_noise(noise_of, generator(params, by_batch=False))
  return Task(init, train_step, eval_step, samplers, on_demand={'features': OnDemand(probed)})


def _non_leaky(config) -> Pipeline:
  """Returns a pipeline of the operations in `flow.augment`, each with probability `flow.augment_p`.

  Their parameters are those in `config.augment`.
  """
  settings = config.augment.to_dict() | {'one_of': (), 'some_of': ()}
  for name in OPS:
    settings[name] |= {'p': config.flow.augment_p if name in config.flow.augment else 0.0}
  return Pipeline.from_config(settings)


FLOW = Definition(
  build,
  roles=('denoiser',),
  inputs=('image',),
  provides=('samples', 'samples_raw', 'flow_loss', 'features'),
  ranges={
    'model.blocks': Number(1),
    'model.dropout': Number(0, BELOW_ONE),
    'flow.ema': Number(0, 1),
    'flow.label_dropout': Number(0, 1),
    'flow.augment': Subset(ENCODINGS),
    'flow.augment_p': Number(0, 1),
    'flow.sample_steps': Number(1),
    'flow.guidance': Number(),
    **ranges_of(('denoiser',)),
  },
  progress=('loss',),
  cost=26,
)

IMAGE_VARIATIONS = FLOW._replace(
  build=functools.partial(build, of_images=True),
  provides=(*FLOW.provides, 'variations'),
  check_files=lambda config: weights.load('alexnet'),
)
TEXT_TO_IMAGE = FLOW._replace(inputs=('image', 'caption'), provides=(*FLOW.provides, 'from_text'))
