"""Both ends of every declared range, and the middle, do what is declared; `range_ends` has what this is made of."""

from functools import cache

import jax
import numpy as np
import pytest
from scipy import ndimage

from genaug.augment import Pipeline, registry
from genaug.augment.image import Choice
from genaug.augment.policies import RAND_AUGMENT
from genaug.augment.policy_layers import INDEX, Layers
from genaug.augment.registry import OPS
from tests import range_measures as by
from tests.conftest import slow_but
from tests.range_ends import (
  GREY,
  HALF,
  LEVELS,
  NARROW,
  RAMP,
  SIDE,
  SMOOTH,
  SOFT,
  TONES,
  Row,
  Seen,
  around_one,
  average,
  first,
  flat,
  from_zero,
  impulse,
  reciprocal,
  symmetric,
)  # fmt: skip

BLACK_BOX = {'min_area': 0.01, 'max_area': 0.01}
NEUTRAL_JITTER = {'brightness': (1.0, 1.0), 'contrast': (1.0, 1.0), 'saturation': (1.0, 1.0), 'hue': (0.0, 0.0)}
STILL = {'degrees': 0.0, 'fraction': 0.0, 'limit': 0.0, 'shear': 0.0}


def without(settings, key):
  return {name: value for name, value in settings.items() if name != key}


def faded(other):
  return lambda amount: SOFT + amount * (other - SOFT)


