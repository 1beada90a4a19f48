"""Every operation against a reference in NumPy, SciPy or PIL, and under jit, vmap and grad."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from genaug.augment import color, geometry, occlusion

SHAPES = [(12, 10, 3), (9, 11, 1)]
BORDERS = {'constant': 'grid-constant', 'edge': 'nearest', 'reflect': 'reflect'}

# name: (operation, arguments that change the image, arguments that must not)
OPS = {
  'rotate': (geometry.rotate, (25.0,), (0.0,)),
  'rotate about a corner': (partial(geometry.rotate, centre=(0.0, 1.0)), (-40.0,), (0.0,)),
  'rotate edge': (partial(geometry.rotate, border='edge'), (100.0,), (0.0,)),
  'rotate reflect': (partial(geometry.rotate, border='reflect'), (200.0,), (360.0,)),
  'translate': (partial(geometry.translate, fill=0.3), (0.13, -0.21), (0.0, 0.0)),
  'scale': (geometry.scale, (1.3, 0.8), (1.0, 1.0)),
  'brightness': (color.brightness, (0.7,), (1.0,)),
  'contrast': (color.contrast, (0.6,), (1.0,)),
  'saturation': (color.saturation, (0.4,), (1.0,)),
  'cutout': (occlusion.cutout, (jnp.array([0.4, 0.7]), 0.45), (jnp.array([0.4, 0.7]), 0.0)),
}
# operation: (index form, its matrix)
REORDERINGS = {
  'hflip': (geometry.hflip, geometry.hflip_matrix),
  'vflip': (geometry.vflip, geometry.vflip_matrix),
  'transpose': (geometry.transpose, geometry.transpose_matrix),
  'antitranspose': (geometry.antitranspose, geometry.antitranspose_matrix),
  'rot90': (geometry.rot90, geometry.rot90_matrix),
  'rot90 twice': (partial(geometry.rot90, k=2), partial(geometry.rot90_matrix, k=2)),
  'rot90 back': (partial(geometry.rot90, k=-1), partial(geometry.rot90_matrix, k=-1)),
  'rot90 four times': (partial(geometry.rot90, k=4), partial(geometry.rot90_matrix, k=4)),
}
RANDOM_OPS = {
  'rotate': (geometry.random_rotate, 30.0),
  'translate': (geometry.random_translate, 0.3),
  'scale': (geometry.random_scale, 0.5),
  'brightness': (color.random_brightness, 0.5),
  'contrast': (color.random_contrast, 0.5),
  'saturation': (color.random_saturation, 0.9),
  'cutout': (occlusion.random_cutout, 0.4),
}
COLORS = {
  'brightness': (color.brightness, ImageEnhance.Brightness),
  'contrast': (color.contrast, ImageEnhance.Contrast),
  'saturation': (color.saturation, ImageEnhance.Color),
}


# One compilation for all tests that warp the same shape.
warp = jax.jit(geometry.warp, static_argnames=('shape', 'method', 'border'))


def cases(table):
  return pytest.mark.parametrize('case', table.values(), ids=table.keys())


def noise(shape, seed=0, dtype=jnp.float32):
  return jnp.asarray(np.random.default_rng(seed).random(shape), dtype)


def random_affine(rng):
  matrix = np.eye(3)
  matrix[:2, :2] += rng.normal(size=(2, 2)) * 0.5
  matrix[:2, 2] = rng.normal(size=2) * 4
  return matrix.astype(np.float32)


# Every operation


@cases(OPS)
@pytest.mark.parametrize('shape', SHAPES)
def test_identity_is_exact(case, shape):
  op, _, nothing = case
  image = noise(shape)
  np.testing.assert_array_equal(jax.jit(op)(image, *nothing), image)  # eagerly: test_dtype_is_kept


@cases(OPS)
def test_jit_is_eager_and_vmap_is_a_loop(case):
  op, something, nothing = case
  shape = SHAPES[0]
  images = noise((4, *shape))
  parameters = [
    jnp.stack([jnp.asarray(a) * t + jnp.asarray(b) * (1 - t) for t in (0.0, 0.3, 0.7, 1.0)])
    for a, b in zip(something, nothing)
  ]
  loop = jnp.stack([op(image, *values) for image, *values in zip(images, *parameters)])
  batch = jax.jit(jax.vmap(op))(images, *parameters)
  np.testing.assert_allclose(batch, loop, atol=2e-5)
  assert np.abs(loop[-1] - images[-1]).max() > 0.05


@cases(OPS)
@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_dtype_is_kept(case, dtype):
  op, something, nothing = case
  image = noise((12, 10, 3), dtype=dtype)
  moved = op(image, *something)
  assert moved.dtype == dtype
  np.testing.assert_array_equal(op(image, *nothing), image)
  exact = op(image.astype(jnp.float32), *something)
  np.testing.assert_allclose(moved.astype(jnp.float32), exact, atol=1e-6 if dtype == jnp.float32 else 4e-3)


@cases(OPS)
def test_gradient_of_the_image_at_identity_is_the_identity(case):
  op, _, nothing = case
  image = noise((12, 10, 3)).at[0, 0].set(0.0).at[1, 1].set(1.0)
  weights = noise(image.shape, 1)
  gradient = jax.jit(jax.grad(lambda x: (op(x, *nothing) * weights).sum()))(image)
  np.testing.assert_allclose(gradient, weights, atol=1e-6)


@pytest.mark.parametrize('name', [name for name in OPS if name != 'cutout'])
def test_gradient_of_the_parameters(name):
  op, something, _ = OPS[name]
  image = jnp.asarray(ndimage.gaussian_filter(noise((12, 10, 3)), (1, 1, 0)))
  weights = noise(image.shape, 1)

  loss = jax.jit(lambda *parameters: (op(image, *parameters) * weights).sum())
  gradients = jax.jit(jax.grad(loss, tuple(range(len(something)))))(*something)
  for i, (value, gradient) in enumerate(zip(something, gradients)):
    assert jnp.isfinite(gradient)
    assert abs(gradient) > 1e-4
    # The image is piecewise bilinear: a small step crosses few kinks.
    step = 1e-3 * max(1.0, abs(value))
    above, below = ([*something[:i], value + s, *something[i + 1 :]] for s in (step, -step))
    np.testing.assert_allclose(gradient, (loss(*above) - loss(*below)) / (2 * step), rtol=0.1, atol=0.02)


@cases(RANDOM_OPS)
def test_random_operations(case):
  op, limit = case
  image = noise((12, 10, 3))
  keys = jax.random.split(jax.random.key(0), 4)
  op = jax.jit(op)
  batch = jax.vmap(op, (0, None, None))(keys, image, limit)
  for key, one in zip(keys, batch):
    np.testing.assert_allclose(op(key, image, limit), one, atol=1e-5)
  assert len({np.asarray(one).tobytes() for one in batch}) == 4
  np.testing.assert_array_equal(op(keys[0], image, 0.0), image)


# Geometry


@pytest.mark.parametrize('border', BORDERS)
@pytest.mark.parametrize(('method', 'order'), [('nearest', 0), ('bilinear', 1)])
@pytest.mark.parametrize('output', [None, (7, 15)])
def test_warp_agrees_with_scipy(border, method, order, output):
  rng = np.random.default_rng(0)
  for shape in SHAPES:
    image = rng.random(shape, np.float32)
    h, w = output or shape[:2]
    points = np.stack([*np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5), np.ones((h, w))])
    for _ in range(8):
      matrix = random_affine(rng)
      x, y, _ = np.einsum('ij,jhw->ihw', np.linalg.inv(matrix.astype(np.float64)), points) - 0.5
      expected = [
        ndimage.map_coordinates(channel, [y, x], order=order, mode=BORDERS[border], cval=0.25)
        for channel in np.moveaxis(image, -1, 0)
      ]
      error = np.abs(
        np.asarray(warp(image, matrix, shape=output, method=method, border=border, fill=0.25)) - np.stack(expected, -1)
      )
      assert np.quantile(error, 0.98) < 1e-4  # rounding may choose the other pixel
      if method == 'bilinear':
        assert error.max() < 1e-3


@cases(REORDERINGS)
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('method', geometry.METHODS)
def test_reorderings_agree_with_their_matrices_to_the_bit(case, shape, method):
  op, build = case
  image = noise(shape)
  moved = op(image)
  warped = warp(image, build(shape[:2]), shape=moved.shape[:2], method=method, fill=0.5)
  np.testing.assert_array_equal(warped, moved)
  np.testing.assert_array_equal(jax.jit(jax.vmap(op))(image[None])[0], moved)


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
  image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
  expected = np.asarray(Image.fromarray(image).transpose(method))
  np.testing.assert_array_equal(getattr(geometry, name)(jnp.asarray(image)), expected)


@pytest.mark.parametrize('angle', [30, -77.5])
def test_rotation_turns_the_way_pil_does(angle):
  image = np.random.default_rng(0).integers(0, 256, (13, 11), np.uint8)
  expected = np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.NEAREST))
  moved = geometry.rotate(jnp.asarray(image)[..., None], angle, method='nearest')[..., 0]
  assert np.mean(np.asarray(moved) == expected) > 0.97


def test_right_angles_are_exact():
  image = noise((11, 11, 3))
  rotate = jax.jit(geometry.rotate)
  for k in range(-5, 6):
    np.testing.assert_array_equal(rotate(image, 90.0 * k), geometry.rot90(image, k))
  np.testing.assert_array_equal(geometry.rotate(image, -270), geometry.rot90(image))


def test_whole_pixel_translation_is_exact():
  image = noise((12, 10, 3))
  moved = geometry.translate(image, 0.3, -0.25, fill=0.5)
  expected = np.full(image.shape, 0.5, np.float32)
  expected[:-3, 3:] = image[3:, :-3]
  np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_flat_images_stay_flat_to_the_bit():
  image = jnp.full((12, 10, 3), 0.7)
  np.testing.assert_array_equal(geometry.rotate(image, 33.3, border='reflect'), image)
  np.testing.assert_array_equal(geometry.rotate(image, 33.3, border='edge'), image)


def test_fill_may_differ_by_channel():
  moved = geometry.translate(noise((12, 10, 3)), 1.5, 0.0, fill=jnp.array([0.1, 0.2, 0.3]))
  np.testing.assert_array_equal(moved, jnp.broadcast_to(jnp.array([0.1, 0.2, 0.3]), (12, 10, 3)))


def test_compose_and_inverse():
  rng = np.random.default_rng(0)
  a, b, c = (random_affine(rng) for _ in range(3))
  np.testing.assert_allclose(geometry.compose(a, b, c), c @ b @ a, rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(geometry.inverse(a), np.linalg.inv(a), rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(geometry.compose(), np.eye(3))


@pytest.mark.parametrize('matrix', [np.zeros((3, 3)), np.full((3, 3), np.nan), np.diag([1e-30, 1e-30, 1])])
@pytest.mark.parametrize('border', geometry.BORDERS)
def test_a_matrix_without_inverse_reads_no_memory_outside(matrix, border):
  image = jnp.ones((12, 10, 3))
  moved = np.asarray(warp(image, matrix.astype(np.float32), border=border, fill=1.0))
  assert np.all((moved == 1) | ~np.isfinite(moved))


def test_points_and_boxes():
  shape = (12, 10)
  points = jnp.array([[0.0, 0.0], [10.0, 0.0], [2.5, 7.0]])
  turned = geometry.transform_points(geometry.rot90_matrix(shape), points)
  np.testing.assert_array_equal(turned, [[0, 10], [0, 0], [7, 7.5]])
  np.testing.assert_array_equal(geometry.points_inside(turned, (10, 12)), [False, True, True])

  boxes = jnp.array([[1.0, 2.0, 4.0, 6.0], [8.0, 9.0, 10.0, 12.0]])
  moved = geometry.transform_boxes(geometry.translate_matrix(shape, 0.5, 0.5), boxes)
  np.testing.assert_array_equal(moved, [[6, 8, 9, 12], [13, 15, 15, 18]])
  clipped, valid = geometry.clip_boxes(moved, shape)
  np.testing.assert_array_equal(clipped, [[6, 8, 9, 12], [10, 12, 10, 12]])
  np.testing.assert_array_equal(valid, [True, False])


def test_a_box_is_the_hull_of_its_turned_corners():
  box = jnp.array([[2.0, 3.0, 8.0, 5.0]])
  matrix = geometry.rotate_matrix((12, 10), 30.0)
  corners = geometry.transform_points(matrix, jnp.array([[2.0, 3.0], [8.0, 3.0], [8.0, 5.0], [2.0, 5.0]]))
  expected = [*corners.min(0), *corners.max(0)]
  np.testing.assert_allclose(geometry.transform_boxes(matrix, box)[0], expected, rtol=1e-6)


# Colour and occlusion


MOVES = {
  **{name: (op, matrix, ()) for name, (op, matrix) in REORDERINGS.items()},
  'rotate': (geometry.rotate, geometry.rotate_matrix, (25.0,)),
  'rotate about a corner': (
    partial(geometry.rotate, centre=(0.0, 1.0)), partial(geometry.rotate_matrix, centre=(0.0, 1.0)), (-20.0,)
  ),
  'translate': (geometry.translate, geometry.translate_matrix, (0.13, -0.21)),
  'scale': (geometry.scale, geometry.scale_matrix, (1.3, 0.8)),
}  # fmt: skip


@cases(MOVES)
def test_a_dot_painted_at_a_keypoint_is_found_at_the_moved_keypoint(case):
  op, matrix, parameters = case
  shape, seen = (32, 24), 0
  columns, rows = np.meshgrid(np.arange(24) + 0.5, np.arange(32) + 0.5)
  for x, y in np.random.default_rng(0).uniform(6, 18, (6, 2)):
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4)[..., None].astype(np.float32)
    moved = np.asarray(op(jnp.asarray(dot), *parameters))[..., 0]
    (point,) = np.asarray(geometry.transform_points(matrix(shape, *parameters), jnp.array([[x, y]])))
    h, w = moved.shape
    if not (5 < point[0] < w - 5 and 5 < point[1] < h - 5):
      continue  # cut off at the frame, its centroid is another
    seen += 1
    found = [(moved * (np.arange(w) + 0.5)).sum(), (moved * (np.arange(h)[:, None] + 0.5)).sum()] / moved.sum()
    np.testing.assert_allclose(found, point, atol=0.5)
  assert seen


@cases(COLORS)
@pytest.mark.parametrize('factor', [0.0, 0.4, 1.7])
def test_colors_agree_with_pil(case, factor):
  op, enhance = case
  image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
  expected = np.asarray(enhance(Image.fromarray(image)).enhance(factor))
  ours = np.round(255 * np.asarray(op(image.astype(np.float32) / 255, factor)))
  assert np.abs(ours - expected).max() <= 1


def test_saturation_leaves_grey_alone():
  image = noise((12, 10, 1))
  np.testing.assert_array_equal(color.saturation(image, 0.3), image)


@pytest.mark.parametrize('size', [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize('centre', [(0.5, 0.5), (0.0, 1.0), (0.23, 0.61)])
def test_cutout_against_a_loop(size, centre):
  image = np.random.default_rng(0).random((12, 10, 3), np.float32)
  expected = image.copy()
  for row in range(12):
    for column in range(10):
      offsets = column + 0.5 - centre[0] * 10, row + 0.5 - centre[1] * 12
      if all(-size * 5 <= offset < size * 5 for offset in offsets):
        expected[row, column] = 0.25
  np.testing.assert_array_equal(occlusion.cutout(image, centre, size, fill=0.25), expected)


def test_random_cutout_is_centred_anywhere():
  image = jnp.ones((10, 10, 1))
  holes = 1 - jax.vmap(occlusion.random_cutout, (0, None, None))(jax.random.split(jax.random.key(0), 2000), image, 0.4)
  assert set(np.unique(holes.sum((1, 2, 3)))) <= {rows * columns for rows in range(5) for columns in range(5)}
  frequency = np.asarray(holes.mean((0, 3)))
  assert abs(frequency[5, 5] - 0.16) < 0.03
  np.testing.assert_allclose(frequency, frequency[::-1, ::-1], atol=0.05)


ERRORS = {
  'method': (lambda x: geometry.warp(x, jnp.eye(3), method='cubic'), "method = 'cubic'.*nearest, bilinear"),
  'border': (
    lambda x: geometry.warp(x, jnp.eye(3), border='wrap'),
    "border = 'wrap'.*constant, edge, reflect",
  ),
  'integers': (lambda x: geometry.warp(x.astype(jnp.uint8), jnp.eye(3)), 'uint8.*nearest'),
  'channels': (lambda x: color.contrast(x[..., :2], 0.5), '2 channels'),
  'brightness': (lambda x: color.brightness(x[..., :2], 0.5), '2 channels'),
}


@cases(ERRORS)
def test_errors_name_the_value(case):
  call, message = case
  with pytest.raises(ValueError, match=message):
    call(noise((12, 10, 3)))
