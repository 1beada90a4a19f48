"""Colour operations: affine maps of RGB, so that a chain of them is a single map.

`op(image, ...)` has a twin `op_matrix(...)`, the map [M | b] that takes a colour to M colour + b. `compose_colors`
composes several maps into one and `apply_colors` applies it; a single operation clips to [0, 1], a chain only at its
end. Contrast scales about the luma of the image's mean colour, which its matrix takes as an argument. Because maps are
affine, `map_color` gives the mean after the maps that precede it (clipping aside).

Images have 1 channel (grey, a colour (g, g, g)) or 3 (RGB); ValueError otherwise. Luma is that of ITU-R BT.601.
Brightness, contrast and saturation take a factor as in PIL's ImageEnhance and torchvision: 0 removes the
property, 1 keeps every bit, above 1 exaggerates it.
"""

from functools import reduce
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  RGB,
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_channels,
  check_range,
  clip,
  interval,
  operation,
  randomly,
  sample_value,
  symmetric,
  uniform,
  validated,
)

Matrix = Float[Array, '3 4']

NEUTRAL = np.eye(3, 4, dtype=np.float32)  # the map that changes nothing
EYE = NEUTRAL[:, :3]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
GREY = np.tile(LUMA, (3, 1))  # maps every colour to its luma
PERMUTATIONS = np.array(list(permutations(range(3))))


# Maps


def compose_colors(*matrices: Matrix) -> Matrix:
  """Composes maps into one that applies them in the given order; `NEUTRAL` if there are none."""
  return reduce(_after, matrices, jnp.asarray(NEUTRAL))


def _after(first: Matrix, second: Matrix) -> Matrix:
  # Not `@`: by default accelerators multiply float32 matrices in lower precision.
  linear = (second[:, :3, None] * first[None, :, :3]).sum(1)
  return color_matrix(linear, map_color(second, first[:, 3]))


def map_color(matrix: Matrix, color: Float[Array, ' c']) -> Float[Array, ' c']:
  """Maps one colour, grey or RGB."""
  return apply_colors(color[None, None], matrix)[0, 0]


def apply_colors(image: Float[Array, 'h w c'], matrix: Matrix) -> Float[Array, 'h w c']:
  """Maps every pixel, without clipping; a grey image is mapped as (g, g, g) and keeps the first channel."""
  if image.shape[-1] == 1:
    return image * matrix[0, :3].sum() + matrix[0, 3]
  red, green, blue = jnp.split(image, 3, axis=-1)
  return red * matrix[:, 0] + green * matrix[:, 1] + blue * matrix[:, 2] + matrix[:, 3]


def apply_colors_clipped(image: Float[Array, 'h w c'], matrix: Matrix) -> Float[Array, 'h w c']:
  """Maps every pixel by `apply_colors` and clips to [0, 1]."""
  return clip(apply_colors(image, matrix))


def mean_color(image: Float[Array, 'h w c']) -> Float[Array, ' c']:
  """Returns the mean colour of all pixels."""
  # One axis at a time, rows are added as vectors: several times faster on CPU than both axes at once.
  return image.mean(0).mean(0)


def luma(image: Float[Array, 'h w c']) -> Float[Array, 'h w 1']:
  """Returns the luma of every pixel; a grey image is its own luma."""
  check_channels(image.shape[-1], 'luma')
  if image.shape[-1] == 1:
    return image
  red, green, blue = jnp.split(image, 3, axis=-1)
  return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def color_matrix(linear: Float[Array, '3 3'], offset: ScalarLike | Float[Array, '3'] = 0.0) -> Matrix:
  """Returns the map [linear | offset]."""
  offset = jnp.broadcast_to(jnp.asarray(offset, jnp.float32), 3)
  return jnp.concatenate([jnp.asarray(linear, jnp.float32), offset[:, None]], axis=1)


LIMIT = Parameter(0, 10, '', 'The factor is uniform in [max(0, 1 - {0}), 1 + {0}] or the pair.', (0, 11))
HUE = Parameter(0, 180, 'degrees', 'The angle is uniform in [-{0}, {0}] or the pair.', (-180, 180))


def _named(parameter: Parameter, name: str) -> Parameter:
  return parameter._replace(doc=parameter.doc.format(name))


def _sample_factor(key: PRNGKeyArray, limit: ScalarLike | Pair) -> Float[Array, '']:
  return uniform(key, *interval(limit, lambda limit: (jnp.maximum(1.0 - limit, 0), 1.0 + limit)))


# Brightness, contrast, saturation


def brightness_matrix(factor: ScalarLike) -> Matrix:
  check_range('brightness: factor', factor, 0, np.inf)
  return color_matrix(factor * EYE)


