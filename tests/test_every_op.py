"""What holds of every operation of the registry, as a function and from a config."""

import inspect
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from configs import base
from genaug import augment
from genaug.augment import Pipeline, image, registry
from genaug.augment.registry import OPS
from tests.conftest import slow_but

SHAPE = (16, 16, 3)
SIZE = 8
POLICIES = tuple(name for name, op in OPS.items() if op.stage == 'policy')
MIXES_AT_RANDOM = tuple(f'random_{name}' for name, op in registry.OPS.items() if op.stage == 'mix')
SINGLE = tuple(name for name, op in OPS.items() if op.stage not in ('policy', 'mix'))
# Config name -> name of the arithmetic, where it is another.
ARITHMETIC = {'random_resized_crop': 'resized_crop'}
# Nothing of these is random but whether they happen.
CERTAIN = {
  'autocontrast', 'equalize', 'invert', 'grayscale', 'transpose', 'antitranspose', 'hflip', 'vflip', 'box_blur',
  'median_blur', 'copy_paste',
}  # fmt: skip
# These have so few draws that two images may get the same.
FEW = {
  'rot90', 'channel_shuffle', 'channel_drop', 'tile_crop', 'grid_shuffle', 'diagonal_half', 'posterize', 'rand_augment',
  'trivial_augment_wide', 'auto_augment',
}  # fmt: skip
# A value out of range of every static parameter; NaN is one for all others.
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
  'thin_plate_spline', 'lens_distort', 'tile_crop', 'tiles', 'untile', 'strips', 'diagonal_half', 'diagonal_halves',
  'five_crop', 'ten_crop', 'patches', 'grid_shuffle', 'brightness', 'contrast', 'saturation', 'hue', 'gamma', 'invert',
  'grayscale', 'posterize', 'solarize', 'autocontrast', 'equalize', 'clahe', 'color_jitter', 'pca_lighting',
  'channel_shuffle', 'channel_drop', 'planckian_jitter', 'tone_curve', 'gaussian_blur', 'box_blur', 'motion_blur',
  'median_blur', 'sharpen', 'unsharp_mask', 'gaussian_noise', 'shot_noise', 'salt_and_pepper', 'jpeg', 'cutout',
  'random_erase', 'grid_mask', 'pixel_dropout', 'coarse_dropout', 'mixup', 'cutmix', 'resizemix', 'mosaic', 'fmix',
  'copy_paste', 'histogram_match', 'fourier_mix', 'rand_augment', 'trivial_augment_wide', 'auto_augment', 'augmix',
  'three_augment', 'diff_augment', 'ada',
)  # fmt: skip


def test_every_name_is_public():
  assert not [name for name in NAMES if not callable(getattr(augment, name, None))]
  assert set(augment.__all__) >= set(NAMES)


# From a config


def numbers(tree):
  """The leaves as NumPy arrays, keys as their bits."""
  is_key = lambda x: jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
  return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in jax.tree.leaves(tree)]


# One of every stage in `make test`, all of them in `make test-all`: compiling takes seconds an operation, and they are
# all carried out by the same pipeline and made random by the same function.
REPRESENTATIVE = {'contrast', 'hue', 'rotate', 'grid_shuffle', 'jpeg', 'cutout'}
EVERY = slow_but(REPRESENTATIVE, (*SINGLE, *POLICIES))


@pytest.mark.parametrize('name', EVERY)
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
  if name in SINGLE:
    close(getattr(augment, ARITHMETIC.get(name, name))(images[1], **row(draws[name].values, 1)), augmented[1], name)


# As functions


@pytest.mark.parametrize('name', EVERY[: len(SINGLE)])
def test_random_forms(name):
  op = getattr(augment, f'random_{ARITHMETIC.get(name, name)}')

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


PARAMETERS = [(name, parameter) for name in OPS for parameter in registry.parameters(name)]


@pytest.mark.parametrize(('name', 'parameter'), PARAMETERS, ids=lambda value: value)
def test_a_parameter_out_of_range_is_named(name, parameter):
  config = config_of(1.0, name)
  static = isinstance(registry.parameters(name)[parameter], (int, str))
  wrong = OUT_OF_RANGE[parameter] if static else float('nan')
  config[name][parameter] = wrong
  with pytest.raises(ValueError, match=f'^{name} = .*{parameter}.* = {wrong!r}: must ') as error:
    Pipeline.from_config(config).check(SHAPE)
  assert '[' in str(error.value) or 'one of' in str(error.value)


PAIRS = [(name, key) for name in OPS for key, value in registry.declared(name).items() if getattr(value, 'pair', None)]


