"""Colour: against PIL 13 (its 8-bit arithmetic: within one level), and maps against the operations they stand for."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from genaug.augment import color, lighting

PIL = {
  'brightness': (color.brightness, ImageEnhance.Brightness),
  'contrast': (color.contrast, ImageEnhance.Contrast),
  'saturation': (color.saturation, ImageEnhance.Color),
}
# name: (operation, its map given its arguments and the mean, arguments that clip nothing of a dull image)
MAPS = {
  'brightness': (color.brightness, lambda mean, factor: color.brightness_matrix(factor), (0.8,)),
  'contrast': (color.contrast, lambda mean, factor: color.contrast_matrix(factor, mean), (1.3,)),
  'saturation': (color.saturation, lambda mean, factor: color.saturation_matrix(factor), (1.4,)),
  'grayscale': (color.grayscale, lambda mean, amount: color.grayscale_matrix(amount), (0.3,)),
  'hue': (color.hue, lambda mean, degrees: color.hue_matrix(degrees), (40.0,)),
  'color_jitter': (
    color.color_jitter, lambda mean, *values: color.color_jitter_matrix(*values, mean), (0.9, 1.2, 0.7, 9.0)
  ),
  'pca_lighting': (
    lighting.pca_lighting, lambda mean, alphas: lighting.pca_lighting_matrix(alphas), (np.array([0.1, -0.2, 0.1]),)
  ),
  'planckian_jitter': (
    lighting.planckian_jitter, lambda mean, kelvin: lighting.planckian_jitter_matrix(kelvin), (4100.0,)
  ),
  'channel_shuffle': (color.channel_shuffle, lambda mean, index: color.channel_shuffle_matrix(index), (3,)),
}  # fmt: skip
# name: (operation, arguments that change nothing)
NEUTRAL = {
  'brightness': (color.brightness, (1.0,)),
  'contrast': (color.contrast, (1.0,)),
  'saturation': (color.saturation, (1.0,)),
  'grayscale': (color.grayscale, (0.0,)),
  'hue': (color.hue, (0.0,)),
  'color_jitter': (color.color_jitter, (1.0, 1.0, 1.0, 0.0)),
  'pca_lighting': (lighting.pca_lighting, (np.zeros(3),)),
  'planckian_jitter': (lighting.planckian_jitter, (6500.0,)),
  'channel_shuffle': (color.channel_shuffle, (0,)),
  'channel_drop': (color.channel_drop, (-1,)),
}
RGB_ONLY = ('pca_lighting', 'planckian_jitter', 'channel_shuffle', 'channel_drop')


def cases(table):
  return pytest.mark.parametrize('case', table.values(), ids=table.keys())


def noise(shape=(12, 10, 3), seed=0):
  return jnp.asarray(np.random.default_rng(seed).random(shape, np.float32))


def dull():
  return 0.4 + 0.2 * noise()


@cases(PIL)
@pytest.mark.parametrize('factor', [0.0, 0.4, 1.7])
@pytest.mark.parametrize('channels', [1, 3])
def test_factors_agree_with_pil(case, factor, channels):
  op, enhance = case
  image = np.random.default_rng(0).integers(0, 256, (12, 10, channels), np.uint8)
  expected = np.asarray(enhance(Image.fromarray(image.squeeze())).enhance(factor)).reshape(image.shape)
  assert np.abs(np.asarray(op(image, factor)).astype(int) - expected).max() <= 1


def test_grayscale_agrees_with_pil():
  image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
  expected = np.asarray(Image.fromarray(image).convert('L'))[..., None]
  assert np.abs(np.asarray(color.grayscale(image, 1.0)).astype(int) - expected).max() <= 1


@cases(NEUTRAL)
def test_nothing_is_nothing_to_the_bit(case):
  op, nothing = case
  image = noise()
  np.testing.assert_array_equal(op(image, *nothing), image)
  np.testing.assert_array_equal(jax.jit(op)(image, *nothing), image)
  if op.__name__ not in RGB_ONLY:
    np.testing.assert_array_equal(op(image[..., :1], *nothing), image[..., :1])


@cases(MAPS)
def test_an_operation_is_its_map(case):
  op, build, arguments = case
  image = dull()
  matrix = build(color.mean_color(image), *arguments)
  np.testing.assert_allclose(op(image, *arguments), color.apply_colors_clipped(image, matrix), atol=1e-6)
  expected = np.einsum('ij,hwj->hwi', matrix[:, :3], image) + matrix[:, 3]
  np.testing.assert_allclose(color.apply_colors(image, matrix), expected, atol=1e-6)
  assert np.abs(expected - image).max() > 0.01


@pytest.mark.parametrize('name', ['brightness', 'contrast', 'saturation', 'grayscale', 'hue', 'planckian_jitter'])
def test_gradients_of_the_parameters(name):
  op, _, (value,) = MAPS[name]
  weights = noise(seed=1)
  loss = jax.jit(lambda value: (op(dull(), value) * weights).sum())
  step = 1e-2 * abs(value)
  slope = (loss(value + step) - loss(value - step)) / (2 * step)
  np.testing.assert_allclose(jax.grad(loss)(value), slope, rtol=0.02, atol=1e-4)


def test_a_chain_is_one_map():
  image = mapped = dull()
  matrix, mean = jnp.asarray(color.NEUTRAL), color.mean_color(image)
  for op, build, arguments in MAPS.values():
    matrix = color.compose_colors(matrix, build(color.map_color(matrix, mean), *arguments))
    mapped = op(mapped, *arguments)
  np.testing.assert_allclose(color.apply_colors(image, matrix), mapped, atol=1e-5)
  np.testing.assert_array_equal(color.compose_colors(), color.NEUTRAL)


def test_jitter_is_the_four_in_their_order():
  image = dull()
  expected = color.hue(color.saturation(color.contrast(color.brightness(image, 0.9), 1.3), 0.6), -20.0)
  np.testing.assert_allclose(color.color_jitter(image, 0.9, 1.3, 0.6, -20.0), expected, atol=1e-6)


def test_a_grey_image_gets_the_grey_line_of_a_map():
  grey = dull()[..., :1]
  rgb = jnp.repeat(grey, 3, -1)
  matrix = color.color_jitter_matrix(1.2, 0.7, 0.4, 30.0, color.mean_color(grey))
  np.testing.assert_allclose(color.apply_colors(grey, matrix), color.apply_colors(rgb, matrix)[..., :1], atol=1e-6)
  np.testing.assert_allclose(color.contrast(grey, 1.5), color.contrast(rgb, 1.5)[..., :1], atol=1e-6)
  for op, value in ((color.saturation, 0.3), (color.hue, 70.0), (color.grayscale, 0.6)):
    np.testing.assert_array_equal(op(grey, value), grey)


@pytest.mark.parametrize('degrees', [25.0, -140.0])
def test_hue_keeps_luma_and_turns_back(degrees):
  image = dull()
  turned = color.apply_colors(image, color.hue_matrix(degrees))
  np.testing.assert_allclose(color.luma(turned), color.luma(image), atol=1e-6)
  np.testing.assert_allclose(color.hue(turned, -degrees), image, atol=1e-6)
  grey = jnp.repeat(image[..., :1], 3, -1)
  np.testing.assert_allclose(color.hue(grey, degrees), grey, atol=1e-6)


def test_hue_turns_the_way_hsv_does():
  for rgb in ((0.6, 0.4, 0.4), (0.4, 0.6, 0.4), (0.4, 0.4, 0.6), (0.6, 0.5, 0.4)):
    before, _, _ = colorsys.rgb_to_hsv(*rgb)
    turned = np.asarray(color.hue(jnp.array(rgb)[None, None], 15.0))[0, 0]
    after, _, _ = colorsys.rgb_to_hsv(*turned.tolist())
    assert 5 < (after - before) % 1 * 360 < 35


def test_planckian_gains_fall_from_red_to_blue():
  white = jnp.full((1, 1, 3), 0.5)
  red, green, blue = (
    np.asarray([lighting.planckian_jitter(white, t) for t in np.arange(3000.0, 15001, 170)]).reshape(-1, 3).T
  )
  assert np.all(np.diff(red) < 0)
  assert np.all(np.diff(blue) > 0)
  np.testing.assert_array_equal(green, 0.5)
  # Charity, "What color is a blackbody?": (255, 177, 110) in sRGB at 3000 K, and nearly white at 6500 K.
  np.testing.assert_allclose(np.array([red[0], 0.5, blue[0]]) / red[0], np.array([255, 177, 110]) / 255, atol=0.06)


def test_channels():
  image = noise()
  for index, order in enumerate(color.PERMUTATIONS):
    np.testing.assert_array_equal(color.channel_shuffle(image, index), image[..., order])
  np.testing.assert_array_equal(color.channel_drop(image, 1, fill=0.25), image.at[..., 1].set(0.25))


def test_lighting_follows_the_first_component():
  shift = lighting.pca_lighting(dull(), np.array([0.1, 0.0, 0.0])) - dull()
  np.testing.assert_allclose(shift[0, 0], np.array([-0.5675, -0.5808, -0.5836]) * 0.02175, atol=1e-6)


def test_draws_stay_in_their_range():
  keys = jax.random.split(jax.random.key(0), 500)
  factor = jax.vmap(lambda key: color.sample_brightness(key, (1, 1, 3), 1.5)['factor'])(keys)
  assert 0 <= factor.min() < 0.05
  assert 2.4 < factor.max() <= 2.5
  jitter = jax.vmap(lambda key: color.sample_color_jitter(key, (1, 1, 3), 0.1, 0.2, 0.3, 40.0))(keys)
  for name, low, high in (
    ('brightness', 0.9, 1.1), ('contrast', 0.8, 1.2), ('saturation', 0.7, 1.3), ('hue', -40, 40)
  ):  # fmt: skip
    assert low <= jitter[name].min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < jitter[name].max() <= high
  assert abs(np.corrcoef(jitter['brightness'], jitter['contrast'])[0, 1]) < 0.15


ERRORS = {
  'two channels': (lambda x: color.contrast(x[..., :2], 0.5), 'contrast: 2 channels'),
  'grey shuffled': (lambda x: color.channel_shuffle(x[..., :1], 2), 'channel_shuffle: 1 channels: must be 3'),
  'grey lit': (lambda x: lighting.planckian_jitter(x[..., :1], 4000.0), 'planckian_jitter: 1 channels'),
  'factor': (lambda x: color.brightness(x, -0.1), 'brightness: factor = -0.1'),
  'amount': (lambda x: color.grayscale(x, 1.1), 'grayscale: amount = 1.1'),
  'temperature': (lambda x: lighting.planckian_jitter(x, 1000.0), 'temperature = 1000.0'),
  'index': (lambda x: color.channel_shuffle(x, 6), 'index = 6'),
  'limit': (lambda x: color.random_hue(jax.random.key(0), x, 200.0), 'hue: degrees = 200.0'),
}


@cases(ERRORS)
def test_errors_name_the_value(case):
  call, message = case
  with pytest.raises(ValueError, match=message):
    call(noise())
