"""Filters against OpenCV 5.0, SciPy 1.17, Pillow 13 and scikit-image 0.26."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from genaug.augment import filters

SHAPES = [(12, 10, 3), (9, 11, 1), (16, 16, 2)]


gaussian_blur, box_blur, median_blur, unsharp_mask = (
  jax.jit(op, static_argnames='ksize')
  for op in (filters.gaussian_blur, filters.box_blur, filters.median_blur, filters.unsharp_mask)
)
motion_blur, sharpness = jax.jit(filters.motion_blur), jax.jit(filters.sharpness)


def noise(shape, seed=0):
  return np.random.default_rng(seed).random(shape, np.float32)


def by_channel(function, image):
  return np.stack([function(channel) for channel in np.moveaxis(image, -1, 0)], axis=-1)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize(('sigma', 'ksize'), [(0.4, 3), (1.5, 5), (2.0, 11)])
def test_gaussian_blur_agrees_with_opencv(shape, sigma, ksize):
  cv2 = pytest.importorskip('cv2')
  image = noise(shape)
  expected = by_channel(lambda x: cv2.GaussianBlur(x, (ksize, ksize), sigma), image)
  np.testing.assert_allclose(gaussian_blur(image, sigma, ksize=ksize), expected, atol=2e-6)


@pytest.mark.parametrize('shape', SHAPES)
def test_gaussian_blur_agrees_with_scipy(shape):
  image = noise(shape)
  expected = by_channel(lambda x: ndimage.gaussian_filter(x, 1.2, mode='mirror', radius=5), image)
  np.testing.assert_allclose(gaussian_blur(image, 1.2, ksize=11), expected, atol=2e-6)
  np.testing.assert_allclose(filters.gaussian_blur(image, 1.2), expected, atol=2e-6)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('sigma', [0.1, 0.7, 3.0, 10.0, 64.0])
def test_a_gaussian_of_any_width_agrees_with_scipy(shape, sigma):
  image = noise(shape)
  expected = by_channel(lambda x: ndimage.gaussian_filter(x, sigma, mode='mirror', truncate=8), image)
  np.testing.assert_allclose(gaussian_blur(image, sigma), expected, atol=2e-6)  # traced
  np.testing.assert_allclose(filters.gaussian_blur(image, sigma), expected, atol=2e-6)
  np.testing.assert_allclose(
    unsharp_mask(image, sigma, 0.1), np.clip(image + 0.1 * (image - expected), 0, 1), atol=2e-6
  )


@pytest.mark.parametrize(('sigma', 'sides'), [(1.0, 11), (2.0, 11), (5.0, 29), (6.0, 0)])
def test_the_window_is_as_wide_as_the_largest_sigma_needs(sigma, sides):
  shape = (8, 160, 1)
  assert filters.sample_gaussian_blur(jax.random.key(0), shape, sigma)['ksize'] == sides
  impulse = np.zeros(shape, np.float32)
  impulse[:, 80] = 1
  row = np.asarray(filters.gaussian_blur(impulse, sigma))[0, :, 0]
  assert np.count_nonzero(row) == sides if sides else np.count_nonzero(row) > 8 * sigma
  np.testing.assert_allclose(np.sqrt(row @ (np.arange(160) - 80) ** 2), sigma, rtol=0.03)


@pytest.mark.parametrize('ksize', [3, 7])
def test_box_blur_agrees_with_scipy(ksize):
  image = noise((12, 10, 3))
  expected = by_channel(lambda x: ndimage.uniform_filter(x, ksize, mode='mirror'), image)
  np.testing.assert_allclose(box_blur(image, ksize=ksize), expected, atol=2e-6)
  np.testing.assert_allclose(box_blur(image, 0.3, ksize=ksize), 0.3 * expected + 0.7 * image, atol=2e-6)


@pytest.mark.parametrize(('angle', 'length'), [(0.0, 9.0), (90.0, 5.0), (30.0, 7.5), (135.0, 4.0)])
def test_motion_blur_is_a_mean_of_shifted_images(angle, length):
  image = noise((24, 22, 3))
  away = np.linspace(-0.5, 0.5, 9) * (length - 1)
  across, down = away * np.cos(np.deg2rad(angle)), -away * np.sin(np.deg2rad(angle))
  expected = np.mean([ndimage.shift(image, (y, x, 0), order=1, mode='mirror') for x, y in zip(across, down)], axis=0)
  np.testing.assert_allclose(motion_blur(image, angle, length), expected, atol=1e-5)


def test_a_camera_moves_no_farther_than_its_window():
  blur = jax.jit(partial(filters.motion_blur, ksize=3))
  image = noise((12, 14, 3))
  np.testing.assert_array_equal(blur(image, 20.0, 9.0), blur(image, 20.0, 3.0))


def test_motion_blur_along_a_row_agrees_with_opencv():
  cv2 = pytest.importorskip('cv2')
  image = noise((12, 14, 3))
  kernel = np.zeros((9, 9), np.float32)
  kernel[4] = 1 / 9
  np.testing.assert_allclose(motion_blur(image, 0.0, 9.0), cv2.filter2D(image, -1, kernel), atol=2e-6)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('ksize', [3, 5])
def test_median_blur_agrees_with_scipy_to_the_bit(shape, ksize):
  image = np.round(noise(shape), 1)  # with ties
  expected = by_channel(lambda x: ndimage.median_filter(x, ksize, mode='nearest'), image)
  np.testing.assert_allclose(median_blur(image, ksize=ksize), expected, atol=1e-7)  # x + (y - x) rounds once


def test_the_gradient_of_the_median_goes_to_the_chosen_pixel():
  image = noise((5, 5, 1))
  gradient = np.asarray(jax.grad(lambda x: median_blur(x)[2, 2, 0])(image))[..., 0]
  chosen = image[..., 0] == np.median(image[1:4, 1:4])
  np.testing.assert_allclose(gradient, chosen, atol=1e-7)


@pytest.mark.parametrize('factor', [0.0, 0.5, 1.0, 2.0])
def test_sharpness_agrees_with_pil(factor):
  image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
  expected = np.asarray(ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor)).astype(int)
  assert np.abs(np.asarray(sharpness(image, factor)) - expected).max() <= 1
  if factor >= 1:
    np.testing.assert_array_equal(jax.jit(filters.sharpen)(image, factor - 1), sharpness(image, factor))


@pytest.mark.parametrize('shape', [(1, 1, 3), (2, 5, 1), (3, 3, 3)])
def test_images_smaller_than_the_kernel(shape):
  image = noise(shape)
  flat = np.full(shape, 0.5, np.float32)
  for blur in (gaussian_blur, box_blur, median_blur):
    assert np.isfinite(blur(image, 1.0)).all()
    np.testing.assert_allclose(blur(flat, 1.0), flat, atol=1e-6)
  if min(shape[:2]) < 3:
    np.testing.assert_array_equal(sharpness(image, 2.0), image)


def test_unsharp_mask_agrees_with_skimage():
  skimage_filters = pytest.importorskip('skimage.filters')
  image = noise((16, 14, 3))
  ours = unsharp_mask(image, 1.0, 0.8, ksize=9)  # skimage cuts off at 4 sigma as well
  theirs = by_channel(lambda x: skimage_filters.unsharp_mask(x, radius=1.0, amount=0.8), image)
  inner = slice(5, -5)  # skimage repeats pixels at the border
  np.testing.assert_allclose(ours[inner, inner], theirs[inner, inner], atol=1e-5)


def test_unsharp_mask_agrees_with_pil():
  image = ndimage.gaussian_filter(noise((24, 24, 3)), (1, 1, 0))
  image = (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
  mask = ImageFilter.UnsharpMask(radius=1.5, percent=120, threshold=4)
  expected = np.asarray(Image.fromarray(image).filter(mask)).astype(int)
  ours = np.asarray(unsharp_mask(image, 1.5, 1.2, threshold=4 / 255)).astype(int)
  error = np.abs(ours - expected)[6:-6, 6:-6]  # PIL repeats pixels at the border, and blurs by three boxes
  assert error.mean() < 1.5
  assert np.quantile(error, 0.95) <= 5


NEUTRAL = {
  'gaussian_blur': {'sigma': 0.0},
  'box_blur': {'amount': 0.0},
  'motion_blur': {'angle': 33.0, 'length': 1.0},
  'median_blur': {'amount': 0.0},
  'sharpness': {'factor': 1.0},
  'sharpen': {'amount': 0.0},
  'unsharp_mask': {'sigma': 1.0, 'amount': 0.0},
}


@pytest.mark.parametrize('name', NEUTRAL)
def test_neutral_parameters_change_no_bit(name):
  image = noise((12, 10, 3))
  np.testing.assert_array_equal(jax.jit(getattr(filters, name))(image, **NEUTRAL[name]), image)


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda x: filters.gaussian_blur(x, -1.0), r'gaussian_blur: sigma = -1\.0'),
    (lambda x: filters.gaussian_blur(x, 1.0, ksize=4), 'gaussian_blur: ksize = 4: must be odd'),
    (lambda x: filters.median_blur(x, ksize=7), 'median_blur: ksize = 7: must be one of 3, 5'),
    (lambda x: filters.motion_blur(x, 0.0, 10.0), r'motion_blur: length = 10\.0'),
    (lambda x: filters.sharpness(x, -0.5), r'sharpness: factor = -0\.5'),
  ],
)
def test_errors_name_the_value(call, message):
  with pytest.raises(ValueError, match=message):
    call(jnp.zeros((8, 8, 3)))