ROWS = {
  ('rand_augment', 'num_ops'): Row(
    by.recolored, lambda n: 1 - (12 / 14) ** n, NARROW, fixed={'magnitude': 0.0}, atol=0.12
  ),
  ('rand_augment', 'magnitude'): Row(by.brightened, lambda m: 0.9 * m / 30 * HALF, fixed={'num_ops': 1}),
  ('auto_augment', 'table'): Row(by.frequencies, by.published, atol=0.03),
  ('augmix', 'severity'): Row(
    by.translated,
    lambda severity: HALF * (1 - int(severity / 10 * SIDE / 3) / SIDE),
    sampled=by.rotations,
    interval=lambda severity: (0, 3 * severity),
    fixed={'width': 1, 'depth': 1},
  ),
  ('augmix', 'width'): Row(by.weights, lambda k: (k, 2 / (k + 1)), rtol=0.15),
  ('augmix', 'depth'): Row(by.lengths, lambda depth: (1 + depth) / 2, rtol=0.15),
  ('three_augment', 'jitter'): Row(average, lambda v: 0.2 * v, flat(0.2), 'factors', around_one),
  ('gamma', 'limit'): Row(average, lambda v: HALF**v, flat(HALF), 'gamma', reciprocal),
  ('tone_curve', 'limit'): Row(average, lambda v: HALF + 3 * v * HALF * (1 - HALF), flat(HALF), 'points', symmetric),
  ('posterize', 'bits'): Row(
    lambda seen: len(np.unique(seen.images.round(4))), lambda v: 2**v, RAMP, 'bits', lambda n: (n, max(n, 7))
  ),
  ('solarize', 'threshold'): Row(
    first, lambda v: np.where(255 * v <= LEVELS, 1 - RAMP, RAMP), RAMP, 'threshold', lambda n: (n, 1)
  ),
  ('invert', 'amount'): Row(average, lambda v: 0.2 + 0.6 * v, flat(0.2), 'amount', lambda n: (n, n)),
  ('brightness', 'limit'): Row(average, lambda v: 0.05 * v, flat(0.05), 'factor', around_one),
  ('contrast', 'limit'): Row(first, by.contrast, SOFT, 'factor', around_one),
  ('saturation', 'limit'): Row(first, by.saturation, SOFT, 'factor', around_one),
  ('hue', 'degrees'): Row(first, by.hue, SOFT, 'degrees', symmetric),
  ('color_jitter', 'brightness'): Row(
    average, lambda v: 0.05 * v, flat(0.05), 'brightness', around_one, without(NEUTRAL_JITTER, 'brightness')
  ),
  ('color_jitter', 'contrast'): Row(
    first, by.contrast, SOFT, 'contrast', around_one, without(NEUTRAL_JITTER, 'contrast')
  ),
  ('color_jitter', 'saturation'): Row(
    first, by.saturation, SOFT, 'saturation', around_one, without(NEUTRAL_JITTER, 'saturation')
  ),
  ('color_jitter', 'hue'): Row(first, by.hue, SOFT, 'hue', symmetric, without(NEUTRAL_JITTER, 'hue')),
  ('pca_lighting', 'std'): Row(by.lighting, lambda std: (std, 0), rtol=0.05),
  ('planckian_jitter', 'low'): Row(
    by.temperature, float, flat(0.2), 'temperature', lambda n: (n, 15000), by.windows('low', 'high', {}), rtol=0.08
  ),
  ('planckian_jitter', 'high'): Row(
    by.temperature, float, flat(0.2), 'temperature', lambda n: (3000, n), by.windows('low', 'high', {}), rtol=0.08
  ),
  ('grayscale', 'amount'): Row(first, faded(GREY), SOFT, 'amount', lambda n: (n, n)),
  ('clahe', 'clip_limit'): Row(first, by.by_opencv, TONES, 'clip_limit', lambda n: (1, n), atol=1.01 / 255),
  ('tile_crop', 'rows'): Row(by.entry(1, 1), float, impulse(256, 256), fixed={'cols': 1}, sides=True),
  ('tile_crop', 'cols'): Row(by.entry(0, 0), float, impulse(256, 256), fixed={'rows': 1}, sides=True),
  ('random_resized_crop', 'scale_low'): Row(by.area, float, fixed=by.windows('scale_low', 'scale_high', by.SQUARES)),
  ('random_resized_crop', 'scale_high'): Row(by.area, float, fixed=by.windows('scale_low', 'scale_high', by.SQUARES)),
  ('random_resized_crop', 'ratio_low'): Row(by.aspect, float, fixed=by.windows('ratio_low', 'ratio_high', {})),
  ('random_resized_crop', 'ratio_high'): Row(by.aspect, float, fixed=by.windows('ratio_low', 'ratio_high', {})),
  ('scale', 'limit'): Row(by.diagonal, float, sampled='sx', interval=reciprocal),
  ('zoom', 'limit'): Row(by.diagonal, float, sampled='factor', interval=reciprocal),
  ('shear', 'degrees'): Row(lambda seen: seen.matrices[0, :2, :2], by.sheared, sampled='x', interval=symmetric),
  ('rotate', 'degrees'): Row(
    by.angles,
    lambda v: (np.cos(np.deg2rad(v)), np.sin(np.deg2rad(v))),
    by.dot(24),
    'angle',
    symmetric,
    atol=0.01,
  ),
  ('affine', 'degrees'): Row(
    lambda seen: seen.matrices[0, :2, 0],
    lambda v: (np.cos(np.deg2rad(v)), -np.sin(np.deg2rad(v))),
    sampled='angle',
    interval=symmetric,
    fixed=without(STILL, 'degrees'),
  ),
  ('affine', 'fraction'): Row(
    by.moved_middle, float, sampled='dy', interval=symmetric, fixed=without(STILL, 'fraction')
  ),
  ('affine', 'limit'): Row(by.diagonal, float, sampled='zoom', interval=reciprocal, fixed=without(STILL, 'limit')),
  ('affine', 'shear'): Row(
    lambda seen: seen.matrices[0, :2, :2],
    by.sheared,
    sampled='shear_y',
    interval=symmetric,
    fixed=without(STILL, 'shear'),
  ),
  ('perspective', 'distortion'): Row(
    by.corners, by.drawn_in, sampled=lambda params: np.abs(params['corners']), interval=lambda n: (0, n / 2)
  ),
  ('translate', 'fraction'): Row(by.moved_middle, float, sampled='dx', interval=symmetric),
  ('lens_distort', 'limit'): Row(lambda seen: seen.fields[0], by.radial, sampled='k1', interval=symmetric),
  ('thin_plate_spline', 'limit'): Row(
    by.extremes, lambda v: (v * SIDE, v * SIDE), sampled='offsets', interval=symmetric, atol=0.01
  ),
  ('thin_plate_spline', 'size'): Row(by.splines, lambda size: (size, 0), atol=0.01, n=2),
  ('grid_distort', 'limit'): Row(
    by.cells, lambda v: (5, v, 0), sampled='stretch', interval=symmetric, numbers=True, rtol=0.1
  ),
  ('grid_distort', 'steps'): Row(by.cells, lambda steps: (steps, 0.3, 0), rtol=0.1),
  ('elastic', 'alpha'): Row(
    by.extremes, lambda v: (v * SIDE, v * SIDE), sampled='control', interval=symmetric, atol=0.01
  ),
  ('elastic', 'sigma'): Row(
    by.smoothness, by.unlike, fixed=lambda sigma: {'size': 256 if sigma < 0.05 else 16}, rtol=0.7, atol=0, n=4, keys=4
  ),
  ('elastic', 'size'): Row(by.control, lambda size: (size, 0.277), fixed={'sigma': 0.6}, rtol=0.3, n=4, keys=4),
  ('grid_shuffle', 'rows'): Row(
    by.tall, lambda n: (n - 1) ** 2 / n, impulse(256, 1), fixed={'cols': 1}, sides=True, atol=2, n=16
  ),
  ('grid_shuffle', 'cols'): Row(
    by.tall, lambda n: (n - 1) ** 2 / n, impulse(1, 256), fixed={'rows': 1}, sides=True, atol=2, n=16
  ),
  ('gaussian_blur', 'sigma'): Row(by.spread, float, impulse(1, 513), 'sigma', from_zero, rtol=0.01, n=2),
  ('box_blur', 'amount'): Row(
    lambda seen: seen.images[0, 16, 16],
    lambda v: 1 - v * 8 / 9,
    np.repeat(impulse(SIDE, SIDE), 3, -1),
    'amount',
    lambda n: (n, n),
  ),
  ('motion_blur', 'length'): Row(
    by.streak, by.exposures, np.repeat(impulse(SIDE, SIDE), 3, -1), 'length', lambda n: (1, n)
  ),
  ('median_blur', 'amount'): Row(
    first,
    faded(by.filtered(lambda x: ndimage.median_filter(x, 3, mode='nearest'), SOFT)),
    SOFT,
    'amount',
    lambda n: (n, n),
  ),
  ('sharpen', 'amount'): Row(
    first, lambda v: SOFT + v * (SOFT - by.filtered(by.smoothed, SOFT)), SOFT, 'amount', from_zero
  ),
  ('unsharp_mask', 'amount'): Row(by.unsharp, float, SOFT, 'amount', from_zero, rtol=0.01),
  ('gaussian_noise', 'std'): Row(by.noise, by.clipped_normal, flat(HALF), 'std', from_zero, rtol=0.01),
  ('shot_noise', 'scale'): Row(by.noise, by.clipped_poisson, flat(HALF), 'scale', from_zero, rtol=0.01),
  ('salt_and_pepper', 'amount'): Row(by.salted, lambda v: (v / 2, v / 2), flat(HALF), 'amount', from_zero, rtol=0.02),
  ('jpeg', 'quality'): Row(
    by.loss, by.by_pillow, (SMOOTH / 255).astype(np.float32), 'quality', lambda n: (n, 95), middle=50, rtol=0.05
  ),
  ('cutout', 'size'): Row(by.in_the_middle, lambda v: v * v, flat(1.0), 'size', lambda n: (n, n)),
  ('erase', 'max_area'): Row(
    lambda seen: seen.hidden.mean(), float, flat(1.0), fixed=by.windows('min_area', 'max_area', {}), atol=0.01
  ),
  ('erase', 'min_area'): Row(
    lambda seen: seen.hidden.mean(), float, flat(1.0), fixed=by.windows('min_area', 'max_area', {}), atol=0.01
  ),
  ('erase', 'max_aspect'): Row(by.longest, np.log, fixed=BLACK_BOX, rtol=0.01),
  ('grid_mask', 'ratio'): Row(
    lambda seen: seen.hidden.mean(),
    lambda v: v * v,
    flat(1.0),
    'ratio',
    lambda n: (n, n),
    {'min_unit': 0.25, 'max_unit': 0.25},
  ),
  ('grid_mask', 'min_unit'): Row(
    by.units, lambda v: 1 / v, impulse(200, 200), fixed=by.windows('min_unit', 'max_unit', {}), atol=1, n=1
  ),
  ('grid_mask', 'max_unit'): Row(
    by.units, lambda v: 1 / v, impulse(200, 200), fixed=by.windows('min_unit', 'max_unit', {}), atol=1, n=1
  ),
  ('grid_mask', 'max_degrees'): Row(by.turned, lambda v: 1, flat(1.0), 'angle', symmetric, atol=0.01),
  ('pixel_dropout', 'rate'): Row(
    lambda seen: seen.hidden.mean(), float, flat(1.0), 'rate', lambda n: (n, n), atol=0.01
  ),
  ('coarse_dropout', 'max_side'): Row(
    lambda seen: seen.hidden.mean(),
    lambda v: v * v,
    flat(1.0),
    lambda params: params['boxes'][..., 2] - params['boxes'][..., 0],
    lambda n: (n / 2, n),
    {'holes': 1},
    atol=0.01,
  ),
  ('coarse_dropout', 'holes'): Row(by.holes, by.covered, flat(1.0), fixed={'max_side': (0.1, 0.1)}, rtol=0.05),
  ('histogram_match', 'max_amount'): Row(
    lambda seen: seen.pasted, float, flat(0.4), fixed=by.windows('min_amount', 'max_amount', {})
  ),
  ('histogram_match', 'min_amount'): Row(
    lambda seen: seen.pasted, float, flat(0.4), 'amount', lambda n: (n, 1), by.windows('min_amount', 'max_amount', {})
  ),
  ('fourier_mix', 'max_beta'): Row(by.spectra, by.up_to, SOFT, 'beta', from_zero),
  ('mosaic', 'margin'): Row(by.centres, lambda v: (v, 1 - v), atol=0.001),
  ('mixup', 'alpha'): Row(by.weighted, by.beta_variance, flat(0.4), rtol=0.1),
  ('cutmix', 'alpha'): Row(by.boxes, by.cut_off, flat(0.4), rtol=0.05, atol=0.05),
  ('resizemix', 'max_side'): Row(
    lambda seen: seen.pasted, lambda v: v * v, flat(0.4), fixed=by.windows('min_side', 'max_side', {}), atol=0.05
  ),
  ('resizemix', 'min_side'): Row(
    lambda seen: seen.pasted, lambda v: v * v, flat(0.4), fixed=by.windows('min_side', 'max_side', {}), atol=0.05
  ),
  ('fmix', 'alpha'): Row(by.weighted, by.beta_variance, flat(0.4), rtol=0.1, atol=0.005),
}

