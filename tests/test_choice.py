"""one_of and some_of: which operations happen, and how often."""

import jax
import numpy as np
import pytest
from scipy import stats

from genaug.augment import Pipeline, one_of, some_of
from tests.test_every_op import config_of

N = 3000
IMAGES = np.zeros((N, 4, 4, 1), np.float32)
KEYS = jax.random.split(jax.random.key(0), N)
FLIPS = ('transpose', 'antitranspose', 'hflip', 'vflip')


def happened(pipeline):
  """[N, operations], in the order of the pipeline."""
  params = pipeline.sample(KEYS, {'image': IMAGES})
  return np.stack([np.asarray(params[name].on) for name in pipeline.operations], -1)


def test_one_of_draws_exactly_one_by_weight():
  on = happened(Pipeline({'flip': one_of({'hflip': {'p': 0.5}, 'vflip': {'p': 0.3}, 'transpose': {'p': 0.2}})}))
  np.testing.assert_array_equal(on.sum(-1), 1)
  # The registry's order: transpose, hflip, vflip.
  assert stats.chisquare(on.sum(0), N * np.array([0.2, 0.5, 0.3])).pvalue > 1e-3


def test_some_of_draws_as_many_all_sets_alike_with_the_probability_of_the_group():
  flips = Pipeline({'flips': some_of(2, {name: {} for name in FLIPS}, p=0.7), 'invert': {'p': 0.5}})
  *on, inverted = happened(flips).T[[1, 2, 3, 4, 0]]
  on = np.stack(on, -1)
  assert flips.operations == ('invert', *FLIPS)
  assert set(on.sum(-1)) == {0, 2}
  group = on.any(-1)
  assert stats.binomtest(int(group.sum()), N, 0.7).pvalue > 1e-3
  _, counts = np.unique(on[group] @ [1, 2, 4, 8], return_counts=True)
  assert len(counts) == 6
  assert stats.chisquare(counts).pvalue > 1e-3
  # What stands beside the choice knows nothing of it.
  assert stats.chi2_contingency(np.histogram2d(inverted, group, 2)[0]).pvalue > 1e-3


def test_some_of_by_weight_draws_in_proportion_to_what_is_left():
  weights = np.array([0.6, 0.3, 0.1])
  on = happened(Pipeline({'two': some_of(2, {name: {'p': w} for name, w in zip(FLIPS, weights)})}))
  left_out = [
    sum(weights[i] * weights[j] / (1 - weights[i]) for i, j in ((a, b), (b, a))) for a, b in ((1, 2), (0, 2), (0, 1))
  ]
  assert stats.chisquare((~on).sum(0), N * np.array(left_out)).pvalue > 1e-3


def test_all_of_the_members_always_is_no_choice():
  image = np.random.default_rng(0).random((4, 4, 1), np.float32)
  both = Pipeline({'both': some_of(2, {'hflip': {}, 'vflip': {}})})
  out = both(jax.random.key(0), {'image': image})['image']
  np.testing.assert_array_equal(out, image[::-1, ::-1])
  assert Pipeline({'none': one_of({'hflip': {}}, p=0)}).operations == ()


def test_a_choice_changes_how_often_and_not_how():
  members = {'rotate': {'degrees': 40}, 'zoom': {'limit': 0.5}}
  chosen = Pipeline({'x': one_of(members)}).sample(KEYS, {'image': IMAGES})
  alone = Pipeline(members).sample(KEYS, {'image': IMAGES})
  for name in members:
    jax.tree.map(np.testing.assert_array_equal, chosen[name].values, alone[name].values)
  # And no choice that of another one.
  more = {'x': one_of(members), 'y': some_of(1, {'hflip': {}, 'vflip': {}}, p=0.5), 'invert': {}}
  again = Pipeline(more).sample(KEYS, {'image': IMAGES})
  np.testing.assert_array_equal(again['rotate'].on, chosen['rotate'].on)
  assert abs(np.corrcoef(again['hflip'].on, again['rotate'].on)[0, 1]) < 0.08


