"""Moves against PIL 13 and plain NumPy, and that masks, boxes and keypoints follow them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from genaug.augment import geometry, matrices
from genaug.augment.resample import warp
from tests.conftest import slow_but

CORNERS = jnp.array([[0.1, 0.05], [-0.2, 0.1], [-0.05, -0.15], [0.1, -0.1]])
# operation: arguments
MOVES = {
  'rotate': (25.0,),
  'translate': (0.13, -0.21),
  'scale': (1.37, 0.83),
  'zoom': (0.73,),
  'shear': (20.0, -10.0),
  'affine': (-20.0, 0.1, -0.05, 1.2, 10.0, 5.0),
  'perspective': (CORNERS,),
}
# index form: its matrix
REORDERINGS = {
  'hflip': (geometry.hflip, matrices.hflip_matrix),
  'vflip': (geometry.vflip, matrices.vflip_matrix),
  'transpose': (geometry.transpose, matrices.transpose_matrix),
  'antitranspose': (geometry.antitranspose, matrices.antitranspose_matrix),
  'rot90': (geometry.rot90, matrices.rot90_matrix),
  'rot90 twice': (partial(geometry.rot90, k=2), partial(matrices.rot90_matrix, k=2)),
  'rot90 back': (partial(geometry.rot90, k=-1), partial(matrices.rot90_matrix, k=-1)),
  'rot90 four times': (partial(geometry.rot90, k=4), partial(matrices.rot90_matrix, k=4)),
}


def matrix_of(name, shape, *arguments):
  return jax.jit(partial(getattr(matrices, f'{name}_matrix'), shape))(*arguments)


def noise(shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).random(shape), jnp.float32)


def bytes_of(shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def centres(h, w):
  """x and y of all pixel centres."""
  return np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5)


# Flips and quarter turns


@pytest.mark.parametrize('case', REORDERINGS)
@pytest.mark.parametrize('method', ['nearest', 'bilinear'])
def test_reorderings_agree_with_their_matrices_to_the_bit(case, method):
  op, build = REORDERINGS[case]
  image = noise((12, 10, 3))
  moved = op(image)
  warped = jax.jit(partial(warp, size=moved.shape[:2], interpolation=method, fill=0.5))(image, build((12, 10)))
  np.testing.assert_array_equal(warped, moved)
  back = warp(moved, matrices.inverse(build((12, 10))), size=(12, 10), interpolation=method)
  np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize(
  ('name', 'method'),
  {
    'hflip': Image.Transpose.FLIP_LEFT_RIGHT,
    'vflip': Image.Transpose.FLIP_TOP_BOTTOM,
    'transpose': Image.Transpose.TRANSPOSE,
    'antitranspose': Image.Transpose.TRANSVERSE,
    'rot90': Image.Transpose.ROTATE_90,
  }.items(),
)
def test_reorderings_agree_with_pil(name, method):
  image = bytes_of((12, 10, 3))
  np.testing.assert_array_equal(getattr(geometry, name)(image), Image.fromarray(image).transpose(method))


def test_a_traced_k_turns_square_images():
  image, turn = noise((11, 11, 3)), jax.jit(geometry.rot90)
  matrix = jax.jit(partial(matrices.rot90_matrix, (11, 11)))
  for k in range(-2, 6):
    np.testing.assert_array_equal(turn(image, k), geometry.rot90(image, k))
    np.testing.assert_array_equal(matrix(k), matrices.rot90_matrix((11, 11), k))
  with pytest.raises(ValueError, match='12 x 10: must be square'):
    turn(noise((12, 10, 3)), 1)


def test_random_quarter_turns_take_all_four_as_often():
  k = jax.vmap(lambda key: geometry.sample_rot90(key, (8, 8, 3))['k'])(jax.random.split(jax.random.key(0), 2000))
  np.testing.assert_allclose(np.bincount(k, minlength=4) / 2000, 0.25, atol=0.03)
  for op in (geometry.random_rot90, geometry.random_transpose, geometry.random_antitranspose):
    with pytest.raises(ValueError, match='12 x 10: must be square'):
      op(jax.random.key(0), noise((12, 10, 3)))


# Moves that resample


@pytest.mark.parametrize('name', MOVES)
def test_nearest_moves_are_pil_transforms_to_the_byte(name):
  image = bytes_of((24, 18, 3))
  back = np.linalg.inv(np.asarray(matrix_of(name, (24, 18), *MOVES[name]), np.float64))
  back /= back[2, 2]
  kind, numbers = (Image.Transform.PERSPECTIVE, 8) if name == 'perspective' else (Image.Transform.AFFINE, 6)
  coefficients = tuple(back.flatten()[:numbers])
  expected = Image.fromarray(image).transform((18, 24), kind, coefficients, Image.Resampling.NEAREST)
  moved = jax.jit(partial(getattr(geometry, name), interpolation='nearest'))(image, *MOVES[name])
  np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize('angle', [30, -77.5])
def test_rotation_turns_the_way_pil_does(angle):
  image = bytes_of((13, 11, 3))
  expected = Image.fromarray(image).rotate(angle, Image.Resampling.NEAREST)
  np.testing.assert_array_equal(jax.jit(partial(geometry.rotate, interpolation='nearest'))(image, angle), expected)


def test_right_angles_are_exact():
  image = noise((11, 11, 3))
  rotate = jax.jit(geometry.rotate)
  for k in range(-5, 6):
    np.testing.assert_array_equal(rotate(image, 90.0 * k), geometry.rot90(image, k))


def test_whole_pixel_translation_is_exact():
  image = noise((12, 10, 3))
  expected = np.full(image.shape, 0.5, np.float32)
  expected[:-3, 3:] = image[3:, :-3]
  np.testing.assert_allclose(geometry.translate(image, 0.3, -0.25, fill=0.5), expected, atol=1e-6)


def test_affine_is_the_chain_that_torchvision_states():
  angle, dx, dy, zoom, shear_x, shear_y = MOVES['affine']
  turn, lean, rise = np.deg2rad([-angle, shear_x, shear_y])  # clockwise there
  c, s = np.cos(turn), np.sin(turn)
  linear = [[c, -s], [s, c]] @ np.array([[1, 0], [-np.tan(rise), 1]]) @ [[1, -np.tan(lean)], [0, 1]] * zoom
  middle = np.array([5.0, 6.0])
  expected = np.eye(3)
  expected[:2, :2] = linear
  expected[:2, 2] = middle - linear @ middle + [dx * 10, dy * 12]
  np.testing.assert_allclose(matrix_of('affine', (12, 10), *MOVES['affine']), expected, atol=1e-5)


def test_a_positive_shear_leans_right_and_rises_right():
  points = jnp.array([[5.0, 0.0], [10.0, 6.0]])
  leaning, rising = (matrices.shear_matrix((12, 10), *angles) for angles in ((45.0, 0.0), (0.0, 45.0)))
  np.testing.assert_allclose(matrices.transform_points(leaning, points), [[11, 0], [10, 6]], atol=1e-5)
  np.testing.assert_allclose(matrices.transform_points(rising, points), [[5, 0], [10, 1]], atol=1e-5)


def test_perspective_takes_the_corners_where_it_is_told():
  corners = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 12.0], [0.0, 12.0]])
  goals = corners + np.asarray(CORNERS) * [10, 12]
  matrix = matrix_of('perspective', (12, 10), CORNERS)
  np.testing.assert_allclose(matrices.transform_points(matrix, jnp.asarray(corners, jnp.float32)), goals, atol=1e-5)
  # Four pairs of points, eight equations: what every textbook solves.
  equations, right = [], []
  for (x, y), (u, v) in zip(corners, goals):
    equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    right += [u, v]
  np.testing.assert_allclose(np.asarray(matrix).flatten()[:8], np.linalg.solve(equations, right), rtol=1e-4, atol=1e-5)
  parallelogram = jnp.array([[0.1, 0.0], [0.1, 0.2], [-0.1, 0.2], [-0.1, 0.0]])
  np.testing.assert_allclose(matrix_of('perspective', (12, 10), parallelogram)[2], [0, 0, 1], atol=1e-7)


def test_random_perspective_up_to_two_thirds_keeps_all_in_front_of_the_camera():
  def depths(key):
    matrix = matrices.perspective_matrix((12, 10), **geometry.sample_perspective(key, (12, 10, 3), 0.66))
    return jnp.array([[0, 0, 1], [10, 0, 1], [10, 12, 1], [0, 12, 1]]) @ matrix[2], jnp.linalg.det(matrix)

  depth, determinant = jax.jit(jax.vmap(depths))(jax.random.split(jax.random.key(0), 5000))
  assert depth.min() > 0
  assert determinant.min() > 0


FEW_MOVES = slow_but(('rotate', 'perspective'), MOVES)


@pytest.mark.parametrize('name', FEW_MOVES)
def test_cubic_moves_stay_in_range_and_are_near_bilinear(name):
  image = jnp.round(noise((12, 10, 1))).at[3:9, 2:8].set(0.5)
  op = jax.jit(getattr(geometry, name), static_argnames='interpolation')
  moved = op(image, *MOVES[name], interpolation='cubic')
  assert moved.min() >= 0
  assert moved.max() <= 1
  assert 0.01 < np.abs(moved - op(image, *MOVES[name])).mean() < 0.1


@pytest.mark.parametrize('name', FEW_MOVES)
def test_gradient_of_the_parameters(name):
  op = getattr(geometry, name)
  image = jnp.asarray(ndimage.gaussian_filter(noise((12, 10, 3)), (1, 1, 0)))
  weights = noise(image.shape, 1)
  loss = jax.jit(lambda parameters: (op(image, *parameters) * weights).sum())
  parameters = tuple(jnp.asarray(value) for value in MOVES[name])
  slopes = jax.tree.leaves(jax.jit(jax.grad(loss))(parameters))
  for i, slope in enumerate(slopes):
    assert np.isfinite(slope).all()
    # The image is piecewise bilinear: a small step crosses few kinks.
    step = [jnp.zeros_like(value) for value in parameters]
    step[i] = 1e-3 * jnp.maximum(1, jnp.abs(parameters[i])) / max(1, parameters[i].size)
    above, below = (loss(tuple(p + sign * s for p, s in zip(parameters, step))) for sign in (1, -1))
    np.testing.assert_allclose((slope * step[i]).sum(), (above - below) / 2, rtol=0.1, atol=2e-5)


def test_draws_fill_their_ranges():
  zoomed = np.log(1.5)
  expected = {  # strengths, and the largest absolute value of every parameter; of a zoom, its logarithm
    'rotate': ((40.0,), {'angle': 40}),
    'translate': ((0.2,), {'dx': 0.2, 'dy': 0.2}),
    'shear': ((20.0,), {'x': 20, 'y': 20}),
    'scale': ((0.5,), {'sx': zoomed, 'sy': zoomed}),
    'zoom': ((0.5,), {'factor': zoomed}),
    'affine': (
      (40.0, 0.2, 0.5, 20.0), {'angle': 40, 'dx': 0.2, 'dy': 0.2, 'zoom': zoomed, 'shear_x': 20, 'shear_y': 20}
    ),
    'perspective': ((0.5,), {'corners': 0.25}),
  }  # fmt: skip

  @jax.jit
  @jax.vmap
  def draws(key):
    return {name: getattr(geometry, f'sample_{name}')(key, (12, 10, 3), *case[0]) for name, case in expected.items()}

  drawn = jax.tree.map(np.asarray, draws(jax.random.split(jax.random.key(0), 1000)))
  inwards = drawn['perspective']['corners'] * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
  assert inwards.min() >= 0
  drawn['perspective'] = {'corners': 2 * inwards[:, 0, 0] - 0.25}
  for name, (_, limits) in expected.items():
    assert set(drawn[name]) == set(limits)
    for parameter, limit in limits.items():
      values = drawn[name][parameter]
      values = np.log(values) if parameter in ('sx', 'sy', 'factor', 'zoom') else values
      assert 0.98 * limit < np.abs(values).max() <= 1.001 * limit, (name, parameter)
      assert abs(values.mean()) < 0.06 * limit, (name, parameter)
    together = np.corrcoef(np.stack(list(drawn[name].values())))
    assert np.abs(together - np.eye(len(limits))).max() < 0.12, name


# What follows an image


@pytest.mark.parametrize('name', [*MOVES, *REORDERINGS, 'a corner'])
def test_a_dot_painted_at_a_keypoint_is_found_at_the_moved_keypoint(name):
  if name in REORDERINGS:
    op, matrix = REORDERINGS[name][0], REORDERINGS[name][1]((32, 24))
  elif name in MOVES:
    op, matrix = lambda image: getattr(geometry, name)(image, *MOVES[name]), matrix_of(name, (32, 24), *MOVES[name])
  else:
    corner = {'angle': -20.0, 'centre': (0.0, 1.0)}
    op, matrix = lambda image: geometry.rotate(image, **corner), matrices.rotate_matrix((32, 24), **corner)
  seen = 0
  x, y = centres(32, 24)
  op = jax.jit(op)
  for point in np.random.default_rng(0).uniform(6, 18, (6, 2)):
    dot = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 4)[..., None].astype(np.float32)
    moved = np.asarray(op(dot))[..., 0]
    (goal,) = np.asarray(matrices.transform_points(matrix, jnp.asarray(point[None], jnp.float32)))
    h, w = moved.shape
    if 5 < goal[0] < w - 5 and 5 < goal[1] < h - 5:  # else it is cut off at the frame, its centroid is another
      seen += 1
      found = [(moved * axis).sum() / moved.sum() for axis in centres(h, w)]
      np.testing.assert_allclose(found, goal, atol=0.5)
  assert seen


@pytest.mark.parametrize('name', FEW_MOVES)
def test_there_and_back_costs_no_more_than_two_interpolations(name):
  h, w = 40, 32
  matrix = matrix_of(name, (h, w), *MOVES[name])
  back = jax.jit(matrices.inverse)(matrix)

  def wave(point):
    return 0.5 + 0.4 * jnp.cos(0.5 * point[0] + 0.35 * point[1])

  def moved_wave(point):
    return wave(matrices.transform_points(back, point[None])[0])

  grid = jnp.stack(centres(h, w), -1).reshape(-1, 2).astype(jnp.float32)
  image = jax.vmap(wave)(grid).reshape(h, w, 1)
  go = jax.jit(partial(warp, border='edge', projective=True))
  error = np.abs(np.asarray(go(go(image, matrix), back)) - image)[..., 0]
  passed = np.asarray(matrices.transform_points(matrix, grid)).reshape(h, w, 2)
  interior = np.all((passed > 2) & (passed < np.array([w, h]) - 2), -1)
  interior[[0, 1, -2, -1]], interior[:, [0, 1, -2, -1]] = False, False
  # Linear interpolation between neighbours misses a function by up to an eighth of its second derivative, along
  # either axis; of what is missed on the way there, the way back passes on no more than it gets.
  hessians = jax.jit(lambda grid: [jax.vmap(jax.hessian(f))(grid) for f in (wave, moved_wave)])(grid)
  bound = sum(np.abs(np.diagonal(h, axis1=1, axis2=2)).max(0).sum() for h in hessians) / 8
  assert bound < 0.1
  assert error[interior].max() < bound
  assert interior.mean() > 0.3


def test_compose_and_inverse():
  rng = np.random.default_rng(0)
  spread = [[0.5, 0.5, 4], [0.5, 0.5, 4], [0.02, 0.02, 0.02]]
  a, b, c = (np.float32(np.eye(3) + rng.normal(size=(3, 3)) * spread) for _ in range(3))
  np.testing.assert_allclose(matrices.compose(a, b, c), c @ b @ a, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(matrices.inverse(a), np.linalg.inv(a), rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(matrices.compose(), np.eye(3))


def test_points_and_boxes():
  shape = (12, 10)
  points = jnp.array([[0.0, 0.0], [10.0, 0.0], [2.5, 7.0], [3.0, -0.25]])
  turned = matrices.transform_points(matrices.rot90_matrix(shape), points)
  np.testing.assert_array_equal(turned, [[0, 10], [0, 0], [7, 7.5], [-0.25, 7]])
  # The border belongs to the frame: what is inside stays inside under flips and quarter turns, corners too.
  np.testing.assert_array_equal(matrices.points_inside(turned, (10, 12)), [True, True, True, False])

  boxes = jnp.array([[1.0, 2.0, 4.0, 6.0], [8.0, 9.0, 10.0, 12.0]])
  moved = matrices.transform_boxes(matrices.translate_matrix(shape, 0.5, 0.5), boxes)
  np.testing.assert_array_equal(moved, [[6, 8, 9, 12], [13, 15, 15, 18]])
  clipped, valid = matrices.clip_boxes(moved, shape)
  np.testing.assert_array_equal(clipped, [[6, 8, 9, 12], [10, 12, 10, 12]])
  np.testing.assert_array_equal(valid, [True, False])


@pytest.mark.parametrize('name', ['rotate', 'perspective'])
def test_a_box_is_the_hull_of_its_moved_corners(name):
  matrix, box = matrix_of(name, (12, 10), *MOVES[name]), jnp.array([[2.0, 3.0, 8.0, 5.0]])
  corners = matrices.transform_points(matrix, jnp.array([[2.0, 3.0], [8.0, 3.0], [8.0, 5.0], [2.0, 5.0]]))
  np.testing.assert_allclose(matrices.transform_boxes(matrix, box)[0], [*corners.min(0), *corners.max(0)], rtol=1e-6)


def test_what_lies_behind_the_camera_is_nowhere_in_the_frame():
  matrix = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.2, 0.0, -1.0]])  # in front from x = 5 to the right
  points = matrices.transform_points(matrix, jnp.array([[6.0, 2.0], [5.0, 2.0], [4.0, 2.0]]))
  np.testing.assert_array_equal(matrices.points_inside(points, (40, 40)), [True, False, False])
  boxes = jnp.array([[6.0, 1.0, 7.0, 2.0], [4.0, 1.0, 7.0, 2.0], [1.0, 1.0, 4.0, 2.0]])
  clipped, valid = matrices.clip_boxes(matrices.transform_boxes(matrix, boxes), (40, 40))
  np.testing.assert_array_equal(valid, [True, True, False])
  np.testing.assert_array_equal(clipped[1], [0, 0, 40, 40])  # the least that is sure to hold it


ERRORS = {
  'angle': (lambda x: geometry.rotate(x, float('nan')), 'rotate: angle = nan'),
  'shift': (lambda x: geometry.translate(x, 0.1, float('inf')), r'translate: dy = inf: must lie in \[-100, 100\]'),
  'zoom': (lambda x: geometry.zoom(x, 0.0), r'zoom: factor = 0.0: must lie in \[0.001, 1000\]'),
  'shear': (lambda x: geometry.shear(x, 90.0, 0.0), r'shear: x = 90.0: must lie in \[-89, 89\]'),
  'strength': (lambda x: geometry.random_rotate(jax.random.key(0), x, 181.0), 'rotate: degrees = 181.0'),
  'distortion': (lambda x: geometry.random_perspective(jax.random.key(0), x, 1.0), 'distortion = 1.0'),
  'method': (
    lambda x: geometry.rotate(x, 10.0, interpolation='area'),
    "interpolation = 'area': must be one of nearest, ",
  ),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_name_the_value(case):
  call, message = ERRORS[case]
  with pytest.raises(ValueError, match=message):
    call(noise((12, 10, 3)))
