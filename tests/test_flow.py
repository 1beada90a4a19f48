"""Flow matching: its loss and solver against closed forms, what the network is given, and what comes out of it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from sklearn.svm import SVC

from genaug.augment import Pipeline
from genaug.augment.encoding import ENCODINGS, encode
from genaug.errors import InputError
from genaug.losses.flow import flow_matching, heun, interpolate, logit_normal_times, stratified_times, velocity
from genaug.metrics import EvalContext
from genaug.metrics.registry import METRICS, describe
from genaug.models import Spec
from genaug.models.norms import GroupNorm
from genaug.models.unet import UNet, depth_to_space, patch_and_resolutions, space_to_depth
from genaug.tasks.registry import TASKS
from genaug.training import loop
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import best_metric, prepare
from tests.conftest import UNAUGMENTED, random_params, tiny_config

SPEC = Spec((8, 8, 1), 3)
KEYS = jax.random.split(jax.random.key(0), 4)
LABELS = jnp.array([0, 1, 2, 0])


def _random(*shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


# The loss and the solver


def test_the_loss_is_the_papers():
  noise, images, predicted = (np.asarray(_random(4, 6, 6, 3, seed=i)) for i in range(3))
  t = np.array([0.0, 0.25, 0.5, 0.9], np.float32)
  x = interpolate(noise, images, jnp.array(t))
  for i, one in enumerate(t):
    np.testing.assert_allclose(x[i], (1 - one) * noise[i] + one * images[i], atol=1e-6)
  expected = [np.mean((v - (x - n)) ** 2) for v, x, n in zip(velocity(predicted, x, t), images, noise)]
  np.testing.assert_allclose(flow_matching(predicted, images, t), expected, rtol=1e-4)
  assert np.isfinite(flow_matching(predicted, images, np.ones(4, np.float32))).all()


def test_times_are_logit_normal():
  times = np.asarray(logit_normal_times(jax.random.split(jax.random.key(0), 5000)))
  counts, _ = np.histogram(scipy.stats.norm.cdf(scipy.special.logit(times)), 20, (0, 1))
  assert scipy.stats.chisquare(counts).pvalue > 1e-3
  expected = scipy.special.expit(scipy.stats.norm.ppf([0.125, 0.375, 0.625, 0.875]))
  np.testing.assert_allclose(stratified_times(4), expected, rtol=1e-5)


def test_the_solver_is_heuns_and_last_a_step_of_eulers():
  field = lambda x, t, np: np.sin(3 * x) + t[:, None, None, None] * x
  noise, steps = np.asarray(_random(2, 3, 3, 1), np.float64), 5
  x = noise
  for i in range(steps):
    time = lambda i: np.full(2, i / steps)
    here = field(x, time(i), np)
    there = field(x + here / steps, time(i + 1), np) if i < steps - 1 else here
    x = x + (here + there) / 2 / steps
  actual = jax.jit(lambda noise: heun(lambda x, t: field(x, t, jnp), noise, steps))(jnp.array(noise, jnp.float32))
  np.testing.assert_allclose(actual, x, rtol=1e-5)


@pytest.mark.parametrize('steps', [1, 2, 7])
def test_the_solver_is_exact_where_the_velocity_is_linear_in_time(steps):
  """But for the last step, which takes the velocity at its beginning."""
  noise, slope, offset = _random(2, 3, 3, 1), 3.0, -1.5
  actual = heun(lambda x, t: offset + slope * t[:, None, None, None] + 0 * x, noise, steps)
  np.testing.assert_allclose(actual, noise + offset + slope / 2 - slope / (2 * steps**2), atol=1e-5)


def test_the_known_flow_between_gaussians_is_followed():
  mean, std = 0.7, 0.3

  def expected(x, t):
    """Images, given x."""
    t = t[:, None, None, None]
    return mean + t * std**2 / ((1 - t) ** 2 + (t * std) ** 2) * (x - t * mean)

  noise = _random(500, 4, 4, 1)
  images = heun(lambda x, t: velocity(expected(x, t), x, t), noise, 100)
  np.testing.assert_allclose(images, mean + std * noise, atol=2e-3)
  # And it is what the loss is least at.
  t, x1 = logit_normal_times(jax.random.split(jax.random.key(1), 500)), mean + std * _random(500, 4, 4, 1, seed=2)
  x = interpolate(noise, x1, t)
  best, *others = (flow_matching(expected(x, t) + e * x, x1, t).mean() for e in (0.0, -0.1, 0.1))
  assert best < min(others)


# What a network is given


@pytest.mark.parametrize('name', ENCODINGS)
def test_encodings_are_zero_exactly_where_nothing_was_done(name):
  images = jax.random.uniform(jax.random.key(1), (32, 8, 8, 3))
  pipeline = Pipeline({name: {'p': 0.5}})
  params = pipeline.sample(jax.random.split(jax.random.key(0), 32), {'image': images})
  numbers = encode(params, (name,))
  done = np.abs(pipeline.apply(params, {'image': images})['image'] - images).max((1, 2, 3)) > 1e-5
  assert 4 < done.sum() < 28
  np.testing.assert_array_equal((np.asarray(numbers) != 0).any(-1), done)
  assert np.abs(numbers).max() < 3
  for i in (0, 31):
    one = jax.tree.map(lambda x, i=i: x[i], params)
    np.testing.assert_array_equal(encode(one, (name,)), numbers[i])


@pytest.mark.parametrize(('side', 'expected'), [(8, (2, 2)), (28, (2, 2)), (32, (2, 2)), (64, (4, 2)), (128, (4, 3))])
def test_the_lowest_resolution_is_small(side, expected):
  assert patch_and_resolutions((side, side, 3)) == expected


@pytest.mark.parametrize('shape', [(27, 27, 1), (30, 30, 3), (36, 36, 1), (28, 32, 1), (100, 100, 3), (0, 0, 1)])
def test_images_that_do_not_divide_are_refused(shape):
  with pytest.raises(ValueError, match=f'{shape[0]} x {shape[1]} pixels: must be square, of a side'):
    patch_and_resolutions(shape)


def test_group_norm_is_that_of_flax():
  x, g = (jax.random.normal(jax.random.key(i), (3, 5, 4, 12)) + 1 for i in (0, 1))
  own, of_flax = GroupNorm(3, jnp.float32), nn.GroupNorm(3, epsilon=1e-5)
  variables = {'params': {'scale': jnp.linspace(0.5, 2, 12), 'bias': jnp.linspace(-1, 1, 12)}}
  jax.tree.map(np.testing.assert_array_equal, own.init(jax.random.key(0), x), of_flax.init(jax.random.key(0), x))

  @functools.partial(jax.jit, static_argnums=0)
  def with_gradients(norm):
    y, pull = jax.vjp(norm.apply, variables, x)
    return y, pull(g)

  (y, gradients), (expected, expected_gradients) = map(with_gradients, (own, of_flax))
  np.testing.assert_allclose(y, expected, atol=1e-5)
  for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_space_to_depth_keeps_every_pixel_of_a_patch_together():
  x = jnp.arange(2 * 4 * 8 * 3).reshape(2, 4, 8, 3)
  patches = space_to_depth(x, 2)
  assert patches.shape == (2, 2, 4, 12)
  np.testing.assert_array_equal(patches[1, 1, 2].reshape(2, 2, 3), x[1, 2:4, 4:6])
  np.testing.assert_array_equal(depth_to_space(patches, 2), x)


@functools.cache
def _network(numbers=0, dropout=0.0):
  """(apply, parameters) of a small U-Net that predicts other than zeros."""
  network = UNet(SPEC, width=8, dropout=dropout)
  x, t = jnp.zeros((1, *SPEC.image_shape)), jnp.zeros(1)
  variables = jax.eval_shape(network.init, jax.random.key(0), x, t, LABELS[:1], jnp.zeros((1, numbers)))
  return jax.jit(lambda params, *args: network.apply({'params': params}, *args)), random_params(variables['params'])


@pytest.mark.parametrize(('side', 'channels', 'classes'), [(12, 1, 0), (28, 1, 10), (32, 3, 10), (64, 3, 0)])
def test_it_predicts_images_and_first_of_all_zeros(side, channels, classes):
  x, t, label = _random(2, side, side, channels), jnp.full(2, 0.3), jnp.zeros(2, jnp.int32)
  network = UNet(Spec(x.shape[1:], classes), width=4, dtype=jnp.dtype('bfloat16'))
  run = lambda: network.init_with_output(jax.random.key(0), x, t, label, jnp.zeros((2, 0)))
  if side == 12:
    prediction, variables = jax.jit(run)()
    assert not prediction.any()
  else:
    prediction, variables = jax.eval_shape(run)
  assert prediction.shape == x.shape
  assert {leaf.dtype for leaf in jax.tree.leaves((prediction, variables))} == {jnp.dtype('float32')}


def test_at_the_default_width_it_is_small():
  config = tiny_config('flow', model__width=32)
  state = jax.eval_shape(TASKS['flow'].build(config, Spec((28, 28, 1), 10)).init, jax.random.key(0))
  assert 500_000 < sum(leaf.size for leaf in jax.tree.leaves(state.params)) < 750_000


def test_time_and_label_matter_and_the_null_class_is_a_label_too():
  apply, params = _network()
  x, none = _random(4, 8, 8, 1), jnp.zeros((4, 0))
  of = lambda t, label: apply(params, x, jnp.full(4, t), jnp.full(4, label), none)
  outputs = [of(0.5, label) for label in range(SPEC.num_classes + 1)] + [of(0.6, 0)]
  for i, a in enumerate(outputs):
    assert all((np.abs(a - b) > 1e-4).any((1, 2, 3)).all() for b in outputs[:i])


def test_augmentation_parameters_of_zero_are_as_none():
  apply, params = _network(numbers=5)
  x, t = _random(4, 8, 8, 1), jnp.full(4, 0.5)
  with_zeros, with_ones = (apply(params, x, t, LABELS, jnp.full((4, 5), value)) for value in (0.0, 1.0))
  without = {name: value for name, value in params.items() if name != 'augment'}
  np.testing.assert_allclose(apply(without, x, t, LABELS, jnp.zeros((4, 0))), with_zeros, atol=1e-6)
  assert np.abs(with_ones - with_zeros).max() > 1e-2


def test_dropout_is_of_one_image_by_its_key():
  apply, params = _network(dropout=0.5)
  x, t, none = _random(4, 8, 8, 1), jnp.full(4, 0.5), jnp.zeros((4, 0))
  dropped = apply(params, x, t, LABELS, none, KEYS)
  alone = apply(params, x[1:2], t[1:2], LABELS[1:2], none[1:2], KEYS[1:2])
  np.testing.assert_allclose(dropped[1:2], alone, atol=1e-5)
  others = apply(params, x, t, LABELS, none, KEYS[::-1])
  kept = apply(params, x, t, LABELS, none)
  assert np.abs(dropped - others).max() > 1e-2
  assert np.abs(dropped - kept).max() > 1e-2
  np.testing.assert_array_equal(kept, _network()[0](params, x, t, LABELS, none, KEYS))


# The task


def _task(spec=SPEC, **overrides):
  return TASKS['flow'].build(tiny_config('flow', **UNAUGMENTED, **overrides), spec)


def _state(task):
  shapes = jax.eval_shape(task.init, jax.random.key(0))
  zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  return zeros.replace(params=random_params(shapes.params), ema=random_params(shapes.ema, seed=1))


@pytest.mark.parametrize(
  ('guidance', 'augment', 'numbers'),
  [pytest.param(1.0, (), 0, marks=pytest.mark.slow), (2.5, ('hflip', 'translate'), 3)],
)
def test_guidance_moves_the_velocity_away_from_that_of_the_null_class(guidance, augment, numbers):
  """1 is that of the class. Nothing was done to samples: the parameters of non-leaky augmentation are zeros."""
  task = _task(flow__sample_steps=1, flow__guidance=guidance, flow__augment=augment)
  state = _state(task)
  noise, t, zeros = jax.vmap(lambda key: jax.random.normal(key, (8, 8, 1)))(KEYS), jnp.zeros(4), jnp.zeros((4, numbers))
  apply = jax.jit(lambda params, label: UNet(SPEC, width=4).apply({'params': params}, noise, t, label, zeros))
  for name, params in (('samples', state.ema), ('samples_raw', state.params)):
    towards, anywhere = (np.asarray(apply(params['denoiser'], label)) for label in (LABELS, jnp.full(4, 3)))
    assert np.abs(towards - anywhere).max() > 1e-2
    expected = np.clip((anywhere + guidance * (towards - anywhere) + 1) / 2, 0, 1)
    actual = jax.jit(task.samplers[name].sample)(state, {'label': LABELS}, KEYS)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_guidance_needs_labels_and_their_dropout():
  for spec, overrides in ((Spec((8, 8, 1), 0), {}), (SPEC, {'flow__label_dropout': 0.0})):
    with pytest.raises(
      InputError, match=r'flow\.guidance = 2\.0: needs a network .* with labels or captions and without'
    ):
      _task(spec, flow__guidance=2.0, **overrides)
    _task(spec, **overrides)


def _batch(count=8):
  rng = np.random.default_rng(0)
  return {'image': rng.integers(0, 256, (count, 8, 8, 1), np.uint8), 'label': np.arange(count) % 3}


@pytest.mark.parametrize(('share', 'rows'), [(1.0, [3]), pytest.param(0.0, [0, 1, 2], marks=pytest.mark.slow)])
def test_dropped_labels_are_of_the_null_class(share, rows):
  task = _task(
    flow__label_dropout=share, model__dropout=0.3, flow__augment=('hflip', 'brightness'), flow__augment_p=0.5
  )
  keys = jax.random.split(jax.random.key(5), 8)
  new, metrics = jax.jit(task.train_step)(_state(task), _batch(), keys)
  moments = optax.tree.get(new.opt['denoiser'], 'mu')
  learned = np.abs(moments['label']['embedding']).max(1) > 0
  assert np.flatnonzero(learned).tolist() == rows
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((new, metrics)))
  assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(moments))


def test_the_held_out_loss_is_of_the_average_at_fixed_times_and_noise():
  task, batch = _task(flow__augment=('hflip',)), _batch()
  keys = jax.random.split(jax.random.key(5), 8)
  state = _state(task)
  losses = jax.jit(task.eval_step)(state, batch, keys)['flow_loss']
  images, network = batch['image'] / 127.5 - 1, UNet(SPEC, width=4)
  predict = jax.jit(
    lambda x, t: network.apply({'params': state.ema['denoiser']}, x, t, batch['label'], jnp.zeros((8, 1)))
  )
  expected = []
  for i, t in enumerate(stratified_times(4)):
    noise = np.stack([jax.random.normal(jax.random.fold_in(key, i), (8, 8, 1)) for key in keys])
    x = (1 - t) * noise + t * images
    implied = (predict(x, jnp.full(8, t)) - x) / (1 - t)
    expected.append(((implied - (images - noise)) ** 2).mean((1, 2, 3)))
  np.testing.assert_allclose(losses, np.mean(expected, axis=0), rtol=1e-4)


def _halves(**overrides):
  """Brightness of the left less that of the right half of samples, after training on images with a bright left half."""
  task = _task(Spec((8, 8, 1), 0), model__width=8, optim__lr=3e-3, flow__ema=0.98, train__steps=300, **overrides)
  image = np.zeros((8, 8, 1), np.uint8)
  image[:, :4] = 255
  batch = {'image': np.stack([image] * 16), 'label': np.zeros(16, np.int32)}
  step, state = jax.jit(task.train_step, donate_argnums=0), jax.jit(task.init)(jax.random.key(0))
  for i in range(300):
    state, _ = step(state, batch, jax.random.split(jax.random.key(i), 16))
  samples = jax.jit(task.samplers['samples'].sample)(state, batch, jax.random.split(jax.random.key(9), 16))
  return np.asarray((samples[:, :, :4] - samples[:, :, 4:]).mean((1, 2, 3)))


@pytest.mark.slow
def test_non_leaky_augmentation_never_comes_out_and_other_does():
  assert _halves(flow__augment=('hflip', 'brightness'), flow__augment_p=0.5).min() > 0.3
  assert 2 <= (_halves(augment__hflip__p=0.5) > 0).sum() <= 14


@pytest.mark.slow
def test_a_short_run_ends_with_its_held_out_loss(data_dir, tmp_path):
  config = tiny_config('flow', train__steps=10, eval__every=5, eval__metrics=('held_out',), train__snapshot_every=10)
  said = []
  scores = loop.train(prepare(config, data_dir, lambda _: None), tmp_path, said.append)
  assert describe(scores) == f'flow loss {scores["eval/flow_loss"]:.4f} [1,000 images of test]'
  assert 0 < scores['eval/flow_loss'] < 2
  assert (tmp_path / 'figures' / 'samples_000010.png').exists()


def test_the_best_checkpoint_is_that_of_the_least_held_out_loss():
  losses = np.array([1.0, 2.0, 6.0], np.float32)
  nothing = dict.fromkeys(EvalContext._fields)
  run = EvalContext(**nothing | {'outputs': lambda: {'flow_loss': losses}, 'split': 'test'})
  scores = METRICS['held_out'].compute(run)
  assert describe(scores) == 'flow loss 3.0000 [3 images of test]'
  assert best_metric(tiny_config('flow', eval__metrics=('held_out', 'distances'))) == ('eval/flow_loss', 'min')


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_samples_are_of_the_class_that_was_asked_for(data_dir):
  """At least 90 % of 500 digits in the eyes of a classifier of real ones. Minutes on two quiet cores."""
  training = {'train__steps': 1000, 'train__batch_size': 64, 'optim__warmup_steps': 50, 'flow__ema': 0.99}
  config = tiny_config('flow', model__width=32, flow__guidance=2.0, **training, **UNAUGMENTED)
  experiment = prepare(config, data_dir, lambda _: None)
  step, state = loop.make_step(experiment), experiment.init()
  device_data, batch = loop.make_batches(experiment)
  for i in range(config.train.steps):
    state, _ = step(state, device_data, batch(i))

  rows = lambda images: images.reshape(len(images), -1) / 255
  train, test = experiment.dataset.train.arrays, experiment.dataset.test.arrays
  classifier = SVC(C=10).fit(rows(train['image']), train['label'])
  assert classifier.score(rows(test['image']), test['label']) > 0.95
  samples = np.concatenate(list(Evaluator(experiment).samples(state, 500)))
  assert classifier.score(rows(samples), np.arange(500) % 10) >= 0.9


@pytest.mark.slow
def test_a_run_that_memorises_is_called_so_and_a_healthy_one_not(data_dir, tmp_path):
  def said(name, steps, **settings):
    settings |= {'train__steps': steps, 'train__checkpoint_every': steps, 'eval__every': steps, 'eval__samples': 200}
    settings |= {'model__width': 16, 'optim__lr': 2e-3, 'eval__metrics': ('memorisation',)}
    lines, still = [], {f'augment__{operation}__p': 0.0 for operation in ('rotate', 'translate', 'cutout')}
    loop.train(
      prepare(tiny_config('flow', **settings, **still), data_dir, lambda _: None), tmp_path / name, lines.append
    )
    return '\n'.join(lines)

  assert 'WARNING: copies training images' in said('few', 2000, data__per_class=2)
  healthy = said('many', 500)
  assert 'AuthPct' in healthy
  assert 'WARNING' not in healthy
