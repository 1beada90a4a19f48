"""Hidden parts of images: against loops over pixels, and in the mean over many draws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genaug.augment import occlusion

H, W = SHAPE = (12, 10)
IMAGE = np.random.default_rng(0).random((*SHAPE, 3), np.float32)
KEYS = jax.random.split(jax.random.key(0), 2000)


def hidden_by_loop(image, is_hidden, fill):
  """`is_hidden` is asked about the centre of every pixel."""
  expected = image.copy()
  for row in range(H):
    for column in range(W):
      if is_hidden(column + 0.5, row + 0.5):
        expected[row, column] = fill
  return expected


def between(x, low, high):
  return low <= x < high


@pytest.mark.parametrize('size', [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize('centre', [(0.5, 0.5), (0.0, 1.0), (0.23, 0.61)])
def test_cutout_against_a_loop(size, centre):
  def hidden(x, y):
    return all(-size * 5 <= offset < size * 5 for offset in (x - centre[0] * W, y - centre[1] * H))

  expected = hidden_by_loop(IMAGE, hidden, 0.25)
  np.testing.assert_array_equal(occlusion.cutout(IMAGE, centre, size, fill=0.25), expected)


def test_random_cutout_is_centred_anywhere():
  image = jnp.ones((10, 10, 1))
  holes = 1 - jax.jit(jax.vmap(occlusion.random_cutout, (0, None, None)))(KEYS, image, 0.4)
  assert set(np.unique(holes.sum((1, 2, 3)))) <= {rows * columns for rows in range(5) for columns in range(5)}
  frequency = np.asarray(holes.mean((0, 3)))
  assert abs(frequency[5, 5] - 0.16) < 0.03
  np.testing.assert_allclose(frequency, frequency[::-1, ::-1], atol=0.05)


@pytest.mark.parametrize('fill', [0.25, (0.1, 0.2, 0.3)])
@pytest.mark.parametrize('box', [(0.0, 0.0, 0.0, 1.0), (0.21, 0.33, 0.5, 0.41), (0.0, 0.5, 1.0, 0.5)])
def test_erase_against_a_loop(box, fill):
  x, y, width, height = box
  expected = hidden_by_loop(
    IMAGE, lambda u, v: between(u, x * W, (x + width) * W) and between(v, y * H, (y + height) * H), fill
  )
  np.testing.assert_array_equal(occlusion.erase(IMAGE, *box, fill=np.array(fill)), expected)


def test_noise_fills_the_rectangle_only_and_is_replayed():
  draw = occlusion.sample_erase(jax.random.key(1), IMAGE.shape)
  first, again = (np.asarray(occlusion.erase(IMAGE, **draw, fill='noise')) for _ in range(2))
  np.testing.assert_array_equal(first, again)
  hidden = np.asarray(occlusion.erase(np.ones_like(IMAGE), **draw) == 0)
  np.testing.assert_array_equal(first != IMAGE, hidden)
  assert 0 < hidden.mean() < 0.5
  assert len(np.unique(first[hidden])) == hidden.sum()


@pytest.mark.parametrize('shape', [(32, 32, 3), pytest.param((20, 50, 3), marks=pytest.mark.slow), (60, 10, 1)])
def test_random_erasing_has_the_areas_and_the_aspects_of_its_paper(shape):
  h, w, _ = shape
  draw = jax.jit(jax.vmap(lambda key: occlusion.sample_erase(key, shape)))(KEYS)
  area, aspect = draw['width'] * draw['height'], draw['height'] * h / (draw['width'] * w)
  assert area.min() > 0.0199
  assert area.max() < 0.3301
  assert abs(area.mean() - 0.175) < 0.006  # uniform, sd 0.09
  assert aspect.min() > 0.2999
  assert aspect.max() < 1 / 0.2999
  if h == w:
    assert abs(np.log(aspect).mean()) < 0.05  # lies as often as it stands
    assert abs(np.log(aspect).std() - np.log(1 / 0.09) / np.sqrt(12)) < 0.03
  draw = {name: np.asarray(draw[name]) for name in ('x', 'y', 'width', 'height')}
  for corner, side in (('x', 'width'), ('y', 'height')):
    assert draw[corner].min() >= 0
    assert (draw[corner] + draw[side]).max() <= 1.00001
    room = 1 - draw[side]
    some = room > 0.05
    assert abs((draw[corner] / room)[some].mean() - 0.5) < 0.03  # uniform where there is room
  counted = jax.jit(jax.vmap(lambda d: (occlusion.erase(jnp.ones(shape), **d) == 0).mean()))(draw)
  np.testing.assert_allclose(counted, area, atol=(h + w + 1) / (h * w))  # up to a pixel each way
  nothing = occlusion.sample_erase(KEYS[0], shape, max_area=0.0, min_area=0.0)
  np.testing.assert_array_equal(occlusion.erase(jnp.ones(shape), **nothing), 1)


@pytest.mark.parametrize('angle', [0.0, 25.0, -110.0])
def test_grid_mask_against_a_loop(angle):
  unit, ratio, offset = 0.43, 0.37, (0.2, 0.9)
  cos, sin, side = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle)), unit * W

  def hidden(x, y):
    # A turn counter-clockwise on the screen, taken back.
    u, v = cos * x - sin * y, sin * x + cos * y
    return (u / side - offset[0]) % 1 < ratio and (v / side - offset[1]) % 1 < ratio

  expected = hidden_by_loop(IMAGE, hidden, 0.5)
  np.testing.assert_array_equal(occlusion.grid_mask(IMAGE, unit, ratio, offset, angle, fill=0.5), expected)


@pytest.mark.parametrize(('ratio', 'degrees'), [(0.0, 180.0), (0.4, 0.0), (0.4, 180.0), (1.0, 0.0)])
def test_grid_mask_hides_the_square_of_its_ratio(ratio, degrees):
  op = jax.jit(jax.vmap(lambda key: occlusion.random_grid_mask(key, jnp.ones((24, 20, 1)), ratio, max_degrees=degrees)))
  hidden = 1 - op(KEYS[:500])
  assert abs(hidden.mean() - ratio**2) < (0.01 if 0 < ratio < 1 else 1e-6)


@pytest.mark.parametrize('rate', [0.0, 0.3, 1.0])
def test_pixel_dropout_drops_that_share_of_whole_pixels(rate):
  dropped = np.asarray(occlusion.pixel_dropout(jnp.ones((100, 90, 3)), jax.random.key(3), rate)) == 0
  assert abs(dropped.mean() - rate) < (0.02 if 0 < rate < 1 else 1e-9)
  np.testing.assert_array_equal(dropped[..., 0], dropped[..., 2])
  if 0 < rate < 1:  # rows and columns don't drop together
    assert np.abs(dropped[..., 0].mean(0) - rate).max() < 0.2
    assert np.abs(dropped[..., 0].mean(1) - rate).max() < 0.2


@pytest.mark.parametrize('holes', [1, 8, 40])
def test_coarse_dropout_against_a_loop(holes):
  boxes = np.asarray(occlusion.sample_coarse_dropout(jax.random.key(2), IMAGE.shape, 0.3, holes)['boxes'])
  assert boxes.shape == (holes, 4)
  edges = boxes * np.float32([W, H, W, H])
  expected = hidden_by_loop(
    IMAGE, lambda x, y: any(between(x, e[0], e[2]) and between(y, e[1], e[3]) for e in edges), 0.5
  )
  np.testing.assert_array_equal(jax.jit(occlusion.coarse_dropout)(IMAGE, boxes, fill=0.5), expected)


def test_coarse_dropout_draws_boxes_inside_the_image():
  boxes = jax.jit(jax.vmap(lambda key: occlusion.sample_coarse_dropout(key, IMAGE.shape, 0.4, 3)['boxes']))(KEYS)
  sides = boxes[..., 2:] - boxes[..., :2]
  assert boxes.min() >= 0
  assert boxes.max() <= 1
  np.testing.assert_allclose([sides.min(), sides.max()], [0.2, 0.4], atol=0.001)
  assert abs(boxes.mean() - 0.5) < 0.01
  empty = occlusion.sample_coarse_dropout(KEYS[0], IMAGE.shape, 0.0)
  np.testing.assert_array_equal(occlusion.coarse_dropout(IMAGE, **empty), IMAGE)


OPS = {
  'cutout': lambda x: occlusion.cutout(x, (0.4, 0.6), 0.5, fill=0.5),
  'erase': lambda x: occlusion.erase(x, 0.2, 0.2, 0.5, 0.5, fill=0.5),
  'noise': lambda x: occlusion.erase(x, 0.2, 0.2, 0.5, 0.5, jax.random.key(0), fill='noise'),
  'grid mask': lambda x: occlusion.grid_mask(x, 0.5, 0.5, angle=10.0, fill=0.5),
  'pixel dropout': lambda x: occlusion.pixel_dropout(x, jax.random.key(0), 0.3, fill=0.5),
  'coarse dropout': lambda x: occlusion.coarse_dropout(x, [[0.1, 0.1, 0.6, 0.5]], fill=0.5),
}


@pytest.mark.parametrize('op', OPS.values(), ids=OPS.keys())
def test_every_dtype_hides_the_same_pixels_and_keeps_the_others(op):
  levels = np.random.default_rng(1).integers(0, 101, (*SHAPE, 3), np.uint8)  # 127 and 128 are the fill
  hidden = np.asarray(op(levels)) != levels
  assert 0.05 < hidden.mean() < 0.6
  for dtype in (jnp.float32, jnp.bfloat16):
    image = jnp.asarray(levels / 255, dtype)
    moved = op(image)
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved[~hidden], image[~hidden])
    np.testing.assert_allclose(moved[hidden].astype(float), np.asarray(op(levels))[hidden] / 255, atol=0.006)
  gradient = jax.grad(lambda x: op(x).sum())(jnp.asarray(levels / 255, jnp.float32))
  np.testing.assert_array_equal(gradient, ~hidden)


def test_the_grid_lies_anywhere_whatever_its_ratio():
  sample = partial(occlusion.sample_grid_mask, shape=IMAGE.shape, ratio=(0.2, 0.8))
  drawn = jax.vmap(sample)(jax.random.split(KEYS[0], 2000))
  for axis in range(2):
    assert stats.pearsonr(drawn['ratio'], drawn['offset'][:, axis]).pvalue > 1e-3


ERRORS = {
  'unit': (lambda: occlusion.grid_mask(IMAGE, 0, 0.5), 'grid_mask: unit = 0'),
  'size': (lambda: occlusion.cutout(IMAGE, (0.5, 0.5), 1.5), r'cutout: size = 1.5: must lie in \[0, 1\]'),
  'centre': (lambda: occlusion.cutout(IMAGE, (0.5, -0.5), 0.5), 'cutout: centre'),
  'fill': (lambda: occlusion.cutout(IMAGE, (0.5, 0.5), 0.5, fill=255), 'cutout: fill = 255'),
  'name of a fill': (lambda: occlusion.erase(IMAGE, 0, 0, 1, 1, fill='dots'), "fill = 'dots'.*'noise'"),
  'noise without key': (lambda: occlusion.erase(IMAGE, 0, 0, 1, 1, fill='noise'), "fill = 'noise'.*with a key"),
  'aspect': (lambda: occlusion.sample_erase(KEYS[0], IMAGE.shape, max_aspect=0.3), 'max_aspect = 0.3'),
  'ratio': (lambda: occlusion.grid_mask(IMAGE, 0.5, 1.1), 'grid_mask: ratio = 1.1'),
  'rate': (lambda: occlusion.pixel_dropout(IMAGE, KEYS[0], -0.1), 'pixel_dropout: rate = -0.1'),
  'boxes': (lambda: occlusion.coarse_dropout(IMAGE, [[0, 0, 5, 5]]), 'coarse_dropout: boxes'),
}


@pytest.mark.parametrize(('call', 'message'), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_value(call, message):
  with pytest.raises(ValueError, match=message):
    call()
