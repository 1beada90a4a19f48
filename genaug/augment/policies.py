"""Policies of the AutoAugment family: some operations drawn for every image from one list.

A draw is a few layers of one operation each (`Layers`); carrying it out is the same chain for every image. Each
layer's colour change is computed for the images that drew it (`conditional.when`); the moves of all layers are one
matrix and one resample at the end, so that nothing is interpolated twice and what the moves uncover is `fill`
whatever the colours. Definitions and ranges of the operations are PIL's and the papers'; shears keep the top left
corner in place, as PIL's and torchvision's do.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, ScalarLike

from genaug.augment import color, filters, matrices, tone
from genaug.augment.conditional import when
from genaug.augment.image import Params, Shape, check_channels, operation, uniform, validated
from genaug.augment.policy_tables import AUTO_AUGMENT
from genaug.augment.resample import in_range, warp

# What a layer may do, and the unit of its strength.
OPERATIONS = (
  'identity',
  'shear_x',  # slope: rows move by slope * their height
  'shear_y',
  'translate_x',  # whole pixels
  'translate_y',
  'rotate',  # degrees
  'brightness',  # factor, like the next three
  'color',
  'contrast',
  'sharpness',
  'posterize',  # bits kept
  'solarize',  # threshold in [0, 1]
  'autocontrast',
  'equalize',
  'invert',
)
INDEX = {name: i for i, name in enumerate(OPERATIONS)}
RAND_AUGMENT = OPERATIONS[:-1]  # the fourteen of the RandAugment and TrivialAugment papers


class Layers(NamedTuple):
  """One operation a layer, the first first."""

  op: Int[Array, ' n']  # index into OPERATIONS
  strength: Float[Array, ' n']  # in the operation's unit, sign included; 0 where it has none


class Ranges(NamedTuple):
  """Strengths at full magnitude."""

  shear: float  # slope
  translate: tuple[float, float]  # pixels
  rotate: float  # degrees
  factor: float  # away from 1
  bits: int  # removed of 8


# Drawing


@validated(num_ops=(1, 16), magnitude=(0, 30))
def sample_rand_augment(key: PRNGKeyArray, shape: Shape, num_ops: int = 2, magnitude: float = 9.0) -> dict[str, Layers]:
  """num_ops of 14 operations, all at one magnitude in [0, 30], signs at random (Cubuk et al. 2020).

  The list and the ranges are torchvision's; the paper's magnitude 10 is 30 here.
  """
  which, sign = jax.random.split(key)
  op = jax.random.randint(which, (num_ops,), 0, len(RAND_AUGMENT))
  return {'layers': Layers(op, _strength(_moderate(shape), op, magnitude / 30, _signs(sign, num_ops)))}


def sample_trivial_augment_wide(key: PRNGKeyArray, shape: Shape) -> dict[str, Layers]:
  """one of 14 operations at a magnitude uniform in 0..30 of wide ranges (Mueller & Hutter 2021)."""
  which, how, sign = jax.random.split(key, 3)
  op = jax.random.randint(which, (1,), 0, len(RAND_AUGMENT))
  level = jax.random.randint(how, (1,), 0, 31) / 30
  ranges = Ranges(shear=0.99, translate=(32, 32), rotate=135, factor=0.99, bits=6)
  return {'layers': Layers(op, _strength(ranges, op, level, _signs(sign, 1)))}


@validated(table=tuple(AUTO_AUGMENT))
def sample_auto_augment(key: PRNGKeyArray, shape: Shape, table: str = 'cifar10') -> dict[str, Layers]:
  """one of the 25 pairs of operations learned on a data set: cifar10, imagenet or svhn (Cubuk et al. 2019)."""
  rows = AUTO_AUGMENT[table]
  op, p, magnitude = (np.array([[step[i] for step in row] for row in rows]) for i in range(3))
  op = np.vectorize(INDEX.get)(op)
  which, on, sign = jax.random.split(key, 3)
  row = jax.random.randint(which, (), 0, len(rows))
  drawn = jax.random.bernoulli(on, jnp.asarray(p, jnp.float32)[row])
  op = jnp.where(drawn, jnp.asarray(op)[row], INDEX['identity'])
  return {'layers': Layers(op, _strength(_moderate(shape), op, jnp.asarray(magnitude)[row] / 9, _signs(sign, 2)))}


@validated(severity=(0, 10), width=(1, 16), depth=(1, 16))
def sample_augmix(
  key: PRNGKeyArray, shape: Shape, severity: float = 3.0, width: int = 3, depth: int = 3
) -> dict[str, Layers | Array]:
  """`width` chains of one to `depth` operations at magnitudes up to `severity` of 10, mixed (Hendrycks 2020).

  Weights of the chains are Dirichlet(1), that of the whole Beta(1, 1), as published.
  """
  which, long, how, sign, weigh, mix = jax.random.split(key, 6)
  h, w, _ = shape
  candidates = ('autocontrast', 'equalize', 'posterize', 'rotate', 'solarize', 'shear_x', 'shear_y')
  candidates = jnp.array([INDEX[name] for name in (*candidates, 'translate_x', 'translate_y')])
  op = jax.random.choice(which, candidates, (width, depth))
  kept = jnp.arange(depth) < jax.random.randint(long, (width, 1), 1, depth + 1)
  level = uniform(how, 0, severity / 10, (width, depth))
  ranges = Ranges(shear=0.3, translate=(w / 3, h / 3), rotate=30, factor=0.9, bits=4)
  strength = _strength(ranges, op.ravel(), level.ravel(), _signs(sign, width * depth)).reshape(width, depth)
  layers = Layers(jnp.where(kept, op, INDEX['identity']), strength)
  chance = jax.random.exponential(weigh, (width,))
  return {'layers': layers, 'weights': chance / chance.sum(), 'blend': jax.random.uniform(mix)}


@validated(jitter=(0, 1))
def sample_three_augment(key: PRNGKeyArray, shape: Shape, jitter: float = 0.3) -> Params:
  """one of grayscale, solarize and Gaussian blur, then colour jitter, then a flip half the time (Touvron 2022)."""
  which, blur, colors, flip = jax.random.split(key, 4)
  factors = 1 + uniform(colors, -jitter, jitter, (3,))
  return {
    'which': jax.random.randint(which, (), 0, 3),
    'sigma': uniform(blur, 0.1, 2.0),
    'factors': factors,
    'flip': jax.random.bernoulli(flip),
  }


def _moderate(shape: Shape) -> Ranges:
  h, w, _ = shape
  return Ranges(shear=0.3, translate=(150 / 331 * w, 150 / 331 * h), rotate=30, factor=0.9, bits=4)


def _signs(key: PRNGKeyArray, n: int) -> Float[Array, ' n']:
  return jnp.where(jax.random.bernoulli(key, shape=(n,)), 1.0, -1.0)


def _strength(
  ranges: Ranges, op: Int[Array, ' n'], level: ScalarLike | Float[Array, ' n'], sign: Float[Array, ' n']
) -> Float[Array, ' n']:
  """What an operation's strength is at a level in [0, 1] of the ranges."""
  level = jnp.broadcast_to(jnp.asarray(level, jnp.float32), op.shape)
  factor = 1 + sign * level * ranges.factor
  strengths = {
    'shear_x': sign * level * ranges.shear,
    'shear_y': sign * level * ranges.shear,
    'translate_x': sign * jnp.floor(level * ranges.translate[0]),
    'translate_y': sign * jnp.floor(level * ranges.translate[1]),
    'rotate': sign * level * ranges.rotate,
    'brightness': factor,
    'color': factor,
    'contrast': factor,
    'sharpness': factor,
    'posterize': 8 - jnp.round(level * ranges.bits),
    'solarize': 1 - level,
  }
  table = jnp.stack([strengths.get(name, jnp.zeros_like(level)) for name in OPERATIONS])
  return jnp.take_along_axis(table, op[None], 0)[0]


