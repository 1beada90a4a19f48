"""Higher derivatives: penalties such as R1 and R2 differentiate twice through what the discriminator sees."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug import augment

SHAPE = (12, 12, 3)
ALL = ('blit', 'geometry', 'color', 'filter', 'noise', 'cutout')
AUGMENTS = {
  'diff_augment': augment.random_diff_augment,
  'ada': partial(augment.random_ada, p=0.9, transforms=ALL),
}


@pytest.mark.parametrize('name', ['diff_augment', pytest.param('ada', marks=pytest.mark.slow)])
def test_a_gradient_penalty_has_a_gradient(name):
  keys = jax.random.split(jax.random.key(0), 4)
  images, direction = (0.5 * jax.random.normal(key, (4, *SHAPE)) for key in jax.random.split(jax.random.key(1)))
  weights = jax.random.normal(jax.random.key(2), SHAPE)

  def logits(images):
    return jnp.tanh((jax.vmap(AUGMENTS[name])(keys, images) ** 2 * weights).mean((1, 2, 3))).sum()

  def penalty(images):
    return 1000 * (jax.grad(logits)(images) ** 2).sum()

  value, gradient = jax.jit(jax.value_and_grad(penalty))(images)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()
  step = 1e-2
  there, back = (jax.jit(penalty)(images + sign * step * direction) for sign in (1, -1))
  slope = (gradient * direction).sum()
  assert abs(slope) > 1e-4
  np.testing.assert_allclose(slope, (there - back) / (2 * step), rtol=2e-2)


@pytest.mark.parametrize('policy', [augment.rand_augment, augment.three_augment], ids=lambda policy: policy.__name__)
def test_forward_mode_through_a_policy_is_refused(policy):
  image = jnp.full(SHAPE, 0.5)
  with pytest.raises(TypeError, match=r'forward-mode.*custom_vjp'):
    jax.jvp(partial(policy, jax.random.key(0)), (image,), (image,))
