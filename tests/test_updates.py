"""Optimisers: one for every network, with values that may change over the steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genaug.tasks.updates import apply_gradients, at_step, optimizers
from tests.conftest import tiny_config

STEPS = 10


def _updates(config, network='generator', steps=STEPS):
  """How far one parameter of constant gradient moves at every step."""
  optimizer = optimizers(config, (network,))
  params = {network: {'w': jnp.zeros(())}}
  opt = {network: optimizer[network].init(params[network])}
  step = jax.jit(lambda opt, params: apply_gradients(optimizer, {network: {'w': jnp.ones(())}}, opt, params))
  places = [0.0]
  for _ in range(steps):
    params, opt = step(opt, params)
    places.append(float(params[network]['w']))
  return -np.diff(places)


def _config(**settings):
  return tiny_config('gan', train__steps=STEPS, **{f'optim__{name}': value for name, value in settings.items()})


@pytest.mark.parametrize(
  ('settings', 'expected'),
  [
    ({'lr': 1e-3}, np.full(STEPS, 1e-3)),
    ({'lr': 1e-3, 'schedule': 'cosine'}, 1e-3 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2),
    ({'lr': 1e-3, 'schedule': 'linear'}, 1e-3 * (1 - np.arange(STEPS) / STEPS)),
    ({'lr': (4e-3, 1e-3), 'schedule': 'linear'}, np.linspace(4e-3, 1e-3, STEPS + 1)[:STEPS]),
    (
      {'lr': (4e-3, 1e-3), 'schedule': 'cosine'},
      1e-3 + 3e-3 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS)) / 2,
    ),
    ({'lr': 1e-3, 'warmup_steps': 4}, np.minimum(np.arange(STEPS) / 4, 1) * 1e-3),
    ({'lr': 1e-3, 'generator.lr': 5e-3}, np.full(STEPS, 5e-3)),
    ({'lr': 1e-3, 'discriminator.lr': 5e-3}, np.full(STEPS, 1e-3)),
  ],
)
def test_the_learning_rate_is_the_schedule(settings, expected):
  """Of a constant gradient, Adam's steps are the learning rate."""
  np.testing.assert_allclose(_updates(_config(**settings)), expected, rtol=1e-3, atol=1e-8)


def test_a_network_that_begins_later_ends_with_the_others():
  config = tiny_config('gan', train__steps=10, optim__lr=1.0, optim__schedule='linear')
  optimizer = optimizers(config, ('discriminator',), first={'discriminator': 6})['discriminator']
  params, found = jnp.zeros(1), []
  state = optimizer.init(params)
  for _ in range(4):
    updates, state = optimizer.update(jnp.ones(1), state, params)
    found.append(-float(updates[0]))
  np.testing.assert_allclose(found, [0.4, 0.3, 0.2, 0.1], rtol=1e-4)  # of steps 6 to 9


@pytest.mark.parametrize('clip', [0.0, 1e9])
def test_a_network_that_is_updated_at_every_third_step_has_the_rates_of_these_steps(clip):
  optim = {'optim__lr': 0.3, 'optim__schedule': 'linear', 'optim__warmup_steps': 3, 'optim__clip': clip}
  config = tiny_config('gan', train__steps=12, **optim)
  optimizer = optimizers(config, ('generator',), every={'generator': 3})['generator']
  params, found = jnp.zeros(1), []
  state = optimizer.init(params)
  for _ in range(4):  # of a constant gradient Adam's step is the learning rate
    updates, state = optimizer.update(jnp.ones(1), state, params)
    found.append(-float(updates[0]))
  np.testing.assert_allclose(found, [0.0, 0.3, 0.2, 0.1], rtol=1e-4, atol=1e-7)  # of steps 0, 3, 6 and 9


def test_a_pair_of_betas_is_adam_with_the_beta_of_each_step():
  config = _config(lr=1e-3, b2=(0.5, 0.9), schedule='linear')
  config.optim.lr = (1e-3, 1e-3)
  optimizer = optimizers(config, ('generator',))['generator']
  gradients = [1.0, -2.0, 0.5]
  opt, mu, nu = optimizer.init(jnp.zeros(())), 0.0, 0.0
  for count, gradient in enumerate(gradients):
    update, opt = optimizer.update(jnp.array(gradient), opt, jnp.zeros(()))
    b1, b2 = 0.5, 0.5 + 0.04 * count
    mu, nu = b1 * mu + (1 - b1) * gradient, b2 * nu + (1 - b2) * gradient**2
    expected = -1e-3 * (mu / (1 - b1 ** (count + 1))) / (np.sqrt(nu / (1 - b2 ** (count + 1))) + 1e-8)
    np.testing.assert_allclose(update, expected, rtol=1e-4)


def test_weight_decay_of_one_network_is_adamw():
  config = _config(**{'discriminator.weight_decay': 0.1})
  plain, decayed = (optimizers(config, ('generator', 'discriminator'))[n] for n in ('generator', 'discriminator'))
  one, gradient = jnp.ones(()), jnp.ones(())
  a, b = (o.update(gradient, o.init(one), one)[0] for o in (plain, decayed))
  np.testing.assert_allclose(b - a, -0.1 * config.optim.lr, rtol=1e-4)
  expected = optax.adamw(config.optim.lr, b1=config.optim.b1, b2=config.optim.b2, weight_decay=0.1)
  np.testing.assert_allclose(b, expected.update(gradient, expected.init(one), one)[0], rtol=1e-6)


def test_other_settings_change_over_the_steps_too():
  config = _config(schedule='linear')
  assert at_step(10.0, config, jnp.array(3)) == 10.0
  np.testing.assert_allclose(at_step((10.0, 0.0), config, jnp.array(3)), 7.0, rtol=1e-6)


def test_a_long_gradient_is_shortened_to_the_norm_that_is_allowed():
  clipped, plain = (optimizers(_config(lr=1e-3, clip=clip), ('generator',))['generator'] for clip in (2.0, 0.0))
  params = {'a': jnp.zeros(2), 'b': jnp.zeros(())}
  opt, expected = clipped.init(params), plain.init(params)
  # Norms of 13 and 1.3: by Adam, which forgets the length of a gradient, told apart only one after another.
  for gradient, factor in (((3.0, 4.0, 12.0), 2 / 13), ((0.3, -0.4, 1.2), 1.0), ((-3.0, 4.0, 12.0), 2 / 13)):
    grads = {'a': jnp.array(gradient[:2]), 'b': jnp.array(gradient[2])}
    update, opt = clipped.update(grads, opt, params)
    other, expected = plain.update(jax.tree.map(lambda g, f=factor: f * g, grads), expected, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), update, other)
