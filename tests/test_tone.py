"""Tone: against PIL 13 (ImageOps, to the bit; autocontrast to one level) and OpenCV 5 (CLAHE, within one level)."""

from functools import partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from genaug.augment import tone

# name: (operation on uint8, the same of PIL, levels by which they may differ: PIL stretches in float64, rounded down)
PIL = {
  'invert': (lambda x: tone.invert(x, 1.0), ImageOps.invert, 0),
  'autocontrast': (tone.autocontrast, ImageOps.autocontrast, 1),
  'autocontrast cutoff': (lambda x: tone.autocontrast(x, cutoff=7), lambda x: ImageOps.autocontrast(x, 7), 1),
  'equalize': (tone.equalize, ImageOps.equalize, 0),
}
# name: (operation, arguments that change the image, arguments that change nothing)
POINTWISE = {
  'gamma': (tone.gamma, (0.7,), (1.0,)),
  'invert': (tone.invert, (0.8,), (0.0,)),
  'posterize': (tone.posterize, (3,), (8,)),
  'solarize': (tone.solarize, (0.4,), (256 / 255,)),
  'tone_curve': (tone.tone_curve, (np.array([0.1, -0.05]),), (np.zeros(2),)),
}


def cases(table):
  return pytest.mark.parametrize('case', table.values(), ids=table.keys())


def levels(shape=(12, 10, 3), low=0, high=256, seed=0):
  return np.random.default_rng(seed).integers(low, high, shape, np.uint8)


def ramp(channels=3):
  return jnp.broadcast_to(tone.RAMP[:, None, None], (256, 1, channels))


def by_pil(op, image):
  return np.asarray(op(Image.fromarray(image.squeeze()))).reshape(image.shape)


@cases(PIL)
@pytest.mark.parametrize('channels', [1, 3])
def test_pil(case, channels):
  ours, theirs, tolerance = case
  batch = jax.jit(jax.vmap(ours))
  images = [levels((40, 30, channels), *span) for span in ((0, 256), (30, 180), (90, 121), (7, 9), (77, 78))]
  images.append(np.minimum(images[0], 100))
  for image, changed in zip(images, batch(np.stack(images))):
    np.testing.assert_allclose(np.asarray(changed, int), by_pil(theirs, image).astype(int), rtol=0, atol=tolerance)
  few = levels((5, 4, channels))  # fewer pixels than levels
  np.testing.assert_allclose(np.asarray(ours(few), int), by_pil(theirs, few).astype(int), rtol=0, atol=tolerance)


def test_posterize_and_solarize_are_pils():
  image = levels((16, 16, 1))
  posterize, solarize = jax.jit(tone.posterize), jax.jit(tone.solarize)
  for bits in range(1, 9):
    np.testing.assert_array_equal(posterize(image, bits), by_pil(partial(ImageOps.posterize, bits=bits), image))
    np.testing.assert_array_equal(posterize(image, float(bits)), posterize(image, bits))
  for threshold in range(0, 257):
    expected = by_pil(partial(ImageOps.solarize, threshold=threshold), image)
    np.testing.assert_array_equal(solarize(image, threshold / 255), expected)


def test_every_span_stretches_to_one_level_of_pils():
  low, high = np.triu_indices(256, 1)
  images = np.linspace(low, high, 256).round().astype(np.uint8).T[:, :, None, None]  # [spans, 256, 1, 1]
  ours = np.asarray(jax.jit(jax.vmap(tone.autocontrast))(images), int)[..., 0, 0]
  scale = 255.0 / (high - low)
  theirs = (images[..., 0, 0] * scale[:, None] + (-low * scale)[:, None]).astype(int).clip(0, 255)
  assert np.abs(ours - theirs).max() == 1
  assert np.mean(ours != theirs) < 0.02


@cases(POINTWISE)
def test_a_curve_is_the_operation_on_the_ramp(case):
  op, something, nothing = case
  image = levels().astype(np.float32) * np.float32(1 / 255)
  curve = op(ramp(), *something)[:, 0]
  np.testing.assert_allclose(tone.lookup(image, curve), op(image, *something), atol=2e-6)
  assert np.abs(curve - tone.RAMP[:, None]).max() > 0.02
  np.testing.assert_array_equal(op(ramp(), *nothing), ramp())


@cases(POINTWISE)
def test_nothing_is_nothing_to_the_bit(case):
  op, _, nothing = case
  image = jnp.asarray(np.random.default_rng(0).random((12, 10, 2), np.float32)).at[0].set(0.0).at[1].set(1.0)
  np.testing.assert_array_equal(op(image, *nothing), image)
  np.testing.assert_array_equal(jax.jit(op)(image, *nothing), image)
  weights = jnp.arange(image.size, dtype=jnp.float32).reshape(image.shape)
  gradient = jax.grad(lambda x: (op(x, *nothing) * weights).sum())(image)
  if op is not tone.gamma:  # which is a line below the first level
    np.testing.assert_allclose(gradient, weights, rtol=1e-6)
  assert np.isfinite(gradient).all()


def test_lookup_is_linear_between_levels():
  image = np.random.default_rng(0).random((12, 10, 3), np.float32)
  curve = np.random.default_rng(1).random((256, 3), np.float32)
  expected = np.stack([np.interp(image[..., c], tone.RAMP, curve[:, c]) for c in range(3)], -1)
  np.testing.assert_allclose(tone.lookup(image, curve), expected, atol=5e-5)  # the curve is steep
  np.testing.assert_array_equal(tone.lookup(image, np.repeat(tone.RAMP[:, None], 3, 1)), image)
  np.testing.assert_allclose(tone.lookup(ramp(), curve)[:, 0], curve, atol=5e-7)
  slope = jax.grad(lambda x: tone.lookup(x, curve).sum())(jnp.asarray(image))
  np.testing.assert_allclose(
    slope, np.diff(curve, axis=0)[np.floor(image * 255).astype(int), np.arange(3)] * 255, rtol=1e-3, atol=1e-2
  )


