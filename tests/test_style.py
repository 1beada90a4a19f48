"""Images made to look like others: scikit-image 0.26 for histograms, NumPy for spectra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.exposure import match_histograms

from genaug.augment import style


def picture(seed, shape=(24, 20, 3), low=0, high=256):
  return np.random.default_rng(seed).integers(low, high, shape, np.uint8)


@pytest.mark.parametrize(
  ('image', 'reference'),
  [
    (picture(0), picture(1)),
    (picture(0, low=100, high=140), picture(1, (30, 31, 3), 20, 240)),
    (picture(0, (16, 16, 1)), picture(1, (9, 7, 1), 3, 8)),  # most bins of the reference are empty
    (np.full((8, 8, 3), 77, np.uint8), picture(1)),
  ],
  ids=['uniform', 'spread', 'few values', 'flat'],
)
def test_histogram_match_agrees_with_skimage_to_one_level(image, reference):
  expected = match_histograms(image.astype(float), reference.astype(float), channel_axis=-1)
  op = jax.jit(style.histogram_match)
  np.testing.assert_allclose(op(image, reference).astype(float), expected, atol=1)
  np.testing.assert_allclose(op(image / np.float32(255), reference / np.float32(255)), expected / 255, atol=1e-4)


def test_histogram_match_of_floats_agrees_with_skimage_to_two_levels():
  image = np.random.default_rng(0).beta(2, 5, (64, 64, 3)).astype(np.float32)
  reference = np.random.default_rng(1).beta(5, 3, (64, 64, 3)).astype(np.float32)
  expected = match_histograms(image, reference, channel_axis=-1)
  error = np.abs(style.histogram_match(image, reference) - expected)
  assert np.quantile(error, 0.99) < 2 / 255
  assert error.max() < 0.06  # the few darkest and lightest pixels


def test_the_amount_of_matching():
  image, reference = picture(0) / np.float32(255), picture(1, low=0, high=64)
  full = style.histogram_match(image, reference)
  np.testing.assert_array_equal(style.histogram_match(image, reference, 0.0), image)
  np.testing.assert_allclose(style.histogram_match(image, reference, 0.3), 0.7 * image + 0.3 * full, atol=1e-5)


def fda(image, reference, reach):
  """Yang & Soatto 2020 in double precision; all frequencies up to `reach` periods, none for -1."""
  ours, theirs = (np.fft.fft2(x.astype(np.float64), axes=(0, 1)) for x in (image, reference))
  amplitude = np.abs(ours)
  h, w, _ = image.shape
  periods = np.maximum(np.abs(np.fft.fftfreq(h, 1 / h))[:, None], np.abs(np.fft.fftfreq(w, 1 / w)))
  amplitude = np.where((periods <= reach)[..., None], np.abs(theirs), amplitude)
  return np.clip(np.fft.ifft2(amplitude * np.exp(1j * np.angle(ours)), axes=(0, 1)).real, 0, 1)


@pytest.mark.parametrize('shape', [(24, 20, 3), (15, 18, 1), (9, 9, 2)])
@pytest.mark.parametrize(('beta', 'reach'), [(0.0, -1), (0.01, 0), (0.15, None), (0.5, None)])
def test_fourier_mix_agrees_with_numpy(shape, beta, reach):
  image, reference = picture(0, shape) / np.float32(255), picture(1, shape, 60, 220) / np.float32(255)
  reach = int(beta * min(shape[:2])) if reach is None else reach
  np.testing.assert_allclose(
    jax.jit(style.fourier_mix)(image, reference, beta), fda(image, reference, reach), atol=1e-5
  )


def test_fourier_mix_without_strength_keeps_every_bit():
  image = picture(0) / np.float32(255)
  np.testing.assert_array_equal(jax.jit(style.fourier_mix)(image, picture(1), 0.0), image)
  flat = jnp.full((16, 16, 1), 0.25)  # whose amplitudes are 0
  np.testing.assert_allclose(style.fourier_mix(flat, jnp.full((16, 16, 1), 0.75), 0.01), 0.75, atol=1e-6)


@pytest.mark.parametrize('op', [style.histogram_match, lambda x, y: style.fourier_mix(x, y, 0.2)])
def test_gradients_are_finite(op):
  for image in (picture(0) / np.float32(255), jnp.full((24, 20, 3), 0.25), jnp.zeros((24, 20, 3))):
    gradients = jax.jit(jax.grad(lambda x, y: (op(x, y) ** 2).sum(), (0, 1)))(image, picture(1) / np.float32(255))
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_strengths_are_drawn_from_their_ranges():
  keys = jax.random.split(jax.random.key(0), 2000)
  amount = jax.vmap(lambda key: style.sample_histogram_match(key, (8, 8, 3))['amount'])(keys)
  beta = jax.vmap(lambda key: style.sample_fourier_mix(key, (8, 8, 3))['beta'])(keys)
  for draws, low, high in ((amount, 0.5, 1), (beta, 0, 0.1)):
    np.testing.assert_allclose([draws.min(), draws.mean(), draws.max()], [low, (low + high) / 2, high], atol=0.01)


ERRORS = {
  'channels': (lambda x: style.histogram_match(x, x[..., :1]), r'reference of shape \(24, 20, 1\): must be'),
  'size': (lambda x: style.fourier_mix(x, x[1:], 0.1), r'reference of shape \(23, 20, 3\): must be \(24, 20, 3\)'),
  'amount': (lambda x: style.histogram_match(x, x, 1.5), 'histogram_match: amount = 1.5'),
  'beta': (lambda x: style.fourier_mix(x, x, 0.6), 'fourier_mix: beta = 0.6'),
}


@pytest.mark.parametrize(('call', 'message'), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_value(call, message):
  with pytest.raises(ValueError, match=message):
    call(picture(0))