DECLARED = [(name, key) for name in OPS for key in registry.parameters(name)]
IDS = {'ids': lambda value: value}


def test_every_parameter_has_a_row():
  assert set(ROWS) == set(DECLARED)
  assert all(registry.declared(name).keys() == registry.parameters(name).keys() for name in OPS)


def ends(name, key):
  """The least value, one between and the largest, where a pair is allowed as both of its bounds."""
  row, parameter = ROWS[name, key], registry.declared(name)[key]
  if isinstance(parameter, Choice):
    return parameter.names
  low, high = parameter.pair if parameter.pair and not row.numbers else parameter[:2]
  whole = isinstance(registry.parameters(name)[key], int)
  return low, row.middle or (int if whole else float)((low + high) / 2), high


def settings_of(name, key, value):
  paired = getattr(registry.declared(name)[key], 'pair', None) and not ROWS[name, key].numbers
  return ROWS[name, key].settings(key, value) | {key: (value, value) if paired else value}


def numbers(name, key):
  """The range of a number that stands for what is sampled."""
  whole = isinstance(registry.parameters(name)[key], int)
  return [int(end) if whole else float(end) for end in registry.declared(name)[key][:2]]


@cache
def sampled(name, key):
  """What is sampled for `ends`, and for `numbers` where there is something to compare it with."""
  row, values = ROWS[name, key], ends(name, key)
  settings = [settings_of(name, key, value) for value in values]
  if row.interval:
    fixed = {} if callable(row.fixed) else dict(row.fixed)
    settings += [{key: number} | fixed for number in numbers(name, key)]
  params = row.sampled_for(name, *settings)
  return settings, params[: len(values)], params[len(values) :]


