"""ADA against the paper (Karras et al. 2020, appendix B) in NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from genaug.augment.ada import (
  GROUPS,
  Blit,
  Cutout,
  Filter,
  Noise,
  _bands,
  ada,
  move_matrix,
  random_ada,
  sample_ada,
)
from genaug.augment.resample import warp

SHAPE = (12, 10, 3)
MANY = 20_000
P = 0.3
ALL = tuple(GROUPS)


def noise(shape=SHAPE, seed=0):
  return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


def keys(n, seed=0):
  return jax.random.split(jax.random.key(seed), n)


apply = jax.jit(jax.vmap(ada))


@partial(jax.jit, static_argnums=(0, 2, 3))
def draw_many(n, p, shape, transforms=ALL, seed=0):
  return jax.vmap(lambda key: sample_ada(key, shape, p, transforms))(keys(n, seed))


def one_of(draws, i):
  return jax.tree.map(lambda x: x[i], draws)


@pytest.fixture(scope='module')
def draws():
  drawn = draw_many(MANY, P, (32, 16, 3))
  return jax.tree.map(np.asarray, drawn | {'noise': drawn['noise']._replace(key=None)})


@pytest.fixture(scope='module')
def some_draws():
  """Eight of them, every transform likely."""
  return draw_many(8, 0.8, SHAPE, seed=1)


def assert_share(hits, share):
  """Within four standard deviations."""
  assert abs(np.mean(hits) - share) < 4 * np.sqrt(share * (1 - share) / len(hits))


def assert_law(sample, law):
  assert stats.kstest(np.asarray(sample, np.float64), law).pvalue > 1e-3


def assert_counts(sample, values, shares=None):
  counts = [np.sum(sample == value) for value in values]
  assert sum(counts) == len(sample)
  expected = None if shares is None else np.array(shares) / np.sum(shares) * len(sample)
  assert stats.chisquare(counts, expected).pvalue > 1e-3


# The draw


def test_transforms_happen_with_probability_p_each_on_its_own(draws):
  """Half as often where half of the strengths are nothing, 3/4 where a quarter is."""
  blit, move, color = draws['blit'], draws['geometry'], draws['color']
  once = 1 - np.sqrt(1 - P)
  happen = [
    (blit.flip, P / 2),
    (blit.turns != 0, P * 3 / 4),
    (np.any(blit.shift != 0, 1), P * (1 - 1 / 4 * 1 / 8)),  # by +-2 and +-4 pixels, rounded
    (move.zoom != 1, P),
    (move.before != 0, once),
    (move.stretch != 1, P),
    (move.after != 0, once),
    (np.any(move.shift != 0, 1), P),
    (color.brightness != 0, P),
    (color.contrast != 1, P),
    (color.luma_flip, P / 2),
    (color.hue != 0, P),
    (color.saturation != 1, P),
    (np.any(draws['filter'].gains != 1, 1), 1 - (1 - P) ** 4),
    (draws['noise'].std != 0, P),
    (draws['cutout'].size != 0, P),
  ]
  for hits, share in happen:
    assert_share(hits, share)
  assert_share((move.before != 0) | (move.after != 0), P)
  correlation = np.corrcoef([hits for hits, _ in happen]) - np.eye(len(happen))
  assert np.abs(correlation).max() < 5 / np.sqrt(MANY)


def test_strengths_of_transforms(draws):
  blit, move, color = draws['blit'], draws['geometry'], draws['color']
  assert_counts(blit.turns[blit.turns != 0], (1, 2, 3))
  shift = blit.shift[np.any(blit.shift != 0, 1)]
  assert_counts(shift[:, 0][shift[:, 1] == 2], range(-2, 3), [0.5, 1, 1, 1, 0.5])  # w = 16: +-2 pixels, rounded
  assert_counts(shift[:, 1][shift[:, 0] == 1], range(-4, 5), [0.5] + [1] * 7 + [0.5])  # h = 32: +-4
  assert_law(np.log2(move.zoom[move.zoom != 1]), stats.norm(0, 0.2).cdf)
  assert_law(np.log2(move.stretch[move.stretch != 1]), stats.norm(0, 0.2).cdf)
  for angle in (move.before, move.after, color.hue):
    assert_law(angle[angle != 0], stats.uniform(-180, 360).cdf)
  for axis in move.shift[np.any(move.shift != 0, 1)].T:
    assert_law(axis, stats.norm(0, 0.125).cdf)
  assert_law(color.brightness[color.brightness != 0], stats.norm(0, 0.2).cdf)
  assert_law(np.log2(color.contrast[color.contrast != 1]), stats.norm(0, 0.5).cdf)
  assert_law(np.log2(color.saturation[color.saturation != 1]), stats.norm(0, 1).cdf)
  std = draws['noise'].std
  assert_law(std[std != 0], stats.halfnorm(0, 0.1).cdf)
  assert_law(draws['cutout'].centre[:, 0], stats.uniform.cdf)
  assert set(draws['cutout'].size) == {0, 0.5}


def test_gains_of_bands():
  """A band amplified by 2**N(0, 1), then all scaled so that an image of power 10 : 1 : 1 : 1 keeps it; in turn."""
  gains = np.asarray(draw_many(MANY, 0.1, SHAPE, ('filter',))['filter'].gains, np.float64)
  changed = gains != np.median(gains, axis=1, keepdims=True)
  for band in range(4):
    alone = gains[changed[:, band] & (changed.sum(1) == 1)]
    np.testing.assert_allclose(alone**2 @ [10 / 13, 1 / 13, 1 / 13, 1 / 13], 1, rtol=1e-5)
    assert_law(np.log2(alone[:, band] / alone[:, band - 1]), stats.norm(0, 1).cdf)


def test_groups_do_not_change_each_others_draw(draws):
  alone = draw_many(MANY, P, (32, 16, 3), ('cutout', 'geometry'))
  assert set(alone) == {'cutout', 'geometry'}
  jax.tree.map(np.testing.assert_array_equal, alone, {name: draws[name] for name in alone})
  assert sample_ada(jax.random.key(0), SHAPE, P, ()) == {}


# The image


@pytest.mark.parametrize('shape', [pytest.param(SHAPE, marks=pytest.mark.slow), (9, 9, 1)])
def test_p_of_zero_keeps_the_bits(shape):
  images = noise((8, *shape))
  np.testing.assert_array_equal(apply(images, draw_many(8, 0.0, SHAPE, seed=1)), images)


def test_jit_is_eager_and_vmap_is_a_loop(some_draws):
  images = noise((8, *SHAPE))
  batch = apply(images, some_draws)
  loop = [jax.jit(ada)(image, one_of(some_draws, i)) for i, image in enumerate(images)]
  np.testing.assert_allclose(batch, jnp.stack(loop), atol=2e-4)
  assert jnp.all(jnp.abs(batch - images).max((1, 2, 3)) > 0.1)
  half = images[0].astype(jnp.bfloat16)
  eager = ada(half, one_of(some_draws, 0))
  assert eager.dtype == jnp.bfloat16
  np.testing.assert_allclose(eager.astype(jnp.float32), batch[0], atol=0.03)


def test_random_ada_applies_the_draw():
  key, image = jax.random.key(2), noise()
  changed = jax.jit(partial(random_ada, transforms=('cutout',)))(key, image, 1.0)
  np.testing.assert_array_equal(changed, ada(image, sample_ada(key, SHAPE, 1.0, ('cutout',))))
  assert jnp.mean(changed == 0) > 0.05


def test_gradients_are_finite_and_reach_the_image(some_draws):
  def loss(image, draw):
    return (ada(image, draw) * noise(seed=1)).sum()

  of_batch = jax.jit(jax.vmap(jax.value_and_grad(loss)))
  images, step = noise((8, *SHAPE)), noise((8, *SHAPE), 2)
  value, gradient = of_batch(images, some_draws)
  assert jnp.all(jnp.isfinite(gradient))
  assert jnp.all(jnp.abs(gradient).max((1, 2, 3)) > 0.1)
  # Affine in the image: a step of any size is predicted.
  change = of_batch(images + step, some_draws)[0] - value
  np.testing.assert_allclose((gradient * step).sum((1, 2, 3)), change, rtol=1e-3, atol=1e-3)


def test_blits_only_reorder_pixels():
  image = noise((8, 8, 3))
  blit = Blit(jnp.array(True), jnp.array(3), jnp.array([2, -1]))
  expected = np.rot90(np.asarray(image)[:, ::-1], 3)
  expected = np.pad(expected, ((2, 2), (2, 2), (0, 0)), 'symmetric')[3:11, :8]  # right by 2, up by 1
  np.testing.assert_array_equal(ada(image, {'blit': blit}), expected)


def test_moves_in_the_papers_order(some_draws):
  h, w = SHAPE[:2]

  def about_the_middle(a, b, c, d):
    there = np.array([[1, 0, w / 2], [0, 1, h / 2], [0, 0, 1]])
    return there @ np.array([[a, b, 0], [c, d, 0], [0, 0, 1]]) @ np.linalg.inv(there)

  def turn(degrees):  # counter-clockwise on the screen, y down
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return about_the_middle(cos, sin, -sin, cos)

  def shift(dx, dy):
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]])

  for i in range(8):
    one = one_of(some_draws, i)
    blit, move = (jax.tree.map(np.float64, one[name]) for name in ('blit', 'geometry'))
    steps = [
      about_the_middle(1 - 2 * blit.flip, 0, 0, 1),
      turn(90 * blit.turns),
      shift(*blit.shift),
      about_the_middle(move.zoom, 0, 0, move.zoom),
      turn(move.before),
      about_the_middle(move.stretch, 0, 0, 1 / move.stretch),
      turn(move.after),
      shift(*(move.shift * (w, h))),
    ]
    expected = np.linalg.multi_dot(steps[::-1])
    np.testing.assert_allclose(move_matrix(one, (h, w)), expected, atol=1e-4)
    image = noise()
    moved = ada(image, {name: one[name] for name in ('blit', 'geometry')})
    np.testing.assert_allclose(moved, warp(image, expected.astype(np.float32), border='reflect'), atol=2e-3)


@pytest.mark.parametrize('channels', [1, 3])
def test_colors_in_the_papers_order(channels, some_draws):
  """Products of homogeneous 4x4 matrices; grey images take the mean of their rows (paper, appendix B)."""
  v = np.array([1, 1, 1, 0])[:, None] / np.sqrt(3)
  along = v @ v.T
  cross = np.zeros((4, 4))
  cross[:3, :3] = np.cross(v[:3, 0], np.eye(3)).T
  for i in range(8):
    color = jax.tree.map(np.float64, one_of(some_draws['color'], i))
    angle = np.deg2rad(color.hue)
    add, scale, chroma = np.eye(4), np.diag([color.contrast] * 3 + [1]), np.eye(4) - along
    add[:3, 3] = color.brightness
    flip = np.eye(4) - 2 * along * color.luma_flip
    rest = np.diag([0, 0, 0, 1])
    hue = along + rest + np.cos(angle) * (chroma - rest) + np.sin(angle) * cross
    saturation = along + rest + (chroma - rest) * color.saturation
    matrix = saturation @ hue @ flip @ scale @ add
    image = noise((5, 4, channels))
    if channels == 1:
      expected = image * matrix[:3, :3].sum(1).mean() + matrix[:3, 3].mean()
    else:
      expected = image @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(ada(image, {'color': one_of(some_draws['color'], i)}), expected, atol=1e-5)


def test_bands_of_the_filter():
  """Octaves of the spectrum, the lowest with all below; together everything; mirrored at the border."""
  n = 256
  bands = _bands(n)
  np.testing.assert_allclose(bands.sum(0), np.eye(n), atol=1e-6)
  response = np.abs(np.fft.rfft(bands[:, n // 2], axis=1))  # entry 128 is the Nyquist frequency
  assert list(response[:, [0, 4, 12, 20, 28, 40, 56, 80, 128]].argmax(0)) == [0, 0, 0, 1, 1, 2, 2, 3, 3]
  image = noise((16, 12, 2))
  gains = jnp.array([0.5, 1.5, 0.7, 2.0])
  expected = np.asarray(image, np.float64)
  for axis in (0, 1):
    whole = sum(gain * taps[n // 2 - 21 : n // 2 + 22] for gain, taps in zip(gains, bands[:, n // 2]))
    expected = ndimage.correlate1d(expected, np.asarray(whole), axis=axis, mode='reflect')
  np.testing.assert_allclose(ada(image, {'filter': Filter(gains)}), expected, atol=1e-5)


def test_noise_and_cutout_come_last():
  image = noise((16, 16, 1))
  draw = {
    'noise': Noise(jax.random.key(0), jnp.array(0.2)),
    'cutout': Cutout(jnp.array([0.25, 0.5]), jnp.array(0.5)),
  }
  changed = ada(image, draw)
  np.testing.assert_array_equal(changed[4:12, :8], 0)
  difference = np.asarray(changed - image)
  kept = np.concatenate([difference[:, 8:].ravel(), difference[[0, 1, 2, 3, 12, 13, 14, 15], :8].ravel()])
  assert_law(kept, stats.norm(0, 0.2).cdf)
  np.testing.assert_array_equal(ada(image, draw), changed)


def test_what_is_refused():
  key = jax.random.key(0)
  for image in (jnp.zeros((4, 4)), jnp.zeros((4, 4, 3), jnp.uint8)):
    with pytest.raises(ValueError, match='an image of'):
      random_ada(key, image, 0.5)
  with pytest.raises(ValueError, match='transforms'):
    sample_ada(key, SHAPE, 0.5, ('shear',))
  with pytest.raises(ValueError, match='ada: p'):
    sample_ada(key, SHAPE, 1.5)
  with pytest.raises(ValueError, match='2 channels'):
    random_ada(key, jnp.zeros((4, 4, 2)), 0.5, ('color',))
