"""Colour changes: affine maps of RGB, so that a chain of them is one.

`op(image, ...)` has a twin `op_matrix(...)`, the map [M | b] that takes a colour to M colour + b. `compose_colors`
makes one map of several and `apply_colors` carries it out; operations then clip to [0, 1], a chain only at its
end. Contrast moves colours away from the image's mean, which its matrix takes as an argument: maps are affine,
so `map_color` says where the maps before it have moved that mean (clipping aside).

Images have 1 channel (grey, a colour (g, g, g)) or 3 (RGB); ValueError otherwise. Luma is that of ITU-R BT.601.
Brightness, contrast and saturation take a factor as in PIL's ImageEnhance and torchvision: 0 removes the
property, 1 changes nothing to the bit, above 1 exaggerates it.
"""

from functools import reduce
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  RGB,
  Params,
  Shape,
  check_channels,
  check_range,
  clip,
  operation,
  randomly,
  uniform,
  validated,
)

Matrix = Float[Array, '3 4']

NEUTRAL = np.eye(3, 4, dtype=np.float32)  # the map that changes nothing
EYE = NEUTRAL[:, :3]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
GREY = np.tile(LUMA, (3, 1))  # every colour to its luma
PERMUTATIONS = np.array(list(permutations(range(3))))


# Maps


def compose_colors(*matrices: Matrix) -> Matrix:
  """One map that does what `matrices` do in turn, the first first; `NEUTRAL` if there are none."""
  return reduce(_after, matrices, jnp.asarray(NEUTRAL))


def _after(first: Matrix, second: Matrix) -> Matrix:
  # Not `@`: accelerators multiply float32 matrices in fewer bits by default.
  linear = (second[:, :3, None] * first[None, :, :3]).sum(1)
  return _map(linear, map_color(second, first[:, 3]))


def map_color(matrix: Matrix, color: Float[Array, ' c']) -> Float[Array, ' c']:
  """Where the map takes one colour, grey or RGB."""
  return apply_colors(color[None, None], matrix)[0, 0]


def apply_colors(image: Float[Array, 'h w c'], matrix: Matrix) -> Float[Array, 'h w c']:
  """Every pixel through the map, not clipped; a grey image keeps the first channel of what (g, g, g) becomes."""
  if image.shape[-1] == 1:
    return image * matrix[0, :3].sum() + matrix[0, 3]
  red, green, blue = jnp.split(image, 3, axis=-1)
  return red * matrix[:, 0] + green * matrix[:, 1] + blue * matrix[:, 2] + matrix[:, 3]


def recolored(image: Float[Array, 'h w c'], matrix: Matrix) -> Float[Array, 'h w c']:
  """`apply_colors`, clipped to [0, 1]."""
  return clip(apply_colors(image, matrix))


def mean_color(image: Float[Array, 'h w c']) -> Float[Array, ' c']:
  """The mean over the pixels."""
  # Rows add up as vectors: several times faster on CPU than both axes at once.
  return image.mean(0).mean(0)


def luma(image: Float[Array, 'h w c']) -> Float[Array, 'h w 1']:
  """Perceived lightness of every pixel."""
  check_channels(image.shape[-1], 'luma')
  if image.shape[-1] == 1:
    return image
  red, green, blue = jnp.split(image, 3, axis=-1)
  return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def _map(linear: Float[Array, '3 3'], offset: ScalarLike | Float[Array, '3'] = 0.0) -> Matrix:
  offset = jnp.broadcast_to(jnp.asarray(offset, jnp.float32), 3)
  return jnp.concatenate([jnp.asarray(linear, jnp.float32), offset[:, None]], axis=1)


def _draw_factor(key: PRNGKeyArray, limit: ScalarLike) -> Float[Array, '']:
  return uniform(key, jnp.maximum(1.0 - limit, 0), 1.0 + limit)


# Brightness, contrast, saturation


def brightness_matrix(factor: ScalarLike) -> Matrix:
  check_range('brightness: factor', factor, 0, np.inf)
  return _map(factor * EYE)