# Carrying out


def recolor(image: Float[Array, 'h w c'], layers: Layers) -> Float[Array, 'h w c']:
  """The colour changes of all layers in turn; the moves are `layers_matrix`."""

  def one(image, layer):
    for names, change in CHANGES:
      image = when(_is_one_of(layer.op, names), change, image, layer)
    return image, None

  # A loop: compiling takes as long as for one layer.
  return jax.lax.scan(one, image, layers)[0]


def layers_matrix(shape: tuple[int, int], layers: Layers) -> matrices.Matrix:
  """The moves of all layers as one matrix (see `matrices`)."""
  return matrices.compose(*(_matrix(shape, op, strength) for op, strength in zip(*layers)))


def moves(layers: Layers) -> Bool[Array, '']:
  """Whether any layer moves the image."""
  return _is_one_of(layers.op, ('shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate')).any()


def _is_one_of(op: Int[Array, '...'], names: tuple[str, ...]) -> Bool[Array, '...']:
  return jnp.isin(op, jnp.array([INDEX[name] for name in names]))


def _matrix(shape, op, strength):
  def only(name):
    return jnp.where(op == INDEX[name], strength, 0.0)

  # A turn and a shear are never in one layer, so their order does not matter.
  turned = matrices.rotate_matrix(shape, only('rotate'))
  sheared = jnp.array(
    [[1, -only('shear_x'), only('translate_x')], [-only('shear_y'), 1, only('translate_y')], [0, 0, 1]], jnp.float32
  )
  return jnp.where(op == INDEX['rotate'], turned, sheared)


