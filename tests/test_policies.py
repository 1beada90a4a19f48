"""Policies against their papers: candidates, magnitudes and frequencies, and every operation against PIL.

Reference numbers are those of torchvision 0.29 (transforms/v2/_auto_augment.py, v1 agrees) where the papers leave a
choice; images and statistics are computed here with PIL and NumPy.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from genaug.augment import policies
from genaug.augment.policies import INDEX, OPERATIONS, Layers
from tests.conftest import slow_but

SHAPE = (24, 20, 3)
FOURTEEN = {
  'identity', 'shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate', 'brightness', 'color', 'contrast',
  'sharpness', 'posterize', 'solarize', 'autocontrast', 'equalize',
}  # fmt: skip


def draws(draw, n, shape=SHAPE, **strengths):
  keys = jax.random.split(jax.random.key(0), n)
  return jax.tree.map(np.asarray, jax.jit(jax.vmap(lambda key: draw(key, shape, **strengths)))(keys))


def picture(seed=0, shape=SHAPE):
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def evenly(counts):
  return stats.chisquare(counts).pvalue > 1e-3


# Draws


@pytest.mark.parametrize('draw', [policies.sample_rand_augment, policies.sample_trivial_augment_wide])
def test_fourteen_operations_with_equal_chances(draw):
  op = draws(draw, 7000)['layers'].op
  assert {OPERATIONS[i] for i in np.unique(op)} == FOURTEEN
  for layer in op.T:
    assert evenly(np.bincount(layer, minlength=14))


def _threshold(level):
  return (
    (255 - 255 * level) / 255 if level else 2
  )  # no value is above 1: at level 0 nothing is inverted, not even white


def _moderate(level, shape):
  """Strength of every operation at a level in [0, 1], without its sign."""
  h, w, _ = shape
  return {
    'shear_x': 0.3 * level, 'shear_y': 0.3 * level, 'translate_x': int(150 / 331 * w * level),
    'translate_y': int(150 / 331 * h * level), 'rotate': 30 * level, 'brightness': 0.9 * level,
    'color': 0.9 * level, 'contrast': 0.9 * level, 'sharpness': 0.9 * level, 'posterize': 8 - round(4 * level),
    'solarize': _threshold(level),
  }  # fmt: skip


def _wide(level, shape):
  del shape
  return {
    'shear_x': 0.99 * level, 'shear_y': 0.99 * level, 'translate_x': int(32 * level), 'translate_y': int(32 * level),
    'rotate': 135 * level, 'brightness': 0.99 * level, 'color': 0.99 * level, 'contrast': 0.99 * level,
    'sharpness': 0.99 * level, 'posterize': 8 - round(6 * level), 'solarize': _threshold(level),
  }  # fmt: skip


UNSIGNED = ('posterize', 'solarize')
FACTORS = ('brightness', 'color', 'contrast', 'sharpness')


@pytest.mark.parametrize('magnitude', [0, 15.5, 30])
def test_rand_augment_magnitudes(magnitude):
  layers = draws(policies.sample_rand_augment, 2000, magnitude=magnitude)['layers']
  expected = _moderate(magnitude / 30, SHAPE)
  for name in FOURTEEN:
    found = layers.parameter[layers.op == INDEX[name]]
    if name in FACTORS:
      found = found - 1
    if name not in UNSIGNED and expected.get(name):
      assert abs(np.mean(found > 0) - 0.5) < 0.12  # about 290 signs
    np.testing.assert_allclose(np.abs(found), expected.get(name, 0), atol=1e-5)


def test_trivial_augment_magnitudes():
  layers = draws(policies.sample_trivial_augment_wide, 20_000)['layers']
  table = [_wide(i / 30, SHAPE) for i in range(31)]
  for name in FOURTEEN - {'identity', 'autocontrast', 'equalize'}:
    found = np.abs(layers.parameter[layers.op == INDEX[name]] - (name in FACTORS))
    values, weights = np.unique([row[name] for row in table], return_counts=True)
    nearest = np.abs(found[:, None] - values).argmin(1)
    np.testing.assert_allclose(found, values[nearest], atol=1e-5)
    counts = np.bincount(nearest, minlength=len(values))
    assert stats.chisquare(counts, weights / 31 * len(found)).pvalue > 1e-4, name


@pytest.mark.parametrize('table', slow_but(('cifar10',), policies.AUTO_AUGMENT))
def test_auto_augment_follows_its_table(table):
  rows = policies.AUTO_AUGMENT[table]
  assert len(rows) == 25
  layers = draws(policies.sample_auto_augment, 25_000, table=table)['layers']
  for position in range(2):
    expected = np.zeros(len(OPERATIONS))
    for row in rows:
      name, p, _ = row[position]
      expected[INDEX[name]] += p / 25
      expected[INDEX['identity']] += (1 - p) / 25
    counts = np.bincount(layers.op[:, position], minlength=len(OPERATIONS))
    seen = expected > 0
    assert counts[~seen].sum() == 0
    assert stats.chisquare(counts[seen], expected[seen] * 25_000).pvalue > 1e-4
  # Magnitudes: what is drawn of an operation are strengths of its rows.
  for position, (op, strength) in enumerate(zip(layers.op.T, layers.parameter.T)):
    for name in {row[position][0] for row in rows} - {'autocontrast', 'equalize', 'invert'}:
      allowed = [_moderate(row[position][2] / 9, SHAPE)[name] for row in rows if row[position][0] == name]
      found = np.unique(np.abs(strength[op == INDEX[name]] - (name in FACTORS)))
      assert all(np.isclose(value, allowed, atol=1e-5).any() for value in found), name


def test_auto_augment_knows_its_tables():
  with pytest.raises(ValueError, match=r"table = 'cifar100': must be one of cifar10, imagenet, svhn"):
    policies.sample_auto_augment(jax.random.key(0), SHAPE, 'cifar100')


def test_signs_do_not_tell_a_magnitude_that_is_drawn():
  layers = draws(partial(policies.sample_rand_augment, magnitude=(0.0, 30.0)), 4000)['layers']
  for layer in range(2):
    turned = layers.parameter[layers.op[:, layer] == INDEX['rotate'], layer]
    assert len(turned) > 200
    assert stats.pearsonr(np.sign(turned), np.abs(turned)).pvalue > 1e-3


def test_augmix_draws():
  drawn = draws(policies.sample_augmix, 6000)
  op = drawn['layers'].op
  depth = (op != INDEX['identity']).sum(-1)
  assert evenly(np.bincount(depth.ravel(), minlength=4)[1:])
  assert np.all(np.diff((op == INDEX['identity']).astype(int), axis=-1) >= 0)  # chains have no holes
  used = op[op != INDEX['identity']]
  assert evenly(np.bincount(used, minlength=len(OPERATIONS))[np.unique(used)])
  excluded = {'brightness', 'color', 'contrast', 'sharpness', 'invert', 'identity'}  # as in ImageNet-C
  assert {OPERATIONS[i] for i in np.unique(used)} == set(OPERATIONS) - excluded
  np.testing.assert_allclose(drawn['weights'].sum(-1), 1, atol=1e-5)
  assert stats.kstest(drawn['weights'][:, 0], stats.beta(1, 2).cdf).pvalue > 1e-3  # a margin of Dirichlet(1, 1, 1)
  assert stats.kstest(drawn['blend'], 'uniform').pvalue > 1e-3
  assert set(drawn['layers'].parameter[op == INDEX['posterize']]) == {3, 4}  # bits kept, of the 4 of the paper's code
  turned = np.abs(drawn['layers'].parameter[op == INDEX['rotate']])
  assert stats.kstest(turned, 'uniform', (0, 9)).pvalue > 1e-3


def test_three_augment_draws():
  drawn = draws(policies.sample_three_augment, 6000)
  assert evenly(np.bincount(drawn['which'], minlength=3))
  assert stats.kstest(drawn['sigma'], 'uniform', (0.1, 1.9)).pvalue > 1e-3
  assert stats.kstest(drawn['factors'].ravel(), 'uniform', (0.7, 0.6)).pvalue > 1e-3
  assert abs(drawn['flip'].mean() - 0.5) < 0.03


# Carrying out


def layers(*steps):
  names, strengths = zip(*steps)
  return Layers(jnp.array([INDEX[name] for name in names]), jnp.array(strengths, jnp.float32))


def _affine(data):
  return lambda image: image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.NEAREST)


# (operation, strength, what PIL does, levels by which it may differ)
SAME_AS_PIL = [
  ('identity', 0, lambda image: image, 0),
  ('shear_x', 0.21, _affine((1, 0.21, 0, 0, 1, 0)), 0),
  ('shear_y', -0.3, _affine((1, 0, 0, -0.3, 1, 0)), 0),
  ('translate_x', 3, _affine((1, 0, -3, 0, 1, 0)), 0),
  ('translate_y', -5, _affine((1, 0, 0, 0, 1, 5)), 0),
  ('rotate', 27, lambda image: image.rotate(27, Image.Resampling.NEAREST), 0),
  ('brightness', 1.63, lambda image: ImageEnhance.Brightness(image).enhance(1.63), 1),
  ('color', 0.37, lambda image: ImageEnhance.Color(image).enhance(0.37), 1),
  ('contrast', 1.9, lambda image: ImageEnhance.Contrast(image).enhance(1.9), 1),
  ('sharpness', 0.1, lambda image: ImageEnhance.Sharpness(image).enhance(0.1), 1),
  ('sharpness', 1.9, lambda image: ImageEnhance.Sharpness(image).enhance(1.9), 1),
  ('posterize', 5, lambda image: ImageOps.posterize(image, 5), 0),
  ('solarize', 179 / 255, lambda image: ImageOps.solarize(image, 179), 0),
  ('autocontrast', 0, ImageOps.autocontrast, 0),
  ('equalize', 0, ImageOps.equalize, 0),
  ('invert', 0, ImageOps.invert, 0),
]


@pytest.mark.parametrize(('name', 'strength', 'pil', 'tolerance'), SAME_AS_PIL, ids=lambda value: str(value)[:12])
def test_an_operation_is_pils(name, strength, pil, tolerance):
  # Not the full range of levels, or autocontrast would have nothing to do.
  image = (picture() * 0.7 + 20).astype(np.uint8)
  ours = np.asarray(policies.apply_layers(image, layers((name, strength)), interpolation='nearest'), int)
  assert ours.shape == SHAPE
  difference = np.abs(ours - np.asarray(pil(Image.fromarray(image)), int))
  assert difference.max() <= tolerance


def test_layers_recolor_in_turn_and_move_once():
  image = picture() / np.float32(255)
  both = layers(('translate_x', 4), ('equalize', 0), ('color', 1.8), ('translate_y', -6))
  steps = [(name, float(strength)) for name, strength in zip([OPERATIONS[i] for i in both.op], both.parameter)]
  expected = image
  for name, strength in steps:
    if not name.startswith('translate'):
      expected = policies.apply_layers(expected, layers((name, strength)))
  expected = np.asarray(policies.apply_layers(expected, layers(*steps[:1], *steps[3:])))
  moved = np.asarray(policies.apply_layers(image, both, fill=0.5))
  np.testing.assert_allclose(moved[:-6, 4:], expected[:-6, 4:], atol=1e-6)
  # Recoloured first, moved then: what the moves uncover is the fill.
  np.testing.assert_array_equal(moved[-6:], 0.5)
  np.testing.assert_array_equal(moved[:, :4], 0.5)


def test_cubic_moves_stay_in_range():
  black_and_white = (picture() > 127).astype(np.float32)
  moved = np.asarray(policies.apply_layers(black_and_white, layers(('rotate', 20.0)), interpolation='cubic'))
  assert moved.min() == 0
  assert moved.max() == 1


def test_augmix_is_the_weighted_mean():
  image = picture() / np.float32(255)
  chains = Layers(jnp.array([[13, 0], [10, 5], [0, 0]]), jnp.array([[0.0, 0], [3, 12], [0, 0]]))
  weights = jnp.array([0.2, 0.5, 0.3])
  mixed = policies.apply_augmix(image, chains, weights, 0.4)
  chained = [policies.apply_layers(image, Layers(*chain)) for chain in zip(*chains)]
  expected = 0.6 * image + 0.4 * sum(w * chain for w, chain in zip(weights, chained))
  np.testing.assert_allclose(mixed, expected, atol=1e-6)
  np.testing.assert_array_equal(policies.apply_augmix(image, chains, weights, 0.0), image)


# test_every_op.py looks at policies in a config.
@pytest.mark.slow
@pytest.mark.parametrize('policy', ['rand_augment', 'trivial_augment_wide', 'auto_augment', 'augmix', 'three_augment'])
def test_a_batch_is_a_loop_and_gradients_pass(policy):
  policy = getattr(policies, policy)
  images = jnp.stack([picture(i) / np.float32(255) for i in range(6)])
  keys = jax.random.split(jax.random.key(2), 6)
  batch = jax.jit(jax.vmap(policy))(keys, images)
  for key, image, out in zip(keys, images, batch):
    error = np.abs(out - policy(key, image))
    assert np.quantile(error, 0.98) < 1e-4  # rounding may choose another level or pixel
  assert len({np.asarray(out).tobytes() for out in batch}) == 6
  gradient = jax.jit(jax.grad(lambda images: (jax.vmap(policy)(keys, images) ** 2).sum()))(images)
  assert jnp.isfinite(gradient).all()
  assert jnp.any(gradient != 0, axis=(1, 2, 3)).sum() >= 4  # posterize and equalize have steps, not slopes


def test_memory_stays_under_six_batches():
  images = jax.ShapeDtypeStruct((64, 512, 512, 3), jnp.float32)
  keys = jax.eval_shape(partial(jax.random.split, num=64), jax.random.key(0))
  compiled = jax.jit(jax.vmap(policies.rand_augment)).lower(keys, images).compile()
  assert compiled.memory_analysis().temp_size_in_bytes < 6 * 64 * 512 * 512 * 3 * 4
