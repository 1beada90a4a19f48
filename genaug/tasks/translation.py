"""Image-to-image translation: pix2pix with pairs, CycleGAN and CUT without.

Generator and discriminator are updated at once, by one gradient of the sum of their losses
(`losses.adversarial.two_players`). Without pairs, `target` belongs to another example than `image`, and no loss
compares the two.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from genaug.augment import Pipeline
from genaug.augment.diff_augment import POLICIES, random_diff_augment
from genaug.errors import InputError
from genaug.losses.adversarial import ADVERSARIAL_LOSSES, two_players
from genaug.losses.contrastive import patch_nce
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.ranges import Choice, Number, Subset
from genaug.tasks import Definition, Sampler, Task
from genaug.tasks.updates import (
  apply_gradients,
  first_state,
  gradients,
  moving_average,
  optimizers,
  ranges_of,
  split_keys,
)

Images = Float[Array, 'b h w c']
PerExample = Float[Array, ' b']
Terms = dict[str, PerExample]


class Parts(NamedTuple):
  """Config and functions that the losses of a method are computed with."""

  config: object
  run: Callable[..., PyTree]  # (role, params, *inputs)
  translate: Callable[[str, PyTree, Images], Images]  # (role, params, images)
  players: Callable[..., tuple[PerExample, PerExample, Terms]]  # (role, params, seen, real, fake)


class Method(NamedTuple):
  """What distinguishes pix2pix, CUT and CycleGAN from each other."""

  roles: tuple[str, ...]
  losses: Callable[[Parts, PyTree, Images, Images, Key[Array, ' b']], tuple[PerExample, Terms]]
  translators: Mapping[str, tuple[str, str]]  # sampler -> (role, batch entry that it translates)
  ranges: Mapping[str, Number]  # allowed values of its own config keys


def _pix2pix(parts: Parts, params, image: Images, target: Images, keys) -> tuple[PerExample, Terms]:
  """Returns the loss of Isola et al. 2017 (arXiv:1611.07004), eq. 4, and its terms.

  The discriminator sees the image beside its translation.
  """
  del keys
  fake = parts.translate('translator', params, image)
  d_loss, g_loss, terms = parts.players('discriminator', params, (image,), target, fake)
  l1 = _l1(fake, target)
  return d_loss + g_loss + parts.config.translation.l1 * l1, terms | {'d_loss': d_loss, 'g_loss': g_loss, 'l1': l1}


def _cut(parts: Parts, params, image: Images, target: Images, keys) -> tuple[PerExample, Terms]:
  """Returns the loss of Park et al. 2020 (CUT, arXiv:2007.15651), eq. 5, and its terms.

  Each patch of a translation must be recognised as that of the image at the same position.
  """
  settings = parts.config.translation

  def contrast(image):
    positions = patch_positions(keys, settings.patches)
    translated, taps = parts.run('translator', params, image)
    queries = parts.run('projector', params, parts.run('translator', params, translated)[1], positions)
    nce_keys = parts.run('projector', params, taps, positions)
    return translated, sum(map(patch_nce, queries, nce_keys)) / len(nce_keys)

  fake, nce = contrast(image)
  _, identity = contrast(target)
  d_loss, g_loss, terms = parts.players('discriminator', params, (), target, fake)
  loss = d_loss + g_loss + settings.nce * nce + settings.identity * identity
  return loss, terms | {'d_loss': d_loss, 'g_loss': g_loss, 'nce': nce, 'nce_identity': identity}


def patch_positions(keys: Key[Array, ' b'], count: int) -> Float[Array, 'b n']:
  """Draws positions in [0, 1] along the flattened pixels, one in each of `count` equal intervals.

  Independent draws could repeat a patch, which would then be a negative of itself.
  """
  uniform = jax.vmap(lambda key: jax.random.uniform(key, (count,)))(keys)
  return (jnp.arange(count) + uniform) / count


def _cyclegan(parts: Parts, params, image: Images, target: Images, keys) -> tuple[PerExample, Terms]:
  """Returns the loss of Zhu et al. 2017 (CycleGAN, arXiv:1703.10593), eq. 3, and its terms.

  It includes the identity loss of section 5.2. The discriminators see only the translations of this step; the authors
  also show them a history of 50 earlier ones.
  """
  del keys
  settings = parts.config.translation
  forward, back = (lambda x, role=role: parts.translate(role, params, x) for role in ('translator', 'inverse'))
  fake, fake_image = forward(image), back(target)
  cycle = _l1(back(fake), image) + _l1(forward(fake_image), target)
  identity = _l1(forward(target), target) + _l1(back(image), image)
  d_loss, g_loss, terms = parts.players('discriminator', params, (), target, fake)
  d_inverse, g_inverse, _ = parts.players('inverse_discriminator', params, (), image, fake_image)
  loss = d_loss + g_loss + d_inverse + g_inverse + settings.cycle * cycle + settings.identity * identity
  terms |= {'d_loss': d_loss, 'g_loss': g_loss, 'd_inverse_loss': d_inverse, 'g_inverse_loss': g_inverse}
  return loss, terms | {'cycle': cycle, 'identity': identity}


def _l1(a: Images, b: Images) -> PerExample:
  return jnp.abs(a - b).mean((1, 2, 3))


_FORWARD = {'translated': ('translator', 'image')}
METHODS = {
  'pix2pix': Method(('translator', 'discriminator'), _pix2pix, _FORWARD, {'translation.l1': Number()}),
  'cut': Method(
    ('translator', 'discriminator', 'projector'),
    _cut,
    _FORWARD,
    {
      'model.blocks': Number(1),
      'translation.nce': Number(),
      'translation.identity': Number(),
      'translation.patches': Number(2),
    },
  ),
  'cyclegan': Method(
    ('translator', 'discriminator', 'inverse', 'inverse_discriminator'),
    _cyclegan,
    _FORWARD | {'translated_back': ('inverse', 'target')},
    {'translation.cycle': Number(), 'translation.identity': Number()},
  ),
}


def build(config, spec: Spec, axis_name: str | None = None) -> Task:
  roles, losses, translators, _ = METHODS[config.task]
  networks = NETWORKS[config.model.network].build(config, spec, axis_name)
  optimizer = optimizers(config, roles)
  pipeline = Pipeline.from_config(config.augment)
  adversarial_loss, policy = ADVERSARIAL_LOSSES[config.translation.loss], config.translation.diff_augment

  def run(role, params, *inputs):
    return networks[role].apply({'params': params[role]}, *inputs)

  def translate(role, params, image) -> Images:
    output = run(role, params, image)
    return output[0] if isinstance(output, tuple) else output

  def init(key):
    keys = dict(zip(roles, jax.random.split(key, len(roles))))
    image, pair = jnp.zeros((1, *spec.image_shape)), jnp.zeros((1, *spec.image_shape[:2], 2 * spec.image_shape[2]))
    inputs = {'discriminator': (pair if config.task == 'pix2pix' else image,)}
    params = {}
    for role in roles:
      if role == 'projector':
        _, taps = networks['translator'].apply({'params': params['translator']}, image)
        inputs[role] = taps, jnp.zeros((1, 1))
      params[role] = networks[role].init(keys[role], *inputs.get(role, (image,)))['params']
    return first_state(optimizer, params, averaged={role: params[role] for role, _ in translators.values()})

  def train_step(state, batch, keys):
    streams = split_keys(keys, ('augment', 'patches', 'discriminator'))
    moved = pipeline(streams['augment'], {'image': batch['image'], 'target': batch['target']})
    examples = {name: 2 * moved[name] - 1 for name in ('image', 'target')} | {'keys': streams}

    def objective(params, part):
      def players(role, params, seen, real, fake):
        """Returns both losses and terms of a discriminator that sees `real` and `fake` beside the images in `seen`.

        All that it sees of an example is augmented alike.
        """

        def critic(critic_params, images):
          augmented = [
            jax.vmap(lambda key, x: random_diff_augment(key, x, policy))(part['keys']['discriminator'], x)
            if policy
            else x
            for x in (*seen, images)
          ]
          return networks[role].apply({'params': critic_params}, jnp.concatenate(augmented, axis=-1))

        return two_players(adversarial_loss, critic, params[role], real, fake)

      parts = Parts(config, run, translate, players)
      loss, terms = losses(parts, params, part['image'], part['target'], part['keys']['patches'])
      return loss.mean(), {name: value.mean() for name, value in terms.items()}

    grads, metrics = gradients(objective, state.params, examples, config.train.accumulate, axis_name)
    params, opt = apply_gradients(optimizer, grads, state.opt, state.params)
    metrics['d_grad_norm'] = optax.tree.norm(grads['discriminator'])
    metrics['g_grad_norm'] = optax.tree.norm(grads['translator'])
    ema = moving_average(state.ema, {role: params[role] for role in state.ema}, config.translation.ema, state.step)
    return state.replace(step=state.step + 1, params=params, opt=opt, ema=ema), metrics

  def sampler(role, source):
    def sample(state, batch, keys):
      del keys
      return (translate(role, state.ema, 2 * batch[source].astype(jnp.float32) / 255 - 1) + 1) / 2

    truth = {'image': 'target', 'target': 'image'}[source] if config.data.paired else ''
    return Sampler(sample, source=source, truth=truth)

  return Task(init, train_step, None, {name: sampler(role, source) for name, (role, source) in translators.items()})


def _check(config) -> None:
  paired = config.data.get('paired', True)
  if paired != (config.task == 'pix2pix'):
    problem = f'task {config.task!r} is for images that are {"no " * paired}pairs'
    remedy = f'--config.data.paired={not paired}' + (', or a config with :cut or :cyclegan' if not paired else '')
    raise InputError('data.paired', paired, problem, remedy)


def _definition(task: str) -> Definition:
  method = METHODS[task]
  return Definition(
    build,
    roles=method.roles,
    inputs=('image', 'target'),
    provides=tuple(method.translators),
    ranges={
      'model.d_width': Number(1),
      'model.halvings': Number(1, 6),
      'model.blocks': Number(1),
      'translation.loss': Choice(ADVERSARIAL_LOSSES),
      'translation.diff_augment': Subset(POLICIES),
      'translation.ema': Number(0, 1),
      **method.ranges,
      **ranges_of(method.roles),
    },
    progress=('d_loss', 'g_loss'),
    cost=8,
    check=_check,
  )


PIX2PIX, CUT, CYCLEGAN = map(_definition, METHODS)
