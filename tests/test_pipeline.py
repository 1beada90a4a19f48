"""What a pipeline samples, what it moves, how operations fuse, and that what is off costs nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from genaug import augment
from genaug.augment import Pipeline, color, matrices, mixing, policies, policy_layers, resample, tone
from genaug.augment.registry import OPS
from tests.conftest import slow_but
from tests.test_every_op import config_of, keys, picture

SHAPE = (12, 12, 3)
MOVES = tuple(name for name, op in OPS.items() if op.stage in ('move', 'field'))


def images(n, shape=SHAPE):
  return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def step_of(config):
  return jax.jit(Pipeline.from_config(config))


def pipeline_of(*config, **settings):
  return Pipeline.from_config(config_of(*config, **settings))


def draws_of(config, n, shape=SHAPE):
  return Pipeline.from_config(config).sample(keys(n), {'image': np.zeros((n, *shape), np.float32)})


def draw_of(pipeline, seed, shape=SHAPE):
  return pipeline.sample(jax.random.key(seed), {'image': np.zeros(shape, np.float32)})


def test_everything_off_is_the_identity_and_compiles_to_nothing():
  batch = {'image': images(4), 'mask': images(4, (12, 12, 1)), 'label': np.arange(4)}
  step = step_of(config_of())
  out = step(keys(4), batch)
  assert out['image'].dtype == jnp.float32
  np.testing.assert_array_equal(out['image'], batch['image'] * np.float32(1 / 255))
  np.testing.assert_array_equal(np.round(out['image'] * 255), batch['image'])
  np.testing.assert_array_equal(out['mask'], batch['mask'])
  np.testing.assert_array_equal(out['label'], batch['label'])
  text = step.lower(keys(4), batch).compile().as_text()
  assert 'gather' not in text
  assert 'xor' not in text  # no random bits either


def test_all_moves_of_a_config_are_one_resample():
  moves = pipeline_of(1.0, 'rand_augment', 'hflip', 'rotate', 'scale', 'perspective', 'translate', 'elastic')
  (image,) = images(1)
  text = str(jax.make_jaxpr(moves.apply)(draw_of(moves, 0), {'image': image / np.float32(255)}))
  # The four taps read the flat image, and nothing else does.
  assert text.count('slice_sizes=(1, 3)') == 4


@pytest.mark.slow
def test_an_operation_does_not_change_the_draws_of_the_others():
  names = ('hflip', 'rotate', 'gaussian_noise', 'cutout', 'rand_augment', 'elastic')
  everything = draws_of(config_of(0.5, *names), 8)
  for name in names:
    alone = draws_of(config_of(0.5, name), 8)[name]
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(everything[name])):
      assert jnp.array_equal(a, b)


def test_operations_happen_with_their_probability_and_apart():
  config = config_of(0.3, 'hflip', 'vflip', 'brightness', 'cutout')
  config.hflip.p = 0.8
  on = {name: np.asarray(drawn.on) for name, drawn in draws_of(config, 4000).items()}
  for name, happened in on.items():
    assert stats.binomtest(int(happened.sum()), 4000, 0.8 if name == 'hflip' else 0.3).pvalue > 1e-3, name
  assert np.abs(np.corrcoef(np.stack(list(on.values()))) - np.eye(4)).max() < 0.08


@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear'])
def test_flips_select_pixels_to_the_bit(interpolation):
  names = ('transpose', 'antitranspose', 'hflip', 'vflip')
  config = config_of(0.5, *names, interpolation=interpolation)
  batch = {'image': np.random.default_rng(0).random((16, *SHAPE), np.float32)}
  out = step_of(config)(keys(16), batch)['image']
  draws = draws_of(config, 16)
  for i, (image, moved) in enumerate(zip(batch['image'], out)):
    for name in names:
      if draws[name].on[i]:
        image = getattr(augment, name)(image)
    np.testing.assert_array_equal(moved, image)


def test_a_chain_is_its_operations_in_order():
  names = ('equalize', 'gamma', 'solarize', 'saturation', 'hue', 'hflip', 'rotate', 'translate', 'sharpen', 'cutout')
  chain = pipeline_of(1.0, *names, border='edge', fill=0.25)
  draw = draw_of(chain, 3)
  image = jnp.asarray(picture(shape=SHAPE) / np.float32(255))
  values = {name: sampled.values for name, sampled in draw.items()}

  @jax.jit
  def by_hand(image, values):
    # Tone: a curve over the levels, each operation on the result of the one before.
    levels = tone.equalize_curve(image)[:, None]
    levels = augment.solarize(augment.gamma(levels, **values['gamma']), **values['solarize'])
    expected = tone.lookup(image, levels[:, 0])
    # Colour: one matrix, clipped at its end.
    colors = color.saturation_matrix(**values['saturation']), color.hue_matrix(**values['hue'])
    expected = color.apply_colors_clipped(expected, color.compose_colors(*colors))
    # Moves: one matrix.
    moves = [
      matrices.hflip_matrix(SHAPE[:2]),
      matrices.rotate_matrix(SHAPE[:2], **values['rotate']),
      matrices.translate_matrix(SHAPE[:2], **values['translate']),
    ]
    expected = resample.warp(expected, matrices.compose(*moves), border='edge')
    expected = augment.sharpen(expected, **values['sharpen'])
    return augment.cutout(expected, **values['cutout'], fill=0.25)

  expected = by_hand(image, values)
  np.testing.assert_allclose(chain.apply(draw, {'image': image})['image'], expected, atol=2e-5)


def test_augmix_moves_as_the_config_says():
  augmix = pipeline_of(1.0, 'augmix', border='edge', fill=0.5, interpolation='nearest')
  image = jnp.asarray(picture(shape=SHAPE) / np.float32(255))
  draw = draw_of(augmix, 1)
  drawn = draw['augmix'].values
  assert jax.vmap(policy_layers.moves)(drawn['layers']).any()
  expected = policies.apply_augmix(image, **drawn, border='edge', fill=0.5, interpolation='nearest')
  np.testing.assert_allclose(augmix.apply(draw, {'image': image})['image'], expected, atol=1e-6)
  assert np.abs(expected - policies.apply_augmix(image, **drawn)).max() > 0.01


def test_contrast_is_about_the_mean_that_the_colours_before_left():
  colors = pipeline_of(1.0, 'brightness', 'contrast')
  draw = draw_of(colors, 1)
  image = jnp.asarray(picture(shape=SHAPE) / np.float32(255)) * 0.5 + 0.1  # nothing clips
  expected = augment.brightness(image, **draw['brightness'].values)
  expected = augment.contrast(expected, **draw['contrast'].values)
  np.testing.assert_allclose(colors.apply(draw, {'image': image})['image'], expected, atol=1e-5)


def test_a_draw_can_be_replayed_on_something_else():
  augmented = pipeline_of(1.0, 'affine', 'brightness', 'gaussian_noise')
  draw = draw_of(augmented, 5)
  first = augmented.apply(draw, {'image': images(1)[0]})['image']
  at_once = augmented(jax.random.key(5), {'image': images(1)[0]})['image']
  np.testing.assert_allclose(at_once, first, rtol=1e-6)  # another program, with other last bits
  # As a record: numbers that are written down and read again.
  written = jax.tree.map(lambda x: x if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x), draw)
  written = {name: tuple(sampled) for name, sampled in written.items()}
  np.testing.assert_array_equal(augmented.apply(written, {'image': images(1)[0]})['image'], first)
  # On another image, and without one of the operations.
  other = {'image': images(2)[1]}
  assert np.any(augmented.apply(draw, other)['image'] != first)
  without = {name: sampled for name, sampled in draw.items() if name != 'gaussian_noise'}
  alone = pipeline_of(1.0, 'affine', 'brightness')
  np.testing.assert_allclose(augmented.apply(without, other)['image'], alone.apply(without, other)['image'], atol=1e-6)
  with pytest.raises(ValueError, match="unknown operation of this pipeline 'afine': did you mean 'affine'"):
    augmented.apply({'afine': draw['affine']}, other)
  back = matrices.inverse(matrices.affine_matrix(SHAPE[:2], **draw['affine'].values))
  there = matrices.affine_matrix(SHAPE[:2], **draw['affine'].values)
  np.testing.assert_allclose(matrices.compose(there, back), np.eye(3), atol=1e-4)


# Masks, boxes and keypoints


# In `make test` all at once, and those that fold or project; one by one in `make test-all`.
ALONE = ('perspective', 'thin_plate_spline', 'lens_distort')


@pytest.mark.parametrize('name', slow_but(ALONE, ('all', 'rand_augment', *MOVES)))
def test_targets_move_with_the_image(name):
  n, side = 200, 40
  names = MOVES if name == 'all' else (name,)
  config = config_of(0.2 if name == 'all' else 1.0, *names)
  if name == 'rand_augment':
    config.rand_augment.magnitude = 15.0
  rng = np.random.default_rng(0)
  points = rng.uniform(8, side - 8, (n, 1, 2)).astype(np.float32)
  columns, rows = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
  distance = (columns - points[..., :1]) ** 2 + (rows - points[..., 1:]) ** 2
  corner = rng.integers(4, side - 16, (n, 2))
  box = np.concatenate([corner, corner + rng.integers(4, 12, (n, 2))], -1)[:, None].astype(np.float32)
  x0, y0, x1, y1 = (box[..., i, None] for i in range(4))
  covered = (columns > x0) & (columns < x1) & (rows > y0) & (rows < y1)
  batch = {
    'image': np.exp(-distance / 2)[..., None].astype(np.float32),
    'mask': covered[..., None] * np.uint8(7),
    'boxes': box,
    'keypoints': points,
    'label': np.arange(n),
  }
  moves = Pipeline.from_config(config)
  draws = moves.sample(keys(n), batch)
  # The dot is found where nothing recolours it.
  draws = {k: v if OPS[k].stage != 'policy' else _without_colors(v) for k, v in draws.items()}
  out = jax.tree.map(np.asarray, moves.apply(draws, batch))
  np.testing.assert_array_equal(out['label'], np.arange(n))
  assert set(np.unique(out['mask'])) <= {0, 7}
  seen = 0
  for i in range(n):
    image, mask = out['image'][i, ..., 0], out['mask'][i, ..., 0]
    (moved_box,), (point,) = out['boxes'][i], out['keypoints'][i]
    assert out['keypoints_visible'][i] == np.all((point >= 0) & (point < side))
    if np.all((point > 5) & (point < side - 5)) and image.sum() > 1.5:
      # A stretched dot's centroid is not its centre: its peak is.
      seen += 1
      weight = image**2
      centroid = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
      np.testing.assert_allclose(centroid, point, atol=0.5)
    rows_hit, columns_hit = np.nonzero(mask)
    assert out['boxes_visible'][i] or not len(rows_hit)
    if len(rows_hit):
      # Half a pixel of slack: a pixel belongs to the mask by its centre.
      hit = np.array([columns_hit.min(), rows_hit.min(), columns_hit.max() + 1, rows_hit.max() + 1])
      assert np.all(moved_box[:2] <= hit[:2] + 0.55)
      assert np.all(moved_box[2:] >= hit[2:] - 0.55)
  assert seen > n / 10


def _without_colors(drawn):
  op = drawn.values['layers'].op
  colors = jnp.isin(op, jnp.arange(6, 15))
  layers = drawn.values['layers']._replace(op=jnp.where(colors, 0, op))
  return drawn._replace(values={'layers': layers})


def test_what_left_the_frame_is_flagged():
  translate = Pipeline({'translate': {'fraction': 1.0}})
  example = {
    'image': np.zeros((20, 20, 1), np.float32),
    'boxes': np.array([[2, 2, 6, 6], [14, 14, 18, 18]], np.float32),
    'keypoints': np.array([[4, 4], [16, 16]], np.float32),
    'keypoints_visible': np.array([True, False]),
  }
  draw = translate.sample(jax.random.key(0), example)
  draw['translate'].values.update(dx=jnp.array(-0.5), dy=jnp.array(0.0))
  out = translate.apply(draw, example)
  np.testing.assert_array_equal(out['boxes_visible'], [False, True])
  np.testing.assert_array_equal(out['keypoints'], [[-6, 4], [6, 16]])
  np.testing.assert_array_equal(out['keypoints_visible'], [False, False])


def test_pieces_cut_masks_and_occlusion_only_images():
  batch = {'image': np.full((16, *SHAPE), 255, np.uint8), 'mask': np.full((16, 12, 12, 1), 3, np.uint8)}
  out = step_of(config_of(1.0, 'diagonal_half'))(keys(16), batch)
  np.testing.assert_array_equal(out['image'][..., :1] == 1, out['mask'] == 3)
  assert set(np.asarray(out['mask']).astype(bool).sum((1, 2, 3))) == {66, 78}
  out = step_of(config_of(1.0, 'cutout'))(keys(16), batch)
  assert np.all(out['mask'] == 3)
  assert np.all((out['image'] == 0).any((1, 2, 3)))
  example = {'image': batch['image'][0], 'boxes': np.ones((1, 4))}
  with pytest.raises(ValueError, match='grid_shuffle: must be off for examples with boxes'):
    pipeline_of(1.0, 'grid_shuffle')(jax.random.key(0), example)


def test_boxes_and_keypoints_follow_what_was_cut():
  batch = {
    'image': np.ones((16, 12, 12, 3), np.float32),
    'boxes': np.tile(np.array([[0.0, 9, 3, 12], [9, 0, 12, 3], [0, 0, 12, 12]], np.float32), (16, 1, 1)),
    'keypoints': np.tile(np.array([[1.5, 10.5], [10.5, 1.5]], np.float32), (16, 1, 1)),
  }
  batch['keypoints_visible'] = np.tile([True, False], (16, 1))
  pipeline = pipeline_of(0.7, 'diagonal_half')
  drawn = pipeline.sample(keys(16), batch)
  out, on = pipeline.apply(drawn, batch), drawn['diagonal_half'].on
  assert 0 < on.sum() < 16
  shown = np.asarray(out['image'][..., 0]) == 1
  for corner, (x, y) in enumerate(((1, 10), (10, 1))):
    np.testing.assert_array_equal(out['boxes_visible'][:, corner], shown[:, y - 1 : y + 2, x - 1 : x + 2].any((1, 2)))
    visible = shown[:, y, x] & batch['keypoints_visible'][:, corner]
    np.testing.assert_array_equal(out['keypoints_visible'][:, corner], visible)
  np.testing.assert_array_equal(out['boxes'][~on], batch['boxes'][~on])
  assert np.all(out['boxes_visible'][:, 2])


def test_a_channel_is_dropped_to_the_fill():
  image = np.random.default_rng(0).random((8, 6, 6, 3)).astype(np.float32)
  out = np.asarray(pipeline_of(1.0, 'channel_drop', fill=0.5)(keys(8), {'image': image})['image'])
  dropped = (out == 0.5).all((1, 2))
  assert dropped.sum() == 8
  own = Pipeline({'channel_drop': {'p': 1.0}}, fill=0.5, targets={'image': augment.Target('image', fill=1.0)})
  assert ((np.asarray(own(keys(8), {'image': image})['image']) == 1).all((1, 2)) == dropped).all()
  kept = np.where(dropped[:, None, None], 0.5, image)
  np.testing.assert_allclose(out, kept, atol=1e-6)


def test_a_second_equalisation_looks_at_what_the_first_one_left():
  image = picture(0, (8, 8, 3)) / np.float32(255)
  names = ('equalize', 'autocontrast')
  out = pipeline_of(1.0, *names)(keys(1), {'image': image[None]})['image'][0]
  first, second = (name for name in OPS if name in names)
  chain = getattr(augment, second)(getattr(augment, first)(image))
  np.testing.assert_allclose(out, chain, atol=2 / 255)


def test_a_move_of_ones_own_may_be_projective():
  image = picture(0, (8, 8, 3)) / np.float32(255)
  values = OPS['perspective'].sample_params(jax.random.key(1), image.shape)
  made = [
    Pipeline({name: {'p': 1.0}}, ops={name: OPS['perspective']}).apply(
      {name: augment.OpParams(jnp.array(True), values)}, {'image': image}
    )
    for name in ('perspective', 'tilt')
  ]
  assert (made[0]['image'] != image).any()
  np.testing.assert_array_equal(made[0]['image'], made[1]['image'])


def test_tiles_show_one_tile():
  image = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((6, 4), np.uint8))[..., None] * 40
  config = config_of(1.0, 'tile_crop', interpolation='nearest', **{'tile_crop.rows': 2, 'tile_crop.cols': 3})
  out = step_of(config)(keys(32), {'image': np.stack([image] * 32)})['image']
  shown = np.round(np.asarray(out) * 255 / 40).reshape(32, -1)
  assert np.all(shown == shown[:, :1])
  assert set(shown[:, 0]) == set(range(6))


def test_gradients_pass_beside_masks_and_reach_the_draw():
  augmented = pipeline_of(0.5, 'rotate', 'brightness', 'gaussian_blur', 'elastic')
  image = jnp.asarray(picture(shape=SHAPE) / np.float32(255))
  draw = draw_of(augmented, 1)
  draw = {name: drawn._replace(on=jnp.array(True)) for name, drawn in draw.items()}
  mask = jnp.ones((12, 12, 1), jnp.int32)

  def loss(image, angle):
    draw['rotate'].values['angle'] = angle
    return (augmented.apply(draw, {'image': image, 'mask': mask})['image'] ** 2).sum()

  for gradient in jax.jit(jax.grad(loss, (0, 1)))(image, draw['rotate'].values['angle']):
    assert jnp.isfinite(gradient).all()
    assert jnp.any(gradient != 0)


# Mixing


def test_mixing_from_a_config():
  batch = {'image': images(8), 'label': np.eye(8, dtype=np.float32)}
  config = config_of(1.0, 'cutmix')
  out = step_of(config)(keys(8), batch)
  np.testing.assert_allclose(out['label'].sum(-1), 1, atol=1e-6)
  draws = draws_of(config, 8)
  whole = {'image': batch['image'] * np.float32(1 / 255), 'label': batch['label']}
  expected = mixing.mix_batch(mixing.cutmix, whole, tuple(draws['cutmix']))
  np.testing.assert_allclose(out['image'], expected['image'], atol=1e-6)
  # Two devices, four examples each: the same.
  halves = [step_of(config)(keys(8)[i : i + 4], {k: v[i : i + 4] for k, v in batch.items()}) for i in (0, 4)]
  np.testing.assert_array_equal(np.concatenate([half['image'] for half in halves]), out['image'])


def test_mixing_needs_soft_labels():
  with pytest.raises(ValueError, match='one_hot'):
    Pipeline.from_config(config_of(1.0, 'mixup'))(keys(4), {'image': images(4), 'label': np.arange(4)})
