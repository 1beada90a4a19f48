"""Layers of random operations, the parts of policies: colour operations in turn, then all moves in one resample.

Each layer's colour operation is computed for the images that got it (`conditional.when`). The moves of all layers are
one matrix and one resample at the end, so that nothing is interpolated twice, and what the moves uncover is `fill`
whatever the colour operations.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from genaug.augment import color, filters, matrices, tone
from genaug.augment.conditional import when
from genaug.augment.image import check_channels, operation
from genaug.augment.resample import Fill, clip_overshoot, warp

# The operations of layers, with the units of their parameters.
OPERATIONS = (
  'identity',
  'shear_x',  # slope: a row's shift in proportion to its distance from the top
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


class Layers(NamedTuple):
  """Layers of one operation each, in the order of application."""

  op: Int[Array, ' n']  # index into OPERATIONS
  parameter: Float[Array, ' n']  # in the operation's unit, sign included; 0 where it has none


@jax.jit  # outside jit, a loop is compiled at every call
def recolor(image: Float[Array, 'h w c'], layers: Layers) -> Float[Array, 'h w c']:
  """Applies the colour operations of all layers in turn; their moves are in `layers_matrix`."""

  def one(image, layer):
    for names, change in COLOR_OPERATIONS:
      image = when(_is_one_of(layer.op, names), change, image, layer)
    return image, None

  # A loop, so that compiling takes as long as for one layer.
  return jax.lax.scan(one, image, layers)[0]


def layers_matrix(size: matrices.Size, layers: Layers) -> matrices.Matrix:
  """Returns the moves of all layers as one matrix (see `matrices`)."""
  return matrices.compose(*(_matrix(size, op, parameter) for op, parameter in zip(*layers)))


def moves(layers: Layers) -> Bool[Array, '']:
  """Whether any layer moves the image."""
  return _is_one_of(layers.op, ('shear_x', 'shear_y', 'translate_x', 'translate_y', 'rotate')).any()


def _is_one_of(op: Int[Array, '...'], names: tuple[str, ...]) -> Bool[Array, '...']:
  return jnp.isin(op, jnp.array([INDEX[name] for name in names]))


def _matrix(size, op, parameter):
  def only(name):
    return jnp.where(op == INDEX[name], parameter, 0.0)

  # A layer never has both a rotation and a shear, so their order does not matter.
  turned = matrices.rotate_matrix(size, only('rotate'))
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
  return color.apply_colors_clipped(image, matrix)


def _point(image, params):
  op, parameter = params
  posterized = tone.posterize(image, jnp.where(op == INDEX['posterize'], parameter, 8.0))
  solarized = tone.solarize(image, jnp.where(op == INDEX['solarize'], parameter, 0.0))  # at 0 it inverts everything
  return jnp.where(op == INDEX['posterize'], posterized, solarized)


def _sharpen(image, params):
  return filters.sharpness(image, params[1])


def _autocontrast(image, params):
  del params
  return tone.autocontrast(image)


def _equalize(image, params):
  del params
  return tone.equalize(image)


# (operations, the function that computes any of them): those that share work together, expensive ones alone.
COLOR_OPERATIONS = (
  (('brightness', 'color', 'contrast'), _enhance),
  (('posterize', 'solarize', 'invert'), _point),
  (('sharpness',), _sharpen),
  (('autocontrast',), _autocontrast),
  (('equalize',), _equalize),
)


@operation
def apply_layers(
  image: Float[Array, 'h w c'],
  layers: Layers,
  *,
  interpolation: str = 'bilinear',
  border: str = 'constant',
  fill: Fill = 0.0,
) -> Float[Array, 'h w c']:
  """Applies the layers of RandAugment, TrivialAugment or AutoAugment; `fill` is static."""
  check_channels(image.shape[-1], 'policies')
  matrix = layers_matrix(image.shape[:2], layers)
  options = {'interpolation': interpolation, 'border': border, 'fill': static_fill(fill)}
  return when(moves(layers), _moved, recolor(image, layers), matrix, **options)


def _moved(image, matrix, interpolation, border, fill):
  return clip_overshoot(warp(image, matrix, interpolation=interpolation, border=border, fill=fill), interpolation)


def static_fill(fill: Fill) -> float | tuple[float, ...]:
  """Returns the fill as a number or a tuple, which can be hashed."""
  value = np.asarray(fill).tolist()
  return tuple(value) if isinstance(value, list) else value