def _enhance(image, params):
  op, factor = params
  mean = color.mean_color(image)
  matrix = jnp.where(
    op == INDEX['brightness'],
    color.brightness_matrix(factor),
    jnp.where(op == INDEX['color'], color.saturation_matrix(factor), color.contrast_matrix(factor, mean)),
  )
  return color.recolored(image, matrix)


def _point(image, params):
  op, strength = params
  posterized = tone.posterize(image, jnp.where(op == INDEX['posterize'], strength, 8.0))
  solarized = tone.solarize(image, jnp.where(op == INDEX['solarize'], strength, 0.0))  # at 0 it inverts everything
  return jnp.where(op == INDEX['posterize'], posterized, solarized)


# (operations, what computes any of them): together what shares its work, apart what is dear.
CHANGES = (
  (('brightness', 'color', 'contrast'), _enhance),
  (('posterize', 'solarize', 'invert'), _point),
  (('sharpness',), lambda image, params: filters.sharpness(image, params[1])),
  (('autocontrast',), lambda image, params: tone.autocontrast(image)),
  (('equalize',), lambda image, params: tone.equalize(image)),
)


@operation
def apply_layers(image: Float[Array, 'h w c'], layers: Layers, **options) -> Float[Array, 'h w c']:
  """A draw of RandAugment, TrivialAugment or AutoAugment carried out; `options` are those of `resample.warp`."""
  check_channels(image.shape[-1], 'policies')
  move = lambda image, matrix: in_range(warp(image, matrix, **options), options.get('method'))
  return when(moves(layers), move, recolor(image, layers), layers_matrix(image.shape[:2], layers))


@operation
def apply_augmix(
  image: Float[Array, 'h w c'], layers: Layers, weights: Float[Array, ' k'], blend: ScalarLike, **options
) -> Float[Array, 'h w c']:
  """(1 - blend) * image + blend * the weighted sum of the chains; masks and boxes stay with the image."""

  def add(mixed, chain):
    layers, weight = chain
    return mixed + weight * apply_layers(image, layers, **options), None

  mixed, _ = jax.lax.scan(add, jnp.zeros_like(image), (layers, weights))
  return image + blend * (mixed - image)


@operation
def apply_three_augment(
  image: Float[Array, 'h w c'],
  which: Int[Array, ''],
  sigma: ScalarLike,
  factors: Float[Array, '3'],
  flip: Bool[Array, ''],
) -> Float[Array, 'h w c']:
  """A draw of `three_augment` carried out."""
  image = recolor_three(image, which, sigma, factors, flip)
  return jnp.where(flip, image[:, ::-1], image)


def recolor_three(image, which, sigma, factors, flip):
  """`apply_three_augment` without its flip."""
  del flip
  image = when(which == 0, lambda image, _: color.grayscale(image, 1.0), image)
  image = when(which == 1, lambda image, _: tone.solarize(image, 128 / 255), image)
  image = when(which == 2, lambda image, sigma: filters.gaussian_blur(image, sigma), image, sigma)
  return color.color_jitter(image, *factors)


def three_matrix(shape: tuple[int, int], flip: Bool[Array, ''], **colors) -> matrices.Matrix:
  """The flip of `apply_three_augment`."""
  del colors
  return jnp.where(flip, matrices.hflip_matrix(shape), jnp.eye(3))


# Both at once


def rand_augment(
  key: PRNGKeyArray, image: Float[Array, 'h w c'], num_ops: int = 2, magnitude: float = 9.0, **options
) -> Float[Array, 'h w c']:
  """See `sample_rand_augment` and `apply_layers`."""
  return apply_layers(image, **sample_rand_augment(key, image.shape, num_ops, magnitude), **options)


def trivial_augment_wide(key: PRNGKeyArray, image: Float[Array, 'h w c'], **options) -> Float[Array, 'h w c']:
  """See `sample_trivial_augment_wide` and `apply_layers`."""
  return apply_layers(image, **sample_trivial_augment_wide(key, image.shape), **options)


def auto_augment(
  key: PRNGKeyArray, image: Float[Array, 'h w c'], table: str = 'cifar10', **options
) -> Float[Array, 'h w c']:
  """See `sample_auto_augment` and `apply_layers`."""
  return apply_layers(image, **sample_auto_augment(key, image.shape, table), **options)


def augmix(key: PRNGKeyArray, image: Float[Array, 'h w c'], severity: float = 3.0, **options) -> Float[Array, 'h w c']:
  """See `sample_augmix` and `apply_augmix`."""
  return apply_augmix(image, **sample_augmix(key, image.shape, severity), **options)


def three_augment(key: PRNGKeyArray, image: Float[Array, 'h w c'], jitter: float = 0.3) -> Float[Array, 'h w c']:
  """See `sample_three_augment` and `apply_three_augment`."""
  return apply_three_augment(image, **sample_three_augment(key, image.shape, jitter))
