"""What a config draws, what it moves, and that what it turns off costs nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats

from genaug.augment import color, geometry, pipeline, slicing

OFF = {
  'hflip': 0.0,
  'vflip': 0.0,
  'transpose': 0.0,
  'antitranspose': 0.0,
  'rotate': 0.0,
  'translate': 0.0,
  'scale': 0.0,
  'tiles': (1, 1),
  'halves': 0.0,
  'brightness': 0.0,
  'contrast': 0.0,
  'saturation': 0.0,
  'cutout': 0.0,
  'border': 'constant',
  'fill': 0.0,
  'interpolation': 'bilinear',
}
FAMILIES = {
  'hflip': 0.5,
  'vflip': 0.5,
  'transpose': 0.5,
  'antitranspose': 0.5,
  'rotate': 30.0,
  'translate': 0.2,
  'scale': 0.5,
  'tiles': (2, 3),
  'halves': 0.7,
  'brightness': 0.5,
  'contrast': 0.5,
  'saturation': 0.5,
  'cutout': 0.4,
}
# The part of a draw that belongs to a family, where its name is another.
FIELDS = {'rotate': 'angle', 'translate': 'shift', 'scale': 'zoom', 'tiles': 'tile', 'halves': 'half'}
GEOMETRY = ('hflip', 'vflip', 'transpose', 'antitranspose', 'rotate', 'translate', 'scale', 'tiles')
SHAPE = (12, 12, 3)


def configure(**changes):
  return ConfigDict(OFF | changes)


def keys(n, seed=0):
  return jax.random.split(jax.random.key(seed), n)


def images(n, shape=SHAPE):
  return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def draws(config, n):
  # Not jitted: every config would compile anew.
  return jax.vmap(partial(pipeline.sample, config, image_shape=SHAPE))(keys(n))


def compiled(config, batch):
  step = jax.jit(pipeline.input_step(config))
  return step.lower(keys(len(batch['image'])), batch).compile().as_text()


def test_everything_off_is_the_identity_and_compiles_to_nothing():
  batch = {'image': images(4), 'mask': images(4, (12, 12, 1)), 'label': np.arange(4)}
  step = jax.jit(pipeline.input_step(configure()))
  out = step(keys(4), batch)
  assert out['image'].dtype == jnp.float32
  np.testing.assert_array_equal(out['image'], batch['image'] * np.float32(1 / 255))
  np.testing.assert_array_equal(np.round(out['image'] * 255), batch['image'])
  assert out['image'].max() <= 1
  np.testing.assert_array_equal(out['mask'], batch['mask'])
  np.testing.assert_array_equal(out['label'], batch['label'])
  text = compiled(configure(), batch)
  assert 'gather' not in text
  assert 'xor' not in text  # no random bits either


@pytest.mark.parametrize('family', FAMILIES)
def test_only_moves_resample(family):
  config = configure(**{family: FAMILIES[family]})
  (image,) = images(1)
  draw = pipeline.sample(config, jax.random.key(0), SHAPE)
  text = str(jax.make_jaxpr(partial(pipeline.apply, config))(draw, {'image': image / np.float32(255)}))
  # The four taps read the flat image, and nothing else does.
  assert text.count('slice_sizes=(1, 3)') == (4 if family in GEOMETRY else 0)


@pytest.mark.parametrize('family', FAMILIES)
def test_a_family_does_not_change_the_draws_of_the_others(family):
  value = FAMILIES[family]
  everything = draws(configure(**FAMILIES), 8)
  alone = draws(configure(**{family: value}), 8)
  without = draws(configure(**FAMILIES | {family: OFF[family]}), 8)
  field = FIELDS.get(family, family)
  for name in pipeline.Draw._fields:
    other = alone if name == field else without
    np.testing.assert_array_equal(getattr(everything, name), getattr(other, name))


def test_distribution_of_draws():
  draw = draws(configure(**FAMILIES), 4000)
  uniform = {
    'angle': (draw.angle, -30, 30),
    'dx': (draw.shift[:, 0], -0.2, 0.2),
    'dy': (draw.shift[:, 1], -0.2, 0.2),
    'zoom': (np.log(draw.zoom), -np.log(1.5), np.log(1.5)),
    'brightness': (draw.brightness, 0.5, 1.5),
    'contrast': (draw.contrast, 0.5, 1.5),
    'saturation': (draw.saturation, 0.5, 1.5),
    'cutout x': (draw.cutout[:, 0], 0, 1),
    'cutout y': (draw.cutout[:, 1], 0, 1),
  }
  for name, (values, low, high) in uniform.items():
    assert stats.kstest(np.asarray(values), 'uniform', (low, high - low)).pvalue > 1e-3, name
  for name in ('hflip', 'vflip', 'transpose', 'antitranspose'):
    assert abs(getattr(draw, name).mean() - 0.5) < 0.04, name
  np.testing.assert_allclose(np.bincount(draw.tile, minlength=6) / 4000, 1 / 6, atol=0.03)
  np.testing.assert_allclose(np.bincount(draw.half, minlength=5) / 4000, [0.175] * 4 + [0.3], atol=0.03)
  continuous = np.stack([np.asarray(values) for values, *_ in uniform.values()])
  assert np.abs(np.corrcoef(continuous) - np.eye(len(continuous))).max() < 0.08


@pytest.mark.parametrize('interpolation', geometry.METHODS)
def test_flips_select_pixels_to_the_bit(interpolation):
  config = configure(hflip=0.5, vflip=0.5, transpose=0.5, antitranspose=0.5, interpolation=interpolation)
  batch = {'image': np.random.default_rng(0).random((32, *SHAPE), np.float32)}
  out = jax.jit(pipeline.input_step(config))(keys(32), batch)['image']
  draw = draws(config, 32)
  for i, (image, moved) in enumerate(zip(batch['image'], out)):
    for name in ('transpose', 'antitranspose', 'hflip', 'vflip'):
      if getattr(draw, name)[i]:
        image = getattr(geometry, name)(image)
    np.testing.assert_array_equal(moved, image)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_batch_is_a_loop_and_jit_is_eager(dtype):
  config = configure(**FAMILIES, border='reflect', fill=0.5)
  batch = {'image': jnp.asarray(images(4) / np.float32(255), dtype), 'mask': images(4, (12, 12, 1))}
  out = jax.jit(pipeline.input_step(config))(keys(4), batch)
  assert out['image'].dtype == dtype
  assert out['mask'].dtype == jnp.uint8
  for i, key in enumerate(keys(4)):
    one = pipeline.augment(config, key, {name: value[i] for name, value in batch.items()})
    tolerance = 1e-4 if dtype == jnp.float32 else 2e-2
    error = np.abs(np.asarray(out['image'][i], np.float32) - np.asarray(one['image'], np.float32))
    assert np.quantile(error, 0.99) < tolerance
    assert np.mean(np.asarray(out['mask'][i]) == one['mask']) > 0.98


def test_apply_is_the_operations_in_order():
  config = configure(**FAMILIES, border='edge', fill=0.25)
  draw = pipeline.sample(config, jax.random.key(3), SHAPE)._replace(half=2)
  image = jnp.asarray(images(1)[0] / np.float32(255))
  moves = [
    slicing.tile_matrix(SHAPE[:2], 2, 3, draw.tile),
    geometry.transpose_matrix(SHAPE[:2]) if draw.transpose else jnp.eye(3),
    geometry.antitranspose_matrix(SHAPE[:2]) if draw.antitranspose else jnp.eye(3),
    geometry.hflip_matrix(SHAPE[:2]) if draw.hflip else jnp.eye(3),
    geometry.vflip_matrix(SHAPE[:2]) if draw.vflip else jnp.eye(3),
    geometry.scale_matrix(SHAPE[:2], draw.zoom, draw.zoom),
    geometry.rotate_matrix(SHAPE[:2], draw.angle),
    geometry.translate_matrix(SHAPE[:2], *draw.shift),
  ]
  expected = color.brightness(image, draw.brightness)
  expected = color.contrast(expected, draw.contrast)
  expected = color.saturation(expected, draw.saturation)
  expected = geometry.warp(expected, geometry.compose(*moves), border='edge')
  expected = jnp.where(slicing.diagonal_masks(SHAPE[:2], anti=True)[0, ..., None], expected, 0.25)
  x, y = draw.cutout * 12
  rows, columns = jnp.mgrid[:12, :12] + 0.5
  hidden = (abs(rows - y) < 2.4) & (abs(columns - x) < 2.4)
  expected = jnp.where(hidden[..., None], 0.25, expected)
  moved = pipeline.apply(config, draw, {'image': image})['image']
  np.testing.assert_allclose(moved, expected, atol=1e-6)


MOVES = {name: FAMILIES[name] for name in GEOMETRY if name != 'tiles'}


def test_keypoints_boxes_and_masks_move_with_the_image():
  n, side = 200, 40
  config = configure(**MOVES)
  rng = np.random.default_rng(0)
  points = rng.uniform(8, side - 8, (n, 1, 2)).astype(np.float32)
  columns, rows = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
  distance = (columns - points[..., :1]) ** 2 + (rows - points[..., 1:]) ** 2
  corner = rng.integers(4, side - 16, (n, 2))
  box = np.concatenate([corner, corner + rng.integers(4, 12, (n, 2))], -1)[:, None].astype(np.float32)
  x0, y0, x1, y1 = (box[..., i, None] for i in range(4))  # [n, 1, 1]
  covered = (columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)
  batch = {
    'image': np.exp(-distance / 4)[..., None].astype(np.float32),
    'mask': covered[..., None] * np.uint8(7),
    'boxes': box,
    'keypoints': points,
    'label': np.arange(n),
  }
  out = jax.tree.map(np.asarray, jax.jit(pipeline.input_step(config))(keys(n), batch))
  np.testing.assert_array_equal(out['label'], np.arange(n))
  assert set(np.unique(out['mask'])) == {0, 7}
  seen = 0
  for image, mask, (moved_box,), (point,) in zip(
    out['image'][..., 0], out['mask'][..., 0], out['boxes'], out['keypoints']
  ):
    if np.all((point > 6) & (point < side - 6)):
      seen += 1
      centroid = np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()
      np.testing.assert_allclose(centroid, point, atol=0.5)
    rows_hit, columns_hit = np.nonzero(mask)
    if len(rows_hit):
      # Half a pixel of slack: a pixel belongs to the mask by its centre.
      assert np.all(moved_box[:2] <= [columns_hit.min() + 0.51, rows_hit.min() + 0.51])
      assert np.all(moved_box[2:] >= [columns_hit.max() + 0.49, rows_hit.max() + 0.49])
  assert seen > n / 2


def test_tiles_show_one_tile():
  image = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((6, 4), np.uint8))[..., None] * 40
  config = configure(tiles=(2, 3), interpolation='nearest')
  out = jax.jit(pipeline.input_step(config))(keys(64), {'image': np.stack([image] * 64)})['image']
  shown = np.round(np.asarray(out) * 255 / 40).reshape(64, -1)
  assert np.all(shown == shown[:, :1])
  np.testing.assert_array_equal(shown[:, 0], draws(config, 64).tile)


def test_halves_cut_image_and_mask_and_cutout_only_the_image():
  batch = {'image': np.full((16, *SHAPE), 255, np.uint8), 'mask': np.full((16, 12, 12, 1), 3, np.uint8)}
  out = jax.jit(pipeline.input_step(configure(halves=1.0)))(keys(16), batch)
  np.testing.assert_array_equal(out['image'][..., :1] == 1, out['mask'] == 3)
  assert set(np.asarray(out['mask']).astype(bool).sum((1, 2, 3))) == {66, 78}
  out = jax.jit(pipeline.input_step(configure(cutout=0.5)))(keys(16), batch)
  assert np.all(out['mask'] == 3)
  assert np.all((out['image'] == 0).any((1, 2, 3)))


def test_gradients_pass_through():
  config = configure(**FAMILIES)
  image = jnp.asarray(images(1)[0] / np.float32(255))
  draw = pipeline.sample(config, jax.random.key(1), SHAPE)

  def loss(image, continuous):
    return (pipeline.apply(config, draw._replace(**continuous), {'image': image})['image'] ** 2).sum()

  names = ('angle', 'shift', 'zoom', 'brightness', 'contrast', 'saturation')
  gradients = jax.jit(jax.grad(loss, (0, 1)))(image, {name: getattr(draw, name) for name in names})
  for gradient in jax.tree.leaves(gradients):
    assert jnp.isfinite(gradient).all()
    assert jnp.any(gradient != 0)


WRONG = {
  'hflip': (-0.1, r'\[0, 1\]'),
  'vflip': (1.1, r'\[0, 1\]'),
  'transpose': (float('nan'), r'\[0, 1\]'),
  'antitranspose': (2.0, r'\[0, 1\]'),
  'rotate': (181.0, r'\[0, 180\]'),
  'translate': (-1.0, r'\[0, 1\]'),
  'scale': (float('inf'), r'\[0, inf\]'),
  'tiles': ((5, 1), 'divide 12 x 12'),
  'halves': (1.5, r'\[0, 1\]'),
  'brightness': (1.5, r'\[0, 1\]'),
  'contrast': (-0.5, r'\[0, 1\]'),
  'saturation': (9.0, r'\[0, 1\]'),
  'cutout': (1.2, r'\[0, 1\]'),
  'fill': (255.0, r'\[0, 1\]'),
  'border': ('wrap', 'constant, edge, reflect'),
  'interpolation': ('cubic', 'nearest, bilinear'),
}


@pytest.mark.parametrize('key', WRONG)
def test_check_names_key_value_and_what_is_allowed(key):
  value, allowed = WRONG[key]
  with pytest.raises(ValueError, match=f'(?s)^{key} = .*{allowed}') as error:
    pipeline.check(configure(**{key: value}), SHAPE)
  assert repr(value) in str(error.value)


@pytest.mark.parametrize('tiles', [(0, 1), (1,), (2, 2, 2), (1.5, 2), (-1, 1)])
def test_check_wants_whole_tiles(tiles):
  with pytest.raises(ValueError, match='tiles = '):
    pipeline.check(ConfigDict(OFF | {'tiles': tiles}), SHAPE)


def test_check_looks_at_the_image():
  with pytest.raises(ValueError, match=r'transpose = 0\.5.*not square, here 12 x 10'):
    pipeline.check(configure(transpose=0.5), (12, 10, 3))
  with pytest.raises(ValueError, match='4 channels'):
    pipeline.check(configure(contrast=0.5), (12, 12, 4))
  pipeline.check(configure(**FAMILIES), SHAPE)
  with pytest.raises(ValueError, match='rotate = 200'):
    pipeline.input_step(configure(rotate=200.0))(keys(2), {'image': images(2)})