@operation
def brightness(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Changes the brightness by a factor >= 0, as PIL's ImageEnhance does: 0 is black, 1 changes nothing."""
  check_channels(image.shape[-1], 'brightness')
  check_range('brightness: factor', factor, 0, np.inf)
  return clip(image * factor)


@validated(limit=_named(LIMIT, 'limit'))
def sample_brightness(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.4) -> Params:
  """Samples the factor of `brightness`."""
  del shape
  return {'factor': _sample_factor(key, limit)}


def contrast_matrix(factor: ScalarLike, mean: Float[Array, ' c']) -> Matrix:
  """Returns the map of `contrast`; `mean` is the mean colour of the image that it will be applied to."""
  check_range('contrast: factor', factor, 0, np.inf)
  return color_matrix(factor * EYE, (1 - factor) * (LUMA * mean).sum())


@operation
def contrast(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Changes the contrast by a factor >= 0, as PIL's ImageEnhance does: 0 is the mean luma, 1 changes nothing."""
  check_channels(image.shape[-1], 'contrast')
  return apply_colors_clipped(image, contrast_matrix(factor, mean_color(image)))


@validated(limit=_named(LIMIT, 'limit'))
def sample_contrast(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.4) -> Params:
  """Samples the factor of `contrast`."""
  del shape
  return {'factor': _sample_factor(key, limit)}


def saturation_matrix(factor: ScalarLike) -> Matrix:
  check_range('saturation: factor', factor, 0, np.inf)
  return color_matrix(factor * EYE + (1 - factor) * GREY)


@operation
def saturation(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Changes the saturation by a factor >= 0, as PIL's ImageEnhance does: 0 is grey, 1 changes nothing.

  Grey images stay as they are.
  """
  check_channels(image.shape[-1], 'saturation')
  matrix = saturation_matrix(factor)
  return image if image.shape[-1] == 1 else apply_colors_clipped(image, matrix)


@validated(limit=_named(LIMIT, 'limit'))
def sample_saturation(key: PRNGKeyArray, shape: ImageShape, limit: ScalarLike | Pair = 0.4) -> Params:
  """Samples the factor of `saturation`."""
  del shape
  return {'factor': _sample_factor(key, limit)}


def grayscale_matrix(amount: ScalarLike) -> Matrix:
  check_range('grayscale: amount', amount, 0, 1)
  return saturation_matrix(1 - amount)


@operation
def grayscale(image: Float[Array, 'h w c'], amount: ScalarLike) -> Float[Array, 'h w c']:
  """Fades the image into its luma by an amount in [0, 1]; the number of channels stays, and so do grey images."""
  check_channels(image.shape[-1], 'grayscale')
  matrix = grayscale_matrix(amount)
  return image if image.shape[-1] == 1 else apply_colors_clipped(image, matrix)


@validated(amount=Parameter(0, 1, '', 'The amount, 1 is grey; uniform in a pair.', (0, 1)))
def sample_grayscale(key: PRNGKeyArray, shape: ImageShape, amount: ScalarLike | Pair = 1.0) -> Params:
  """Samples the amount of `grayscale`."""
  del shape
  return {'amount': sample_value(key, amount)}


# Hue


_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
# Generator of the hue rotation, what a small angle adds to a colour per radian: red moves towards yellow, yellow
# towards green.
_TURN = (np.linalg.inv(_YIQ) @ [[0, 0, 0], [0, 0, 1], [0, -1, 0]] @ _YIQ).astype(np.float32)


def hue_matrix(degrees: ScalarLike) -> Matrix:
  check_range('hue: degrees', degrees, -360, 360)
  angle = jnp.deg2rad(jnp.asarray(degrees, jnp.float32))
  return color_matrix(EYE + (jnp.cos(angle) - 1) * (EYE - GREY) + jnp.sin(angle) * _TURN)


@operation
def hue(image: Float[Array, 'h w c'], degrees: ScalarLike) -> Float[Array, 'h w c']:
  """Rotates colours about the grey axis by an angle in [-360, 360] degrees, red towards yellow; grey images stay.

  It is a rotation of the IQ plane of YIQ, as SVG's hueRotate: luma stays, as long as nothing is clipped. PIL's and
  torchvision's hue instead runs along the hexagon of HSV, which keeps the largest and the smallest of R, G, B
  and changes luma (blue turned to yellow becomes brighter); that map is not linear.
  """
  check_channels(image.shape[-1], 'hue')
  matrix = hue_matrix(degrees)
  return image if image.shape[-1] == 1 else apply_colors_clipped(image, matrix)


@validated(degrees=_named(HUE, 'degrees'))
def sample_hue(key: PRNGKeyArray, shape: ImageShape, degrees: ScalarLike | Pair = 18.0) -> Params:
  """Samples the angle of `hue`."""
  del shape
  return {'degrees': uniform(key, *interval(degrees, symmetric))}


# All four


def color_jitter_matrix(
  brightness: ScalarLike, contrast: ScalarLike, saturation: ScalarLike, hue: ScalarLike, mean: Float[Array, ' c']
) -> Matrix:
  """Returns the map of `color_jitter`; `mean` is the mean colour of the image that it will be applied to."""
  light = brightness_matrix(brightness)
  rest = contrast_matrix(contrast, map_color(light, mean)), saturation_matrix(saturation), hue_matrix(hue)
  return compose_colors(light, *rest)


@operation
def color_jitter(
  image: Float[Array, 'h w c'],
  brightness: ScalarLike = 1.0,
  contrast: ScalarLike = 1.0,
  saturation: ScalarLike = 1.0,
  hue: ScalarLike = 0.0,
) -> Float[Array, 'h w c']:
  """Changes brightness, contrast and saturation by their factors, then hue by degrees: one map, clipped once.

  torchvision samples the order anew for every image and clips after each step; the order makes little difference,
  and a fixed one costs a single pass.
  """
  check_channels(image.shape[-1], 'color_jitter')
  return apply_colors_clipped(image, color_jitter_matrix(brightness, contrast, saturation, hue, mean_color(image)))


@validated(**{name: _named(LIMIT, name) for name in ('brightness', 'contrast', 'saturation')}, hue=_named(HUE, 'hue'))
def sample_color_jitter(
  key: PRNGKeyArray,
  shape: ImageShape,
  brightness: ScalarLike | Pair = 0.4,
  contrast: ScalarLike | Pair = 0.4,
  saturation: ScalarLike | Pair = 0.4,
  hue: ScalarLike | Pair = 18.0,
) -> Params:
  """Samples the arguments of `color_jitter`."""
  limits = {'brightness': brightness, 'contrast': contrast, 'saturation': saturation}
  *keys, last = jax.random.split(key, 4)
  factors = {name: _sample_factor(key, limit) for key, (name, limit) in zip(keys, limits.items())}
  return factors | {'hue': sample_hue(last, shape, hue)['degrees']}


# Channels


def channel_shuffle_matrix(index: ScalarLike) -> Matrix:
  check_range('channel_shuffle: index', index, 0, 5)
  return color_matrix(jnp.asarray(EYE)[jnp.asarray(PERMUTATIONS)[index]])


@operation
def channel_shuffle(image: Float[Array, 'h w 3'], index: ScalarLike) -> Float[Array, 'h w 3']:
  """Puts the channels in the order PERMUTATIONS[index], index in 0..5: 0 leaves them as they are, 5 reverses them."""
  check_channels(image.shape[-1], 'channel_shuffle', (RGB,))
  return apply_colors_clipped(image, channel_shuffle_matrix(index))


def sample_channel_shuffle(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """Samples one of the six orders uniformly, the identity among them."""
  del shape
  return {'index': jax.random.randint(key, (), 0, 6)}


def channel_drop_matrix(channel: ScalarLike, fill: ScalarLike = 0.0) -> Matrix:
  check_range('channel_drop: channel', channel, -1, 2)
  check_range('channel_drop: fill', fill, 0, 1)
  dropped = jnp.arange(3) == channel
  return color_matrix(jnp.where(dropped[:, None], 0, EYE), jnp.where(dropped, fill, 0))


@operation
def channel_drop(image: Float[Array, 'h w 3'], channel: ScalarLike, *, fill: ScalarLike = 0.0) -> Float[Array, 'h w 3']:
  """Replaces one channel by `fill` in [0, 1]; channel -1 stands for none."""
  check_channels(image.shape[-1], 'channel_drop', (RGB,))
  return apply_colors_clipped(image, channel_drop_matrix(channel, fill))


def sample_channel_drop(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """Samples the channel uniformly."""
  del shape
  return {'channel': jax.random.randint(key, (), 0, 3)}


random_brightness = randomly(brightness, sample_brightness)
random_contrast = randomly(contrast, sample_contrast)
random_saturation = randomly(saturation, sample_saturation)
random_grayscale = randomly(grayscale, sample_grayscale)
random_hue = randomly(hue, sample_hue)
random_color_jitter = randomly(color_jitter, sample_color_jitter)
random_channel_shuffle = randomly(channel_shuffle, sample_channel_shuffle)
random_channel_drop = randomly(channel_drop, sample_channel_drop)
