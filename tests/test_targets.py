"""What belongs to an image moves, is recoloured and is mixed with it, as the table of targets says."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug import augment
from genaug.augment import TARGETS, Pipeline, Target, mixing
from tests.conftest import slow_but

SIDE = 40
COLUMNS, ROWS = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)


def keys(n):
  return jax.random.split(jax.random.key(0), n)


def dots(points):
  """[n, side, side, 1], a dot at every point."""
  distance = (COLUMNS - points[:, :1, None]) ** 2 + (ROWS - points[:, 1:, None]) ** 2
  return np.exp(-distance / 4)[..., None].astype(np.float32)


# Moves


def test_all_images_of_an_example_follow_its_keypoints():
  n = 60
  points = np.random.default_rng(0).uniform(10, SIDE - 10, (n, 2)).astype(np.float32)
  image = dots(points)
  batch = {
    'image': np.repeat(image, 3, -1), 'image2': np.round(image * 255).astype(np.uint8), 'target': image,
    'depth': 10 * image[..., 0], 'heat': image, 'mask': (image[..., 0] > 0.5), 'keypoints': points[:, None],
    'keypoints_classes': np.arange(n)[:, None], 'name': [f'{i}.png' for i in range(n)],
  }  # fmt: skip
  moves = Pipeline(
    {'affine': {}, 'hflip': {'p': 0.5}, 'elastic': {'p': 0.5}, 'cutout': {'p': 0.5, 'size': 0.1}, 'invert': {'p': 0.0}},
    targets=TARGETS | {'heat': Target('map')},
  )
  out = moves(keys(n), batch)
  assert out['name'] is batch['name']
  np.testing.assert_array_equal(out['keypoints_classes'], batch['keypoints_classes'])
  assert out['image2'].dtype == jnp.float32
  assert out['mask'].dtype == bool
  for name in ('image2', 'target', 'depth', 'heat', 'mask'):
    assert out[name].shape == batch[name].shape, name
    seen = 0
    for picture, point, visible in zip(np.asarray(out[name], np.float32), out['keypoints'], out['keypoints_visible']):
      (point,), weight = point, picture.reshape(SIDE, SIDE) ** 2
      if visible and np.all((point > 6) & (point < SIDE - 6)) and weight.sum() > 1 and name != 'image2':
        seen += 1
        centroid = np.array([(weight * COLUMNS).sum(), (weight * ROWS).sum()]) / weight.sum()
        np.testing.assert_allclose(centroid, point, atol=0.8 if name in ('depth', 'mask') else 0.5)
    assert seen > n / 2 or name == 'image2'
  # What hides hides in all images, and in nothing else.
  hidden = np.asarray((out['image'][..., :1] == 0) & (out['target'] > 0.01))
  assert hidden.any()
  np.testing.assert_array_equal(out['image2'][hidden], 0)


def test_images_are_recoloured_alike_and_targets_not():
  image = np.random.default_rng(0).random((8, 12, 12, 3), np.float32)
  colors = Pipeline({'brightness': {}, 'hue': {}, 'gamma': {}, 'gaussian_noise': {}, 'rand_augment': {'p': 0.5}})
  out = colors(keys(8), {'image': image, 'image2': image, 'target': image, 'depth': image[..., 0]})
  np.testing.assert_allclose(out['image'], out['image2'], atol=1e-6)
  assert np.abs(out['image'] - image).mean((1, 2, 3)).min() > 0.01
  still = Pipeline({'brightness': {}, 'hue': {}, 'gamma': {}, 'gaussian_noise': {}})
  out = still(keys(8), {'image': image, 'target': image, 'depth': image[..., 0]})
  np.testing.assert_array_equal(out['target'], image)
  np.testing.assert_array_equal(out['depth'], image[..., 0])


def test_every_entry_has_its_own_fill_and_interpolation():
  example = {
    'image': np.full((8, 8, 3), 255, np.uint8),
    'target': np.ones((8, 8, 1), np.float32),
    'depth': np.full((8, 8), 7.0, np.float32),
    'mask': np.full((8, 8, 1), 3, np.uint8),
    'regions': np.full((8, 8), 4, np.int32),
  }
  targets = TARGETS | {
    'target': Target('image', recolor=False, fill=0.25),
    'depth': Target('map', fill=-1.0),
    'mask': Target('mask', fill=255),
    'regions': Target('mask'),
  }
  aside = Pipeline({'translate': {'fraction': 0.5}}, fill=0.5, interpolation='cubic', targets=targets)
  params = aside.sample(jax.random.key(0), example)
  params['translate'].values.update(dx=jnp.array(0.5), dy=jnp.array(0.0))
  out = aside.apply(params, example)
  half = Pipeline({'diagonal_half': {}}, fill=0.5, targets=targets)
  kept = half.apply({'diagonal_half': augment.OpParams(True, {'half': 0})}, example)
  rows, columns = np.mgrid[:8, :8]
  for moved, shown in ((out, columns >= 4), (kept, rows <= columns)):
    for name, before, fill in (
      ('image', 1.0, 0.5), ('target', 1.0, 0.25), ('depth', 7.0, -1.0), ('mask', 3, 255), ('regions', 4, 0),
    ):  # fmt: skip
      value = np.asarray(moved[name]).reshape(8, 8, -1)
      expected = np.where(shown, before, fill)[..., None]
      near = (columns < 2) | (columns > 5) if moved is out and name in ('image', 'target', 'depth') else shown >= 0
      np.testing.assert_allclose(value[near], np.broadcast_to(expected, value.shape)[near], atol=1e-4, err_msg=name)
      assert value.dtype == (np.float32 if name == 'image' else example[name].dtype)


def test_boxes_bring_what_belongs_to_them():
  batch = {
    'image': np.zeros((4, 10, 10, 1), np.float32),
    'boxes': np.tile(np.array([[1, 1, 3, 3], [6, 6, 9, 9]]), (4, 1, 1)),
    'boxes_classes': np.tile(np.array([5, 6]), (4, 1)),
    'boxes_visible': np.array([[True, False]] * 4),
  }
  out = Pipeline({'vflip': {}})(keys(4), batch)
  np.testing.assert_array_equal(out['boxes'][0], [[1, 7, 3, 9], [6, 1, 9, 4]])
  np.testing.assert_array_equal(out['boxes_classes'], batch['boxes_classes'])
  np.testing.assert_array_equal(out['boxes_visible'], batch['boxes_visible'])
  assert out['boxes'].dtype == jnp.float32
  # None at all is no special case.
  empty = {'image': np.zeros((10, 10, 1), np.float32), 'boxes': np.zeros((0, 4)), 'boxes_classes': np.zeros(0, int)}
  assert Pipeline({'rotate': {}})(jax.random.key(0), empty)['boxes_visible'].shape == (0,)


# The way back

MOVES = {
  'affine': {'affine': {}, 'hflip': {'p': 0.5}},
  'perspective': {'perspective': {'distortion': 0.2}, 'rotate': {'degrees': 20}},
  'fields': {'elastic': {'alpha': 0.04}, 'lens_distort': {'limit': 0.1}, 'rotate': {'degrees': 20}},
}


@pytest.mark.parametrize('name', slow_but(('perspective',), MOVES))
def test_geometry_there_and_back(name):
  n = 6
  moves = Pipeline(MOVES[name] | {'brightness': {'p': 0.0}}, border='edge')
  points = np.random.default_rng(0).uniform(14, SIDE - 14, (n, 3, 2)).astype(np.float32)
  smooth = 0.5 + 0.4 * np.sin(COLUMNS / 5) * np.cos(ROWS / 6)
  batch = {
    'image': np.tile(smooth[..., None], (n, 1, 1, 1)).astype(np.float32),
    'mask': np.tile((COLUMNS > SIDE / 2).astype(np.int32), (n, 1, 1)),
    'keypoints': points,
    'boxes': np.concatenate([points - 2, points + 2], -1),
  }
  params = moves.sample(keys(n), batch)
  there = moves.apply(params, batch)
  back = moves.inverse(params, there)
  middle = slice(12, SIDE - 12)
  assert np.abs(there['image'] - batch['image'])[:, middle, middle].mean() > 0.02
  np.testing.assert_allclose(back['image'][:, middle, middle], batch['image'][:, middle, middle], atol=0.03)
  assert (back['mask'] == batch['mask'])[:, middle, middle].mean() > 0.95
  np.testing.assert_allclose(back['keypoints'], points, atol=0.1)
  assert np.all(back['boxes'][..., :2] < batch['boxes'][..., :2] + 0.1)
  assert np.all(back['boxes'][..., 2:] > batch['boxes'][..., 2:] - 0.1)
  # A prediction without an image, and one example.
  alone = moves.inverse(jax.tree.map(lambda x: x[1], params), {'heat': None, 'mask': there['mask'][1]})
  np.testing.assert_array_equal(alone['mask'], back['mask'][1])


def test_flips_come_back_to_the_bit_and_colours_stay():
  image = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)
  flips = Pipeline({'hflip': {'p': 0.5}, 'rot90': {}, 'invert': {}})
  params = flips.sample(keys(4), {'image': image})
  back = flips.inverse(params, flips.apply(params, {'image': image}))
  np.testing.assert_allclose(back['image'], 1 - image, atol=1e-6)


@pytest.mark.parametrize('name', ['mixup', 'grid_shuffle'])
def test_what_has_no_inverse_is_named(name):
  batch = {'image': np.zeros((4, 8, 8, 1), np.float32), 'label': np.eye(4)}
  pipeline = Pipeline({name: {}, 'hflip': {}})
  params = pipeline.sample(keys(4), batch)
  with pytest.raises(ValueError, match=f'{name}: has no inverse'):
    pipeline.inverse(params, batch)
  del params[name]
  pipeline.inverse(params, batch)


# Mixing


def detection(seed, n, size=32, kinds=3):
  """Boxes, each painted in the colour of its class, one channel a class."""
  rng = np.random.default_rng(seed)
  image, boxes = np.zeros((size, size, kinds), np.float32), np.zeros((n, 4), np.float32)
  classes = rng.integers(0, kinds, n).astype(np.int32)
  for i in range(n):  # in strips, so that none covers another
    low = rng.integers(0, size - 8), i * size // n
    boxes[i] = x0, y0, x1, y1 = low[0], low[1], low[0] + rng.integers(4, 9), low[1] + size // n
    image[y0:y1, x0:x1] = np.eye(kinds)[classes[i]]
  return {'image': image, 'boxes': boxes, 'boxes_classes': classes, 'boxes_scores': 0.1 + 0.2 * classes}


@pytest.mark.parametrize('name', ['cutmix', 'mosaic', 'resizemix', 'copy_paste'])
def test_boxes_and_classes_stay_together(name):
  count = 200
  batch = jax.tree.map(lambda *x: np.stack(x), *(detection(seed, 3) for seed in range(count)))
  if name == 'copy_paste':
    batch['mask'] = batch['image'].any(-1).astype(np.uint8)
  keys = jax.random.split(jax.random.key(0), count)
  mixed = jax.tree.map(np.asarray, jax.jit(getattr(augment, f'random_{name}'))(keys, batch))
  examples = 4 if name == 'mosaic' else 2
  assert mixed['boxes_classes'].shape == (count, 3 * examples)
  assert mixed['boxes_classes'].dtype == np.int32
  np.testing.assert_allclose(mixed['boxes_scores'], 0.1 + 0.2 * mixed['boxes_classes'], atol=1e-6)
  from_partner = 0
  parts = (mixed[name] for name in ('image', 'boxes', 'boxes_visible', 'boxes_classes'))
  for image, boxes, visible, classes in zip(*parts):
    for i in np.nonzero(visible)[0]:
      from_partner += i >= 3
      (x0, y0), (x1, y1) = np.floor(boxes[i, :2]).astype(int), np.ceil(boxes[i, 2:] - 1e-4).astype(int)
      patch = image[y0:y1, x0:x1, classes[i]] > 0.3
      if name == 'resizemix':  # scaled to fractions of a pixel
        assert patch.any() or np.any(boxes[i, 2:] - boxes[i, :2] < 2)
      else:  # the smallest box about what is seen of the colour of its class
        assert all(side.any() for side in (patch[0], patch[-1], patch[:, 0], patch[:, -1])), (classes[i], boxes[i])
  assert from_partner > count / 2


H, W = 12, 10
BOX = (0.32, 0.18, 0.93, 0.52)  # pixels: 3 to 9 across, 2 to 6 down


def test_all_entries_of_a_table_are_mixed():
  rng = np.random.default_rng(0)
  targets = TARGETS | {'edges': Target('map'), 'faces': Target('boxes'), 'age': Target('attribute', of='faces')}
  one, other = (
    {
      'image': rng.random((H, W, 3), np.float32),
      'label': np.eye(2, dtype=np.float32)[seed],
      'mask': rng.integers(0, 3, (H, W)),
      'keypoints': rng.uniform(0, 10, (5, 2)).astype(np.float32),
      'image2': rng.random((H, W, 1), np.float32),
      'target': rng.random((H, W, 3), np.float32),
      'depth': (5 * rng.random((H, W))).astype(np.float32),
      'edges': rng.random((H, W, 2), np.float32),
      'keypoints_classes': np.arange(5),
      'faces': rng.uniform(0, 5, (1, 4)).astype(np.float32),
      'age': np.array([[seed, 7]]),
    }
    for seed in range(2)
  )
  mixed = jax.jit(partial(mixing.cutmix, targets=targets))(one, other, jnp.array(BOX))
  pasted = np.zeros((H, W), bool)
  pasted[2:6, 3:9] = True
  for name in ('image', 'image2', 'target', 'depth', 'mask', 'edges'):
    where = pasted if one[name].ndim == 2 else pasted[..., None]
    np.testing.assert_array_equal(mixed[name], np.where(where, other[name], one[name]))
  np.testing.assert_array_equal(mixed['keypoints_classes'], [*range(5), *range(5)])
  np.testing.assert_array_equal(mixed['age'], [[0, 7], [1, 7]])
  assert mixed['faces_visible'].shape == (2,)
  mean = jax.jit(partial(mixing.mixup, targets=targets))(one, other, 0.25)
  for name in ('image', 'image2', 'target', 'depth', 'edges'):
    np.testing.assert_allclose(mean[name], 0.25 * one[name] + 0.75 * other[name], atol=1e-5)


def test_images_of_any_name_are_mixed_whole_numbers_being_probabilities():
  batch = {'photo': np.random.default_rng(0).random((4, 6, 6, 3)).astype(np.float32), 'label': np.eye(4)}
  targets, keys = {'photo': Target('image'), 'label': Target('label')}, jax.random.split(jax.random.key(0), 4)
  for p, changes in ((0, False), (1, True)):
    mixed = mixing.random_mixup(keys, batch, p=p, targets=targets)
    assert (mixed['photo'] != batch['photo']).any() == changes


def test_pixels_to_ignore_are_no_objects():
  ignored = TARGETS | {'mask': Target('mask', fill=255)}
  mask = np.zeros((H, W), np.uint8)
  mask[:3], mask[3:6] = 255, 1
  black, white = ({'image': np.full((H, W, 1), value, np.float32)} for value in (0, 1))
  mixed = mixing.copy_paste(black | {'mask': 0 * mask}, white | {'mask': mask}, targets=ignored)
  np.testing.assert_array_equal(mixed['mask'], np.where(mask == 1, 1, 0))
  np.testing.assert_array_equal(mixed['image'][..., 0], mask == 1)