def test_configs_have_choices():
  config = config_of(
    0.0,
    one_of=((0.5, ('gaussian_blur', 'motion_blur')), (1.0, ('hflip', 'vflip'))),
    some_of=((1.0, 2, ('rotate', 'shear', 'zoom')),),
    **{'hflip.p': 0.9, 'vflip.p': 0.1, 'invert.p': 0.5, 'rotate.degrees': 12.0},
  )
  from_config = Pipeline.from_config(config)
  written = {
    'blur': one_of({'gaussian_blur': {'sigma': 2.0}, 'motion_blur': {'length': 9.0}}, p=0.5),
    'flip': one_of({'hflip': {'p': 0.9}, 'vflip': {'p': 0.1}}),
    'moves': some_of(2, {'rotate': {'degrees': 12.0}, 'shear': {'degrees': 15.0}, 'zoom': {'limit': 0.25}}),
    'invert': {'p': 0.5, 'amount': 1.0},
  }
  assert from_config == Pipeline(written)
  assert hash(from_config) == hash(Pipeline(written))
  assert from_config != Pipeline(written | {'invert': {'p': 0.4, 'amount': 1.0}})
  as_lists = config.to_dict() | {'some_of': [[1.0, 2, ['rotate', 'shear', 'zoom']]]}  # JSON has no tuples
  assert Pipeline.from_config(as_lists) == from_config


BLURS = {'gaussian_blur': {}, 'box_blur': {}}
ERRORS = {
  'unknown member': (lambda: Pipeline({'x': one_of({'gausian_blur': {}})}), "^x: unknown.*mean 'gaussian_blur'"),
  'parameter': (lambda: Pipeline({'x': one_of({'rotate': {'degree': 1}})}), "^x: rotate: unknown.*mean 'degrees'"),
  'two choices': (lambda: Pipeline({'x': one_of(BLURS), 'y': one_of(BLURS)}), "^y: gaussian_blur is in 'x' as well"),
  'choice and alone': (lambda: Pipeline({'box_blur': {}, 'x': one_of(BLURS)}), "^x: box_blur is in 'box_blur' as"),
  'n': (lambda: Pipeline({'x': some_of(3, BLURS)}), r'^x: n = 3: must be a whole number in \[1, 2\]'),
  'none': (lambda: Pipeline({'x': some_of(1, {})}), r'^x: n = 1'),
  'p': (lambda: Pipeline({'x': one_of(BLURS, p=1.5)}), r'^x: p = 1.5: must lie in \[0, 1\]'),
  'weights': (lambda: Pipeline({'x': one_of(BLURS | {'sharpen': {'p': 0.5}})}), '^x: p of .*above 0 for all'),
  'names alone': (lambda: Pipeline({'x': one_of(['box_blur'])}), '^x: .*must be a dict'),
  'config form': (lambda: of_config(one_of=(('box_blur', 'sharpen'),)), r'^one_of = .*must be \(p, \(name, ...\)\)'),
  'config number': (lambda: of_config(one_of=(1.0, ('sharpen',))), r'^one_of = .*entry 0: must be \(p'),
  'config name': (lambda: of_config(one_of=((1.0, ('blur', 'sharpen')),)), '^one_of = .*unknown operation'),
  'config n': (lambda: of_config(some_of=((1.0, 2, ('sharpen',)),)), '^some_of = .*n = 2: must'),
  'config twice': (lambda: of_config(some_of=((1.0, 1, ('sharpen', 'sharpen')),)), '^some_of = .*is there twice'),
  'config p': (lambda: of_config(one_of=((7.0, ('sharpen',)),)), r'^one_of = .*p = 7.0: must lie in \[0, 1\]'),
}  # fmt: skip


def of_config(**choices):
  return Pipeline.from_config(config_of(0.0, **choices))


@pytest.mark.parametrize(('call', 'message'), ERRORS.values(), ids=ERRORS.keys())
def test_errors_name_the_choice(call, message):
  with pytest.raises(ValueError, match=message):
    call()