COSTLY = {*POLICIES, 'elastic', 'thin_plate_spline', 'grid_mask'}  # to compile


@pytest.mark.parametrize(
  ('name', 'key'),
  [pytest.param(*pair, marks=[pytest.mark.slow] * (pair[0] in COSTLY)) for pair in PAIRS],
  ids=lambda value: value,
)
def test_a_pair_is_the_range_of_what_is_sampled(name, key):
  parameter, sample_params = registry.declared(name)[key], OPS[name].sample_params
  default = registry.parameters(name)[key]
  low, high = parameter.pair
  kind = int if isinstance(default, int) else float
  at = [kind(low + share * (high - low)) for share in (0.5, 0.5, 0.25, 0.75)]  # elastic noise is in [-1, 1]
  run = lambda pair: jax.vmap(lambda key_: sample_params(key_, SHAPE, **{key: pair}))(keys(16))
  point, wide, listed = run((at[0], at[1])), run((at[2], at[3])), run([at[2], at[3]])
  # Keys choose within the pair, which for JSON's sake may be a list.
  assert any(not np.array_equal(a, b) for a, b in zip(numbers(point), numbers(wide))), name
  for a, b in zip(numbers(wide), numbers(listed)):
    np.testing.assert_array_equal(a, b)
  for wrong in [(at[3], at[2]), (low - 1, high), (low, high + 1), (low, float('nan')), ('a', 'b'), (low, high, high)]:
    with pytest.raises(ValueError, match=re.escape(f'{key} = {wrong!r}: must ')) as error:
      sample_params(jax.random.key(0), SHAPE, **{key: wrong})
    assert f'or a pair (low, high) in [{low:.4g}, {high:.4g}]' in str(error.value)
    assert str(error.value).startswith(sample_params.__name__.removeprefix('sample_'))


@pytest.mark.parametrize(
  ('name', 'parameters', 'value', 'low', 'high', 'log'),
  [
    ('brightness', {'limit': (0.8, 1.0)}, 'factor', 0.8, 1.0, False),
    ('color_jitter', {'hue': (5.0, 20.0)}, 'hue', 5.0, 20.0, False),
    ('rotate', {'degrees': (0, 30)}, 'angle', 0.0, 30.0, False),
    ('zoom', {'limit': (0.5, 0.9)}, 'factor', 0.5, 0.9, True),
    ('gamma', {'limit': (0.25, 4.0)}, 'gamma', 0.25, 4.0, True),
    ('gaussian_blur', {'sigma': (0.5, 2)}, 'sigma', 0.5, 2.0, False),
    ('cutout', {'size': (0.2, 0.5)}, 'size', 0.2, 0.5, False),
    ('three_augment', {'jitter': (0.5, 1.0)}, 'factors', 0.5, 1.0, False),
    ('jpeg', {'quality': (40, 60)}, 'quality', 40.0, 60.0, False),
  ],
)
def test_pairs_are_uniform_or_log_uniform(name, parameters, value, low, high, log):
  sample_params = OPS[name].sample_params
  sampled = jax.jit(jax.vmap(lambda key: sample_params(key, SHAPE, **parameters)[value]))(keys(2000))
  sampled = np.asarray(sampled, np.float64).ravel()
  if log:
    sampled, low, high = np.log(sampled), np.log(low), np.log(high)
  assert stats.kstest(sampled, 'uniform', (low, high - low)).pvalue > 1e-3


def test_whole_numbers_of_a_pair_are_all_as_likely():
  sample_params = jax.vmap(lambda key: OPS['posterize'].sample_params(key, SHAPE, bits=(2, 5))['bits'])
  assert stats.chisquare(np.bincount(sample_params(keys(2000)), minlength=6)[2:]).pvalue > 1e-3


def test_reversed_bounds_are_refused():
  for name, low, high in [
    ('planckian_jitter', 'low', 'high'),
    ('grid_mask', 'min_unit', 'max_unit'),
    ('random_resized_crop', 'scale_low', 'scale_high'),
    ('random_resized_crop', 'ratio_low', 'ratio_high'),
  ]:
    defaults = registry.parameters(name)
    with pytest.raises(ValueError, match=rf'{name}: \({low}, {high}\) = .* reversed'):
      OPS[name].sample_params(jax.random.key(0), SHAPE, **{low: defaults[high], high: defaults[low]})


