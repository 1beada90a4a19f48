"""DiffAugment against its definition in NumPy, with the strengths of Zhao et al. 2020 and their reference code."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genaug.augment.diff_augment import POLICIES, diff_augment, random_diff_augment, sample_diff_augment

SHAPE = (12, 10, 3)


def noise(shape=SHAPE, seed=0):
  return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


def draw(n, shape):
  return jax.jit(jax.vmap(partial(sample_diff_augment, shape=shape)))(jax.random.split(jax.random.key(0), n))


def one_of(drawn, i):
  return jax.tree.map(lambda x: x[i], drawn)


def reference(x, brightness, saturation, contrast, dx, dy, centre):
  x = x + brightness
  mean = x.mean(2, keepdims=True)
  x = (x - mean) * saturation + mean
  x = (x - x.mean()) * contrast + x.mean()
  h, w, _ = x.shape
  moved = np.zeros_like(x)
  for r in range(h):
    for c in range(w):
      if 0 <= r - dy < h and 0 <= c - dx < w:
        moved[r, c] = x[r - dy, c - dx]
  tall, wide = int(h / 2 + 0.5), int(w / 2 + 0.5)
  top, left = centre[1] - tall // 2, centre[0] - wide // 2
  moved[max(top, 0) : top + tall, max(left, 0) : left + wide] = 0
  return moved


@pytest.mark.parametrize('shape', [SHAPE, (9, 11, 1)])
def test_it_is_its_definition(shape):
  images = noise((16, *shape))
  drawn = draw(16, shape)
  batch = jax.jit(jax.vmap(lambda image, drawn: diff_augment(image, **drawn)))(images, drawn)
  for i, image in enumerate(np.asarray(images)):
    expected = reference(image, **jax.tree.map(np.asarray, one_of(drawn, i)))
    np.testing.assert_allclose(batch[i], expected, atol=1e-5)
  np.testing.assert_allclose(diff_augment(images[0], **one_of(drawn, 0)), batch[0], atol=1e-5)


def test_strengths():
  drawn = jax.tree.map(np.asarray, draw(20_000, (28, 9, 3)))
  for name, law in {
    'brightness': stats.uniform(-0.5, 1),
    'saturation': stats.uniform(0, 2),
    'contrast': stats.uniform(0.5, 1),
  }.items():
    assert stats.kstest(drawn[name].astype(np.float64), law.cdf).pvalue > 1e-3
  for values, allowed in (
    (drawn['dy'], range(-4, 5)),  # 28 / 8 = 3.5 pixels, rounded
    (drawn['dx'], range(-1, 2)),  # 9 / 8 = 1.125
    (drawn['centre'][:, 1], range(29)),  # 14 pixels: between any two rows, or beyond the outermost
    (drawn['centre'][:, 0], range(9)),  # 5 pixels: around any column
  ):
    counts = [np.sum(values == value) for value in allowed]
    assert sum(counts) == len(values)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize('policy', [(), ('color',), ('translation',), ('cutout',), POLICIES])
def test_policies(policy):
  image = noise((24, 24, 3))
  changed = random_diff_augment(jax.random.key(1), image, policy)
  assert changed.shape == image.shape
  assert bool(jnp.any(changed != image)) == bool(policy)
  assert bool(jnp.mean(changed == 0) > 0.02) == ('cutout' in policy or 'translation' in policy)


def test_identity_is_exact():
  image = noise()
  np.testing.assert_array_equal(jax.jit(diff_augment)(image, 0.0, 1.0, 1.0, 0, 0), image)
  half = image.astype(jnp.bfloat16)
  np.testing.assert_array_equal(diff_augment(half), half)
  assert random_diff_augment(jax.random.key(0), half).dtype == jnp.bfloat16


def test_shifts_of_any_size():
  image = noise()
  shift = jax.jit(lambda dx, dy: diff_augment(image, dx=dx, dy=dy))
  np.testing.assert_array_equal(shift(9, -11)[0, 9], image[11, 0])
  for dx, dy in ((10, 0), (0, -12), (1000, 3)):
    np.testing.assert_array_equal(shift(dx, dy), 0)


def test_gradient_is_the_transpose():
  """Without brightness it is linear: <A x, y> = <x, A' y>, and the gradient of the gradient is A again."""
  x, y = noise(), noise(seed=1)

  @jax.jit
  def there_and_back(drawn):
    ax, pull_back = jax.vjp(lambda x: diff_augment(x, **drawn), x)
    back, again = jax.vjp(lambda y: pull_back(y)[0], y)
    return ax, back, again(x)[0]

  drawn = draw(4, SHAPE)
  for i in range(4):
    ax, back, again = there_and_back(one_of(drawn, i) | {'brightness': jnp.array(0.0)})
    np.testing.assert_allclose(jnp.vdot(ax, y), jnp.vdot(x, back), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again, ax, atol=1e-5)
    assert jnp.any(back != 0)


def test_what_is_refused():
  for image in (jnp.zeros((4, 4)), jnp.zeros((4, 4, 3), jnp.uint8)):
    with pytest.raises(ValueError, match='an image of'):
      random_diff_augment(jax.random.key(0), image)
  with pytest.raises(ValueError, match='policy'):
    sample_diff_augment(jax.random.key(0), SHAPE, ('colour',))
  with pytest.raises(ValueError, match='contrast'):
    diff_augment(noise(), contrast=-1.0)
