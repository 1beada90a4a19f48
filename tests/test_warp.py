"""Displacement fields against SciPy 1.17 and OpenCV 5.0, and what has to move along with the image."""

from functools import cache, partial

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from genaug.augment import warp

H, W, DRAWS = 64, 48, 200
COLUMNS, ROWS = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5)
# name: (field, draw, its largest strengths that can't fold)
FIELDS = {
  'elastic': (warp.elastic_field, warp.sample_elastic, {'alpha': 0.083, 'sigma': 0.1}),
  'grid_distort': (warp.grid_distort_field, warp.sample_grid_distort, {'limit': 0.99}),
  'thin_plate_spline': (warp.thin_plate_spline_field, warp.sample_thin_plate_spline, {'limit': 0.1}),
  'lens_distort': (warp.lens_distort_field, warp.sample_lens_distort, {'limit': 1 / 3}),
}
OPS = {name: (getattr(warp, name), draw) for name, (_, draw, _) in FIELDS.items()}


def uniform(seed, low, high, shape):
  return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


@cache
def drawn(name):
  """Fields at default strength, [DRAWS, H, W, 2]."""
  field, draw, _ = FIELDS[name]
  keys = jax.random.split(jax.random.key(0), DRAWS)
  return jax.jit(jax.vmap(lambda key: field((H, W), **draw(key, (H, W, 1)))))(keys)


displaced = jax.jit(jax.vmap(warp.displaced))
nearest = jax.jit(jax.vmap(partial(warp.displaced, interpolation='nearest')))
invert_points = jax.jit(jax.vmap(warp.invert_points))
move_boxes = jax.jit(jax.vmap(warp.move_boxes))


def test_the_output_at_p_shows_the_input_at_p_and_its_displacement():
  image, field = uniform(0, 0, 1, (12, 10, 3)), uniform(1, -3, 3, (12, 10, 2))
  rows, columns = np.mgrid[:12, :10]
  at = rows + field[..., 1], columns + field[..., 0]
  expected = [ndimage.map_coordinates(plane, at, order=1, mode='reflect') for plane in np.moveaxis(image, -1, 0)]
  moved = jax.jit(partial(warp.displaced, border='reflect'))(image, field)
  np.testing.assert_allclose(moved, np.stack(expected, -1), atol=1e-5)


# Every field


@pytest.mark.parametrize('name', FIELDS)
def test_a_dot_painted_at_a_keypoint_is_found_at_the_moved_keypoint(name):
  points = uniform(0, 0, 1, (DRAWS, 1, 2)) * [W - 8, H - 8] + 4
  distance = (COLUMNS - points[..., :1]) ** 2 + (ROWS - points[..., 1:]) ** 2
  images = np.asarray(displaced(np.exp(-distance / 2)[..., None], drawn(name)))[..., 0]
  moved = np.asarray(invert_points(drawn(name), points))[:, 0]
  inside = ((moved > 6) & (moved < [W - 6, H - 6])).all(1)
  found = np.stack([(images * COLUMNS).sum((1, 2)), (images * ROWS).sum((1, 2))], -1) / images.sum((1, 2))[:, None]
  assert inside.sum() > DRAWS / 2
  np.testing.assert_allclose(found[inside], moved[inside], atol=0.5)


@pytest.mark.parametrize('name', FIELDS)
def test_a_moved_box_encloses_the_moved_mask(name):
  corner = np.random.default_rng(0).integers(4, [W - 20, H - 20], (DRAWS, 2))
  boxes = np.concatenate([corner, corner + np.random.default_rng(1).integers(4, 16, (DRAWS, 2))], -1)
  x0, y0, x1, y1 = boxes.T[..., None, None]
  masks = 7 * ((x0 < COLUMNS) & (x1 > COLUMNS) & (y0 < ROWS) & (y1 > ROWS))
  masks = np.asarray(nearest(masks[..., None], drawn(name)))[..., 0]
  assert set(np.unique(masks)) == {0, 7}
  moved = np.asarray(move_boxes(drawn(name), boxes[:, None].astype(np.float32)))[:, 0]
  for mask, box in zip(masks, moved):
    rows, columns = np.nonzero(mask)
    low, high = np.array([columns.min(), rows.min()]), np.array([columns.max(), rows.max()]) + 1
    # A pixel belongs to the mask by its centre.
    assert (box[:2] <= low + 0.55).all()
    assert (box[2:] >= high - 0.55).all()
    assert (box[:2] >= low - 1).all() or (box[:2] < 0).any()
    assert (box[2:] <= high + 1).all() or (box[2:] > [W, H]).any()


