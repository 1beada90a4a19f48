"""`when` gives what `lax.cond` gives image by image, and computes only the images that are on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.augment import conditional
from genaug.augment.conditional import when


def wave(image, params):
  return jnp.sin(image * params['frequency']) + params['shift'][params['which']]


def batch(size, seed=0):
  rng = np.random.default_rng(seed)
  images = jnp.asarray(rng.random((size, 4, 5, 3), np.float32))
  params = {
    'frequency': jnp.asarray(rng.random(size, np.float32)),
    'shift': jnp.asarray(rng.random((size, 2), np.float32)),
    'which': jnp.asarray(rng.integers(0, 2, size)),
    'key': jax.random.split(jax.random.key(seed), size),
  }
  return images, params


def on_of(size, share, seed=1):
  return jnp.asarray(np.random.default_rng(seed).random(size) < share)


@pytest.mark.parametrize(('size', 'share'), [(1, 1.0), (5, 0.3), (16, 0.0), (16, 1.0), (37, 0.3)])
def test_a_batch_is_a_loop_of_conditions(size, share):
  (images, params), on = batch(size), on_of(size, share)
  changed = jax.jit(jax.vmap(lambda *args: when(args[0], wave, *args[1:])))(on, images, params)
  for i in range(size):
    one = jax.tree.map(lambda x: x[i], params)  # noqa: B023
    expected = wave(images[i], one) if on[i] else images[i]
    np.testing.assert_allclose(changed[i], expected, atol=1e-6)
    if not on[i]:
      np.testing.assert_array_equal(changed[i], images[i])
    np.testing.assert_allclose(when(on[i], wave, images[i], one), expected, atol=1e-6)


def test_both_ways_to_batch_agree():
  (images, params), on = batch(37), on_of(37, 0.4)
  grouped, everywhere = (jax.jit(partial(way, wave)) for way in (conditional.in_groups, conditional.everywhere))
  np.testing.assert_allclose(grouped(on, images, params), everywhere(on, images, params), atol=1e-6)


def test_only_those_on_are_computed():
  seen = []

  def op(image, params):
    jax.debug.callback(lambda _: seen.append(1), params)
    return image + 1

  on = jnp.arange(64) % 16 == 3  # 4 of 64, in groups of 4
  jax.block_until_ready(
    jax.jit(jax.vmap(partial(when, op=op)))(on, image=jnp.zeros((64, 2, 2, 1)), params=jnp.ones(64))
  )
  jax.effects_barrier()
  assert len(seen) == 4


def test_one_condition_for_all_is_one_condition():
  images, params = batch(9)
  both = jax.jit(jax.vmap(lambda on, *args: when(on, wave, *args), (None, 0, 0)))
  np.testing.assert_array_equal(both(jnp.array(False), images, params), images)
  np.testing.assert_allclose(both(jnp.array(True), images, params), jax.vmap(wave)(images, params), atol=1e-6)


@pytest.mark.parametrize('size', [1, 21])
def test_gradients_are_those_of_a_choice(size):
  (images, params), on = batch(size), on_of(size, 0.5).at[0].set(True)
  weights = batch(size, seed=2)[0]

  def loss(op, images, frequency, shift):
    return (jax.vmap(op)(on, images, params | {'frequency': frequency, 'shift': shift}) * weights).sum()

  def choice(on, image, params):
    return jnp.where(on, wave(image, params), image)

  arguments = images, params['frequency'], params['shift']
  ours = jax.jit(jax.grad(partial(loss, lambda on, *args: when(on, wave, *args)), (0, 1, 2)))(*arguments)
  theirs = jax.grad(partial(loss, choice), (0, 1, 2))(*arguments)
  for a, b in zip(ours, theirs):
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert jnp.any(a != 0)


def test_nested_vmap_and_integer_images():
  images = jnp.arange(2 * 6 * 4).reshape(2, 6, 2, 2, 1)
  on = on_of(12, 0.5).reshape(2, 6)
  twice = jax.vmap(jax.vmap(lambda on, image: when(on, lambda image, _: image * 2, image)))
  np.testing.assert_array_equal(jax.jit(twice)(on, images), jnp.where(on[..., None, None, None], images * 2, images))