@operation
def brightness(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Nearer to black, or further away from it, by a factor >= 0."""
  check_channels(image.shape[-1], 'brightness')
  check_range('brightness: factor', factor, 0, np.inf)
  return clip(image * factor)


@validated(limit=(0, 10))
def sample_brightness(key: PRNGKeyArray, shape: Shape, limit: ScalarLike = 0.4) -> Params:
  """a factor uniform in [1 - limit, 1 + limit], but not below 0."""
  del shape
  return {'factor': _draw_factor(key, limit)}


def contrast_matrix(factor: ScalarLike, mean: Float[Array, ' c']) -> Matrix:
  """See `contrast`; `mean` is the mean colour of the image that the map will meet."""
  check_range('contrast: factor', factor, 0, np.inf)
  return _map(factor * EYE, (1 - factor) * (LUMA * mean).sum())


@operation
def contrast(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Nearer to the image's mean luma, or further away from it, by a factor >= 0."""
  check_channels(image.shape[-1], 'contrast')
  return recolored(image, contrast_matrix(factor, mean_color(image)))


@validated(limit=(0, 10))
def sample_contrast(key: PRNGKeyArray, shape: Shape, limit: ScalarLike = 0.4) -> Params:
  """a factor uniform in [1 - limit, 1 + limit], but not below 0."""
  del shape
  return {'factor': _draw_factor(key, limit)}


def saturation_matrix(factor: ScalarLike) -> Matrix:
  check_range('saturation: factor', factor, 0, np.inf)
  return _map(factor * EYE + (1 - factor) * GREY)


@operation
def saturation(image: Float[Array, 'h w c'], factor: ScalarLike) -> Float[Array, 'h w c']:
  """Nearer to every pixel's luma, or further away from it, by a factor >= 0; grey images stay as they are."""
  check_channels(image.shape[-1], 'saturation')
  matrix = saturation_matrix(factor)
  return image if image.shape[-1] == 1 else recolored(image, matrix)


@validated(limit=(0, 10))
def sample_saturation(key: PRNGKeyArray, shape: Shape, limit: ScalarLike = 0.4) -> Params:
  """a factor uniform in [1 - limit, 1 + limit], but not below 0."""
  del shape
  return {'factor': _draw_factor(key, limit)}


def grayscale_matrix(amount: ScalarLike) -> Matrix:
  check_range('grayscale: amount', amount, 0, 1)
  return saturation_matrix(1 - amount)


@operation
def grayscale(image: Float[Array, 'h w c'], amount: ScalarLike) -> Float[Array, 'h w c']:
  """Faded into its luma by an amount in [0, 1]; the number of channels stays, and grey images stay as they are."""
  check_channels(image.shape[-1], 'grayscale')
  matrix = grayscale_matrix(amount)
  return image if image.shape[-1] == 1 else recolored(image, matrix)


@validated(amount=(0, 1))
def sample_grayscale(key: PRNGKeyArray, shape: Shape, amount: ScalarLike = 1.0) -> Params:
  """the amount."""
  del key, shape
  return {'amount': jnp.asarray(amount, jnp.float32)}


# Hue


_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
# What a turn by a small angle adds to a colour: red towards yellow, yellow towards green.
_TURN = (np.linalg.inv(_YIQ) @ [[0, 0, 0], [0, 0, 1], [0, -1, 0]] @ _YIQ).astype(np.float32)


def hue_matrix(degrees: ScalarLike) -> Matrix:
  check_range('hue: degrees', degrees, -360, 360)
  angle = jnp.deg2rad(jnp.asarray(degrees, jnp.float32))
  return _map(EYE + (jnp.cos(angle) - 1) * (EYE - GREY) + jnp.sin(angle) * _TURN)


@operation
def hue(image: Float[Array, 'h w c'], degrees: ScalarLike) -> Float[Array, 'h w c']:
  """Colours turned about the grey axis by an angle in [-360, 360], red towards yellow; grey images stay.

  A rotation of the IQ plane of YIQ, as SVG's hueRotate: luma stays, as long as nothing is clipped. PIL's and
  torchvision's hue instead runs along the hexagon of HSV, which keeps the largest and the smallest of R, G, B
  and changes luma (blue turned to yellow lights up); it is no linear map.
  """
  check_channels(image.shape[-1], 'hue')
  matrix = hue_matrix(degrees)
  return image if image.shape[-1] == 1 else recolored(image, matrix)


@validated(degrees=(0, 180))
def sample_hue(key: PRNGKeyArray, shape: Shape, degrees: ScalarLike = 18.0) -> Params:
  """an angle uniform in [-degrees, degrees]."""
  del shape
  return {'degrees': uniform(key, -degrees, degrees)}


# All four


def color_jitter_matrix(
  brightness: ScalarLike, contrast: ScalarLike, saturation: ScalarLike, hue: ScalarLike, mean: Float[Array, ' c']
) -> Matrix:
  """See `color_jitter`; `mean` is the mean colour of the image that the map will meet."""
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
  """Brightness, contrast and saturation by their factors, then hue by degrees: one map, clipped once.

  torchvision draws the order anew for every image and clips after each step; the order makes little difference,
  and a fixed one costs a single pass.
  """
  check_channels(image.shape[-1], 'color_jitter')
  return recolored(image, color_jitter_matrix(brightness, contrast, saturation, hue, mean_color(image)))


@validated(brightness=(0, 10), contrast=(0, 10), saturation=(0, 10), hue=(0, 180))
def sample_color_jitter(
  key: PRNGKeyArray,
  shape: Shape,
  brightness: ScalarLike = 0.4,
  contrast: ScalarLike = 0.4,
  saturation: ScalarLike = 0.4,
  hue: ScalarLike = 18.0,
) -> Params:
  """factors uniform in [1 - limit, 1 + limit], but not below 0, and an angle uniform in [-hue, hue] degrees."""
  limits = {'brightness': brightness, 'contrast': contrast, 'saturation': saturation}
  *keys, last = jax.random.split(key, 4)
  factors = {name: _draw_factor(key, limit) for key, (name, limit) in zip(keys, limits.items())}
  return factors | {'hue': sample_hue(last, shape, hue)['degrees']}


# Light


# Principal components of the pixels of ImageNet, a column each, times their eigenvalues (Krizhevsky et al., 2012,
# "ImageNet classification with deep convolutional neural networks", section 4.1), as everyone quotes them.
_COMPONENTS = np.array(
  [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
) * np.array([0.2175, 0.0188, 0.0045], np.float32)  # fmt: skip


def pca_lighting_matrix(alphas: Float[Array, '3']) -> Matrix:
  return _map(EYE, (_COMPONENTS * alphas).sum(1))


@operation
def pca_lighting(image: Float[Array, 'h w 3'], alphas: Float[Array, '3']) -> Float[Array, 'h w 3']:
  """All pixels shifted along the principal components of ImageNet's colours, by `alphas` times the eigenvalues."""
  check_channels(image.shape[-1], 'pca_lighting', (RGB,))
  return recolored(image, pca_lighting_matrix(alphas))


@validated(std=(0, 10))
def sample_pca_lighting(key: PRNGKeyArray, shape: Shape, std: ScalarLike = 0.1) -> Params:
  """alphas that are normal with mean 0 and standard deviation `std`."""
  del shape
  return {'alphas': std * jax.random.normal(key, (3,))}


def _light(temperature: np.ndarray) -> np.ndarray:
  """Linear sRGB of black bodies, green = 1 (locus: Kim et al., 2002, US patent 7024034, valid to 25000 K)."""
  t = 1000 / temperature
  warm = temperature < 4000
  x = np.where(
    warm,
    ((-0.2661239 * t - 0.2343589) * t + 0.8776956) * t + 0.179910,
    ((-3.0258469 * t + 2.1070379) * t + 0.2226347) * t + 0.240390,
  )
  y = np.where(
    warm,
    ((-0.9549476 * x - 1.37418593) * x + 2.09137015) * x - 0.16748867,
    ((3.0817580 * x - 5.87338670) * x + 3.75112997) * x - 0.37001483,
  )
  from_xyz = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
  rgb = np.stack([x, y, 1 - x - y], axis=-1) @ from_xyz.T
  return rgb / rgb[:, 1:2]


# A table: at its knot 6500 K the gains are 1 to the bit. Images are gamma-encoded, so gains of light are taken to
# the power 1 / 2.2.
_COOLEST, _HOTTEST, _STEP = 3000.0, 15000.0, 250.0
_LIGHTS = _light(np.arange(_COOLEST, _HOTTEST + 1, _STEP))
_GAINS = ((_LIGHTS / _light(np.array([6500.0]))) ** (1 / 2.2)).astype(np.float32)


def planckian_jitter_matrix(temperature: ScalarLike) -> Matrix:
  check_range('planckian_jitter: temperature', temperature, _COOLEST, _HOTTEST)
  position = (jnp.asarray(temperature, jnp.float32) - _COOLEST) / _STEP
  knot = jnp.clip(jnp.floor(position), 0, len(_GAINS) - 2).astype(jnp.int32)
  low, high = jnp.asarray(_GAINS)[knot], jnp.asarray(_GAINS)[knot + 1]
  return _map(EYE * (low + (position - knot) * (high - low)))


@operation
def planckian_jitter(image: Float[Array, 'h w 3'], temperature: ScalarLike) -> Float[Array, 'h w 3']:
  """Lit by a black body of 3000 K (red) to 15000 K (blue) in place of one of 6500 K; green stays.

  Zini et al., 2022, "Planckian jitter"; their table of gains is steeper, for it treats pixels as linear light.
  """
  check_channels(image.shape[-1], 'planckian_jitter', (RGB,))
  return recolored(image, planckian_jitter_matrix(temperature))


@validated(low=(_COOLEST, _HOTTEST), high=(_COOLEST, _HOTTEST))
def sample_planckian_jitter(
  key: PRNGKeyArray, shape: Shape, low: ScalarLike = _COOLEST, high: ScalarLike = _HOTTEST
) -> Params:
  """a temperature uniform in [low, high] kelvin."""
  del shape
  return {'temperature': uniform(key, low, high)}


# Channels


def channel_shuffle_matrix(index: ScalarLike) -> Matrix:
  check_range('channel_shuffle: index', index, 0, 5)
  return _map(jnp.asarray(EYE)[jnp.asarray(PERMUTATIONS)[index]])


@operation
def channel_shuffle(image: Float[Array, 'h w 3'], index: ScalarLike) -> Float[Array, 'h w 3']:
  """Channels in the order PERMUTATIONS[index], index in 0..5; 0 leaves them as they are, 5 reverses them."""
  check_channels(image.shape[-1], 'channel_shuffle', (RGB,))
  return recolored(image, channel_shuffle_matrix(index))


def sample_channel_shuffle(key: PRNGKeyArray, shape: Shape) -> Params:
  """one of the six orders, each as likely, the given one among them."""
  del shape
  return {'index': jax.random.randint(key, (), 0, 6)}


def channel_drop_matrix(channel: ScalarLike, fill: ScalarLike = 0.0) -> Matrix:
  check_range('channel_drop: channel', channel, -1, 2)
  check_range('channel_drop: fill', fill, 0, 1)
  dropped = jnp.arange(3) == channel
  return _map(jnp.where(dropped[:, None], 0, EYE), jnp.where(dropped, fill, 0))


@operation
def channel_drop(image: Float[Array, 'h w 3'], channel: ScalarLike, fill: ScalarLike = 0.0) -> Float[Array, 'h w 3']:
  """One channel replaced by `fill` in [0, 1]; channel -1 stands for none."""
  check_channels(image.shape[-1], 'channel_drop', (RGB,))
  return recolored(image, channel_drop_matrix(channel, fill))


def sample_channel_drop(key: PRNGKeyArray, shape: Shape) -> Params:
  """the channel, each as likely."""
  del shape
  return {'channel': jax.random.randint(key, (), 0, 3)}


random_brightness = randomly(brightness, sample_brightness)
random_contrast = randomly(contrast, sample_contrast)
random_saturation = randomly(saturation, sample_saturation)
random_grayscale = randomly(grayscale, sample_grayscale)
random_hue = randomly(hue, sample_hue)
random_color_jitter = randomly(color_jitter, sample_color_jitter)
random_pca_lighting = randomly(pca_lighting, sample_pca_lighting)
random_planckian_jitter = randomly(planckian_jitter, sample_planckian_jitter)
random_channel_shuffle = randomly(channel_shuffle, sample_channel_shuffle)
random_channel_drop = randomly(channel_drop, sample_channel_drop)