@pytest.mark.parametrize('name', OPS)
def test_masks_keep_their_type_and_labels(name):
  op, draw = OPS[name]
  how = jax.jit(lambda key: draw(key, (H, W, 1)))(jax.random.key(0))
  mask = np.random.default_rng(0).choice([3, 7, 300], (H, W, 1))
  masks = [mask.astype(np.int32), (mask % 256).astype(np.uint8), mask > 3]
  moved = jax.jit(lambda masks: [op(m, **how, interpolation='nearest', border='edge') for m in masks])(masks)
  for before, after in zip(masks, moved):
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(np.unique(after), np.unique(before))


@pytest.mark.parametrize('name', FIELDS)
def test_nothing_folds(name):
  field, draw, largest = FIELDS[name]
  keys = jax.random.split(jax.random.key(1), 1000)
  extreme = jax.jit(jax.vmap(lambda key: field((32, 32), **draw(key, (32, 32, 1), **largest))))(keys)
  for moved in (np.asarray(drawn(name)), np.asarray(extreme)):
    assert moved.std() > 0.5
    right, down = np.diff(moved, axis=2)[:, :-1], np.diff(moved, axis=1)[:, :, :-1]
    assert ((1 + right[..., 0]) * (1 + down[..., 1]) - right[..., 1] * down[..., 0]).min() > 0


@pytest.mark.parametrize('name', FIELDS)
def test_inverted_points_come_back(name):
  there = uniform(0, -0.2, 1.2, (DRAWS, 20, 2)) * [W, H]
  back = np.asarray(invert_points(drawn(name), there))
  inside = ((back > 0.5) & (back < [W - 0.5, H - 0.5])).all(-1)
  assert 0.3 < inside.mean() < 0.9
  for field, points, target, seen in zip(np.asarray(drawn(name)), back, there, inside):
    at = points[seen][:, ::-1].T - 0.5
    moved = [ndimage.map_coordinates(plane, at, order=1, mode='nearest') for plane in np.moveaxis(field, -1, 0)]
    np.testing.assert_allclose(points[seen] + np.stack(moved, -1), target[seen], atol=0.01)


def test_a_fold_gives_finite_points():
  back = invert_points(uniform(0, -20, 20, (DRAWS, H, W, 2)), uniform(1, 0, 48, (DRAWS, 20, 2)))
  assert np.isfinite(back).all()
  beyond = jnp.array([[jnp.inf, jnp.inf], [3.0, 4.0]])  # behind the camera of a perspective
  back = warp.invert_points(uniform(0, -1, 1, (H, W, 2)), beyond)
  np.testing.assert_array_equal(np.isfinite(back), [[False, False], [True, True]])
  assert not np.isnan(back).any()


@pytest.mark.parametrize('name', OPS)
def test_gradients(name):
  op, draw = OPS[name]
  image = jnp.asarray(uniform(0, 0, 1, (12, 10, 3)))

  def loss(image, strength, sigma):
    options = {'sigma': sigma} if name == 'elastic' else {}
    return (op(image, **draw(jax.random.key(0), image.shape, strength, **options)) ** 2).sum()

  gradient = jax.jit(jax.grad(loss, (0, 1, 2) if name == 'elastic' else (0, 1)))
  for strength in (0.0, 0.1):
    gradients = gradient(image, strength, 0.2)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients[:2])


def test_gradient_of_inverted_points_is_the_inverse_slope():
  field = np.stack([0.3 * COLUMNS + 0.1 * ROWS, -0.2 * ROWS], axis=-1).astype(np.float32)
  slopes = jax.jit(jax.jacobian(lambda point: warp.invert_points(field, point[None])[0]))(jnp.array([20.0, 20.0]))
  np.testing.assert_allclose(slopes, np.linalg.inv([[1.3, 0.1], [0, 0.8]]), atol=1e-4)


# One by one


def test_elastic_has_the_statistics_of_smoothed_noise():
  side, sigma, alpha = 64, 6.4, 3.2
  draw = lambda key: warp.elastic_field((side, side), **warp.sample_elastic(key, (side, side, 1), alpha / side, 0.1))
  ours = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), DRAWS)))[..., 0]
  noise = np.random.default_rng(0).uniform(-1, 1, (DRAWS, side + 60, side + 60))
  simard = 1.7 * alpha * sigma * ndimage.gaussian_filter(noise, sigma, axes=(1, 2))[:, 30:-30, 30:-30]
  assert abs(ours).max() < alpha
  assert abs(ours.mean()) < 0.05 * alpha
  for field in (ours, simard):
    np.testing.assert_allclose(field.std(), 0.277 * alpha, rtol=0.05)
    np.testing.assert_allclose(field.std((0, 1)), 0.277 * alpha, rtol=0.2)
    for lag in (3, 6, 9, 13, 20):  # a Gaussian of deviation sqrt(2) sigma
      for a, b in ((field[:, lag:], field[:, :-lag]), (field[:, :, lag:], field[:, :, :-lag])):
        np.testing.assert_allclose((a * b).mean() / field.var(), np.exp(-((lag / sigma / 2) ** 2)), atol=0.06)


