"""Crops, pads and resizes against NumPy and PIL 13."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from genaug.augment import crops
from genaug.augment.matrices import transform_points

BYTES = np.random.default_rng(0).integers(0, 256, (30, 23, 3), np.uint8)
IMAGE = jnp.asarray(BYTES / np.float32(255))
LABELS = jnp.asarray(BYTES[..., :1], jnp.int32)
FILTERS = {
  'nearest': Image.Resampling.NEAREST,
  'bilinear': Image.Resampling.BILINEAR,
  'cubic': Image.Resampling.BICUBIC,
}
BORDERS = {'edge': 'edge', 'reflect': 'symmetric', 'wrap': 'wrap'}


def test_crop_moves_back_into_the_frame():
  crop = jax.jit(crops.crop, static_argnums=(3, 4))
  np.testing.assert_array_equal(crop(IMAGE, 2, 3, 5, 4), IMAGE[2:7, 3:7])
  np.testing.assert_array_equal(crop(IMAGE, 29, 21, 5, 4), IMAGE[25:, 19:])
  np.testing.assert_array_equal(crop(IMAGE, -1, -3, 5, 4), IMAGE[:5, :4])
  np.testing.assert_array_equal(crops.crop(LABELS, 2, 3, 5, 4), LABELS[2:7, 3:7])


@pytest.mark.parametrize(('height', 'width'), [(30, 23), (10, 3), (11, 4), (1, 1)])
def test_center_crop_has_the_same_margin_on_both_sides(height, width):
  cropped = crops.center_crop(IMAGE, height, width)
  top, left = (30 - height) // 2, (23 - width) // 2
  np.testing.assert_array_equal(cropped, IMAGE[top : top + height, left : left + width])


def test_random_crop_takes_every_place_as_often():
  places = jnp.arange(5 * 4).reshape(5, 4, 1)
  crop = jax.jit(jax.vmap(lambda key: crops.random_crop(key, places, 3, 3)))
  corner = np.asarray(crop(jax.random.split(jax.random.key(0), 3000))[:, 0, 0, 0])
  np.testing.assert_allclose(np.bincount(corner)[[0, 1, 4, 5, 8, 9]] / 3000, 1 / 6, atol=0.03)


@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize('sides', [(1, 2, 3, 4), (0, 0, 0, 0), (40, 0, 31, 1)])
def test_pad_is_numpys(border, sides):
  top, bottom, left, right = sides
  expected = np.pad(BYTES, ((top, bottom), (left, right), (0, 0)), BORDERS[border])
  np.testing.assert_array_equal(crops.pad(BYTES, *sides, border), expected)


def test_pad_fills_by_channel():
  padded = np.array(crops.pad(IMAGE, 1, 2, 3, 0, fill=jnp.array([0.1, 0.2, 0.3])))
  np.testing.assert_array_equal(padded[1:31, 3:], IMAGE)
  padded[1:31, 3:] = fill = np.array([0.1, 0.2, 0.3], np.float32)
  np.testing.assert_array_equal(padded, np.broadcast_to(fill, (33, 26, 3)))


@pytest.mark.parametrize('interpolation', FILTERS)
@pytest.mark.parametrize('size', [(7, 9), (64, 50), (30, 46)])
def test_resize_is_pils(interpolation, size):
  """Bytes to 1 / 255, where PIL does not clip between its two passes; floats to 1e-5."""
  resize = jax.jit(partial(crops.resize, height=size[0], width=size[1], interpolation=interpolation))
  if not (interpolation == 'cubic' and size == (64, 50)):
    expected = Image.fromarray(BYTES).resize(size[::-1], FILTERS[interpolation])
    assert np.abs(np.asarray(resize(BYTES), int) - np.asarray(expected, int)).max() <= (interpolation != 'nearest')
  channel = Image.fromarray(np.asarray(IMAGE[..., 0])).resize(size[::-1], FILTERS[interpolation])
  np.testing.assert_allclose(resize(IMAGE)[..., 0], np.clip(channel, 0, 1), atol=1e-5)


def test_resize_keeps_labels_and_skips_pixels_where_it_may():
  assert crops.resize(LABELS, 8, 50, 'nearest').dtype == jnp.int32
  assert set(np.unique(crops.resize(LABELS, 8, 50, 'nearest'))) <= set(np.unique(LABELS))
  np.testing.assert_array_equal(crops.resize(IMAGE, 30, 23), IMAGE)
  third = crops.resize(IMAGE, 10, 23, antialias=False)
  np.testing.assert_allclose(third, IMAGE[1::3], atol=1e-6)


def test_a_window_of_whole_pixels_is_a_crop():
  cut = jax.jit(crops.resized_crop, static_argnames='size')
  cropped = cut(IMAGE, 3 / 23, 5 / 30, 8 / 23, 6 / 30, size=(6, 8))
  np.testing.assert_allclose(cropped, IMAGE[5:11, 3:11], atol=1e-4)
  np.testing.assert_array_equal(cut(IMAGE, 0.0, 0.0, 1.0, 1.0), IMAGE)
  matrix = jax.jit(crops.resized_crop_matrix, static_argnums=(0, 5))((30, 23), 3 / 23, 5 / 30, 8 / 23, 6 / 30, (12, 32))
  corners = transform_points(matrix, jnp.array([[3.0, 5.0], [11.0, 11.0]]))
  np.testing.assert_allclose(corners, [[0, 0], [32, 12]], atol=1e-4)


def test_a_window_enlarged_is_pils_box():
  expected = Image.fromarray(BYTES).resize((23, 30), Image.Resampling.BILINEAR, box=(4, 6, 14, 20))
  ours = crops.resized_crop(BYTES, 4 / 23, 6 / 30, 10 / 23, 14 / 30, border='edge')
  # PIL repeats the window's own outermost pixels, this reads on in the image.
  assert np.abs(np.asarray(ours, int) - np.asarray(expected, int))[2:-2, 2:-2].max() <= 1


@pytest.mark.parametrize('shape', [(32, 32, 3), (24, 32, 3)])
def test_windows_have_the_area_and_the_ratio_asked_for(shape):
  draw = jax.jit(jax.vmap(lambda key: crops.sample_random_resized_crop(key, shape, 0.2, 0.6, 0.5, 1.5)))
  x, y, width, height = (
    np.asarray(draw(jax.random.split(jax.random.key(0), 4000))[name]) for name in ('x', 'y', 'width', 'height')
  )
  assert min(x.min(), y.min()) >= 0
  assert max((x + width).max(), (y + height).max()) <= 1 + 1e-6
  area, ratio = width * height, width * shape[1] / (height * shape[0])
  np.testing.assert_allclose([area.min(), area.max()], [0.2, 0.6], atol=0.005)
  np.testing.assert_allclose([ratio.min(), ratio.max()], [0.5, 1.5], atol=0.01)
  assert abs(np.corrcoef(x / (1 - width), y / (1 - height))[0, 1]) < 0.06


def test_where_no_window_fits_it_is_the_largest_of_an_allowed_ratio():
  window = crops.sample_random_resized_crop(jax.random.key(0), (10, 40, 3), 1.0, 1.0, 0.5, 2.0)
  np.testing.assert_allclose([window['width'], window['height']], [0.5, 1.0], atol=1e-6)


def test_random_resized_crop_takes_any_output_and_leaves_the_image_alone_otherwise():
  key = jax.random.key(0)
  random_resized_crop = jax.jit(crops.random_resized_crop, static_argnames=('size', 'interpolation'))
  small = random_resized_crop(key, BYTES, size=(8, 9))
  assert small.shape == (8, 9, 3)
  assert small.dtype == jnp.uint8
  for interpolation in ('nearest', 'bilinear'):
    np.testing.assert_array_equal(random_resized_crop(key, IMAGE, p=0.0, interpolation=interpolation), IMAGE)
  cubic = random_resized_crop(key, jnp.round(IMAGE), interpolation='cubic')
  assert 0 <= cubic.min() <= cubic.max() <= 1


ERRORS = {
  'crop': (lambda: crops.crop(IMAGE, 0, 0, 31, 4), '31 x 4 does not fit into an image of 30 x 23'),
  'center': (lambda: crops.center_crop(IMAGE, 4, 0), '4 x 0 does not fit'),
  'random': (lambda: crops.random_crop(jax.random.key(0), IMAGE, 4, 24), '4 x 24 does not fit'),
  'border': (lambda: crops.pad(IMAGE, 1, 1, 1, 1, 'mirror'), "border = 'mirror'.*constant, edge, reflect, wrap"),
  'pad': (lambda: crops.pad(IMAGE, 1, -1, 1, 1), r'\(1, -1, 1, 1\) pixels'),
  'window': (lambda: crops.resized_crop(IMAGE, 0.1, 0.1, 0.0, 0.5), r'width = 0.0: must lie in \[0.001, 1\]'),
  'scale': (lambda: crops.random_resized_crop(jax.random.key(0), IMAGE, 0.0), 'scale_low = 0.0'),
  'interpolation': (lambda: crops.resize(IMAGE, 4, 4, 'box'), "interpolation = 'box'.*nearest, bilinear, cubic"),
  'size': (lambda: crops.resize(IMAGE, 0, 4), '0 x 4'),
  'labels': (lambda: crops.resize(LABELS, 4, 4), 'int32'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_name_the_value(case):
  call, message = ERRORS[case]
  with pytest.raises(ValueError, match=message):
    call()
