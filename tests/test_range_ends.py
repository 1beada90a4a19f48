"""Both ends of every declared range, and the middle, do what is declared; see `range_ends` for what is measured."""

import numpy as np
import pytest
from PIL import Image  # noqa: F401
from scipy import ndimage

from genaug.augment import image, registry
from genaug.augment.registry import OPS
from tests import range_ends as by
from tests.range_ends import HALF, LEVELS, RAMP, SIDE, SOFT, Row, Seen, flat, impulse

BLACK_BOX = {'min_area': 0.01, 'max_area': 0.01}
NEUTRAL_JITTER = {'brightness': (1.0, 1.0), 'contrast': (1.0, 1.0), 'saturation': (1.0, 1.0), 'hue': (0.0, 0.0)}
STILL = {'degrees': 0.0, 'fraction': 0.0, 'limit': 0.0, 'shear': 0.0}


def without(settings, key):
  return {name: value for name, value in settings.items() if name != key}


def faded(other):
  return lambda amount: SOFT + amount * (other - SOFT)


ROWS = {
  ('rand_augment', 'num_ops'): Row(
    by.recolored, lambda n: 1 - (12 / 14) ** n, by.NARROW, fixed={'magnitude': 0.0}, atol=0.12
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
  ('three_augment', 'jitter'): Row(by.average, lambda v: 0.2 * v, flat(0.2), 'factors', by.around_one),
  ('gamma', 'limit'): Row(by.average, lambda v: HALF**v, flat(HALF), 'gamma', by.reciprocal),
  ('tone_curve', 'limit'): Row(
    by.average, lambda v: HALF + 3 * v * HALF * (1 - HALF), flat(HALF), 'points', by.symmetric
  ),
  ('posterize', 'bits'): Row(
    lambda seen: len(np.unique(seen.images.round(4))), lambda v: 2**v, RAMP, 'bits', lambda n: (n, max(n, 7))
  ),
  ('solarize', 'threshold'): Row(
    by.first, lambda v: np.where(255 * v <= LEVELS, 1 - RAMP, RAMP), RAMP, 'threshold', lambda n: (n, 1)
  ),
  ('invert', 'amount'): Row(by.average, lambda v: 0.2 + 0.6 * v, flat(0.2), 'amount', lambda n: (n, n)),
  ('brightness', 'limit'): Row(by.average, lambda v: 0.05 * v, flat(0.05), 'factor', by.around_one),
  ('contrast', 'limit'): Row(by.first, by.contrast, SOFT, 'factor', by.around_one),
  ('saturation', 'limit'): Row(by.first, by.saturation, SOFT, 'factor', by.around_one),
  ('hue', 'degrees'): Row(by.first, by.hue, SOFT, 'degrees', by.symmetric),
  ('color_jitter', 'brightness'): Row(
    by.average, lambda v: 0.05 * v, flat(0.05), 'brightness', by.around_one, without(NEUTRAL_JITTER, 'brightness')
  ),
  ('color_jitter', 'contrast'): Row(
    by.first, by.contrast, SOFT, 'contrast', by.around_one, without(NEUTRAL_JITTER, 'contrast')
  ),
  ('color_jitter', 'saturation'): Row(
    by.first, by.saturation, SOFT, 'saturation', by.around_one, without(NEUTRAL_JITTER, 'saturation')
  ),
  ('color_jitter', 'hue'): Row(by.first, by.hue, SOFT, 'hue', by.symmetric, without(NEUTRAL_JITTER, 'hue')),
  ('pca_lighting', 'std'): Row(by.lighting, lambda std: (std, 0), rtol=0.05),
  ('planckian_jitter', 'low'): Row(
    by.temperature, float, flat(0.2), 'temperature', lambda n: (n, 15000), by.windows('low', 'high', {}), rtol=0.08
  ),
  ('planckian_jitter', 'high'): Row(
    by.temperature, float, flat(0.2), 'temperature', lambda n: (3000, n), by.windows('low', 'high', {}), rtol=0.08
  ),
  ('grayscale', 'amount'): Row(by.first, faded(by.GREY), SOFT, 'amount', lambda n: (n, n)),
  ('clahe', 'clip_limit'): Row(by.first, by.by_opencv, by.TONES, 'clip_limit', lambda n: (1, n), atol=1.01 / 255),
  ('tile_crop', 'rows'): Row(by.entry(1, 1), float, impulse(256, 256), fixed={'cols': 1}, sides=True),
  ('tile_crop', 'cols'): Row(by.entry(0, 0), float, impulse(256, 256), fixed={'rows': 1}, sides=True),
  ('random_resized_crop', 'scale_low'): Row(by.area, float, fixed=by.windows('scale_low', 'scale_high', by.SQUARES)),
  ('random_resized_crop', 'scale_high'): Row(by.area, float, fixed=by.windows('scale_low', 'scale_high', by.SQUARES)),
  ('random_resized_crop', 'ratio_low'): Row(by.aspect, float, fixed=by.windows('ratio_low', 'ratio_high', {})),
  ('random_resized_crop', 'ratio_high'): Row(by.aspect, float, fixed=by.windows('ratio_low', 'ratio_high', {})),
  ('scale', 'limit'): Row(by.diagonal, float, sampled='sx', interval=by.reciprocal),
  ('zoom', 'limit'): Row(by.diagonal, float, sampled='factor', interval=by.reciprocal),
  ('shear', 'degrees'): Row(lambda seen: seen.matrices[0, :2, :2], by.sheared, sampled='x', interval=by.symmetric),
  ('rotate', 'degrees'): Row(
    by.angles,
    lambda v: (np.cos(np.deg2rad(v)), np.sin(np.deg2rad(v))),
    by.dot(24),
    'angle',
    by.symmetric,
    atol=0.01,
  ),
  ('affine', 'degrees'): Row(
    lambda seen: seen.matrices[0, :2, 0],
    lambda v: (np.cos(np.deg2rad(v)), -np.sin(np.deg2rad(v))),
    sampled='angle',
    interval=by.symmetric,
    fixed=without(STILL, 'degrees'),
  ),
  ('affine', 'fraction'): Row(
    by.moved_middle, float, sampled='dy', interval=by.symmetric, fixed=without(STILL, 'fraction')
  ),
  ('affine', 'limit'): Row(by.diagonal, float, sampled='zoom', interval=by.reciprocal, fixed=without(STILL, 'limit')),
  ('affine', 'shear'): Row(
    lambda seen: seen.matrices[0, :2, :2],
    by.sheared,
    sampled='shear_y',
    interval=by.symmetric,
    fixed=without(STILL, 'shear'),
  ),
  ('perspective', 'distortion'): Row(
    by.corners, by.drawn_in, sampled=lambda params: np.abs(params['corners']), interval=lambda n: (0, n / 2)
  ),
  ('translate', 'fraction'): Row(by.moved_middle, float, sampled='dx', interval=by.symmetric),
  ('lens_distort', 'limit'): Row(lambda seen: seen.fields[0], by.radial, sampled='k1', interval=by.symmetric),
  ('thin_plate_spline', 'limit'): Row(
    by.extremes, lambda v: (v * SIDE, v * SIDE), sampled='offsets', interval=by.symmetric, atol=0.01
  ),
  ('thin_plate_spline', 'size'): Row(by.splines, lambda size: (size, 0), atol=0.01, n=2),
  ('grid_distort', 'limit'): Row(
    by.cells, lambda v: (5, v, 0), sampled='stretch', interval=by.symmetric, numbers=True, rtol=0.1
  ),
  ('grid_distort', 'steps'): Row(by.cells, lambda steps: (steps, 0.3, 0), rtol=0.1),
  ('elastic', 'alpha'): Row(
    by.extremes, lambda v: (v * SIDE, v * SIDE), sampled='control', interval=by.symmetric, atol=0.01
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
  ('gaussian_blur', 'sigma'): Row(by.spread, float, impulse(1, 513), 'sigma', by.from_zero, rtol=0.01, n=2),
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
    by.first,
    faded(by.filtered(lambda x: ndimage.median_filter(x, 3, mode='nearest'), SOFT)),
    SOFT,
    'amount',
    lambda n: (n, n),
  ),
  ('sharpen', 'amount'): Row(
    by.first, lambda v: SOFT + v * (SOFT - by.filtered(by.smoothed, SOFT)), SOFT, 'amount', by.from_zero
  ),
  ('unsharp_mask', 'amount'): Row(by.unsharp, float, SOFT, 'amount', by.from_zero, rtol=0.01),
  ('gaussian_noise', 'std'): Row(by.noise, by.clipped_normal, flat(HALF), 'std', by.from_zero, rtol=0.01),
  ('shot_noise', 'scale'): Row(by.noise, by.clipped_poisson, flat(HALF), 'scale', by.from_zero, rtol=0.01),
  ('salt_and_pepper', 'amount'): Row(
    by.salted, lambda v: (v / 2, v / 2), flat(HALF), 'amount', by.from_zero, rtol=0.02
  ),
  ('jpeg', 'quality'): Row(
    by.loss, by.by_pillow, (by.SMOOTH / 255).astype(np.float32), 'quality', lambda n: (n, 95), middle=50, rtol=0.05
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
  ('grid_mask', 'max_degrees'): Row(by.turned, lambda v: 1, flat(1.0), 'angle', by.symmetric, atol=0.01),
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
  ('fourier_mix', 'max_beta'): Row(by.spectra, by.up_to, SOFT, 'beta', by.from_zero),
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


def values_of(name, key, side=None):
  """The least and the largest value, and one between, as the operation takes them where nothing else is sampled."""
  row, parameter = ROWS[name, key], registry.declared(name)[key]
  if isinstance(parameter, image.Choice):
    return parameter.names
  low, high = parameter.pair if parameter.pair and not row.numbers else parameter[:2]
  high = min(high, side) if row.sides and side else high
  whole = isinstance(registry.parameters(name)[key], int)
  middle = row.middle or (int if whole else float)(low + (high - low) / 2)
  return low, middle, high


def settings_of(name, key, value):
  row, parameter = ROWS[name, key], registry.declared(name)[key]
  paired = getattr(parameter, 'pair', None) and not row.numbers
  return row.settings(key, value) | {key: (value, value) if paired else value}


@pytest.mark.parametrize(('name', 'key'), DECLARED, **IDS)
def test_what_a_parameter_does_at_both_ends_and_between(name, key):
  row = ROWS[name, key]
  found = []
  for value in values_of(name, key):
    seen = Seen(name, settings_of(name, key, value), row.image, row.n, row.keys)
    measured, expected = row.measure(seen), row.expected(value)
    expected = np.broadcast_to(expected, np.shape(measured))
    np.testing.assert_allclose(measured, expected, rtol=row.rtol, atol=row.atol, err_msg=f'{key} = {value}')
    found.append(np.asarray(expected))
  if key not in ('max_degrees',):
    assert not np.allclose(found[0], found[1], rtol=1e-4, atol=1e-4)
    assert not np.allclose(found[1], found[2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('name', 'key'), [place for place in DECLARED if ROWS[place].interval], **IDS)
def test_what_is_sampled_for_a_number_at_both_ends(name, key):
  row, parameter = ROWS[name, key], registry.declared(name)[key]
  for number in parameter[:2]:
    number = type(registry.parameters(name)[key])(number)
    fixed = {} if callable(row.fixed) else dict(row.fixed)
    params = Seen(name, {key: number} | fixed, row.image, row.n, row.keys).many
    sampled = np.asarray(row.sampled(params) if callable(row.sampled) else params[row.sampled], np.float64)
    low, high = row.interval(number)
    some = 0.05 * (high - low) + 1e-5 * abs(high)
    assert low - 1e-5 * abs(low) <= sampled.min() <= low + some
    assert high - some <= sampled.max() <= high + 1e-5 * abs(high)
