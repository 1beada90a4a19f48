"""Policies of the AutoAugment family: for every image, some operations are sampled from one list.

Sampled parameters are a few layers of one operation each (see `policy_layers`); applying them runs the same chain for
every image. Definitions and ranges of the operations are PIL's and the papers'; shears keep the top left corner in
place, as PIL's and torchvision's do.

Policies are differentiable once in reverse mode. Forward mode (`jax.jvp`, `jax.jacfwd`) through them raises TypeError,
because `conditional.when` defines only a reverse-mode derivative.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment import color, filters, matrices, tone
from genaug.augment.conditional import when
from genaug.augment.image import (
  Choice,
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_image,
  from_zero,
  interval,
  is_pair,
  operation,
  random_form,
  sample_factor,
  sample_value,
  uniform,
  validated,
)
from genaug.augment.policy_layers import (
  INDEX,
  OPERATIONS,
  Layers,
  apply_layers,
  static_fill,
)
from genaug.augment.policy_tables import AUTO_AUGMENT
from genaug.augment.resample import Fill

RAND_AUGMENT = OPERATIONS[:-1]  # the fourteen operations of the RandAugment and TrivialAugment papers


class Ranges(NamedTuple):
  """Parameters of the operations at full magnitude."""

  shear: float  # slope
  translate: tuple[float, float]  # pixels
  rotate: float  # degrees
  factor: float  # distance of factors from 1
  bits: int  # how many of `of_bits` are removed
  of_bits: int = 8


# Sampling


@validated(
  num_ops=Parameter(1, 16, 'operations', 'Number of operations; static.'),
  magnitude=Parameter(
    0,
    30,
    '',
    "Magnitude of all operations, on torchvision's scale, where the paper's 10 is 30; uniform in a pair. At 0 only "
    'autocontrast and equalize, which have none, change anything.',
    (0, 30),
  ),
)
def sample_rand_augment(
  key: PRNGKeyArray, shape: ImageShape, num_ops: int = 2, magnitude: ScalarLike | Pair = 9.0
) -> dict[str, Layers]:
  """Samples num_ops of 14 operations with random signs; the list and the ranges are torchvision's."""
  which, sign = jax.random.split(key)
  op = jax.random.randint(which, (num_ops,), 0, len(RAND_AUGMENT))
  return {
    'layers': Layers(op, _parameter(_moderate(shape), op, _magnitude(key, magnitude) / 30, _signs(sign, num_ops)))
  }


def _magnitude(key: PRNGKeyArray, magnitude: ScalarLike | Pair) -> ScalarLike:
  return sample_value(key, magnitude) if is_pair(magnitude) else magnitude


def sample_trivial_augment_wide(key: PRNGKeyArray, shape: ImageShape) -> dict[str, Layers]:
  """Samples one of 14 operations at a magnitude uniform in 0..30 of wide ranges."""
  del shape
  which, how, sign = jax.random.split(key, 3)
  op = jax.random.randint(which, (1,), 0, len(RAND_AUGMENT))
  level = jax.random.randint(how, (1,), 0, 31) / 30
  ranges = Ranges(shear=0.99, translate=(32, 32), rotate=135, factor=0.99, bits=6)
  return {'layers': Layers(op, _parameter(ranges, op, level, _signs(sign, 1)))}


@validated(table=Choice(tuple(AUTO_AUGMENT), 'The data set that the pairs of operations were learned on.'))
def sample_auto_augment(key: PRNGKeyArray, shape: ImageShape, table: str = 'cifar10') -> dict[str, Layers]:
  """Samples one of the 25 pairs of operations of a table."""
  rows = AUTO_AUGMENT[table]
  op, p, magnitude = (np.array([[step[i] for step in row] for row in rows]) for i in range(3))
  op = np.vectorize(INDEX.get)(op)
  which, on, sign = jax.random.split(key, 3)
  row = jax.random.randint(which, (), 0, len(rows))
  happens = jax.random.bernoulli(on, jnp.asarray(p, jnp.float32)[row])
  op = jnp.where(happens, jnp.asarray(op)[row], INDEX['identity'])
  return {'layers': Layers(op, _parameter(_moderate(shape), op, jnp.asarray(magnitude)[row] / 9, _signs(sign, 2)))}


