"""Super-resolution: images are downscaled in the training step, and a network learns to upscale them.

It is trained by L1 alone, for the least error (Lim et al. 2017, EDSR, arXiv:1707.02921), or also by VGG16 features and
an adversarial loss, for textures (Ledig et al. 2017, SRGAN, arXiv:1609.04802; Wang et al. 2018, ESRGAN,
arXiv:1809.00219).
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from genaug import augment
from genaug.errors import InputError
from genaug.losses.adversarial import ADVERSARIAL_LOSSES, two_players
from genaug.losses.perceptual import feature_distance
from genaug.models import Spec, imagenet
from genaug.models.registry import NETWORKS
from genaug.models.superres import PATCH_MULTIPLE, cubic_upscaled
from genaug.ranges import Choice, Number
from genaug.tasks import Definition, Due, Keys, Sampler, Task
from genaug.tasks.updates import (
  apply_gradients,
  first_state,
  gradients,
  moving_average,
  optimizers,
  ranges_of,
  split_keys,
)

_TAP = 1  # relu2_2, as for super-resolution in Johnson et al. 2016 (arXiv:1603.08155), section 4.2
_LEVELS = 255

Image = Float[Array, 'h w c']
Small = Float[Array, 'h/s w/s c']


def quantise_8bit(image: Image) -> Image:
  """Rounds to the levels of an 8-bit file."""
  return jnp.round(image * _LEVELS) / _LEVELS


def bicubic(image: Image, scale: int) -> Small:
  """Downscales as MATLAB's imresize(image, 1 / scale) on 8 bits: first the height, then the width, each rounded."""
  h, w, _ = image.shape
  how = {'interpolation': 'cubic', 'border': 'edge'}
  low = quantise_8bit(augment.resize(image, h // scale, w, **how))
  return quantise_8bit(augment.resize(low, h // scale, w // scale, **how))


def blind_degradation(config, key: Key[Array, ''], image: Image, scale: int) -> Small:
  """Blurs, downscales, adds noise and compresses, each with a random strength.

  The classical degradation model of Wang et al. 2021 (Real-ESRGAN, arXiv:2107.10833), section 3.1, applied once.
  """
  blur, noise, jpeg = jax.random.split(key, 3)
  image = augment.random_gaussian_blur(blur, image, tuple(config.superres.blur))
  image = augment.random_gaussian_noise(noise, bicubic(image, scale), config.superres.noise)
  return quantise_8bit(augment.random_jpeg(jpeg, image, tuple(config.superres.jpeg_quality)))


DEGRADATIONS = {'bicubic': lambda config, key, image, scale: bicubic(image, scale), 'blind': blind_degradation}


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  settings, scale = config.superres, config.model.scale
  side = _patch(config, spec)
  roles = ('upscaler', 'discriminator') if settings.adversarial else ('upscaler',)
  networks = NETWORKS[config.model.network].build(config, spec, axis_name)
  optimizer = optimizers(config, roles, first={'discriminator': settings.l1_steps})
  pipeline = augment.Pipeline.from_config(config.augment)
  adversarial_loss = ADVERSARIAL_LOSSES[settings.loss]
  vgg = imagenet.variables('vgg16') if settings.perceptual else None
  l1_first = bool(settings.l1_steps and (settings.adversarial or settings.perceptual))

  def due(step: int) -> Due:
    return Due(frozenset(('all',) if step >= settings.l1_steps else ()))

  def init(key):
    keys = jax.random.split(key, len(roles))
    input_sides = {'upscaler': (side[0] // scale, side[1] // scale), 'discriminator': side}
    params = {
      role: networks[role].init(role_key, jnp.zeros((1, *input_sides[role], spec.image_shape[-1])))['params']
      for role, role_key in zip(roles, keys)
    }
    return first_state(optimizer, params, averaged={'upscaler': params['upscaler']})

  def degraded(keys: Keys, images: Float[Array, 'b h w c']) -> Float[Array, 'b h/s w/s c']:
    return jax.vmap(lambda key, image: DEGRADATIONS[settings.degradation](config, key, image, scale))(keys, images)

  def upscale(params, small):
    return networks['upscaler'].apply({'params': params}, small)

  def critic(params, images):
    return networks['discriminator'].apply({'params': params}, 2 * images - 1)

  def features(images):
    return imagenet.taps('vgg16', vgg, _LEVELS * images)[_TAP]

  def l1_objective(params, part):
    error = jnp.abs(upscale(params['upscaler'], part['small']) - part['images']).mean()
    return error, {'l1': error}

  def objective(params, part):
    """Returns (sum of both networks' losses, metrics).

    The gradient of the discriminator's loss reaches the discriminator alone, those of all others the upscaler alone.
    """
    images, upscaled = part['images'], upscale(params['upscaler'], part['small'])
    metrics = {'l1': jnp.abs(upscaled - images).mean()}
    loss, d_loss = settings.l1 * metrics['l1'], 0.0
    if settings.perceptual:
      metrics['perceptual'] = feature_distance(features(upscaled), features(images)).mean()
      loss += settings.perceptual * metrics['perceptual']
    if settings.adversarial:
      losses = two_players(adversarial_loss, critic, params['discriminator'], images, upscaled)
      d_loss, g_loss, logged = jax.tree.map(jnp.mean, losses)
      metrics |= {'d_loss': d_loss, 'g_loss': g_loss, **logged}
      loss += settings.adversarial * g_loss
    return loss + d_loss, metrics

  def examples_of(batch, keys):
    """Returns random patches of augmented images, and these patches downscaled."""
    streams = split_keys(keys, ('augment', 'crop', 'degrade'))
    images = pipeline(streams['augment'], batch)['image']
    images = jax.vmap(lambda key, image: augment.random_crop(key, image, *side))(streams['crop'], images)
    return {'images': images, 'small': degraded(streams['degrade'], images)}

  def updated(state, examples, objective, names):
    """Returns (params, opt, metrics) after one step of the networks `names`."""
    grads, metrics = gradients(objective, state.params, examples, config.train.accumulate, axis_name)
    metrics['grad_norm'] = optax.tree.norm(grads['upscaler'])
    return *apply_gradients(optimizer, {name: grads[name] for name in names}, state.opt, state.params), metrics

  def train_step(state, batch, keys, due=None):
    """Takes a step by L1 alone or by all losses, as `due` says; if it is None, `state.step` decides."""
    examples = examples_of(batch, keys)

    def step_by_all():
      return updated(state, examples, objective, roles)

    def step_by_l1():
      params, opt, metrics = updated(state, examples, l1_objective, ('upscaler',))
      all_metrics = jax.eval_shape(step_by_all)[-1]  # both steps have the same metrics; those not computed here are 0
      return params, opt, {name: jnp.zeros(()) for name in all_metrics} | metrics

    if not l1_first:
      params, opt, metrics = step_by_all()
    elif due is not None:
      params, opt, metrics = step_by_all() if 'all' in due.names else step_by_l1()
    else:
      params, opt, metrics = jax.lax.cond(state.step >= settings.l1_steps, step_by_all, step_by_l1)
    ema = moving_average(state.ema, {'upscaler': params['upscaler']}, settings.ema, state.step)
    return state.replace(step=state.step + 1, params=params, opt=opt, ema=ema), metrics

  def small(batch, keys):
    return degraded(keys, batch['image'].astype(jnp.float32) / _LEVELS)

  def eval_step(state, batch, keys):
    """Returns how test images are downscaled, for metrics: the scale, and 1 if the degradation is blind."""
    del state
    constant = lambda value: jnp.full(len(keys), value, jnp.float32)
    return {'scale': constant(scale), 'blind': constant(settings.degradation == 'blind')}

  def upscaled(state, batch, keys):
    return jnp.clip(upscale(state.ema['upscaler'], small(batch, keys)), 0, 1)

  def baseline(state, batch, keys):
    return jnp.clip(cubic_upscaled(small(batch, keys), scale), 0, 1)

  samplers = {'upscaled': Sampler(upscaled, source='image'), 'bicubic': Sampler(baseline, source='image')}
  return Task(init, train_step, eval_step, samplers, due if l1_first else None)


def _patch(config, spec: Spec) -> tuple[int, int]:
  """Returns the height and width of training patches. Raises InputError if the images don't allow them."""
  height, width, _ = spec.image_shape
  patch, whole = config.superres.patch, f'images of {height} x {width} pixels'
  if patch > min(height, width):
    remedy = f'at most {min(height, width)}, or 0 for whole images'
    raise InputError('superres.patch', patch, f'larger than {whole}', remedy)
  if not patch and config.superres.adversarial and (height % PATCH_MULTIPLE or width % PATCH_MULTIPLE):
    problem = f'trains on whole {whole}, but the discriminator needs sides that are multiples of {PATCH_MULTIPLE}'
    raise InputError('superres.patch', patch, problem, f'a multiple of {config.model.scale * PATCH_MULTIPLE}')
  return (patch, patch) if patch else (height, width)


def _check(config) -> None:
  settings, scale = config.superres, config.model.scale
  multiple = scale * PATCH_MULTIPLE if settings.adversarial else scale
  if settings.patch % multiple or 0 < settings.patch < 4 * scale:
    problem = f'does not suit model.scale = {scale}' + ' and a discriminator' * bool(settings.adversarial)
    least = -(-4 * scale // multiple) * multiple
    remedy = f'a multiple of {multiple} from {least} on, or 0 for whole images'
    raise InputError('superres.patch', settings.patch, problem, remedy)
  if not settings.l1 + settings.perceptual + settings.adversarial:
    raise InputError('superres.l1', settings.l1, 'nothing to learn from, all losses are off', '--config.superres.l1=1')
  if settings.perceptual:
    imagenet.variables('vgg16')
  key, one = jax.random.key(0), jnp.zeros((8, 8, 1))
  for name, draw, remedy in (
    ('blur', augment.random_gaussian_blur, '(0.2, 1.5), in pixels'),
    ('jpeg_quality', augment.random_jpeg, '(50, 95), from 1 to 100'),
  ):
    pair = settings[name]
    try:
      if len(pair) != 2:
        raise ValueError('not two numbers')
      jax.eval_shape(lambda image: draw(key, image, tuple(pair)), one)  # noqa: B023
    except ValueError as error:
      raise InputError(f'superres.{name}', pair, str(error), f'a pair such as {remedy}') from None


SUPERRES = Definition(
  build,
  roles=('upscaler', 'discriminator'),
  inputs=('image',),
  provides=('upscaled', 'bicubic', 'scale', 'blind'),
  ranges={
    'model.scale': Number(2, 4),
    'model.blocks': Number(1),
    'superres.patch': Number(),
    'superres.degradation': Choice(DEGRADATIONS),
    'superres.noise': Number(0, 1),
    'superres.l1': Number(),
    'superres.perceptual': Number(),
    'superres.adversarial': Number(),
    'superres.loss': Choice(ADVERSARIAL_LOSSES),
    'superres.l1_steps': Number(),
    'superres.ema': Number(0, 1),
    **ranges_of(('upscaler', 'discriminator')),
  },
  progress=('l1',),
  cost=5,
  check=_check,
)