def test_curves_are_what_the_operations_look_up():
  image = levels(low=20, high=200).astype(np.float32) / 255
  for op, curve in ((tone.autocontrast, tone.autocontrast_curve), (tone.equalize, tone.equalize_curve)):
    np.testing.assert_array_equal(tone.lookup(image, curve(image)), op(image))


def test_histogram_counts_everything():
  for shape in ((12, 10, 3), (131, 97, 2)):  # at once, and some rows at a time
    image = levels(shape)
    expected = np.stack([np.bincount(image[..., c].ravel(), minlength=256) for c in range(shape[-1])], -1)
    np.testing.assert_array_equal(tone.histogram(image * np.float32(1 / 255)), expected)


def test_gamma_is_a_power():
  image = np.random.default_rng(0).random((12, 10, 3), np.float32)
  for gamma in (0.4, 2.2):
    np.testing.assert_allclose(tone.gamma(image, gamma), image**gamma, rtol=1e-5)
  black = jnp.zeros((2, 2, 1))
  np.testing.assert_array_equal(tone.gamma(black, 0.5), black)
  for constant in (black, image):
    np.testing.assert_array_equal(tone.gamma(constant, 0.0), 1)  # of black too, as 0**0 of NumPy
  assert np.isfinite(jax.grad(lambda x: tone.gamma(x, 0.5).sum())(black)).all()


def test_tone_curve_is_a_bezier_curve():
  for points in ([0.1, -0.1], [1 / 6, -1 / 6]):
    curve = tone.tone_curve(ramp(1), np.array(points))[:, 0, 0]
    t = tone.RAMP.astype(np.float64)
    control = np.array([0, 1 / 3 + points[0], 2 / 3 + points[1], 1])
    expected = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], -1) @ control
    np.testing.assert_allclose(curve, expected, atol=1e-6)
    assert np.all(np.diff(curve) > 0)


@pytest.mark.parametrize(
  ('shape', 'grid'), [((64, 48), (8, 8)), ((45, 32), (4, 4)), ((30, 31), (2, 3)), ((5, 7), (8, 8))]
)
def test_clahe_agrees_with_opencv(shape, grid):
  image = cv2.GaussianBlur(levels(shape), (0, 0), 2)
  clahe = jax.jit(tone.clahe, static_argnames='grid')
  for clip_limit in (1.0, 3.3, 40.0):
    expected = cv2.createCLAHE(clip_limit, grid[::-1]).apply(image)
    ours = np.asarray(clahe(image[..., None], clip_limit, grid=grid))[..., 0]
    assert np.abs(ours.astype(int) - expected).max() <= 1
    assert np.mean(ours != expected) < 0.02


def test_clahe_of_colours_adds_what_luma_gains():
  clahe = jax.jit(tone.clahe)
  grey = cv2.GaussianBlur(levels((32, 32)), (0, 0), 3)[..., None] * np.float32(1 / 255)
  rgb = np.repeat(grey, 3, -1)
  np.testing.assert_allclose(clahe(rgb, 2.0), np.repeat(clahe(grey, 2.0), 3, -1), atol=1e-6)
  tinted = rgb * np.array([0.7, 1.0, 0.6], np.float32)
  gain = np.asarray(clahe(tinted, 2.0)) - tinted
  inside = (gain + tinted).max(-1) < 1
  np.testing.assert_allclose(gain[inside][:, 0], gain[inside][:, 2], atol=1e-6)


def test_draws_stay_in_their_range():
  keys, shape = jax.random.split(jax.random.key(0), 300), (1, 1, 3)
  draw = lambda one: np.asarray(jax.vmap(one)(keys))
  assert set(draw(lambda key: tone.sample_posterize(key, shape)['bits'])) == {4, 5, 6, 7}
  assert set(draw(lambda key: tone.sample_posterize(key, shape, 8)['bits'])) == {8}
  gamma = draw(lambda key: tone.sample_gamma(key, shape)['gamma'])
  assert gamma.min() >= 1 / 1.5 - 1e-6
  assert gamma.max() <= 1.5 + 1e-6
  assert abs(np.log(gamma).mean()) < 0.05
  assert draw(lambda key: tone.sample_solarize(key, shape)['threshold']).min() >= 0.5


ERRORS = {
  'gamma': (lambda x: tone.gamma(x, -1.0), 'gamma: gamma = -1.0'),
  'bits': (lambda x: tone.posterize(x, 9), 'posterize: bits = 9'),
  'cutoff': (lambda x: tone.autocontrast(x, cutoff=50), 'cutoff = 50'),
  'grid': (lambda x: tone.clahe(x, 2.0, grid=(0, 8)), r'grid = \(0, 8\)'),
  'channels': (lambda x: tone.clahe(x[..., :2], 2.0), 'clahe: 2 channels'),
  'points': (lambda x: tone.tone_curve(x, np.array([0.5, 0.0])), 'tone_curve: points'),
}


@cases(ERRORS)
def test_errors_name_the_value(case):
  call, message = case
  with pytest.raises(ValueError, match=message):
    call(jnp.ones((12, 10, 3)))
