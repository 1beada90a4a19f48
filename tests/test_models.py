"""Networks: the fast convolutions against the native ones, shapes, and labels that matter."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from genaug.augment import random_ada, random_diff_augment
from genaug.losses.penalties import PENALTIES
from genaug.models import Spec, imagenet, layers
from genaug.models.dcgan import Discriminator, Generator
from genaug.models.registry import NETWORKS
from genaug.models.vae import Decoder, Encoder, LadderDecoder, LadderEncoder
from tests.conftest import slow_but, tiny_config


def _random(shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


@functools.partial(jax.jit, static_argnums=0)
def _with_gradients(op, x, kernel, cotangent):
  y, pull = jax.vjp(op, x, kernel)
  return y, pull(cotangent)


@pytest.mark.parametrize(('shape', 'features'), [((3, 7, 7, 5), 4), ((2, 14, 6, 3), 1)])
def test_conv_up_is_the_native_transposed_convolution(shape, features):
  x, kernel = _random(shape), _random((4, 4, shape[-1], features), 1)
  native, own = layers._conv_up_native, layers.conv_up
  cotangent = _random(jax.eval_shape(native, x, kernel).shape, 2)
  (expected, gradients), (actual, own_gradients) = (_with_gradients(op, x, kernel, cotangent) for op in (native, own))
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  for a, b in zip(own_gradients, gradients):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(('shape', 'features'), [((3, 8, 8, 5), 4), ((2, 14, 6, 3), 1)])
def test_conv_down_gradients_are_the_native_ones(shape, features):
  x, kernel = _random(shape), _random((4, 4, shape[-1], features), 1)
  native, own = layers._conv_down_native, layers.conv_down
  cotangent = _random(jax.eval_shape(native, x, kernel).shape, 2)
  (expected, gradients), (actual, own_gradients) = (_with_gradients(op, x, kernel, cotangent) for op in (native, own))
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  for a, b in zip(own_gradients, gradients):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(
  ('shape', 'features', 'groups', 'winograd'),
  [
    ((3, 9, 14, 32), 36, 1, True),
    ((2, 7, 8, 128), 32, 1, True),
    ((2, 7, 16, 32), 32, 1, True),
    ((2, 16, 3, 32), 32, 1, False),
    ((2, 12, 12, 3), 32, 1, False),
    ((2, 10, 9, 64), 80, 2, True),
  ],
)
def test_conv3x3_is_the_native_convolution(shape, features, groups, winograd):
  """Winograd's of odd sides, of many channels and in groups; itself where pixels or channels are few."""
  x, kernel = _random(shape), _random((3, 3, shape[-1] // groups, features), 1)
  native, own = layers._conv3x3_native, layers.conv3x3
  assert ('conv_general_dilated' not in str(jax.make_jaxpr(own)(x, kernel))) == winograd
  cotangent = _random(jax.eval_shape(native, x, kernel).shape, 2)
  (expected, gradients), (actual, own_gradients) = (_with_gradients(op, x, kernel, cotangent) for op in (native, own))
  np.testing.assert_allclose(actual, expected, atol=1e-5 * float(jnp.abs(expected).max()))
  for a, b in zip(own_gradients, gradients):
    np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize('shape', [(2, 6, 8, 3), (1, 7, 5, 2)])
def test_pooling_of_vgg_is_max_pooling(shape):
  x = _random(shape)
  native, own = (lambda x: nn.max_pool(x, (2, 2), (2, 2))), imagenet._halved
  np.testing.assert_array_equal(own(x), native(x))
  cotangent = _random(native(x).shape, 1)
  gradients = [jax.vjp(pool, x)[1](cotangent)[0] for pool in (native, own)]
  np.testing.assert_array_equal(*gradients)


def test_up_is_the_transpose_of_down():
  x, y, kernel = _random((2, 8, 8, 3)), _random((2, 4, 4, 5), 1), _random((4, 4, 3, 5), 2)
  flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
  np.testing.assert_allclose(
    jnp.vdot(layers.conv_down(x, kernel), y), jnp.vdot(x, layers.conv_up(y, flipped)), rtol=1e-4
  )


@pytest.mark.parametrize(('side', 'expected'), [(28, (7, 2)), (32, (4, 3)), (64, (4, 4)), (96, (6, 4))])
def test_stages(side, expected):
  assert layers.base_and_doublings(side) == expected


@pytest.mark.parametrize('side', [5, 27, 36, 68, 0])
def test_stages_refuses_sides_that_do_not_halve(side):
  with pytest.raises(ValueError, match=str(side)):
    layers.base_and_doublings(side)


@pytest.mark.parametrize('side', [28, 32, 64])
@pytest.mark.parametrize(('channels', 'classes'), [(1, 0), (3, 5)])
def test_every_network_has_the_shapes_it_says(side, channels, classes):
  spec, key = Spec((side, side, channels), classes), jax.random.key(0)
  images = jax.ShapeDtypeStruct((2, side, side, channels), jnp.float32)
  z, label = jax.ShapeDtypeStruct((2, 6), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32)

  def outputs(images, z, label):
    generator, discriminator = Generator(spec, width=2), Discriminator(spec, width=2)
    options = {'spec': spec, 'width': 2, 'z_dim': 6}
    encoder, decoder = Encoder(**options), Decoder(**options, outputs=channels, has_scale=True)
    ladder, down = LadderEncoder(**options), LadderDecoder(**options, outputs=5)
    maps = [jnp.zeros((2, *shape)) for shape in down.latent_shapes]
    return (
      generator.init_with_output(key, z, label, train=True)[0],
      discriminator.init_with_output(key, images, label)[0],
      encoder.init_with_output(key, images, label)[0],
      decoder.init_with_output(key, (z,), label)[0],
      down.init_with_output(key, maps, label, ladder.init_with_output(key, images, label)[0])[0],
    )

  fake, logit, (mean, log_var), (logits, log_scale, _), mixture = jax.eval_shape(outputs, images, z, label)
  assert fake.shape == logits.shape == images.shape
  assert logit.shape == (2,)
  assert mean.shape == log_var.shape == (2, 6)
  assert log_scale.shape == (channels,)
  assert mixture[0].shape == (*images.shape[:3], 5)
  assert [level.z.shape[1] for level in mixture[2][1:]] == [side // 2**i for i in reversed(range(1, len(mixture[2])))]


def test_labels_change_what_conditional_networks_say():
  spec, key = Spec((28, 28, 1), 3), jax.random.key(0)
  z, images = _random((2, 6)), _random((2, 28, 28, 1))
  one, two = jnp.array([0, 1]), jnp.array([0, 2])
  generator, discriminator = Generator(spec, width=2), Discriminator(spec, width=2)
  g = jax.jit(lambda: generator.init(key, z, one, train=True))()
  d = jax.jit(lambda: discriminator.init(key, images, one))()
  generate = jax.jit(lambda label: generator.apply(g, z, label, train=False))
  fake = [generate(label) for label in (one, two)]

  discriminate = jax.jit(lambda images, label: discriminator.apply(d, images, label, mutable='batch_stats')[0])
  logit = [discriminate(images, label) for label in (one, two)]
  for a, b in (fake, logit):
    assert bool((a[0] == b[0]).all())
    assert bool((a[1] != b[1]).any())


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
  spec, key = Spec((28, 28, 1), 0), jax.random.key(0)
  z, label = _random((4, 6)), jnp.zeros(4, jnp.int32)
  half, full = (Generator(spec, width=4, dtype=jnp.dtype(t)) for t in ('bfloat16', 'float32'))
  variables = jax.jit(lambda: half.init(key, z, label, train=True))()
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  a, b = (jax.jit(lambda g=g: g.apply(variables, z, label, train=False))() for g in (half, full))
  assert a.dtype == jnp.float32
  assert 0 < float(jnp.abs(a - b).max()) < 0.05


DISCRIMINATORS = [name for name, network in NETWORKS.items() if network.roles == ('generator', 'discriminator')]


def _logits(name, batch=4, augment=lambda key, image: image):
  """(parameters, logits(images)) of a discriminator, of images that are augmented first."""
  config = tiny_config('gan').unlock()
  config.model.network, config.dtype = name, 'float64'
  discriminator = NETWORKS[name].build(config, Spec((28, 28, 1), 0), None)['discriminator']
  images, label = _random((batch, 28, 28, 1)), jnp.zeros(batch, jnp.int32)
  params = jax.jit(discriminator.init)(jax.random.key(1), images, label)['params']
  keys = jax.random.split(jax.random.key(2), batch)

  def logits(params, images):
    images = jax.vmap(augment)(keys, images)
    return discriminator.apply({'params': params}, images, label, mutable='batch_stats')[0]

  return params, images, logits


@pytest.mark.parametrize('augment', slow_but(('none',), ('none', 'diff_augment', 'ada')))
@pytest.mark.parametrize('name', slow_but(('dcgan',), DISCRIMINATORS))
def test_gradient_penalties_have_the_gradient_of_finite_differences(name, augment):
  augments = {
    'none': lambda key, image: image,
    'diff_augment': random_diff_augment,
    'ada': lambda key, image: random_ada(key, image, 0.8, ('blit', 'geometry', 'color')),
  }
  with jax.enable_x64(True):  # the slope of a leaky ReLU jumps: only tiny steps see the derivative
    params, images, logits = _logits(name, augment=augments[augment])
    # Without biases, what augmentation leaves black sits on the kink of the ReLU.
    params = jax.tree.map(lambda x: x.astype(jnp.float64) + 0.01, params)
    keys = jax.random.split(jax.random.key(3), len(images))

    @jax.jit
    def value(params):
      critic = lambda x, keys: logits(params, x)
      return sum(PENALTIES[penalty](critic, images, 0.5 * images, keys).mean() for penalty in ('r1', 'r2'))

    gradient = jax.jit(jax.grad(value))(params)
    norm = optax.tree.norm(gradient)
    ahead, behind = (value(jax.tree.map(lambda p, g, s=s: p + s * 1e-6 * g / norm, params, gradient)) for s in (1, -1))
    np.testing.assert_allclose((ahead - behind) / 2e-6, norm, rtol=1e-3)


@pytest.mark.parametrize('op', [layers.conv_down, layers.conv_up, layers.conv3x3])
def test_convolutions_have_derivatives_of_every_mode(op):
  """Forward, forward over reverse, reverse over reverse and batched ones are those of the native operations."""
  natives = {
    layers.conv_down: layers._conv_down_native,
    layers.conv_up: layers._conv_up_native,
    layers.conv3x3: layers._conv3x3_native,
  }
  native, size, shape = natives[op], 4, (2, 6, 8, 3)
  if op is layers.conv3x3:
    size, shape = 3, (2, 9, 10, 32)
  x, kernel = _random(shape), _random((size, size, shape[-1], 32), 1) / shape[-1]

  def derivatives(op):
    f = lambda x, kernel: (jnp.tanh(op(x, kernel)) ** 2).sum()
    squared = lambda x, kernel: sum((g**2).sum() for g in jax.grad(f, (0, 1))(x, kernel))
    scales = jnp.arange(1.0, 4.0)
    return [
      jax.jvp(f, (x, kernel), (2 * x, 3 * kernel)),
      jax.jvp(jax.grad(f, (0, 1)), (x, kernel), (x, kernel)),
      jax.grad(squared, (0, 1))(x, kernel),
      jax.vmap(lambda s: jax.grad(f, (0, 1))(s * x, kernel))(scales),
      jax.vmap(lambda s: jax.grad(f, (0, 1))(s * x, s * kernel))(scales),
    ]

  actual, expected = (jax.tree.leaves(jax.jit(derivatives, static_argnums=0)(one)) for one in (op, native))
  for a, b in zip(actual, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(
  'name', slow_but(('cnn',), (name for name, network in NETWORKS.items() if 'classifier' in network.roles))
)
def test_batch_norm_averages_over_the_axis_that_it_is_given_and_needs_none(name):
  """Under jit, as a user has it; over the axis of a vmap, and over the devices of a shard_map."""
  config, spec = tiny_config('classify'), Spec((32, 32, 3), 4)
  images = _random((4, 32, 32, 3))
  alone = NETWORKS[name].build(config, spec, None)['classifier']
  variables = jax.jit(functools.partial(alone.init, train=False))(jax.random.key(0), images)
  run = lambda network, images: network.apply(variables, images, train=True, mutable='batch_stats')[0]
  expected = jax.jit(lambda images: run(alone, images))(images)
  mapped = NETWORKS[name].build(config, spec, 'batch')['classifier']
  halves = jax.jit(jax.vmap(lambda images: run(mapped, images), axis_name='batch'))(images.reshape(2, 2, 32, 32, 3))
  np.testing.assert_allclose(halves.reshape(4, 4), expected, atol=1e-4)
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), 'batch')
  spread = jax.shard_map(lambda images: run(mapped, images), mesh=mesh, in_specs=P('batch'), out_specs=P('batch'))
  np.testing.assert_allclose(jax.jit(spread)(images), expected, atol=1e-4)
