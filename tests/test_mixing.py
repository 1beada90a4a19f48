"""Mixed examples: against loops over pixels, and what becomes of labels, masks, boxes and keypoints."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genaug.augment import mixing
from tests.conftest import slow_but

H, W = SHAPE = (12, 10)
BOX = (0.32, 0.18, 0.93, 0.52)  # pixels: 3 to 9 across, 2 to 6 down
RNG = np.random.default_rng(0)


def example(seed, shape=SHAPE, classes=4):
  rng = np.random.default_rng(seed)
  h, w = shape
  corners = np.sort(rng.uniform(0, 1, (3, 2, 2)), axis=1).reshape(3, 4)
  return {
    'image': rng.random((h, w, 3), np.float32),
    'label': np.eye(classes, dtype=np.float32)[seed % classes],
    'mask': rng.integers(0, 3, (h, w, 1), np.int32),
    'boxes': (corners * np.tile([w, h], 2)).astype(np.float32),
    'keypoints': (rng.uniform(0, 1, (5, 2)) * [w, h]).astype(np.float32),
    'name': np.int32(seed),
  }


A, B = example(0), example(1)
FOUR = [example(seed) for seed in range(4)]
mixup, cutmix, resizemix, fmix = map(jax.jit, (mixing.mixup, mixing.cutmix, mixing.resizemix, mixing.fmix))
PAIRS = {
  'mixup': (mixup, {'weight': 0.7}, {'weight': 1.0}),
  'cutmix': (cutmix, {'box': jnp.array(BOX)}, {'box': jnp.array([0.4, 0.4, 0.4, 0.4])}),
  # 7 pixels by 5: none is read at a whole coordinate, where last bits decide which neighbours are mixed.
  'resizemix': (resizemix, {'box': jnp.array([0.32, 0.18, 0.98, 0.6])}, {'box': jnp.array([0.4, 0.0, 0.4, 1.0])}),
  'fmix': (fmix, {'key': jax.random.key(3), 'weight': 0.6}, {'key': jax.random.key(3), 'weight': 1.0}),
}
pairs = pytest.mark.parametrize('case', PAIRS.values(), ids=PAIRS.keys())


def seen_of_box(box, seen):
  """What of a box lies on pixels that are seen, by a loop over these; None if nothing."""
  found = []
  for row, column in zip(*np.nonzero(seen)):
    low, high = np.maximum(box[:2], [column, row]), np.minimum(box[2:], [column + 1, row + 1])
    if np.all(high > low):
      found.append([*low, *high])
  return None if not found else np.concatenate([np.min(found, 0)[:2], np.max(found, 0)[2:]])


def assert_boxes(mixed, parts):
  """`parts` are boxes and the pixels seen of their image, in turn."""
  expected = [seen_of_box(box, seen) for boxes, seen in parts for box in np.asarray(boxes)]
  np.testing.assert_array_equal(mixed['boxes_visible'], [box is not None for box in expected])
  for box, found in zip(mixed['boxes'], expected):
    if found is None:
      assert np.any(box[2:] <= box[:2])
    else:
      np.testing.assert_allclose(box, found, atol=1e-5)


def assert_keypoints(mixed, parts):
  np.testing.assert_allclose(mixed['keypoints'], np.concatenate([points for points, _ in parts]), atol=1e-5)
  expected = [
    bool(0 <= x < W and 0 <= y < H and seen[int(np.floor(y)), int(np.floor(x))])
    for points, seen in parts
    for x, y in points
  ]
  np.testing.assert_array_equal(mixed['keypoints_visible'], expected)


def assert_pasted(mixed, first, second, pasted):
  """`second` where `pasted`, `first` elsewhere, with everything that belongs to them."""
  for name in ('image', 'mask'):
    np.testing.assert_array_equal(mixed[name], np.where(pasted[..., None], second[name], first[name]))
  share = pasted.sum() / pasted.size
  np.testing.assert_allclose(mixed['label'], (1 - share) * first['label'] + share * second['label'], atol=1e-6)
  for name, check in (('boxes', assert_boxes), ('keypoints', assert_keypoints)):
    check(mixed, [(first[name], ~pasted), (second[name], pasted)])
  assert mixed['name'] == first['name']


# Two examples


@pairs
def test_the_neutral_parameter_keeps_every_bit(case):
  op, _, neutral = case
  mixed = op(A, B, **neutral)
  for name in ('image', 'label', 'mask', 'name'):
    np.testing.assert_array_equal(mixed[name], A[name])
  np.testing.assert_array_equal(mixed['boxes_visible'], [True] * 3 + [False] * 3)
  np.testing.assert_array_equal(mixed['keypoints_visible'], [True] * 5 + [False] * 5)
  np.testing.assert_allclose(mixed['boxes'][:3], A['boxes'], atol=1e-6)


@pairs
def test_vmap_is_a_loop(case):
  op, params, neutral = case
  both = jax.tree.map(lambda *x: jnp.stack(x), params, neutral)
  examples = jax.tree.map(lambda *x: np.stack(x), A, B)
  batch = jax.jit(jax.vmap(op))(examples, examples, **both)
  for i, (one, arguments) in enumerate(zip((A, B), (params, neutral))):
    jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, atol=1e-5), batch, op(one, one, **arguments))


@pairs
def test_gradients_reach_both_images_and_labels(case):
  op, params, neutral = case

  @jax.jit
  @partial(jax.grad, argnums=(0, 1))
  def gradients(first, second, params):
    mixed = op(A | first, B | second, **params)
    return mixed['image'].sum() + (mixed['label'] * jnp.arange(4)).sum()

  some = [{name: jnp.asarray(e[name]) for name in ('image', 'label')} for e in (A, B)]
  for arguments, rest in ((params, None), (neutral, 0)):
    first, second = gradients(*some, arguments)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((first, second)))
    np.testing.assert_allclose(first['image'].sum() + second['image'].sum(), H * W * 3, rtol=1e-5)
    np.testing.assert_allclose(first['label'] + second['label'], np.arange(4), rtol=1e-5)
    assert np.abs(second['image']).sum() > 1 if rest is None else np.abs(second['image']).sum() == rest


def test_mixup_is_the_weighted_mean():
  mixed = mixup(A, B, weight=0.7)
  np.testing.assert_allclose(mixed['image'], 0.7 * A['image'] + 0.3 * B['image'], atol=1e-6)
  np.testing.assert_allclose(mixed['label'], [0.7, 0.3, 0, 0], atol=1e-6)
  np.testing.assert_array_equal(mixed['mask'], A['mask'])
  np.testing.assert_array_equal(mixup(A, B, weight=0.3)['mask'], B['mask'])
  everything = np.ones(SHAPE, bool)
  assert_boxes(mixed, [(A['boxes'], everything), (B['boxes'], everything)])
  assert_keypoints(mixed, [(A['keypoints'], everything), (B['keypoints'], everything)])


@pytest.mark.parametrize('box', [BOX, (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 1.0), (0.52, 0.1, 0.98, 0.12)])
def test_cutmix_against_a_loop(box):
  pasted = np.zeros(SHAPE, bool)
  left, top, right, bottom = np.round(np.array(box) * [W, H, W, H]).astype(int)
  pasted[top:bottom, left:right] = True
  assert_pasted(cutmix(A, B, box=jnp.array(box)), A, B, pasted)


def test_a_box_shrinks_to_what_is_seen_of_it():
  boxes = jnp.array([[1.5, 1.0, 4.0, 3.0], [3.5, 2.5, 5.0, 6.0], [0.0, 0.0, 10.0, 12.0], [3.0, 1.0, 7.0, 5.5]])
  below = A | {'boxes': boxes, 'boxes_visible': jnp.array([True, True, False, True])}
  mixed = jax.jit(mixing.cutmix)(below, A | {'boxes': boxes}, jnp.array(BOX))
  np.testing.assert_allclose(mixed['boxes'][0], [1.5, 1, 4, 3])  # an L is left
  np.testing.assert_allclose(mixed['boxes'][3], [3, 1, 7, 2])  # pasted over from below
  np.testing.assert_array_equal(mixed['boxes_visible'][:4], [True, False, False, True])  # it was not before
  np.testing.assert_allclose(mixed['boxes'][4:], [[3, 2, 4, 3], [3.5, 2.5, 5, 6], [3, 2, 9, 6], [3, 2, 7, 5.5]])


def test_resizemix_shows_all_of_the_other_in_the_box():
  mixed = resizemix(A, B, box=jnp.array(BOX))
  sx, sy = 6 / W, 4 / H
  pasted = np.zeros(SHAPE, bool)
  pasted[2:6, 3:9] = True
  np.testing.assert_array_equal(mixed['image'][~pasted], A['image'][~pasted])
  for row in range(4):
    for column in range(6):
      x, y = (column + 0.5) / sx, (row + 0.5) / sy
      assert mixed['mask'][2 + row, 3 + column] == B['mask'][int(y), int(x)]
      c, r = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
      s, t = x - 0.5 - c, y - 0.5 - r
      near = lambda r, c: B['image'][np.clip(r, 0, H - 1), np.clip(c, 0, W - 1)]
      above, below = ((1 - s) * near(q, c) + s * near(q, c + 1) for q in (r, r + 1))
      np.testing.assert_allclose(mixed['image'][2 + row, 3 + column], (1 - t) * above + t * below, atol=1e-5)
  np.testing.assert_allclose(mixed['label'], [0.8, 0.2, 0, 0], atol=1e-6)
  assert_boxes(mixed, [(A['boxes'], ~pasted), (B['boxes'] * [sx, sy, sx, sy] + [3, 2, 3, 2], pasted)])
  assert_keypoints(mixed, [(A['keypoints'], ~pasted), (B['keypoints'] * [sx, sy] + [3, 2], pasted)])


def test_fmix_pastes_blobs_of_that_share():
  shape = (45, 28)
  first, second = example(0, shape), example(1, shape)
  op = jax.jit(jax.vmap(lambda key, weight: mixing.fmix(first, second, key, weight)))
  weights = jnp.linspace(0, 1, 21)
  mixed = op(jax.random.split(jax.random.key(0), 21), weights)
  for weight, image, label in zip(weights, mixed['image'], mixed['label']):
    pasted = np.asarray(image == second['image']).all(-1)
    np.testing.assert_array_equal(image, np.where(pasted[..., None], second['image'], first['image']))
    np.testing.assert_allclose(label, [1 - pasted.mean(), pasted.mean(), 0, 0], atol=1e-6)
    assert abs(pasted.mean() - (1 - weight)) < 0.004 + 1 / pasted.size
    if 0.2 < weight < 0.8:  # blobs have few edges
      edges = (pasted[1:] != pasted[:-1]).mean() + (pasted[:, 1:] != pasted[:, :-1]).mean()
      assert edges < 0.35


@pytest.mark.slow
def test_the_noise_of_fmix_falls_with_the_frequency():
  noise = jax.jit(jax.vmap(lambda key: mixing.low_frequency_noise(key, (32, 32), 2.0)))
  power = (np.abs(np.fft.rfft2(noise(jax.random.split(jax.random.key(0), 400)))) ** 2).mean(0)
  # Amplitude ~ f^-2, so power ~ f^-4: at 2 and 8 periods across, at (3, 4) and (6, 8), that is 5 and 10.
  np.testing.assert_allclose([power[0, 2] / power[0, 8], power[3, 4] / power[6, 8]], [256, 16], rtol=0.3)


def test_copy_paste_takes_the_objects():
  pasted = B['mask'][..., 0] > 0
  assert 0.3 < pasted.mean() < 0.9
  op = jax.jit(mixing.copy_paste)
  assert_pasted(op(A, B), A, B, pasted)
  empty = op(A, B | {'mask': 0 * B['mask']})
  for name in ('image', 'label', 'mask'):
    np.testing.assert_array_equal(empty[name], A[name])


# Four examples

mosaic = jax.jit(mixing.mosaic)


@pytest.mark.parametrize('centre', [(0.5, 0.5), (0.31, 0.72), (1.0, 1.0), (0.0, 1.0), (0.6, 0.0)])
def test_mosaic_against_a_loop(centre):
  mixed = mosaic(*FOUR, jnp.array(centre))
  x, y = np.round(np.array(centre) * [W, H]).astype(int)
  shown = np.array([[2 * (row >= y) + (column >= x) for column in range(W)] for row in range(H)])
  # What lies at (x, y) is the corner of each that faces the middle.
  shifts = [(x - W, y - H), (x, y - H), (x - W, y), (x, y)]
  for row in range(H):
    for column in range(W):
      which = shown[row, column]
      dx, dy = shifts[which]
      for name in ('image', 'mask'):
        np.testing.assert_array_equal(mixed[name][row, column], FOUR[which][name][row - dy, column - dx])
  np.testing.assert_allclose(mixed['label'], np.bincount(shown.ravel(), minlength=4) / (H * W), atol=1e-6)
  assert_boxes(mixed, [(e['boxes'] + np.tile(s, 2), shown == i) for i, (e, s) in enumerate(zip(FOUR, shifts))])
  assert_keypoints(mixed, [(e['keypoints'] + np.array(s), shown == i) for i, (e, s) in enumerate(zip(FOUR, shifts))])
  if centre == (1.0, 1.0):
    for name in ('image', 'label', 'mask'):
      np.testing.assert_array_equal(mixed[name], A[name])


def dotted(points, index):
  """An image whose only dot lies at its only keypoint."""
  columns, rows = np.meshgrid(np.arange(48) + 0.5, np.arange(40) + 0.5)
  x, y = points
  dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 6)[..., None].astype(np.float32)
  return {'image': dot, 'label': jnp.eye(4)[index], 'keypoints': jnp.array([points], jnp.float32)}


DOTS = {
  'cutmix': (mixing.cutmix, [(6.2, 20.3), (30.7, 20.1)], {'box': jnp.array([0.4, 0.2, 1.0, 0.9])}),
  'resizemix': (mixing.resizemix, [(6.2, 20.3), (20.7, 25.2)], {'box': jnp.array([0.4, 0.2, 1.0, 0.9])}),
  'mosaic': (mixing.mosaic, [(38.2, 32), (8.4, 33), (37.3, 8.8), (9.9, 9.1)], {'centre': jnp.array([0.45, 0.56])}),
}


@pytest.mark.parametrize('case', DOTS.values(), ids=DOTS.keys())
def test_a_dot_painted_at_a_keypoint_is_found_at_the_mixed_keypoint(case):
  op, points, params = case
  moved = jax.jit(op)
  for i in range(len(points)):
    dark = [
      dotted(point, j) | ({} if i == j else {'image': np.zeros((40, 48, 1), np.float32)})
      for j, point in enumerate(points)
    ]
    mixed = moved(*dark, **params)
    assert mixed['keypoints_visible'][i]
    image = np.asarray(mixed['image'][..., 0])
    centroid = [(image * (np.arange(48) + 0.5)).sum(), (image * (np.arange(40)[:, None] + 0.5)).sum()] / image.sum()
    np.testing.assert_allclose(centroid, mixed['keypoints'][i], atol=0.5)


# Parameters


betas = jax.jit(jax.vmap(mixing.beta, (0, None)))


@pytest.mark.parametrize('alpha', [0.1, 0.4, 1.0, 3.0, 50.0])
def test_beta_is_distributed_so(alpha):
  draws = np.asarray(betas(jax.random.split(jax.random.key(0), 40000), alpha))
  assert draws.min() >= 0
  assert draws.max() <= 1
  # float32 rounds values next to 1 to 1, and with a small alpha these are many: the test looks at the other side.
  points = np.concatenate([np.geomspace(1e-6, 0.1, 100), np.linspace(0.1, 0.99, 100)])
  error = np.abs((draws[:, None] <= points).mean(0) - stats.beta(alpha, alpha).cdf(points)).max()
  assert error < 1.63 / np.sqrt(len(draws))  # Kolmogorov and Smirnov at 1 %


def test_beta_without_strength_is_one():
  np.testing.assert_array_equal(betas(jax.random.split(jax.random.key(0), 9), 0.0), 1)


def test_boxes_are_drawn_as_their_papers_say():
  keys = jax.random.split(jax.random.key(0), 4000)
  cut = np.asarray(jax.jit(jax.vmap(lambda key: mixing.sample_cutmix(key, (12, 10, 3))['box']))(keys))
  small = np.asarray(jax.jit(jax.vmap(lambda key: mixing.sample_resizemix(key, (12, 10, 3))['box']))(keys))
  for boxes in (cut, small):
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert np.all(boxes[:, 2:] >= boxes[:, :2])
    np.testing.assert_allclose(boxes[:, :2].mean(), 1 - boxes[:, 2:].mean(), atol=0.02)
  inner = cut[(cut[:, :2] > 0).all(1) & (cut[:, 2:] < 1).all(1)]  # not cut off: square
  np.testing.assert_allclose(*(inner[:, 2:] - inner[:, :2]).T, atol=1e-5)
  sides = small[:, 2:] - small[:, :2]
  np.testing.assert_allclose(sides[:, 0], sides[:, 1], atol=1e-6)
  assert stats.kstest(sides[:, 0], stats.uniform(0.1, 0.7).cdf).pvalue > 0.01


# Batches


@pytest.mark.parametrize('size', [1, 2, 3, 4, 7, 16, 18])
def test_partners_are_others_of_the_same_group(size):
  everyone = np.arange(size)
  for shift in (1, 2, 3):
    chosen = mixing.partners(size, shift)
    np.testing.assert_array_equal(np.sort(chosen), everyone)
    np.testing.assert_array_equal(chosen // 4, everyone // 4)
    alone = (everyone == size - 1) & (size % 4 == 1)
    np.testing.assert_array_equal(chosen == everyone, alone)
  for part in (4, 8):  # the same on every share of the batch
    np.testing.assert_array_equal(mixing.partners(size)[:part], mixing.partners(min(part, size)))
  if size >= 4:
    assert {int(mixing.partners(size, shift)[0]) for shift in (1, 2, 3)} == {1, 2, 3}


def batch_of(size, shape=SHAPE):
  return jax.tree.map(lambda *x: np.stack(x), *(example(seed, shape) for seed in range(size)))


RANDOM = {
  name: getattr(mixing, f'random_{name}')
  for name in ('mixup', 'cutmix', 'resizemix', 'mosaic', 'fmix', 'copy_paste', 'histogram_match', 'fourier_mix')
}


@pytest.mark.parametrize('name', slow_but(('mixup', 'cutmix', 'mosaic'), RANDOM))
def test_random_mixes_of_batches(name):
  batch = batch_of(6)
  op = jax.jit(lambda keys, batch, p: RANDOM[name](keys, batch, p=p))
  keys = jax.random.split(jax.random.key(0), 6)
  mixed = op(keys, batch, 1.0)
  assert mixed['image'].shape == batch['image'].shape
  assert np.isfinite(mixed['image']).all()
  assert len({image.tobytes() for image in np.asarray(mixed['image'] - batch['image'])}) == 6
  np.testing.assert_allclose(mixed['label'].sum(-1), 1, atol=1e-5)
  if name not in ('histogram_match', 'fourier_mix'):
    assert mixed['boxes'].shape == (6, 12 if name == 'mosaic' else 6, 4)
  # The same draw whoever shares the batch, and half of it left alone for p = 1/2.
  half = op(keys, batch, 0.5)
  same = np.asarray((half['image'] == batch['image']).all((1, 2, 3)))
  assert 0 < same.sum() < 6
  np.testing.assert_array_equal(half['image'][~same], mixed['image'][~same])
  nothing = op(keys, batch, 0.0)
  for entry in ('image', 'label', 'mask', 'name'):
    np.testing.assert_array_equal(nothing[entry], batch[entry])
  if 'boxes_visible' in nothing:
    np.testing.assert_array_equal(nothing['boxes_visible'][:, 3:], False)
    np.testing.assert_array_equal(nothing['boxes_visible'][:, :3], True)


def test_a_batch_is_mixed_as_its_parameters_say():
  batch = batch_of(4)
  params = jnp.array([True, False, True, True]), {'box': jnp.tile(jnp.array(BOX), (4, 1))}
  for shift, partner in ((1, 0), (2, 1)):
    mixed = jax.jit(partial(mixing.mix_batch, mixing.cutmix, shift=shift))(batch, params)
    one = cutmix(*(jax.tree.map(lambda x, i=i: x[i], batch) for i in (3, partner)), box=jnp.array(BOX))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x[3], y, atol=1e-6), mixed, one)
  np.testing.assert_array_equal(mixed['image'][1], batch['image'][1])


ERRORS = {
  'decay': (lambda: mixing.fmix(A, B, jax.random.key(0), 0.5, decay=float('nan')), 'fmix: decay = nan'),
  'no images': (
    lambda: mixing.random_mixup(jax.random.split(jax.random.key(0), 4), {'label': np.eye(4)}),
    "a batch of 'label': must hold an image",
  ),
  'weight': (lambda: mixing.mixup(A, B, 1.5), r'mixup: weight = 1.5: must lie in \[0, 1\]'),
  'integers': (lambda: mixing.mixup(A | {'label': 3}, B | {'label': 1}, 0.5), 'label of int32.*one_hot'),
  'uint8': (
    lambda: mixing.cutmix(*({**e, 'image': np.zeros((*SHAPE, 1), np.uint8)} for e in (A, B)), BOX),
    'uint8.*/ 255',
  ),
  'images alone': (
    lambda: mixing.mixup({'image': A['image']}, {'image': B['image']}, 0.5),
    'alone.*label.*one_hot.*boxes',
  ),
  'shapes': (lambda: mixing.cutmix(A, example(1, (10, 12)), BOX), r'image of shapes \(12, 10, 3\), \(10, 12, 3\)'),
  'missing': (lambda: mixing.mixup(A, {'image': B['image'], 'label': B['label']}, 0.5), r'mask of shapes .*, None'),
  'mask': (lambda: mixing.copy_paste(*({'image': e['image'], 'label': e['label']} for e in (A, B))), "without 'mask'"),
  'box': (lambda: mixing.cutmix(A, B, (0, 0, 5, 5)), 'cutmix: box'),
  'shift': (lambda: mixing.partners(8, 4), r'shift = 4: must lie in \[1, 3\]'),
  'p': (lambda: mixing.random_mixup(jax.random.split(jax.random.key(0), 4), batch_of(4), p=2), 'random_mixup: p = 2'),
}


@pytest.mark.parametrize(('call', 'message'), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_value(call, message):
  with pytest.raises(ValueError, match=message):
    call()
