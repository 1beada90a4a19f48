"""The resampler against SciPy 1.17 (`map_coordinates`), inside the image, across its border and far outside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from genaug.augment import resample
from genaug.augment.matrices import rotate_matrix, translate_matrix

ORDERS = {'nearest': 0, 'bilinear': 1, 'cubic': 3}
MODES = {'constant': 'grid-constant', 'edge': 'nearest', 'reflect': 'reflect', 'wrap': 'grid-wrap'}
# Rounding of coordinates near +-20 for bilinear; for cubic also what is left of a pole after ten pixels.
TOLERANCES = {'nearest': 0, 'bilinear': 2e-6, 'cubic': 1e-5}

read = jax.jit(resample.resample, static_argnames=('interpolation', 'border'))
warp = jax.jit(resample.warp, static_argnames=('size', 'interpolation', 'border', 'projective'))


def noise(shape, seed=0):
  return np.random.default_rng(seed).random(shape, np.float32)


def test_tables_name_the_same():
  assert set(resample.INTERPOLATIONS) == set(ORDERS)
  assert set(resample.BORDERS) == set(MODES)


@pytest.mark.parametrize('border', MODES)
@pytest.mark.parametrize('interpolation', ORDERS)
def test_resample_is_map_coordinates(interpolation, border):
  image = noise((12, 10, 3))
  h, w, _ = image.shape
  rng = np.random.default_rng(1)
  x, y = rng.uniform(-1.2 * w, 2.2 * w, (40, 30)), rng.uniform(-1.2 * h, 2.2 * h, (40, 30))
  x, y = x.astype(np.float32), y.astype(np.float32)
  at, options = [y - 0.5, x - 0.5], {'order': ORDERS[interpolation], 'mode': MODES[border], 'cval': 0.25}
  channels = np.moveaxis(image.astype(np.float64), -1, 0)
  expected = np.stack([ndimage.map_coordinates(channel, at, **options) for channel in channels], -1)
  ours = read(image, x, y, interpolation=interpolation, border=border, fill=0.25)
  np.testing.assert_allclose(ours, expected, rtol=0, atol=TOLERANCES[interpolation])


@pytest.mark.parametrize(('interpolation', 'border'), [('bilinear', 'constant'), ('cubic', 'edge')])
def test_bytes_are_interpolated_as_floats_and_rounded(interpolation, border):
  image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
  matrix = rotate_matrix((12, 10), 25.0)
  moved = warp(image, matrix, interpolation=interpolation, border=border, fill=1.0)
  exact = warp(image / np.float32(255), matrix, interpolation=interpolation, border=border, fill=1.0)
  assert moved.dtype == jnp.uint8
  np.testing.assert_array_equal(moved, np.round(np.clip(exact, 0, 1) * 255))


@pytest.mark.parametrize(
  ('dtype', 'border'), [(np.uint8, 'constant'), (np.int32, 'wrap'), (np.uint16, 'edge'), (bool, 'constant')]
)
def test_labels_pass_untouched(dtype, border):
  labels = (np.arange(120).reshape(12, 10, 1) * 3 % 2**7).astype(dtype)
  moved = warp(labels, rotate_matrix((12, 10), 40.0), interpolation='nearest', border=border, fill=1)
  assert moved.dtype == dtype
  assert set(np.unique(moved)) <= {*np.unique(labels), 1}


def test_flat_images_stay_flat_to_the_bit():
  image = jnp.full((12, 10, 3), 0.7)
  for border in ('edge', 'reflect', 'wrap'):
    np.testing.assert_array_equal(warp(image, rotate_matrix((12, 10), 33.3), border=border), image)
  np.testing.assert_allclose(
    warp(image, rotate_matrix((12, 10), 33.3), interpolation='cubic', border='edge'), 0.7, atol=1e-6
  )


@pytest.mark.parametrize('interpolation', ORDERS)
def test_all_that_is_uncovered_is_the_fill_exactly_by_channel(interpolation):
  fill = jnp.array([0.1, 0.2, 0.3])
  moved = warp(noise((12, 10, 3)), translate_matrix((12, 10), 3.5, 0.0), interpolation=interpolation, fill=fill)
  np.testing.assert_array_equal(moved, jnp.broadcast_to(fill, (12, 10, 3)))


@pytest.mark.parametrize('interpolation', ORDERS)
def test_the_identity_changes_no_bit_unless_cubic(interpolation):
  image = noise((12, 10, 3))
  for projective in (False, True):
    same = warp(image, jnp.eye(3), interpolation=interpolation, projective=projective)
    np.testing.assert_allclose(same, image, rtol=0, atol=1e-6 if interpolation == 'cubic' else 0)


def test_wrapped_moves_come_around():
  image = noise((12, 10, 3))
  moved = warp(image, translate_matrix((12, 10), 0.3, -0.25), border='wrap')
  np.testing.assert_allclose(moved, np.roll(image, (-3, 3), (0, 1)), atol=1e-5)


def test_an_affine_matrix_is_projective_too():
  image, matrix = noise((12, 10, 3)), rotate_matrix((12, 10), 30.0)
  np.testing.assert_allclose(warp(image, matrix, projective=True), warp(image, matrix), atol=1e-5)
  scaled = warp(image, -2 * matrix, projective=True)  # the same points, all behind the camera
  np.testing.assert_array_equal(scaled, 0)


@pytest.mark.parametrize('projective', [False, True])
def test_every_output_pixel_shows_the_point_that_the_matrix_takes_there(projective):
  matrix = np.array([[1.2, -0.4, 3], [0.3, 0.8, -2], [0.01 * projective, -0.02 * projective, 1]], np.float32)
  x, y = resample.source_points(matrix, (7, 15), projective)
  columns, rows = np.meshgrid(np.arange(15) + 0.5, np.arange(7) + 0.5)
  expected = np.einsum('ij,jhw->ihw', np.linalg.inv(matrix), np.stack([columns, rows, np.ones_like(rows)]))
  np.testing.assert_allclose([x, y], expected[:2] / expected[2], atol=1e-4)
  image = noise((12, 10, 3))
  shown = warp(image, matrix, size=(7, 15), projective=projective, border='edge')
  np.testing.assert_allclose(shown, read(image, x, y, border='edge'), atol=1e-5)


def test_a_field_displaces_the_output_before_the_matrix_does():
  matrix, field = translate_matrix((12, 10), 0.3, 0.25), np.zeros((12, 10, 2), np.float32)
  field[:6, :, 0], field[6:, :, 1] = -2, 1
  x, y = resample.source_points(matrix, (12, 10), field=field)
  columns, rows = np.meshgrid(np.arange(10) + 0.5, np.arange(12) + 0.5)
  np.testing.assert_allclose(x, columns + field[..., 0] - 3, atol=1e-5)
  np.testing.assert_allclose(y, rows + field[..., 1] - 3, atol=1e-5)


@pytest.mark.parametrize('interpolation', ORDERS)
def test_nothing_comes_from_behind_the_camera(interpolation):
  matrix = np.array([[1, 0, 0], [0, 1, 0], [0.2, 0, -1]], np.float32)  # in front from x = 5 to the right
  moved = np.asarray(warp(jnp.ones((12, 10, 1)), matrix, interpolation=interpolation, projective=True, size=(40, 40)))
  columns, rows = np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5)
  points = np.einsum('ij,jhw->ihw', np.linalg.inv(matrix), np.stack([columns, rows, np.ones_like(rows)]))
  x, y = points[:2] / points[2]
  shown = (points[2] > 0) & (x < 10) & (y < 12)
  assert shown.any()
  assert np.all(moved[(points[2] <= 0) | (x > 25) | (y > 27)] == 0)
  if interpolation == 'nearest':
    np.testing.assert_array_equal(moved[..., 0] == 1, shown)


@pytest.mark.parametrize('matrix', [np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1e-30, 1e-30, 1])])
@pytest.mark.parametrize(
  ('interpolation', 'border', 'projective'),
  [('bilinear', border, False) for border in MODES] + [(interpolation, 'constant', True) for interpolation in ORDERS],
)
def test_a_matrix_without_inverse_reads_no_memory_outside(matrix, interpolation, border, projective):
  options = {'interpolation': interpolation, 'border': border, 'projective': projective, 'fill': 1.0}
  moved = np.asarray(warp(jnp.ones((12, 10, 3)), matrix.astype(np.float32), **options))
  assert np.all((np.abs(moved - 1) < 1e-5) | ~np.isfinite(moved))


@pytest.mark.parametrize(
  ('interpolation', 'border'), [('bilinear', 'wrap'), ('cubic', 'constant'), ('cubic', 'reflect')]
)
def test_gradients_of_the_points_are_the_slopes_of_the_image(interpolation, border):
  rows, columns = np.mgrid[:12, :10]
  ramp = jnp.asarray(0.02 * columns + 0.05 * rows, jnp.float32)[..., None]
  x, y = jnp.array([[4.3, 5.7]]), jnp.array([[6.1, 5.2]])
  slopes = jax.jit(
    jax.grad(lambda x, y: resample.resample(ramp, x, y, interpolation=interpolation, border=border).sum(), (0, 1))
  )(x, y)
  # Of order 3 the kinks at the border are felt four pixels inside.
  np.testing.assert_allclose(slopes[0], [[0.02, 0.02]], atol=1e-6 if interpolation == 'bilinear' else 4e-3)
  np.testing.assert_allclose(slopes[1], [[0.05, 0.05]], atol=1e-6 if interpolation == 'bilinear' else 4e-3)


ERRORS = {
  'interpolation': ({'interpolation': 'lanczos'}, np.float32, "interpolation = 'lanczos'.*nearest, bilinear, cubic"),
  'border': ({'border': 'mirror'}, np.float32, "border = 'mirror'.*constant, edge, reflect, wrap"),
  'integers': ({}, np.int32, 'bilinear interpolation of int32.*nearest'),
  'booleans': ({'interpolation': 'cubic'}, bool, 'cubic interpolation of bool.*nearest'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_name_the_value(case):
  options, dtype, message = ERRORS[case]
  with pytest.raises(ValueError, match=message):
    resample.warp(np.zeros((12, 10, 3), dtype), jnp.eye(3), **options)