# Compiling is most of the time.
COSTLY = {('rand_augment', 'num_ops'), ('auto_augment', 'table'), ('augmix', 'width'), ('augmix', 'depth')}


@pytest.mark.parametrize(
  ('name', 'key'),
  [pytest.param(*place, marks=[pytest.mark.slow] * (place in COSTLY)) for place in DECLARED],
  **IDS,
)
def test_what_a_parameter_does_and_what_is_sampled_at_both_ends_and_between(name, key):
  row, found = ROWS[name, key], []
  settings, params, drawn = sampled(name, key)
  for value, setting, many in zip(ends(name, key), settings, params):
    measured = row.measure(Seen(name, setting, many, row.image, row.n))
    expected = np.broadcast_to(row.expected(value), np.shape(measured))
    np.testing.assert_allclose(measured, expected, rtol=row.rtol, atol=row.atol, err_msg=f'{key} = {value}')
    found.append(expected)
  low, middle, high = found
  if key != 'max_degrees':  # there all is compared with a grid of that angle
    assert not np.allclose(low, middle, rtol=1e-4, atol=1e-4)
    assert not np.allclose(middle, high, rtol=1e-4, atol=1e-4)

  if row.interval:
    _assert_sampled_up_to_both_ends(row, zip(numbers(name, key), drawn))