def test_what_does_not_suit_the_images_is_named():
  for name, shape, message in [
    ('transpose', (16, 12, 3), 'square'),
    ('hue', (16, 16, 4), '4 channels'),
    ('tile_crop', (16, 15, 3), 'divide'),
    ('rand_augment', (16, 16, 2), '2 channels'),
    ('planckian_jitter', (16, 16, 1), '1 channel'),
  ]:
    with pytest.raises(ValueError, match=f'(?s)^{name} = .*{message}'):
      Pipeline.from_config(config_of(1.0, name)).check(shape)
    Pipeline.from_config(config_of(0.0, name)).check(shape)
  for key, wrong, message in [
    ('border', 'mirror', 'constant, edge, reflect, wrap'),
    ('interpolation', 'lanczos', 'nearest, bilinear, cubic'),
    ('fill', 255.0, r'\[0, 1\]'),
    ('hflip.p', 1.5, r'\[0, 1\]'),
  ]:
    with pytest.raises(ValueError, match=f'^{key} = .*{message}'):
      Pipeline.from_config(config_of(**{key: wrong})).check(SHAPE)


# Signatures and documentation


FUNCTIONS = [name for name in augment.__all__ if inspect.isfunction(getattr(augment, name))]
RANDOM = [name for name in FUNCTIONS if name.startswith('random_') and name not in ('random_crop', 'random_ada')]


@pytest.mark.parametrize('name', FUNCTIONS)
def test_every_public_function_shows_its_parameters_and_says_what_it_does(name):
  function = getattr(augment, name)
  parameters = inspect.signature(function).parameters.values()
  assert not [p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
  first = inspect.getdoc(function).split('\n\n')[0]
  assert re.match(r'[A-Z3].* .*[.:]$', first.replace('\n', ' ')), first
  assert function.__name__ == name


@pytest.mark.parametrize('name', [*RANDOM, *POLICIES])
def test_a_random_form_documents_every_parameter(name):
  function, op = getattr(augment, name), name.removeprefix('random_')
  op = {'resized_crop': 'random_resized_crop'}.get(op, op)
  signature, text = inspect.signature(function), ' '.join(inspect.getdoc(function).split())
  for parameter in signature.parameters:
    assert f' {parameter}: ' in text, parameter
  for key, declared in registry.declared(op).items() if op in OPS else ():
    assert signature.parameters[key].default == registry.parameters(op)[key]
    assert f'{key}: {"" if isinstance(declared, image.Choice) else "in "}{declared}. {declared.doc}' in text
  assert 'Raises: ValueError' in text
  wrong = 'degres'
  with pytest.raises(TypeError, match=f"{name}: .*'{wrong}'.*it takes {', '.join(signature.parameters)}"):
    function(jax.random.key(0), floats(), **{wrong: 3})


def test_what_is_from_a_paper_names_it():
  of_papers = (
    'mixup', 'cutmix', 'resizemix', 'mosaic', 'fmix', 'copy_paste', 'fourier_mix', 'rand_augment',
    'trivial_augment_wide', 'auto_augment', 'augmix', 'three_augment', 'cutout', 'erase', 'grid_mask', 'clahe',
    'pca_lighting', 'planckian_jitter', 'elastic', 'thin_plate_spline', 'diff_augment', 'ada', 'random_resized_crop',
  )  # fmt: skip
  assert not [name for name in of_papers if not re.search(r'(19|20)\d\d', inspect.getdoc(getattr(augment, name)))]


def test_parameters_under_vmap():
  pictures = jnp.stack([floats(i) for i in range(4)])
  rotate = jax.jit(augment.random_rotate)
  fixed = jax.jit(jax.vmap(partial(augment.random_rotate, degrees=15.0)))(keys(4), pictures)
  for key, one, rotated in zip(keys(4), pictures, fixed):
    close(rotate(key, one, 15.0), rotated, 'degrees')
  each = jax.jit(jax.vmap(augment.random_rotate))(keys(4), pictures, jnp.array([0.0, 15.0, 15.0, 0.0]))
  np.testing.assert_array_equal(each[0], pictures[0])
  close(each[1], fixed[1], 'degrees')


def test_the_table_and_the_config_are_those_of_the_registry():
  config, rows = base.get_config().augment, registry.table().splitlines()[2:]
  assert set(config) == {*OPS, 'border', 'fill', 'interpolation', 'one_of', 'some_of'}
  assert len(rows) == len(OPS)
  for (name, op), row in zip(OPS.items(), rows):
    assert row.startswith(f'| `{name}` | {op.stage} | {op.doc} | ')
    assert re.fullmatch(r'[A-Z].* .*\.', op.doc), name
    assert registry.declared(name).keys() == registry.parameters(name).keys()
    for key, declared in registry.declared(name).items():
      assert re.fullmatch(r'[A-Za-z].* .*\.', declared.doc), (name, key)
      assert f'`{key}=' in row
      assert declared.doc in row
