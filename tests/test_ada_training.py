"""ADA in training: its controller on a simulated discriminator, and the leak into the generator that p < 1 prevents."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from genaug.augment.ada import ada, init_controller, sample_ada, update_controller, update_p


def keys(n):
  return jax.random.split(jax.random.key(0), n)


# The controller


def test_controller_by_hand():
  controller = init_controller(0.5)
  update = jax.jit(partial(update_controller, batch_size=64, kimg=10))
  seen = []
  for sign_mean in (0.9, 0.7, 0.5, 0.4, 0.9, 0.9, 0.9, -0.9, 0.6):
    controller = update(controller, sign_mean)
    seen.append(float(controller.p))
  step = 4 * 64 / 10_000
  up = 0.5 + step  # the first four have a mean of 0.625, the next four of 0.45
  np.testing.assert_allclose(seen, [0.5] * 3 + [up] * 4 + [0.5] * 2, atol=1e-6)
  assert int(controller.count) == 1


@pytest.mark.parametrize(('p', 'r_t', 'expected'), [(0.999, 1, 1), (0.001, 0, 0), (0.5, 0.6, 0.5), (0.5, 1, 0.504)])
def test_p_stays_a_probability(p, r_t, expected):
  np.testing.assert_allclose(update_p(p, r_t, 2000), expected, atol=1e-6)


def test_controller_reaches_its_target():
  """A discriminator whose mean sign falls from 0.95 at p = 0 by 0.7 p: 0.6 at p = 0.5, after 250,000 images."""
  batch, kimg = 64, 500

  def step(controller, key):
    sure = 0.95 - 0.7 * controller.p
    signs = jnp.where(jax.random.bernoulli(key, (1 + sure) / 2, (batch,)), 1, -1)
    controller = update_controller(controller, signs.mean(), batch, kimg=kimg)
    return controller, (controller.p, sure)

  _, (p, r_t) = jax.jit(lambda k: jax.lax.scan(step, init_controller(), k))(keys(2 * kimg * 1000 // batch))
  images = batch * np.arange(1, len(p) + 1)
  reached = images[np.abs(r_t - 0.6) < 0.03][0]
  assert 200_000 < reached < 300_000
  later = r_t[images > 500_000]
  assert np.abs(later - 0.6).max() < 0.05
  assert abs(later.mean() - 0.6) < 0.01


# The leak


def blobs(key, n, side=12):
  """A blob near the top, and its three turns: [4, n, side, side, 1]."""
  place = jnp.array([2.5, side / 2]) + jax.random.normal(key, (n, 2)) / 2
  squared = (jnp.indices((side, side)) + 0.5 - place[:, :, None, None]) ** 2
  images = 2 * jnp.exp(-squared.sum(1) / 6)[..., None] - 1
  return jnp.stack([jnp.rot90(images, k, (1, 2)) for k in range(4)])


def turn_at_random(key, image, p):
  blit = sample_ada(key, image.shape, p, ('blit',))['blit']
  return ada(image, {'blit': blit._replace(flip=jnp.array(False), shift=jnp.zeros(2, jnp.int32))})


def train_orientations(key, p, steps=800, n=8):
  """A GAN whose generator decides how often to make each of the four turns; the share of the true one before, after."""
  key, *parts = jax.random.split(key, 4)
  generator = jax.random.normal(parts[0], (4,))
  discriminator = jax.random.normal(parts[1], (144, 32)) / 12, jax.random.normal(parts[2], (32,)) / 6
  adam, descent = optax.adam(1e-2, b1=0.5), optax.sgd(4.0)

  def discriminate(discriminator, images, key):
    into, out = discriminator
    images = jax.vmap(turn_at_random, (0, 0, None))(jax.random.split(key, 4 * n), images, p)
    return jax.nn.leaky_relu(images.reshape(4 * n, -1) @ into) @ out

  def step(state, key):
    generator, discriminator, moments = state
    of_real, of_fake, *doors = jax.random.split(key, 5)
    real, fake = blobs(of_real, 4 * n)[0], blobs(of_fake, n).reshape(4 * n, 12, 12, 1)

    def generated(generator, losses):
      return jax.nn.softmax(generator) @ losses.reshape(4, n).mean(1)

    def discriminator_loss(discriminator):
      on_real = jax.nn.softplus(-discriminate(discriminator, real, doors[0]))
      return on_real.mean() + generated(generator, jax.nn.softplus(discriminate(discriminator, fake, doors[1])))

    def generator_loss(generator):
      return generated(generator, jax.nn.softplus(-discriminate(discriminator, fake, doors[2])))

    updates, moments = adam.update(jax.grad(discriminator_loss)(discriminator), moments)
    steps, _ = descent.update(jax.grad(generator_loss)(generator), descent.init(generator))
    return (optax.apply_updates(generator, steps), optax.apply_updates(discriminator, updates), moments), None

  state = generator, discriminator, adam.init(discriminator)
  (trained, *_), _ = jax.lax.scan(step, state, jax.random.split(key, steps))
  return jax.nn.softmax(generator)[0], jax.nn.softmax(trained)[0]


@pytest.mark.slow
def test_turns_leak_only_if_they_always_happen():
  over_seeds = jax.vmap(train_orientations, (0, None))
  before, after = jax.jit(jax.vmap(over_seeds, (None, 0)))(keys(6), jnp.array([0.5, 0.79, 1.0]))
  assert jnp.all(after[:2] > 0.9), after
  # All four turns look the same now: nothing draws the generator away from where it started, wherever that was.
  assert jnp.mean(jnp.abs(after[2] - before[2])) < 0.15, (before, after)
  assert jnp.all(after[2] < 0.75), after
