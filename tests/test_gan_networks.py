"""Generators and discriminators: shapes, labels, resampling, statistics of a minibatch, spectral normalisation."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.models import Spec, gan_layers, layers, sown_features, spectral
from genaug.models.norms import InstanceNorm
from genaug.models.patch_gan import PatchDiscriminator
from genaug.models.registry import NETWORKS
from tests.conftest import random_params, slow_but, tiny_config

GANS = [name for name, network in NETWORKS.items() if network.roles == ('generator', 'discriminator')]


def _random(shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


def _build(name, spec, axis_name=None, **settings):
  config = tiny_config('gan', model__network=name, model__z_dim=6, model__minibatch_stddev=True, **settings)
  return NETWORKS[name].build(config, spec, axis_name)


@pytest.mark.parametrize('side', slow_but((28, 128), (28, 32, 64, 128)))
@pytest.mark.parametrize('classes', [0, 5])
@pytest.mark.parametrize(('name', 'stride'), [*((name, 1) for name in GANS), ('r3', 2)])
def test_every_network_has_the_shapes_it_says(name, stride, classes, side):
  spec, key = Spec((side, side, 3), classes), jax.random.key(0)
  networks = _build(name, spec, dtype='bfloat16', model__stride=stride)
  images = jax.ShapeDtypeStruct((4, side, side, 3), jnp.float32)
  z, label = jax.ShapeDtypeStruct((4, 6), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.int32)
  fake, g = jax.eval_shape(functools.partial(networks['generator'].init_with_output, train=True), key, z, label)
  logit, d = jax.eval_shape(networks['discriminator'].init_with_output, key, images, label)
  assert (fake.shape, fake.dtype) == (images.shape, jnp.float32)
  assert (logit.shape, logit.dtype) == ((4,), jnp.float32)
  assert {leaf.dtype for leaf in jax.tree.leaves((g, d))} == {jnp.dtype('float32')}


@pytest.mark.parametrize(('side', 'message'), [(27, 'must be even for model.stride=2'), (12, 'side must be .* got 6')])
def test_r3_refuses_sides_that_its_stride_does_not_fit(side, message):
  model = tiny_config('gan', model__network='r3', model__stride=2).model
  with pytest.raises(ValueError, match=message):
    NETWORKS['r3'].check(model, (side, side, 1))


@pytest.mark.parametrize('name', GANS)
def test_logits_are_linear_in_the_features_of_a_discriminator(name):
  network, images, label = _build(name, Spec((8, 8, 1), 0))['discriminator'], _random((4, 8, 8, 1)), jnp.zeros(4, int)
  params = {'params': jax.jit(network.init)(jax.random.key(0), images, label)['params']}
  found = jax.jit(lambda params: sown_features(network, params, images, label))(params)
  logit, _ = jax.jit(lambda params: network.apply(params, images, label, mutable='batch_stats'))(params)
  bias, kernel = (leaf for leaf in jax.tree.leaves(params) if leaf.shape in ((found.shape[1], 1), (1,)))
  np.testing.assert_allclose((found @ kernel)[:, 0] + bias, logit, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['resnet', 'r3'])
def test_labels_change_what_conditional_networks_say(name):
  """Once their parameters have moved: the zeros and ones that they begin with say nothing of a label."""
  networks = _build(name, Spec((8, 8, 1), 3))
  inputs = {'generator': _random((4, 6)), 'discriminator': _random((4, 8, 8, 1))}
  for role, network in networks.items():
    train = {'train': False} if role == 'generator' else {}
    labels = [jnp.array([0, label, 0, 0]) for label in (1, 2)]
    init, apply = (functools.partial(call, **train) for call in (network.init, network.apply))
    variables = random_params(jax.eval_shape(init, jax.random.key(0), inputs[role], labels[0]))
    a, b = (jax.jit(apply)(variables, inputs[role], label) for label in labels)
    np.testing.assert_array_equal(a[0], b[0])
    assert bool((a[1] != b[1]).any())


@pytest.mark.parametrize('axis_name', [None, 'batch'])
def test_conditional_batch_norm_averages_over_the_axis_that_it_is_given(axis_name):
  spec, z, label = Spec((8, 8, 1), 3), _random((4, 6)), jnp.array([0, 1, 2, 0])
  variables = jax.jit(lambda: _build('resnet', spec)['generator'].init(jax.random.key(0), z, label, train=True))()
  network = _build('resnet', spec, axis_name)['generator']
  run = lambda z, label: network.apply(variables, z, label, train=True, mutable='batch_stats')[0]
  if axis_name:
    halves = jax.vmap(run, axis_name=axis_name)
    run = lambda z, label: halves(z.reshape(2, 2, 6), label.reshape(2, 2)).reshape(4, 8, 8, 1)
  alone = _build('resnet', spec)['generator']
  expected = jax.jit(lambda: alone.apply(variables, z, label, train=True, mutable='batch_stats')[0])()
  np.testing.assert_allclose(jax.jit(run)(z, label), expected, atol=1e-4)


def test_strided_convolutions_are_a_convolution_and_a_mean_or_repeated_pixels():
  x, kernel = _random((2, 6, 8, 3)), _random((3, 3, 3, 5), 1)
  convolve = lambda x: jax.lax.conv_general_dilated(x, kernel, (1, 1), 'SAME', dimension_numbers=layers._LAYOUT)
  variables = {'params': {'kernel': kernel, 'bias': jnp.zeros(5)}}
  pooled = layers.ConvPool(5).apply(variables, x)
  np.testing.assert_allclose(pooled, nn.avg_pool(convolve(x), (2, 2), (2, 2)), atol=1e-5)
  upsampled = layers.UpsampleConv(5).apply(variables, x)
  np.testing.assert_allclose(upsampled, convolve(x.repeat(2, 1).repeat(2, 2)), atol=1e-5)


def test_smooth_resampling_is_the_filter_of_1_2_1():
  x = np.asarray(_random((2, 6, 8, 3)))
  padded = np.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)))
  weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
  expected = sum(weights[i, j] * padded[:, i : i + 5 : 2, j : j + 7 : 2] for i in range(3) for j in range(3))
  np.testing.assert_allclose(gan_layers.smooth_down(x), expected, atol=1e-6)
  small = _random((2, 3, 4, 3), 1)
  np.testing.assert_allclose(
    4 * jnp.vdot(gan_layers.smooth_down(x), small), jnp.vdot(x, gan_layers.smooth_up(small)), rtol=1e-4
  )
  np.testing.assert_array_equal(gan_layers.smooth_up(jnp.ones((1, 3, 4, 1)))[0, :5, :7], 1)


@pytest.mark.parametrize(('batch', 'group'), [(8, 4), (6, 2), (3, 1)])
def test_minibatch_stddev_is_that_of_each_group(batch, group):
  x = np.asarray(_random((batch, 5, 5, 2)))
  feature = gan_layers.minibatch_stddev(x)[..., -1]
  expected = [x[i : i + group].std(0).mean() for i in range(0, batch, group)]
  np.testing.assert_allclose(feature, np.repeat(expected, group)[:, None, None] * np.ones((1, 5, 5)), atol=2e-4)


def test_spectral_normalisation_divides_by_the_largest_singular_value():
  """Whose derivative is that of the quotient, W / largest singular value of W."""
  params = {
    'conv': {'kernel': _random((3, 3, 2, 7)), 'bias': _random((7,), 1)},
    'label': {'embedding': _random((4, 5))},
  }
  other = jax.tree.map(lambda x: _random(x.shape, 2), params)

  def exactly(path, leaf):
    return leaf if path[-1].key == 'bias' else leaf / jnp.linalg.norm(leaf.reshape(-1, leaf.shape[-1]), 2)

  def product(normalized):
    return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(normalized), jax.tree.leaves(other)))

  @jax.jit
  def both(params):
    vectors = spectral.init_vectors(jax.random.key(1), params)
    vectors = jax.lax.fori_loop(0, 300, lambda i, v: spectral.power_iteration(params, v), vectors)
    by_svd = lambda params: jax.tree_util.tree_map_with_path(exactly, params)
    by_vectors = lambda params: spectral.normalized(params, vectors)
    return [(f(params), jax.grad(lambda p, f=f: product(f(p)))(params)) for f in (by_vectors, by_svd)]

  actual, expected = both(params)
  for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize('halvings', [1, 2])
def test_a_patch_discriminator_judges_patches_of_the_size_it_says(halvings):
  network = PatchDiscriminator(width=4, halvings=halvings, norm=False)
  image = jax.random.normal(jax.random.key(0), (1, 48, 48, 3))
  params = network.init(jax.random.key(1), image)
  logits = network.apply(params, image)
  assert logits.shape == (1, 48 // 2**halvings, 48 // 2**halvings)
  middle = logits.shape[1] // 2
  seen = jax.grad(lambda image: network.apply(params, image)[0, middle, middle])(image)
  rows = np.flatnonzero(np.abs(seen).sum((0, 2, 3)))
  assert rows[-1] - rows[0] + 1 == {1: 12, 2: 26}[halvings]


def test_instance_norm_is_of_every_image_and_channel_with_its_style():
  x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
  params = {'scale': jnp.array([[1.0, 1, 1], [2.0, 3, 4]]), 'bias': jnp.array([[0.0, 0, 0], [5.0, 6, 7]])}
  normalised = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
  expected = jnp.stack([normalised[0] * params['scale'][1] + params['bias'][1], normalised[1]])
  actual = InstanceNorm(styles=2).apply({'params': params}, x, jnp.array([1, 0]))
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
