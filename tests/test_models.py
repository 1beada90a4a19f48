"""Networks: the fast convolutions against the native ones, shapes, and labels that matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.models import Spec, layers
from genaug.models.dcgan import Discriminator, Generator
from genaug.models.vae import Decoder, Encoder


def _random(shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(('shape', 'features'), [((3, 7, 7, 5), 4), ((2, 14, 6, 3), 1), ((1, 4, 4, 1), 6)])
def test_conv_up_is_the_native_transposed_convolution(shape, features):
  x, kernel = _random(shape), _random((4, 4, shape[-1], features), 1)
  expected, pull_expected = jax.vjp(layers._conv_up_native, x, kernel)
  actual, pull_actual = jax.vjp(layers.conv_up, x, kernel)
  cotangent = _random(expected.shape, 2)
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  for a, b in zip(pull_actual(cotangent), pull_expected(cotangent)):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()))


@pytest.mark.parametrize(('shape', 'features'), [((3, 8, 8, 5), 4), ((2, 14, 6, 3), 1), ((1, 4, 4, 1), 6)])
def test_conv_down_gradients_are_the_native_ones(shape, features):
  x, kernel = _random(shape), _random((4, 4, shape[-1], features), 1)
  expected, pull_expected = jax.vjp(layers._conv_down_native, x, kernel)
  actual, pull_actual = jax.vjp(layers.conv_down, x, kernel)
  cotangent = _random(expected.shape, 2)
  np.testing.assert_allclose(actual, expected, atol=1e-5)
  for a, b in zip(pull_actual(cotangent), pull_expected(cotangent)):
    np.testing.assert_allclose(a, b, atol=2e-5 * float(jnp.abs(b).max()))


def test_up_is_the_transpose_of_down():
  x, y, kernel = _random((2, 8, 8, 3)), _random((2, 4, 4, 5), 1), _random((4, 4, 3, 5), 2)
  flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
  np.testing.assert_allclose(
    jnp.vdot(layers.conv_down(x, kernel), y), jnp.vdot(x, layers.conv_up(y, flipped)), rtol=1e-4
  )


@pytest.mark.parametrize(('side', 'expected'), [(28, (7, 2)), (32, (4, 3)), (64, (4, 4)), (96, (6, 4))])
def test_stages(side, expected):
  assert layers.stages(side) == expected


@pytest.mark.parametrize('side', [5, 27, 36, 68, 0])
def test_stages_refuses_sides_that_do_not_halve(side):
  with pytest.raises(ValueError, match=str(side)):
    layers.stages(side)


@pytest.mark.parametrize('side', [28, 32, 64])
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('classes', [0, 5])
def test_every_network_has_the_shapes_it_says(side, channels, classes):
  spec, key = Spec((side, side, channels), classes), jax.random.key(0)
  images = jax.ShapeDtypeStruct((2, side, side, channels), jnp.float32)
  z, label = jax.ShapeDtypeStruct((2, 6), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32)

  def outputs(images, z, label):
    generator, discriminator = Generator(spec, width=2), Discriminator(spec, width=2)
    encoder, decoder = Encoder(spec, width=2, z_dim=6), Decoder(spec, width=2, has_scale=True)
    return (
      generator.init_with_output(key, z, label, train=True)[0],
      discriminator.init_with_output(key, images, label)[0],
      encoder.init_with_output(key, images, label)[0],
      decoder.init_with_output(key, z, label)[0],
    )

  fake, logit, (mean, log_var), (logits, log_scale) = jax.eval_shape(outputs, images, z, label)
  assert fake.shape == logits.shape == images.shape
  assert logit.shape == (2,)
  assert mean.shape == log_var.shape == (2, 6)
  assert log_scale.shape == (channels,)


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
