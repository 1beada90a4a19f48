"""Noise against the distributions of SciPy 1.17, jpeg against Pillow 13 (libjpeg-turbo)."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from PIL import Image
from scipy import ndimage, stats

from genaug.augment import noise

KEY = jax.random.key(0)


def test_threefry_is_that_of_jax():
  key = jnp.array([0x13198A2E, 0x03707344], jnp.uint32)
  n = 6
  words = threefry_2x32(key, jnp.concatenate([jnp.arange(n, dtype=jnp.uint32), jnp.zeros(n, jnp.uint32)]))
  np.testing.assert_array_equal(jnp.concatenate(noise._threefry(key, n)), words)


def test_gaussian_noise_is_normal():
  image = jnp.full((200, 250, 3), 0.5)
  drawn = (np.asarray(jax.jit(noise.gaussian_noise)(image, KEY, 0.1)).ravel() - 0.5) / 0.1
  assert stats.kstest(drawn, 'norm').pvalue > 0.01
  assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
  assert abs(drawn.std() - 1) < 0.01
  assert abs(stats.kurtosis(drawn)) < 0.1
  for lag in (1, 2, 3, drawn.size // 4, drawn.size // 2):  # 16-bit halves of a word, and words of a block
    assert abs(np.corrcoef(drawn[lag:], drawn[:-lag])[0, 1]) < 0.02


def test_neighbouring_keys_draw_independently():
  keys = jax.random.split(KEY, 64)
  image = jnp.full((32, 32, 1), 0.5)
  drawn = np.asarray(jax.jit(jax.vmap(noise.gaussian_noise, (None, 0, None)))(image, keys, 0.1)).reshape(64, -1)
  correlation = np.corrcoef(drawn) - np.eye(64)
  assert np.abs(correlation).max() < 5 / np.sqrt(32 * 32)


@pytest.mark.parametrize('mean', [0.05, 0.7, 3.0, 7.9, 8.1, 19.0, 60.0])
def test_shot_noise_is_poisson(mean):
  shape = (200, 250, 2)
  # Ahead of the clipping, which a bright photon would run into.
  counts = np.asarray(jax.jit(noise._poisson)(jnp.full(shape, mean), noise._uniform(KEY, shape))).ravel()
  assert abs(counts.mean() - mean) < 5 * np.sqrt(mean / counts.size)
  assert abs(counts.var() / mean - 1) < 5 * np.sqrt((2 + 1 / mean) / counts.size)
  frequency = np.bincount(counts.astype(int), minlength=200) / counts.size
  expected = stats.poisson.pmf(np.arange(len(frequency)), mean)
  assert np.abs(frequency.cumsum() - expected.cumsum()).max() < 0.005


def test_quantiles_agree_with_scipy():
  u = ((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)
  poisson = jax.jit(noise._poisson)
  normal = np.asarray(noise._normal(u))
  np.testing.assert_allclose(normal, stats.norm.ppf(u), atol=5e-4)
  assert abs(normal.std() - 1) < 1e-4
  for mean in (0.3, 2.0, 7.99, 8.0, 12.0, 100.0):
    ours, exact = np.asarray(poisson(jnp.full(u.shape, mean), u)), stats.poisson.ppf(u, mean)
    assert np.abs(ours - exact).max() <= (mean >= noise.POISSON_EXACT_BELOW)
    assert (ours != exact).mean() < 4e-3


def test_shot_noise_keeps_black_and_its_gradient_is_that_of_the_mean():
  image = jnp.linspace(0, 0.4, 300).reshape(10, 10, 3)
  noisy, pullback = jax.vjp(jax.jit(lambda x: noise.shot_noise(x, KEY, 0.01)), image)
  assert noisy[0, 0, 0] == 0
  (gradient,) = pullback(jnp.ones_like(image))
  np.testing.assert_allclose(gradient, 1.0, atol=1e-5)


@pytest.mark.parametrize('balance', [0.5, 0.2, 1.0])
def test_salt_and_pepper_counts(balance):
  image = jnp.full((200, 300, 3), 0.5)
  noisy = np.asarray(noise.salt_and_pepper(image, KEY, 0.1, balance=balance))
  assert (noisy == noisy[..., :1]).all()
  error = 4 * np.sqrt(0.1 / noisy[..., 0].size)
  assert abs((noisy == 1).mean() - 0.1 * balance) < error
  assert abs((noisy == 0).mean() - 0.1 * (1 - balance)) < error
  assert (noise.salt_and_pepper(image, KEY, 1.0, balance=balance) != 0.5).all()


def test_neutral_parameters_change_no_bit():
  image = jax.random.uniform(KEY, (12, 10, 3))
  for op in (noise.gaussian_noise, noise.shot_noise, noise.salt_and_pepper):
    np.testing.assert_array_equal(jax.jit(op)(image, KEY, 0.0), image)


def photo(shape):
  rng = np.random.default_rng(0)
  image = ndimage.gaussian_filter(rng.random(shape), (2, 2, 0)[: len(shape)])
  image = (image - image.min()) / np.ptp(image) + rng.normal(size=shape) * 0.03
  return (255 * image.clip(0, 1)).astype(np.uint8)


def saved(image, quality, **options):
  file = io.BytesIO()
  Image.fromarray(image).save(file, 'jpeg', quality=quality, **options)
  return Image.open(file)


@pytest.mark.parametrize('shape', [(64, 48, 3), (45, 37, 3)])
@pytest.mark.parametrize('subsample', [True, False])
def test_jpeg_agrees_with_pil(shape, subsample):
  image = photo(shape)
  jpeg = jax.jit(noise.jpeg, static_argnames='subsample')
  for quality in (5, 30, 50, 75, 95, 100):
    expected = np.asarray(saved(image, quality, subsampling=2 if subsample else 0)).astype(int)
    error = np.abs(np.asarray(jpeg(image, quality, subsample=subsample)) - expected)
    assert error.mean() < 1.0
    assert np.abs(image - expected).mean() > error.mean()


@pytest.mark.parametrize('quality', [20, 75])
def test_grey_jpeg_agrees_with_pil(quality):
  image = photo((30, 42))
  error = np.abs(
    np.asarray(noise.jpeg(image[..., None], quality))[..., 0] - np.asarray(saved(image, quality)).astype(int)
  )
  assert error.mean() < 0.5


@pytest.mark.parametrize('quality', [1, 10, 37, 50, 75, 90, 100])
def test_quantisation_tables_are_those_of_pil(quality):
  theirs = saved(photo((16, 16, 3)), quality).quantization
  for table, expected in zip((noise.LUMINANCE, noise.CHROMINANCE), theirs.values()):
    np.testing.assert_array_equal(noise._scaled(table, jnp.float32(quality)).ravel(), expected)


def test_jpeg_has_the_gradient_of_its_image_and_quality():
  image = jnp.asarray(photo((16, 24, 3)) / 255, jnp.float32)
  weights = jax.random.normal(KEY, image.shape)
  loss = jax.jit(lambda x, quality: (noise.jpeg(x, quality, subsample=False) * weights).sum())
  by_image, by_quality = jax.grad(loss, (0, 1))(image, 60.0)
  # Straight through the rounding, quantisation is the identity; only what was clipped has no gradient.
  kept = (by_image != 0).all(-1)
  assert kept.mean() > 0.8
  np.testing.assert_allclose(by_image[8:, 8:], weights[8:, 8:], atol=2.0)
  assert jnp.isfinite(by_quality)


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda x: noise.gaussian_noise(x, KEY, -0.1), r'gaussian_noise: std = -0\.1'),
    (lambda x: noise.shot_noise(x, KEY, 2.0), r'shot_noise: scale = 2\.0'),
    (lambda x: noise.salt_and_pepper(x, KEY, 0.1, balance=1.5), r'salt_and_pepper: balance = 1\.5'),
    (lambda x: noise.jpeg(x, 0), 'jpeg: quality = 0'),
    (lambda x: noise.jpeg(x[..., :2], 50), 'jpeg: 2 channels'),
  ],
)
def test_errors_name_the_value(call, message):
  with pytest.raises(ValueError, match=message):
    call(jnp.zeros((8, 8, 3)))
