"""dm_pix: functions of one image, wrapped as (key, image) -> image for jit(vmap(...))."""

import math

from experiments.benchmarks import draws
from experiments.benchmarks.calls import Named

MODULE, PACKAGE = 'dm_pix', 'dm_pix'


def _plain(name, *arguments) -> Named:
  """Wraps a function of an image that draws nothing; `arguments` may be functions of the image's side."""
  at = lambda value, n: value(n) if callable(value) else value
  return Named(name, lambda found, n: lambda key, image: found(image, *(at(value, n) for value in arguments)))


def _random(name, *arguments) -> Named:
  return Named(name, lambda found, n: lambda key, image: found(key, image, *arguments))


def _drawn(name, low, high, *more, **keywords) -> Named:
  """Wraps a function of an image and a value, which is drawn uniformly from [low, high]."""

  def make(found, n):
    import jax

    return lambda key, image: found(image, jax.random.uniform(key, minval=low, maxval=high), *more, **keywords)

  return Named(name, make)


def _affine(angle=0.0, shift=0.0, zoom=1.0, shear=0.0) -> Named:
  def make(affine_transform, n):
    import jax
    import jax.numpy as jnp

    limits = jnp.array([math.radians(angle), math.log(zoom), *[math.radians(shear)] * 2, shift * n, shift * n])
    centre = jnp.array([(n - 1) / 2, (n - 1) / 2, 0])

    def each(key, image):  # its matrix maps output to input coordinates, in (row, column, channel)
      turn, size, across, down, dx, dy = limits * jax.random.uniform(key, (6,), minval=-1)
      cos, sin = jnp.exp(size) * jnp.cos(turn), jnp.exp(size) * jnp.sin(turn)
      across, down = jnp.tan(across), jnp.tan(down)
      rows = [cos - sin * across, cos * down - sin, 0], [cos * across + sin, cos + sin * down, 0], [0, 0, 1]
      linear = jnp.array(rows)
      offset = centre - linear @ centre + jnp.array([dy, dx, 0])
      return affine_transform(image, linear, offset=offset, mode='constant')

    return each

  return Named('affine_transform', make)


def _grayscale(rgb_to_grayscale, n):
  import jax.numpy as jnp

  return lambda key, image: jnp.broadcast_to(rgb_to_grayscale(image, keep_dims=True), image.shape)


def _elastic(elastic_deformation, n):
  return lambda key, image: elastic_deformation(key, image, *draws.simard(n), mode='constant')


OPS = {
  'hflip': _plain('flip_left_right'),
  'vflip': _plain('flip_up_down'),
  **{op: _affine(**ranges) for op, ranges in draws.AFFINES.items()},
  'rotate': _drawn('rotate', -math.pi / 6, math.pi / 6, mode='constant'),
  'center_crop': _plain('center_crop', lambda n: n * 7 // 8, lambda n: n * 7 // 8),
  'pad': _plain('pad_to_size', lambda n: n * 5 // 4, lambda n: n * 5 // 4),
  'elastic': Named('elastic_deformation', _elastic),
  'brightness': _random('random_brightness', 0.4),
  'contrast': _random('random_contrast', 0.6, 1.4),
  'saturation': _random('random_saturation', 0.6, 1.4),
  'hue': _random('random_hue', 0.1),
  'gamma': _random('random_gamma', 0.67, 1.5),
  'grayscale': Named('rgb_to_grayscale', _grayscale),
  'solarize': _drawn('solarize', 0.5, 1.0),
  'gaussian_blur': _drawn('gaussian_blur', 0.1, 1.5, 7),
}
FEATURES = {  # further features, see experiments.features
  'rot90': 'rot90',
  'another draw for every image of a batch': 'random_hue',
  'replay of a draw': 'random_hue',
  'jit and vmap': 'rotate',
  'gradients to the image': 'adjust_hue',
  'on the accelerator, inside the training step': 'rotate',
}
