"""Outside jit: an operation compiles at its first call, never again, and nothing piles up in memory."""

import gc
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug import augment
from tests.conftest import slow_but

COMPILED = []


@pytest.fixture(scope='module', autouse=True)
def _count_compilations():
  def listener(event, duration, **_):
    if event == '/jax/core/compile/backend_compile_duration':
      COMPILED.append(duration)

  jax.monitoring.register_event_duration_secs_listener(listener)
  yield
  jax.monitoring.unregister_event_duration_listener(listener)


def squared(op, key, image):
  return (op(key, image) ** 2).sum()


CALLS = {
  'rand_augment': augment.rand_augment,
  'trivial_augment_wide': augment.trivial_augment_wide,
  'auto_augment': augment.auto_augment,
  'augmix': augment.augmix,
  'three_augment': augment.three_augment,
  'equalize': augment.random_equalize,
  'autocontrast': augment.random_autocontrast,
  'clahe': augment.random_clahe,
  'elastic': augment.random_elastic,
  'rotate': augment.random_rotate,
  'rand_augment of a batch': lambda key, image: jax.vmap(augment.rand_augment)(
    jax.random.split(key, 2), image[None].repeat(2, 0)
  ),
  'gradient of equalize': jax.grad(partial(squared, augment.random_equalize), 1),
  'gradient of augmix': jax.grad(partial(squared, augment.augmix), 1),
  'gradient of rand_augment': jax.grad(partial(squared, augment.rand_augment), 1),
}


FAST = ('rand_augment', 'equalize', 'clahe')


@pytest.mark.parametrize('name', slow_but(FAST, CALLS))
def test_twenty_calls_compile_once(name):
  image = jnp.asarray(np.random.default_rng(0).random((16, 16, 3), np.float32))
  keys = list(jax.random.split(jax.random.key(0), 20))
  call = CALLS[name]
  call(keys[0], image)
  call(keys[1], image)
  compiled, objects = len(COMPILED), None
  for i, key in enumerate(keys):
    jax.block_until_ready(call(key, image))
    if i == 2:
      gc.collect()
      objects = len(gc.get_objects())
  assert len(COMPILED) == compiled
  gc.collect()
  assert len(gc.get_objects()) - objects < 200