@validated(
  severity=Parameter(
    0, 10, '', 'Magnitudes are uniform in [0, severity] or the pair; posterize keeps 4 bits at 0.', (0, 10)
  ),
  width=Parameter(1, 16, 'chains', 'Number of chains that are averaged; static.'),
  depth=Parameter(1, 16, 'operations', 'Largest number of operations in a chain; static.'),
)
def sample_augmix(
  key: PRNGKeyArray, shape: ImageShape, severity: ScalarLike | Pair = 3.0, width: int = 3, depth: int = 3
) -> dict[str, Layers | Array]:
  """Samples chains, their weights from Dirichlet(1), and the weight of their sum from Beta(1, 1), as published."""
  which, long, how, sign, weigh, mix = jax.random.split(key, 6)
  h, w, _ = shape
  candidates = ('autocontrast', 'equalize', 'posterize', 'rotate', 'solarize', 'shear_x', 'shear_y')
  candidates = jnp.array([INDEX[name] for name in (*candidates, 'translate_x', 'translate_y')])
  op = jax.random.choice(which, candidates, (width, depth))
  kept = jnp.arange(depth) < jax.random.randint(long, (width, 1), 1, depth + 1)
  low, high = interval(severity, from_zero)
  level = uniform(how, low / 10, high / 10, (width, depth))
  ranges = Ranges(shear=0.3, translate=(w / 3, h / 3), rotate=30, factor=0.9, bits=4, of_bits=4)
  parameter = _parameter(ranges, op.ravel(), level.ravel(), _signs(sign, width * depth)).reshape(width, depth)
  layers = Layers(jnp.where(kept, op, INDEX['identity']), parameter)
  chance = jax.random.exponential(weigh, (width,))
  return {'layers': layers, 'weights': chance / chance.sum(), 'blend': jax.random.uniform(mix)}


@validated(jitter=Parameter(0, 1, '', 'Colour factors are uniform in [1 - jitter, 1 + jitter] or the pair.', (0, 2)))
def sample_three_augment(key: PRNGKeyArray, shape: ImageShape, jitter: ScalarLike | Pair = 0.3) -> Params:
  """Samples one of the three operations, the blur's sigma, colour factors, and a flip with probability 1/2."""
  del shape
  which, blur, colors, flip = jax.random.split(key, 4)
  return {
    'which': jax.random.randint(which, (), 0, 3),
    'sigma': uniform(blur, 0.1, 2.0),
    'factors': sample_factor(colors, jitter, (3,)),
    'flip': jax.random.bernoulli(flip),
  }


def _moderate(shape: ImageShape) -> Ranges:
  h, w, _ = shape
  return Ranges(shear=0.3, translate=(150 / 331 * w, 150 / 331 * h), rotate=30, factor=0.9, bits=4)


def _signs(key: PRNGKeyArray, n: int) -> Float[Array, ' n']:
  return jnp.where(jax.random.bernoulli(key, shape=(n,)), 1.0, -1.0)


def _parameter(
  ranges: Ranges, op: Int[Array, ' n'], level: ScalarLike | Float[Array, ' n'], sign: Float[Array, ' n']
) -> Float[Array, ' n']:
  """Returns the parameter of every sampled operation at `level` in [0, 1] of its range."""
  level = jnp.broadcast_to(jnp.asarray(level, jnp.float32), op.shape)
  factor = 1 + sign * level * ranges.factor
  parameters = {
    'shear_x': sign * level * ranges.shear,
    'shear_y': sign * level * ranges.shear,
    'translate_x': sign * jnp.floor(level * ranges.translate[0]),
    'translate_y': sign * jnp.floor(level * ranges.translate[1]),
    'rotate': sign * level * ranges.rotate,
    'brightness': factor,
    'color': factor,
    'contrast': factor,
    'sharpness': factor,
    'posterize': jnp.maximum(ranges.of_bits - jnp.round(level * ranges.bits), 1),
    # At a threshold of 1, white would still be inverted.
    'solarize': jnp.where(level > 0, 1 - level, 2.0),
  }
  table = jnp.stack([parameters.get(name, jnp.zeros_like(level)) for name in OPERATIONS])
  return jnp.take_along_axis(table, op[None], 0)[0]


