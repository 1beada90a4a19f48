"""Cutting images into pieces, against plain NumPy slices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.augment import geometry, slicing

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


def test_crop_moves_back_into_the_frame():
  crop = jax.jit(slicing.crop, static_argnums=(3, 4))
  np.testing.assert_array_equal(crop(IMAGE, 2, 3, 5, 4), IMAGE[2:7, 3:7])
  np.testing.assert_array_equal(crop(IMAGE, 11, 8, 5, 4), IMAGE[7:, 6:])


def test_tile_matrix_shows_the_tile():
  blocks = jnp.asarray(RNG.random((6, 1, 1, 1)), jnp.float32)
  image = slicing.untile(jnp.tile(blocks, (1, 4, 5, 1)), 3, 2)
  matrix = jax.jit(partial(slicing.tile_matrix, (12, 10), 3, 2))
  for index, block in enumerate(blocks):
    shown = geometry.warp(image, matrix(index), method='nearest')
    np.testing.assert_array_equal(shown, jnp.broadcast_to(block, shown.shape))


def test_pieces_are_the_same_under_jit_vmap_and_let_gradients_through():
  batch = jnp.stack([IMAGE, IMAGE[::-1]])
  for cut in (
    lambda x: slicing.tiles(x, 3, 2),
    lambda x: slicing.strips(x, 5, 1),
    lambda x: slicing.diagonal_halves(x)[0],
  ):
    expected = jnp.stack([cut(x) for x in batch])
    np.testing.assert_array_equal(jax.jit(jax.vmap(cut))(batch), expected)
    np.testing.assert_array_equal(jax.grad(lambda x, cut=cut: cut(x).sum())(IMAGE), jnp.ones_like(IMAGE))


ERRORS = {
  'tiles': (lambda: slicing.tiles(IMAGE, 5, 2), '5 x 2 does not divide an image of 12 x 10'),
  'strips': (lambda: slicing.strips(IMAGE, 3, 1), '1 x 3 does not divide an image of 12 x 10'),
  'no tiles': (lambda: slicing.tiles(IMAGE, 0, 2), '0 x 2 does not divide'),
  'tile matrix': (lambda: slicing.tile_matrix((12, 10), 5, 2, 0), '5 x 2 does not divide'),
  'untile': (lambda: slicing.untile(IMAGE[None], 2, 1), '1 pieces.*2 x 1'),
  'crop': (lambda: slicing.crop(IMAGE, 0, 0, 13, 4), '13 x 4 does not fit into an image of 12 x 10'),
}


@pytest.mark.parametrize('case', ERRORS)
def test_errors_name_the_sizes(case):
  call, message = ERRORS[case]
  with pytest.raises(ValueError, match=message):
    call()
