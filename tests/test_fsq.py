"""FSQ: rounding, codes and their way back, the order of the transformer, and what training makes of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.errors import InputError
from genaug.models import Spec
from genaug.models.fsq import Prior, bounded, codes_of, latents_of, quantized
from genaug.tasks.registry import TASKS
from tests.conftest import UNAUGMENTED, tiny_config

LEVELS = (8, 5, 4)
SPEC = Spec((8, 8, 1), 2)
KEYS = jax.random.split(jax.random.key(0), 4)
BATCH = {
  'image': np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8),
  'label': np.array([0, 1, 0, 1], np.int32),
}


def test_codes_round_trip():
  codes = jnp.arange(np.prod(LEVELS))
  latents = latents_of(codes, LEVELS)
  np.testing.assert_array_equal(codes_of(latents, LEVELS), codes)
  assert len(np.unique(latents, axis=0)) == len(codes)
  assert abs(latents).max() <= 1


def test_every_level_is_reached_and_zero_stays_zero():
  z = jnp.linspace(-6, 6, 2001)[:, None] * jnp.ones(3)
  found = quantized(z, LEVELS)
  assert [len(np.unique(found[:, i])) for i in range(3)] == list(LEVELS)
  np.testing.assert_allclose(bounded(jnp.zeros(3), LEVELS), 0, atol=1e-6)
  np.testing.assert_array_equal(quantized(jnp.zeros(3), LEVELS), 0)
  assert set(np.asarray(codes_of(quantized(jax.random.normal(KEYS[0], (500, 3)), LEVELS), LEVELS))) <= set(range(160))


def test_gradients_pass_the_rounding():
  z = jnp.array([0.3, -0.2, 0.7])
  through = jax.grad(lambda z: quantized(z, LEVELS).sum())(z)
  around = jax.grad(lambda z: (bounded(z, LEVELS) / jnp.array([4, 2, 2])).sum())(z)
  np.testing.assert_allclose(through, around, rtol=1e-6)


def test_a_code_depends_on_those_before_it_and_on_the_class():
  prior, codes = Prior(SPEC, codes=10, layers=2, width=16), jnp.array([[1, 2, 3, 4]])
  params, apply = jax.jit(prior.init)(KEYS[0], codes, BATCH['label'][:1]), jax.jit(prior.apply)
  logits = lambda codes, label: apply(params, codes, jnp.array([label]))[0]
  changed = np.abs(logits(codes.at[0, 1].set(7), 0) - logits(codes, 0)).max(-1) > 0
  assert changed.tolist() == [False, False, True, True]
  assert (np.abs(logits(codes, 1) - logits(codes, 0)).max(-1) > 0).all()


def test_drawing_with_a_cache_finds_the_logits_of_the_whole_row():
  prior, codes = Prior(SPEC, codes=10, layers=2, width=16), jax.random.randint(KEYS[1], (4, 6), 0, 10)
  params = jax.jit(prior.init)(KEYS[0], codes, BATCH['label'])
  params = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(KEYS[2], p.shape), params)
  whole = jax.jit(prior.apply)(params, codes, BATCH['label'])
  step = jax.jit(lambda codes, cache, at: prior.apply(params, codes, BATCH['label'], cache=cache, at=at))
  cache = prior.empty_cache(*codes.shape)
  for i in range(codes.shape[1]):
    logits, cache = step(codes.at[:, i:].set(0), cache, i)  # the codes from i on are not drawn yet
    np.testing.assert_allclose(logits[:, 0], whole[:, i], rtol=1e-4, atol=1e-4)


def _task(**overrides):
  settings = {'model__conditional': True, 'model__layers': 1, 'fsq__levels': (3, 3), 'optim__lr': 3e-3}
  return TASKS['fsq'].build(tiny_config('fsq', **UNAUGMENTED, **settings, **overrides), SPEC)


@pytest.mark.slow
def test_images_are_learned_and_come_out_again():
  """Two images, one a class: samples of a class are its image, and their bound is tight."""
  image = np.zeros((2, 8, 8, 1), np.uint8)
  image[0, :, :4], image[1, :4] = 255, 255
  batch = {'image': image.repeat(4, 0), 'label': np.array([0, 1], np.int32).repeat(4)}
  task = _task(model__dropout=0.0)
  state, step, keys = task.init(KEYS[0]), jax.jit(task.train_step), jax.random.split(KEYS[1], 8)
  for _ in range(100):
    state, _ = step(state, batch, keys)
  outputs = jax.jit(task.eval_step)(state, batch, keys)
  np.testing.assert_allclose(outputs['elbo_nats'], outputs['log_likelihood_nats'] - outputs['kl_nats'], rtol=1e-5)
  assert outputs['elbo_nats'].min() > -15, 'less than a fifth of what 64 fair coins take'
  for name in ('samples', 'reconstructions'):
    images = jax.jit(task.samplers[name].sample)(state, batch, keys)
    assert np.abs(images - batch['image'] / 255).mean() < 0.1, name


@pytest.mark.parametrize('levels', [(), (8, 1), (8, 2), (2.5, 3), (256, 256, 3)])
def test_levels_that_are_none_are_refused(levels):
  with pytest.raises(InputError, match=r'fsq\.levels'):
    TASKS['fsq'].check(tiny_config('fsq', fsq__levels=levels))