def test_elastic_keeps_its_proportions_at_every_size():
  control = uniform(0, -0.05, 0.05, (16, 16, 2))
  field = jax.jit(warp.elastic_field, static_argnums=0)
  small, large = np.asarray(field((11, 9), control)), np.asarray(field((33, 27), control))
  np.testing.assert_allclose(large[1::3, 1::3], 3 * small, atol=1e-4)


def test_grid_distort_moves_its_lines():
  stretch = np.array([[0.3, -0.1, 0.2], [-0.9, 0.5, 0.0]], np.float32)
  expected = []
  for side, row in zip((W, H), stretch):
    lines = np.concatenate([[0], np.cumsum(1 + row)]) / (1 + row).sum() * side
    centres = np.arange(side) + 0.5
    expected.append(np.interp(centres, np.arange(4) * side / 3, lines) - centres)
  field = warp.grid_distort_field((H, W), stretch)
  np.testing.assert_allclose(field, np.stack(np.meshgrid(*expected), axis=-1), atol=1e-4)


@pytest.mark.parametrize('grid', [(3, 3), (4, 4), (2, 5)])
def test_thin_plate_spline_agrees_with_scipy(grid):
  offsets = uniform(0, -0.1, 0.1, (*grid, 2))
  x, y = np.meshgrid(np.linspace(0, W, grid[1]), np.linspace(0, H, grid[0]))
  spline = RBFInterpolator(np.stack([x, y], -1).reshape(-1, 2), offsets.reshape(-1, 2), kernel='thin_plate_spline')
  expected = spline(np.stack([COLUMNS, ROWS], -1).reshape(-1, 2)).reshape(H, W, 2) * [W, H]
  np.testing.assert_allclose(warp.thin_plate_spline_field((H, W), offsets), expected, atol=1e-4)


@pytest.mark.parametrize('k', [(0.3, 0.0), (-0.3, 0.0), (0.2, -0.1)])
def test_lens_distort_agrees_with_opencv(k):
  half = np.hypot(H, W) / 2
  camera = np.array([[half, 0, W / 2 - 0.5], [0, half, H / 2 - 0.5], [0, 0, 1]])
  x, y = cv2.initUndistortRectifyMap(camera, (*k, 0, 0), None, camera, (W, H), cv2.CV_32FC1)
  field = warp.lens_distort_field((H, W), *k)
  np.testing.assert_allclose(field, np.stack([x + 0.5 - COLUMNS, y + 0.5 - ROWS], axis=-1), atol=1e-4)
  image = ndimage.gaussian_filter(uniform(0, 0, 1, (H, W)), 1)
  expected = cv2.undistort(image, camera, (*k, 0, 0))
  # OpenCV rounds points to 1/32 of a pixel.
  np.testing.assert_allclose(warp.lens_distort(image[..., None], *k)[..., 0], expected, atol=0.02)


ERRORS = {
  'rank': (lambda x: warp.lens_distort(x[0], 0.1), r'lens_distort.*\[h, w, c\]'),
  'integers': (lambda x: warp.lens_distort(x.astype(jnp.int32), 0.1), 'lens_distort.*int32'),
  'method': (lambda x: warp.lens_distort(x, 0.1, interpolation='linear'), "interpolation = 'linear'.*bilinear"),
  'k1': (lambda x: warp.lens_distort(x, 1.5), 'k1 = 1.5'),
  'lens limit': (lambda x: warp.random_lens_distort(jax.random.key(0), x, 0.5), 'limit = 0.5'),
  'control': (lambda x: warp.elastic(x, np.full((9, 9, 2), 2.0)), 'elastic: control'),
  'few control points': (lambda x: warp.elastic(x, np.zeros((3, 9, 2))), 'sigma with 3 x 9.*inf'),
  'sigma': (lambda x: warp.random_elastic(jax.random.key(0), x, sigma=0.01), 'sigma with 16 x 16.*0.04'),
  'alpha': (lambda x: warp.random_elastic(jax.random.key(0), x, -0.1), 'alpha = -0.1'),
  'stretch': (lambda x: warp.grid_distort(x, np.full((2, 4), -1.0)), 'grid_distort: stretch'),
  'steps': (lambda x: warp.random_grid_distort(jax.random.key(0), x, steps=0), 'steps = 0'),
  'offsets': (lambda x: warp.thin_plate_spline(x, np.zeros((1, 3, 2))), 'offsets of 1 x 3'),
}


@pytest.mark.parametrize('case', ERRORS.values(), ids=ERRORS)
def test_errors_say_what_is_allowed(case):
  call, message = case
  with pytest.raises(ValueError, match=message):
    call(jnp.zeros((12, 10, 3)))
