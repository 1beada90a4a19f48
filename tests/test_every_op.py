"""What holds of every operation of the registry, as a function and from a config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from genaug import augment
from genaug.augment import Pipeline, pipeline, registry
from genaug.augment.registry import OPS

SHAPE = (16, 16, 3)
SIZE = 8
POLICIES = tuple(name for name, op in OPS.items() if op.stage == 'policy')
SINGLE = tuple(name for name, op in OPS.items() if op.stage not in ('policy', 'mix'))
# Config name -> name of the arithmetic, where it is another; None where there is only the random form.
ARITHMETIC = {'tiles': None, 'halves': 'keep_half', 'random_resized_crop': 'resized_crop', 'random_erasing': 'erase'}
RANDOM = {'tiles': None, 'random_resized_crop': 'random_resized_crop', 'random_erasing': 'random_erasing'}
# Nothing of these is random but whether they happen.
CERTAIN = {
  'autocontrast', 'equalize', 'invert', 'grayscale', 'transpose', 'antitranspose', 'hflip', 'vflip', 'box_blur',
  'median_blur', 'copy_paste',
}  # fmt: skip
# These have so few draws that two images may get the same.
FEW = {
  'rot90', 'channel_shuffle', 'channel_drop', 'tiles', 'grid_shuffle', 'halves', 'posterize', 'rand_augment',
  'trivial_augment_wide', 'auto_augment',
}  # fmt: skip
# A value out of range of every static strength; NaN is one for all others.
OUT_OF_RANGE = {
  'num_ops': 0, 'width': 0, 'depth': 0, 'table': 'mnist', 'rows': 0, 'cols': 300, 'size': 0, 'steps': 0, 'holes': 0,
  'bits': 9,
}  # fmt: skip


def picture(seed=0, shape=SHAPE):
  """On the grid of 8-bit levels, smooth enough to be compared after a resample, off the bounds of [0, 1]."""
  rng = np.random.default_rng(seed)
  x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
  waves = [np.sin(rng.uniform(0.1, 0.5) * x + rng.uniform(0.1, 0.5) * y + rng.uniform(0, 6)) for _ in range(shape[2])]
  return np.round(127.5 + 90 * np.stack(waves, -1) + rng.uniform(-20, 20, shape)).astype(np.uint8)


def floats(seed=0):
  return jnp.asarray(picture(seed) * np.float32(1 / 255))


def keys(n=SIZE, seed=0):
  return jax.random.split(jax.random.key(seed), n)


def config_of(p=1.0, *names, **settings):
  """The base config with these operations at probability p; settings spell their dots."""
  config = base.get_config().augment.unlock()
  for name in names:
    config[name].p = p
  config.update_from_flattened_dict(settings)
  return config


def row(tree, i):
  return jax.tree.map(lambda x: x[i], tree)


def close(a, b, name):
  error = np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32))
  # Rounding may choose another level, pixel or side of a threshold.
  assert np.quantile(error, 0.97) < 2e-4, name


NAMES = (
  'hflip', 'vflip', 'transpose', 'antitranspose', 'rot90', 'rotate', 'translate', 'scale', 'shear', 'affine',
  'perspective', 'crop', 'center_crop', 'random_resized_crop', 'pad', 'resize', 'zoom', 'elastic', 'grid_distort',
  'thin_plate_spline', 'lens_distort', 'tiles', 'untile', 'strips', 'diagonal_halves', 'five_crop', 'ten_crop',
  'patches', 'grid_shuffle', 'brightness', 'contrast', 'saturation', 'hue', 'gamma', 'invert', 'grayscale',
  'posterize', 'solarize', 'autocontrast', 'equalize', 'clahe', 'color_jitter', 'pca_lighting', 'channel_shuffle',
  'channel_drop', 'planckian_jitter', 'tone_curve', 'gaussian_blur', 'box_blur', 'motion_blur', 'median_blur',
  'sharpen', 'unsharp_mask', 'gaussian_noise', 'shot_noise', 'salt_and_pepper', 'jpeg', 'cutout', 'random_erasing',
  'grid_mask', 'pixel_dropout', 'coarse_dropout', 'mixup', 'cutmix', 'resizemix', 'mosaic', 'fmix', 'copy_paste',
  'histogram_match', 'fourier_mix', 'rand_augment', 'trivial_augment_wide', 'auto_augment', 'augmix',
  'three_augment', 'diff_augment', 'ada',
)  # fmt: skip


def test_every_name_is_public():
  assert not [name for name in NAMES if not callable(getattr(augment, name, None))]
  assert set(augment.__all__) >= set(NAMES)


# From a config


def test_every_operation_is_in_the_config_with_its_defaults():
  config = base.get_config().augment
  assert set(config) == {*OPS, 'border', 'fill', 'interpolation', 'one_of', 'some_of'}
  for name in OPS:
    settings = config[name].to_dict()
    assert settings.pop('p') == 0
    assert settings == registry.strengths(name), name


def numbers(tree):
  """The leaves as NumPy arrays, keys as their bits."""
  is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


# One test an operation, because what it looks at is compiled once. Policies have tests of their own (test_policies.py).
@pytest.mark.parametrize(
  'name',
  [
    *SINGLE,
    *(pytest.param(name, marks=pytest.mark.slow) for name in POLICIES),
  ],
)
def test_an_operation_of_a_config(name):
  sometimes, images = Pipeline.from_config(config_of(0.5, name)), jnp.stack([floats(i) for i in range(SIZE)])

  @jax.jit
  def run(on, images):
    draws = sometimes.sample(keys(), {'image': images})
    draws = {name: draws[name]._replace(on=jnp.full(SIZE, on))}
    apply = lambda images: sometimes.apply(draws, {'image': images})['image']
    augmented, pull_back = jax.vjp(apply, images)
    return draws, augmented, pull_back(2 * augmented)[0]

  # Drawn: images change, each in its way, and stay images; gradients are finite and there.
  draws, augmented, gradient = run(True, images)
  assert augmented.dtype == jnp.float32
  assert augmented.shape == images.shape
  assert jnp.isfinite(augmented).all()
  assert augmented.min() >= 0
  assert augmented.max() <= 1
  changed = [not np.array_equal(a, b) for a, b in zip(images, augmented)]
  assert sum(changed) >= (SIZE // 2 if name in FEW else SIZE - 1)
  assert jnp.isfinite(gradient).all()
  assert jnp.any(gradient != 0)

  # Not drawn: not a bit changes, and the gradient passes.
  _, same, gradient = run(False, images)
  np.testing.assert_array_equal(same, images)
  np.testing.assert_array_equal(gradient, 2 * images)

  # A key is a draw, another key another one.
  leaves = numbers(draws[name].values)
  drawn = {b''.join(leaf[i].tobytes() for leaf in leaves) for i in range(SIZE)}
  assert len(drawn) == 1 if name in CERTAIN else len(drawn) >= (2 if name in FEW else SIZE)

  # A batch is a loop; floats keep their dtype.
  always = Pipeline.from_config(config_of(1.0, name))

  @jax.jit
  def run_one(key, *dtypes):
    draw = always.sample(key, {'image': dtypes[0]})
    return draw, [always.apply(draw, {'image': image})['image'] for image in dtypes]

  dtypes = (images[1], picture(1), images[1].astype(jnp.bfloat16))
  draw, (alone, in_bytes, in_bfloat16) = run_one(keys()[1], *dtypes)
  for leaf, once_more in zip(leaves, numbers(draw[name].values)):
    np.testing.assert_allclose(leaf[1], once_more, rtol=1e-5, atol=1e-6)
  close(alone, augmented[1], name)
  assert in_bytes.dtype == jnp.float32
  assert np.quantile(np.abs(in_bytes - alone), 0.9) < 1.01 / 255
  # bfloat16 rounds the image before anything is done: levels, ranks and thresholds move.
  assert in_bfloat16.dtype == jnp.bfloat16
  assert np.quantile(np.abs(in_bfloat16.astype(jnp.float32) - alone), 0.9) < 0.1

  # The function of that name does the same, without jit.
  if name in SINGLE and (function := ARITHMETIC.get(name, name)):
    close(getattr(augment, function)(images[1], **row(draws[name].values, 1)), augmented[1], name)


# As functions


# One of every stage in `make test`, all of them in `make test-all`: the random forms are all made by `randomly`.
REPRESENTATIVE = {
  'equalize', 'gamma', 'contrast', 'hue', 'clahe', 'rotate', 'perspective', 'random_resized_crop', 'elastic',
  'grid_shuffle', 'gaussian_blur', 'gaussian_noise', 'jpeg', 'cutout', 'pixel_dropout',
}  # fmt: skip


@pytest.mark.parametrize(
  'name', [name if name in REPRESENTATIVE else pytest.param(name, marks=pytest.mark.slow) for name in SINGLE]
)
def test_random_forms(name):
  random_name = RANDOM.get(name, f'random_{name}')
  if random_name is None:
    return
  op = getattr(augment, random_name)

  @jax.jit
  def run(keys, image, in_bytes):
    return op(keys[0], in_bytes, p=0.0), op(keys[2], image), jax.vmap(op, (0, None))(keys, image)

  never, once, always = run(keys(4), floats(), picture())
  assert never.dtype == jnp.uint8
  np.testing.assert_array_equal(never, picture())
  close(once, always[2], name)
  assert jnp.any(always != floats())
  np.testing.assert_array_equal(run(keys(4), floats(), picture())[2], always)
  # In tiles of 2 x 2 pixels the limit of clahe has no say.
  least = 1 if name in CERTAIN | {'clahe'} else 2 if name in FEW else 4
  assert len({np.asarray(image).tobytes() for image in always}) >= least
  with pytest.raises(ValueError, match=r'p = 1\.5: must lie in \[0, 1\]'):
    op(jax.random.key(1), floats(), p=1.5)
  with pytest.raises(ValueError, match=r'\(2, 16, 16, 3\).*jax\.vmap'):
    op(jax.random.key(1), jnp.zeros((2, *SHAPE)))
  with pytest.raises(ValueError, match='int32'):
    op(jax.random.key(1), jnp.zeros(SHAPE, jnp.int32))


STRENGTHS = [(name, strength) for name in OPS for strength in registry.strengths(name)]


@pytest.mark.parametrize(('name', 'strength'), STRENGTHS, ids=lambda value: value)
def test_a_strength_out_of_range_is_named(name, strength):
  config = config_of(1.0, name)
  static = isinstance(registry.strengths(name)[strength], (int, str))
  wrong = OUT_OF_RANGE[strength] if static else float('nan')
  config[name][strength] = wrong
  with pytest.raises(ValueError, match=f'^{name} = .*{strength}.* = {wrong!r}: must ') as error:
    pipeline.check(config, SHAPE)
  assert '[' in str(error.value) or 'one of' in str(error.value)


def test_what_does_not_suit_the_images_is_named():
  for name, shape, message in [
    ('transpose', (16, 12, 3), 'square'),
    ('hue', (16, 16, 4), '4 channels'),
    ('tiles', (16, 15, 3), 'divide'),
    ('rand_augment', (16, 16, 2), '2 channels'),
    ('planckian_jitter', (16, 16, 1), '1 channel'),
  ]:
    with pytest.raises(ValueError, match=f'(?s)^{name} = .*{message}'):
      pipeline.check(config_of(1.0, name), shape)
    pipeline.check(config_of(0.0, name), shape)
  for key, wrong, message in [
    ('border', 'mirror', 'constant, edge, reflect, wrap'),
    ('interpolation', 'lanczos', 'nearest, bilinear, cubic'),
    ('fill', 255.0, r'\[0, 1\]'),
    ('hflip.p', 1.5, r'\[0, 1\]'),
  ]:
    with pytest.raises(ValueError, match=f'^{key} = .*{message}'):
      pipeline.check(config_of(**{key: wrong}), SHAPE)