def _assert_sampled_up_to_both_ends(row, found):
  """Of pairs of a number and what was sampled for it."""
  for number, params in found:
    values = np.asarray(row.sampled(params) if callable(row.sampled) else params[row.sampled], np.float64)
    low, high = row.interval(number)
    some = 0.05 * (high - low) + 1e-5 * abs(high)
    assert low - 1e-5 * abs(low) <= values.min() <= low + some
    assert high - some <= values.max() <= high + 1e-5 * abs(high)


FEW = {'solarize', 'perspective', 'gaussian_blur', 'cutout'}


@pytest.mark.parametrize('side', [8, 32])
@pytest.mark.parametrize('name', slow_but(FEW, [name for name in OPS if registry.parameters(name)]))
def test_images_stay_images_at_the_ends_of_all_ranges(name, side):
  picture = np.random.default_rng(side).random((side, side, 3), np.float32)
  for key in registry.parameters(name):
    row, values = ROWS[name, key], list(ends(name, key)[::2])
    if row.sides:
      values[1] = side
    if key in ('min_unit', 'max_unit'):
      values[0] = 2 / side
    settings = [settings_of(name, key, value) for value in values]
    for setting, many in zip(settings, row._replace(image=picture, keys=4).sampled_for(name, *settings)):
      Seen(name, setting, many, picture, 4).augmented(many)  # which looks at them


