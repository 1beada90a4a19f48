"""Cutting images into pieces, against plain NumPy slices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.augment import slicing

RNG = np.random.default_rng(0)
IMAGE = jnp.asarray(RNG.random((12, 10, 3)), jnp.float32)


@pytest.mark.parametrize(('rows', 'cols'), [(1, 1), (3, 2), (12, 10), (1, 5)])
def test_tiles_are_slices_and_untile_is_the_way_back(rows, cols):
  pieces = slicing.tiles(IMAGE, rows, cols)
  expected = [tile for strip in np.split(np.asarray(IMAGE), rows, 0) for tile in np.split(strip, cols, 1)]
  np.testing.assert_array_equal(pieces, np.stack(expected))
  np.testing.assert_array_equal(slicing.untile(pieces, rows, cols), IMAGE)


@pytest.mark.parametrize(('n', 'axis'), [(3, 0), (5, 1)])
def test_strips(n, axis):
  np.testing.assert_array_equal(slicing.strips(IMAGE, n, axis), np.stack(np.split(np.asarray(IMAGE), n, axis)))


@pytest.mark.parametrize('anti', [False, True])
@pytest.mark.parametrize('shape', [(6, 6), (12, 10), (9, 11)])
def test_diagonal_halves_partition_the_image(anti, shape):
  image = jnp.asarray(RNG.random((*shape, 3)), jnp.float32) + 0.1
  halves, masks = slicing.diagonal_halves(image, anti)
  np.testing.assert_array_equal(masks.sum(0), 1)
  np.testing.assert_array_equal(halves.sum(0), image)
  np.testing.assert_array_equal(halves[..., 0] > 0, masks)
  if shape == (6, 6):
    above = np.triu(np.ones(shape, bool))
    np.testing.assert_array_equal(masks[0], above[:, ::-1] if anti else above)


@pytest.mark.parametrize('anti', [False, True])
def test_keeping_a_half_hides_the_other_one(anti):
  masks = slicing.diagonal_masks((12, 10), anti)
  for half, mask in enumerate(masks, 2 * anti):
    expected = np.where(mask[..., None], IMAGE, np.float32(0.25))
    np.testing.assert_array_equal(jax.jit(slicing.diagonal_half)(IMAGE, half, fill=0.25), expected)
    labels = jnp.arange(120, dtype=jnp.int32).reshape(12, 10, 1)
    np.testing.assert_array_equal(slicing.diagonal_half(labels, half), np.where(mask[..., None], labels, 0))
  np.testing.assert_array_equal(slicing.diagonal_half(IMAGE, 4), IMAGE)


def test_five_and_ten_crops():
  image = np.asarray(IMAGE)
  five = [image[:7, :5], image[:7, 5:], image[5:, :5], image[5:, 5:], image[2:9, 2:7]]
  np.testing.assert_array_equal(slicing.five_crop(IMAGE, 7, 5), np.stack(five))
  ten = slicing.ten_crop(IMAGE, 7, 5)
  np.testing.assert_array_equal(ten[:5], np.stack(five))
  np.testing.assert_array_equal(ten[5:], slicing.five_crop(IMAGE[:, ::-1], 7, 5))
  np.testing.assert_array_equal(slicing.ten_crop(IMAGE, 7, 5, vertical=True)[5:], slicing.five_crop(IMAGE[::-1], 7, 5))
  np.testing.assert_array_equal(slicing.five_crop(IMAGE, 12, 10), np.stack([image] * 5))


@pytest.mark.parametrize(
  ('shape', 'size', 'stride'),
  [((12, 10), 4, 2), ((12, 10), 2, 2), ((12, 12), 3, 9), ((12, 10), 10, 1), ((24, 20), 2, 1), ((24, 20), 4, 4)],
)
def test_patches_are_windows(shape, size, stride):
  image = RNG.random((*shape, 3)).astype(np.float32)
  windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), (0, 1))[::stride, ::stride]
  expected = np.moveaxis(windows, 2, -1).reshape(-1, size, size, 3)
  np.testing.assert_array_equal(jax.jit(slicing.patches, static_argnums=(1, 2))(image, size, stride), expected)


def test_grid_shuffle_puts_the_tile_of_that_number_there():
  tiles = slicing.tiles(IMAGE, 3, 2)
  order = jnp.array([[3, 0], [5, 1], [2, 4]])
  shuffled = slicing.grid_shuffle(IMAGE, order)
  np.testing.assert_array_equal(slicing.tiles(shuffled, 3, 2), tiles[order.reshape(-1)])
  np.testing.assert_array_equal(slicing.grid_shuffle(IMAGE, jnp.arange(6).reshape(3, 2)), IMAGE)
  labels = (1000 * IMAGE[..., :1]).astype(jnp.int32)  # a mask follows
  np.testing.assert_array_equal(slicing.grid_shuffle(labels, order), (1000 * shuffled[..., :1]).astype(jnp.int32))


def test_random_grid_shuffles_draw_every_order_alike():
  draw = jax.jit(jax.vmap(lambda key: slicing.sample_grid_shuffle(key, IMAGE.shape, 3, 2)['permutation']))
  orders = np.asarray(draw(jax.random.split(jax.random.key(0), 3000)))
  np.testing.assert_array_equal(np.sort(orders.reshape(-1, 6)), np.tile(np.arange(6), (3000, 1)))
  for place in orders.reshape(-1, 6).T:
    np.testing.assert_allclose(np.bincount(place) / 3000, 1 / 6, atol=0.03)
  key = jax.random.key(1)
  np.testing.assert_array_equal(slicing.random_grid_shuffle(key, IMAGE, 1, 1), IMAGE)


def test_a_drawn_tile_is_one_of_the_grid():
  draw = jax.jit(jax.vmap(lambda key: slicing.sample_tile_crop(key, IMAGE.shape, 3, 2)))(
    jax.random.split(jax.random.key(0), 600)
  )
  corners = np.stack([3 * draw['y'], 2 * draw['x']])
  number = 2 * np.round(corners[0]) + np.round(corners[1])
  np.testing.assert_allclose(corners, np.round(corners), atol=1e-5)
  np.testing.assert_allclose(np.bincount(number.astype(int), minlength=6) / 600, 1 / 6, atol=0.05)
  np.testing.assert_allclose(draw['width'], 1 / 2)
  np.testing.assert_allclose(draw['height'], 1 / 3)


def test_tile_crop_shows_one_tile():
  blocks = jnp.asarray(RNG.random((6, 1, 1, 1)), jnp.float32)
  image = slicing.untile(jnp.tile(blocks, (1, 4, 5, 1)), 3, 2)
  crop = partial(slicing.random_tile_crop, rows=3, cols=2, interpolation='nearest')
  shown = jax.jit(jax.vmap(crop, (0, None)))(jax.random.split(jax.random.key(0), 64), image)
  np.testing.assert_array_equal(shown, jnp.broadcast_to(shown[:, :1, :1], shown.shape))
  assert set(np.unique(shown)) == set(np.asarray(blocks).ravel())


def test_pieces_are_the_same_under_jit_vmap_and_let_gradients_through():
  batch = jnp.stack([IMAGE, IMAGE[::-1]])
  for cut in (
    lambda x: slicing.tiles(x, 3, 2),
    lambda x: slicing.strips(x, 5, 1),
    lambda x: slicing.diagonal_halves(x)[0],
    lambda x: slicing.patches(x, 2, 2),
    lambda x: slicing.grid_shuffle(x, jnp.array([[1, 0], [2, 3]])),
  ):
    expected = jnp.stack([cut(x) for x in batch])
    np.testing.assert_array_equal(jax.jit(jax.vmap(cut))(batch), expected)
    np.testing.assert_array_equal(jax.grad(lambda x, cut=cut: cut(x).sum())(IMAGE), jnp.ones_like(IMAGE))


ERRORS = {
  'tiles': (lambda: slicing.tiles(IMAGE, 5, 2), '5 x 2 does not divide an image of 12 x 10'),
  'strips': (lambda: slicing.strips(IMAGE, 3, 1), '1 x 3 does not divide an image of 12 x 10'),
  'axis': (lambda: slicing.strips(IMAGE, 2, 7), 'strips: axis = 7'),
  'no tiles': (lambda: slicing.tiles(IMAGE, 0, 2), '0 x 2 does not divide'),
  'untile': (lambda: slicing.untile(IMAGE[None], 2, 1), '1 pieces.*2 x 1'),
  'drawn tile': (lambda: slicing.sample_tile_crop(jax.random.key(0), IMAGE.shape, 5, 2), '5 x 2 does not divide'),
  'grid shuffle': (lambda: slicing.grid_shuffle(IMAGE, jnp.zeros((5, 2), int)), '5 x 2 does not divide'),
  'permutation': (lambda: slicing.grid_shuffle(IMAGE, jnp.array([[1, 2]])), r'permutation.*\[0, 1\]'),
  'five crop': (lambda: slicing.five_crop(IMAGE, 13, 4), '13 x 4 does not fit into an image of 12 x 10'),
  'patches': (lambda: slicing.patches(IMAGE, 11, 1), '11 x 11 does not fit into an image of 12 x 10'),
  'remainder': (lambda: slicing.patches(IMAGE, 4, 3), '4 x 4, stride 3, do not cover an image of 12 x 10'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_name_the_sizes(case):
  call, message = ERRORS[case]
  with pytest.raises(ValueError, match=message):
    call()