# Applying


@operation
def apply_augmix(
  image: Float[Array, 'h w c'],
  layers: Layers,
  weights: Float[Array, ' k'],
  blend: ScalarLike,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Returns (1 - blend) * image + blend * the weighted sum of the chains; masks and boxes do not move."""
  options = {'interpolation': interpolation, 'border': border, 'fill': static_fill(fill)}
  return image + blend * (_mix_chains(image, layers, weights, **options) - image)


@partial(jax.jit, static_argnames=('interpolation', 'border', 'fill'))
def _mix_chains(image, layers, weights, **options):
  def add(mixed, chain):
    layers, weight = chain
    return mixed + weight * apply_layers(image, layers, **options), None

  return jax.lax.scan(add, jnp.zeros_like(image), (layers, weights))[0]


@operation
def apply_three_augment(
  image: Float[Array, 'h w c'],
  which: Int[Array, ''],
  sigma: ScalarLike,
  factors: Float[Array, '3'],
  flip: Bool[Array, ''],
) -> Float[Array, 'h w c']:
  """Applies 3-Augment with the parameters of `sample_three_augment`."""
  image = recolor_three(image, which, sigma, factors, flip)
  return jnp.where(flip, image[:, ::-1], image)


def recolor_three(image, which, sigma, factors, flip):
  """Applies 3-Augment without its flip, see `three_matrix`."""
  del flip
  for i, change in enumerate((_grayscale, _solarize, _blur)):
    image = when(which == i, change, image, sigma)
  return color.color_jitter(image, *factors)


def _grayscale(image, params):
  del params
  return color.grayscale(image, 1.0)


def _solarize(image, params):
  del params
  return tone.solarize(image, 128 / 255)


def _blur(image, sigma):
  return filters.gaussian_blur(image, sigma, ksize=11)


def three_matrix(size: matrices.Size, flip: Bool[Array, ''], **colors) -> matrices.Matrix:
  """Returns the matrix of the flip of 3-Augment."""
  del colors
  return jnp.where(flip, matrices.hflip_matrix(size), jnp.eye(3))


# Sampling and applying


def _policy(apply: Callable, sample_params: Callable, doc: str) -> Callable[..., Num[Array, 'h w c']]:
  name = sample_params.__name__.removeprefix('sample_')

  def sample_and_apply(key, image, parameters, **options):
    return apply(image, **sample_params(key, check_image(image, name).shape, **parameters), **options)

  return random_form(name, doc, apply, sample_params, sample_and_apply)


rand_augment = _policy(
  apply_layers,
  sample_rand_augment,
  """RandAugment: applies random operations of 14, all at one magnitude, with random signs.

  Source: Cubuk et al. 2020, "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space"; the list
  and the ranges of operations are torchvision's.
  """,
)
trivial_augment_wide = _policy(
  apply_layers,
  sample_trivial_augment_wide,
  """TrivialAugment: applies one random operation of 14 at a magnitude uniform in 0..30, of wide ranges.

  Source: Mueller & Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation".
  """,
)
auto_augment = _policy(
  apply_layers,
  sample_auto_augment,
  """AutoAugment: applies one of 25 pairs of operations that were learned on a data set.

  Source: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Policies from Data", appendix A.
  """,
)
augmix = _policy(
  apply_augmix,
  sample_augmix,
  """AugMix: mixes the image with a weighted mean of chains of random operations.

  Source: Hendrycks et al. 2020, "AugMix: A Simple Data Processing Method to Improve Robustness and Uncertainty".
  """,
)
three_augment = _policy(
  apply_three_augment,
  sample_three_augment,
  """3-Augment: grayscale, solarize or Gaussian blur, then colour jitter, then a flip half the time.

  Source: Touvron et al. 2022, "DeiT III: Revenge of the ViT", section 3.
  """,
)