def test_policies_at_magnitude_0_change_nothing_by_what_has_a_magnitude():
  """But for AugMix's posterize."""
  white = np.linspace(0, 1, 192, dtype=np.float32).reshape(8, 8, 3)
  (moderate,) = ROWS['rand_augment', 'magnitude'].sampled_for('rand_augment', {'num_ops': 1, 'magnitude': 0.0})
  (mixed,) = ROWS['augmix', 'severity'].sampled_for('augmix', {'width': 1, 'depth': 1, 'severity': 0.0})
  op, parameter = (
    np.concatenate([np.ravel(part[i]) for part in (moderate['layers'], mixed['layers'])]) for i in range(2)
  )
  weakest = [INDEX[name] for name in RAND_AUGMENT if name not in ('autocontrast', 'equalize')]
  assert set(op) == {INDEX[name] for name in RAND_AUGMENT}
  posterized = mixed['layers'].op == INDEX['posterize']  # to 4 bits at the least severity, as published
  assert set(np.ravel(mixed['layers'].parameter[posterized])) == {4}
  of_paper = np.concatenate([np.zeros(moderate['layers'].op.size, bool), np.ravel(posterized)])
  chosen = np.flatnonzero(np.isin(op, weakest) & ~of_paper)
  layers = Layers(op[chosen][:, None], parameter[chosen][:, None])
  same = jax.jit(jax.vmap(OPS['rand_augment'].apply, (None, 0)))(white, layers)
  np.testing.assert_array_equal(same, np.broadcast_to(white, same.shape))
  matrices = jax.jit(jax.vmap(lambda layers: OPS['rand_augment'].matrix((8, 8), layers)))(layers)
  np.testing.assert_array_equal(matrices, np.broadcast_to(np.eye(3), matrices.shape))


BOUNDS = [
  ('planckian_jitter', 'low', 'high', 9000.0, 4000.0),
  ('random_resized_crop', 'scale_low', 'scale_high', 0.9, 0.3),
  ('random_resized_crop', 'ratio_low', 'ratio_high', 2.0, 0.5),
  ('grid_mask', 'min_unit', 'max_unit', 0.9, 0.3),
  ('erase', 'min_area', 'max_area', 0.5, 0.1),
  ('histogram_match', 'min_amount', 'max_amount', 0.9, 0.3),
  ('resizemix', 'min_side', 'max_side', 0.9, 0.3),
]


def test_every_least_value_has_its_largest_one():
  least = {place for place in DECLARED if place[1].startswith('min_') or place[1].endswith('low')}
  assert least == {(name, low) for name, low, *_ in BOUNDS}


@pytest.mark.parametrize(('name', 'low', 'high', 'more', 'less'), BOUNDS)
def test_a_reversed_range_is_refused(name, low, high, more, less):
  pipeline = Pipeline({name: {low: more, high: less}})
  with pytest.raises(ValueError, match=rf'{name}: \({low}, {high}\) = \({more}, {less}\): must not be reversed'):
    pipeline.check((32, 32, 3))
  Pipeline({name: {low: less, high: more}}).check((32, 32, 3))


@pytest.mark.parametrize(
  ('name', 'settings', 'message'),
  [
    ('elastic', {'sigma': 0.04}, r'sigma with 16 x 16 control points = 0.04: must lie in \[0.0444'),
    ('elastic', {'size': 4}, r'sigma with 4 x 4 control points = 0.1: must lie in \[0.577'),
    ('grid_mask', {'min_unit': 0.05}, r'min_unit for an image of 32 x 32 = 0.05: must lie in \[0.0625, 1\]'),
    ('tile_crop', {'rows': 64}, 'a grid of 64 x 2 does not divide an image of 32 x 32'),
    ('grid_shuffle', {'cols': 64}, 'a grid of 2 x 64 does not divide an image of 32 x 32'),
  ],
)
def test_what_an_image_or_another_parameter_does_not_allow_is_refused(name, settings, message):
  with pytest.raises(ValueError, match=message):
    Pipeline({name: settings}).check((32, 32, 3))
