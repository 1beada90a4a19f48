"""Adaptive discriminator augmentation: the 18 transforms and the controller of their probability.

All of it follows Karras et al., Training Generative Adversarial Networks with Limited Data (2020), appendix B.
The discriminator's inputs, real and fake alike, pass through `ada`. Each transform happens with probability p, and
as long as p < 1 the generator can't profit from imitating them. Images are float in [-1, 1] as in the paper
(brightness is added, contrast scales about 0, a cutout leaves 0, nothing is clipped).

Two things differ from the paper. Images are resampled once, bilinearly and at their own resolution, not on a grid of
twice the resolution behind a wavelet filter; shifts by fractions of a pixel therefore blur a little and shrinking may
alias, equally for real and fake images. And the mirror image beyond a border repeats the outermost pixels.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, ScalarLike

from genaug.augment.diff_augment import check_signed
from genaug.augment.image import ImageShape, check_channels, check_range, happens, uniform
from genaug.augment.matrices import compose, rotate_matrix, scale_matrix, translate_matrix
from genaug.augment.resample import Matrix, warp


class Blit(NamedTuple):
  flip: Bool[Array, '']  # whether the image is mirrored left to right
  turns: Int[Array, '']  # number of rotations by 90 degrees, counter-clockwise
  shift: Int[Array, '2']  # (dx, dy), pixels


class Geometry(NamedTuple):
  zoom: Float[Array, '']  # factor
  before: Float[Array, '']  # rotation before the stretch, degrees
  stretch: Float[Array, '']  # horizontal factor; the vertical one is its inverse
  after: Float[Array, '']  # rotation after the stretch, degrees
  shift: Float[Array, '2']  # (dx, dy), fractions of the side


class Color(NamedTuple):
  brightness: Float[Array, '']  # offset that is added
  contrast: Float[Array, '']  # factor
  luma_flip: Bool[Array, '']
  hue: Float[Array, '']  # degrees
  saturation: Float[Array, '']  # factor


class Filter(NamedTuple):
  gains: Float[Array, '4']  # factor per frequency band, low to high


class Noise(NamedTuple):
  key: PRNGKeyArray
  std: Float[Array, '']


class Cutout(NamedTuple):
  centre: Float[Array, '2']  # (x, y), fractions of the side
  size: Float[Array, '']  # fraction of the side


Params = dict[str, NamedTuple]  # group -> its parameters; a transform that doesn't happen has its neutral value

POWER = np.array([10, 1, 1, 1], np.float32) / 13  # share of each frequency band in a typical image, low to high


# Applying


def ada(image: Float[Array, 'h w c'], params: Params) -> Float[Array, 'h w c']:
  """Applies the transforms of `params` to an image in [-1, 1], in the paper's order; neutral values keep the bits.

  Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
  Raises ValueError unless the image is [h, w, c] and floating point, and for colour changes unless c is 1 or 3.
  """
  image = check_signed(image, 'ada')
  x = image.astype(jnp.promote_types(image.dtype, jnp.float32))
  if 'blit' in params or 'geometry' in params:
    x = warp(x, move_matrix(params, image.shape[:2]), border='reflect')
  if 'color' in params:
    x = _recolor(x, params['color'])
  if 'filter' in params:
    x = _equalise(x, params['filter'])
  if 'noise' in params:
    x = x + params['noise'].std * jax.random.normal(params['noise'].key, x.shape)
  if 'cutout' in params:
    x = jnp.where(_box(params['cutout'], image.shape), 0, x)
  return x.astype(image.dtype)


def move_matrix(params: Params, shape: tuple[int, int]) -> Matrix:
  """Returns the matrix of all moves in `params`, from input points to output points, for an image of shape (h, w)."""
  moves = []
  if 'blit' in params:
    blit = params['blit']
    moves += [
      scale_matrix(shape, 1 - 2 * blit.flip, 1),
      rotate_matrix(shape, 90 * blit.turns),
      translate_matrix((1, 1), *blit.shift),
    ]
  if 'geometry' in params:
    zoom, before, stretch, after, (dx, dy) = params['geometry']
    moves += [
      scale_matrix(shape, zoom, zoom),
      rotate_matrix(shape, before),
      scale_matrix(shape, stretch, 1 / stretch),
      rotate_matrix(shape, after),
      translate_matrix(shape, dx, dy),
    ]
  return compose(*moves)


def _recolor(x, color: Color):
  """Applies the five colour transforms as one affine map of RGB.

  It scales luma, the component along (1, 1, 1), and scales and rotates chroma, the components orthogonal to that. It
  treats the three channels alike, so rolls suffice; with one channel only the factor of luma remains.
  """
  check_channels(x.shape[-1], 'ada')
  luma = color.contrast * (1 - 2 * color.luma_flip)
  chroma, angle = color.contrast * color.saturation, jnp.deg2rad(color.hue)
  real, imaginary = chroma * jnp.cos(angle), chroma * jnp.sin(angle) / np.sqrt(3)
  own = ((luma - 1) + 2 * (real - 1)) / 3  # minus the identity: neutral parameters keep the bits
  before, after = (luma - real) / 3 + imaginary, (luma - real) / 3 - imaginary
  return x + own * x + before * jnp.roll(x, 1, -1) + after * jnp.roll(x, 2, -1) + luma * color.brightness


def _equalise(x, bands: Filter):
  h, w, _ = x.shape
  down, across = _equaliser(bands.gains, h), _equaliser(bands.gains, w)
  return jnp.einsum('Hh,hwc,Ww->HWc', down, x, across, precision=jax.lax.Precision.HIGHEST)


def _equaliser(gains, side: int) -> Float[Array, 'n n']:
  # The bands sum to the identity only up to rounding; in this form gains of 1 keep the bits.
  return jnp.eye(side) + jnp.tensordot(gains - 1, _bands(side), 1, precision=jax.lax.Precision.HIGHEST)


@cache
def _bands(side: int) -> np.ndarray:
  """Returns the filters of the frequency bands, low to high, as matrices [4, side, side].

  Each extracts one octave of a signal that is mirrored at its ends; the lowest band takes all the rest.
  """
  halves = np.array([-1, 0, 9, 16, 9, 0, -1]) / 32  # half-band low-pass: the autocorrelation of the wavelet sym2
  bands, low = [], np.ones(1)
  for octave in range(3):
    spread = np.zeros(6 * 2**octave + 1)
    spread[:: 2**octave] = halves
    lower = np.convolve(low, spread)
    bands.append(np.pad(low, (lower.size - low.size) // 2) - lower)
    low = lower
  bands.append(low)
  reach = low.size // 2
  source = np.pad(np.arange(side), reach, 'symmetric')
  matrices = np.zeros((4, side, side), np.float32)
  for matrix, taps in zip(matrices, reversed(bands)):
    taps = np.pad(taps, (low.size - taps.size) // 2)
    for row in range(side):
      np.add.at(matrix[row], source[row : row + low.size], taps)
  return matrices


def _box(cutout: Cutout, shape):
  (x, y), (h, w, _) = cutout.centre, shape
  rows = jnp.abs((jnp.arange(h) + 0.5) / h - y) < cutout.size / 2
  columns = jnp.abs((jnp.arange(w) + 0.5) / w - x) < cutout.size / 2
  return (rows[:, None] & columns)[..., None]


# Sampling


def sample_ada(
  key: PRNGKeyArray, shape: ImageShape, p: ScalarLike, transforms: tuple[str, ...] = ('blit', 'geometry', 'color')
) -> Params:
  """Samples the parameters of the groups in `transforms`; a transform that does not happen is neutral.

  Each happens with probability p; of the two rotations, at least one does. A group's parameters depend on the key, not
  on the other groups. Raises ValueError for an unknown group.
  """
  check_range('ada: p', p, 0, 1)
  if not set(transforms) <= set(GROUPS):
    raise ValueError(f'transforms = {transforms!r}: must be a tuple of {", ".join(GROUPS)}')
  streams = {group: jax.random.fold_in(key, stream) for stream, group in enumerate(GROUPS)}
  return {group: sample(streams[group], shape, p) for group, sample in GROUPS.items() if group in transforms}


def random_ada(
  key: PRNGKeyArray,
  image: Float[Array, 'h w c'],
  p: ScalarLike,
  transforms: tuple[str, ...] = ('blit', 'geometry', 'color'),
) -> Float[Array, 'h w c']:
  """Applies adaptive discriminator augmentation to an image in [-1, 1], each transform independently.

  p in [0, 1] is the probability of each transform; `transforms` names their groups: blit, geometry, color, filter,
  noise, cutout. Differentiable twice. Raises ValueError for a p outside its range, for an unknown group, and unless
  the image is [h, w, c] and floating point.
  Source: Karras et al. 2020, Training Generative Adversarial Networks with Limited Data, appendix B.
  """
  image = check_signed(image, 'ada')
  return ada(image, sample_ada(key, image.shape, p, transforms))


def _sample_blit(key, shape, p) -> Blit:
  h, w, _ = shape
  on, how = _chances(key, p, 3)
  flip, turn, *shift = uniform(how, 0, 1, (4,))
  pixels = jnp.round((jnp.stack(shift) - 0.5) / 4 * jnp.array([w, h])).astype(jnp.int32)
  return Blit(
    flip=on[0] & (flip < 0.5),
    turns=jnp.where(on[1], (4 * turn).astype(jnp.int32), 0),
    shift=jnp.where(on[2], pixels, 0),
  )


def _sample_geometry(key, shape, p) -> Geometry:
  del shape
  # There are two rotations: at least one of them happens with probability p.
  once = 1 - jnp.sqrt(1 - jnp.asarray(p, jnp.float32))
  on, how = _chances(key, jnp.array([p, once, p, once, p]), 5)
  turns, sizes = jax.random.split(how)
  before, after = uniform(turns, -180, 180, (2,))
  zoom, stretch, *shift = jax.random.normal(sizes, (4,))
  return Geometry(
    zoom=jnp.exp2(jnp.where(on[0], 0.2 * zoom, 0)),
    before=jnp.where(on[1], before, 0),
    stretch=jnp.exp2(jnp.where(on[2], 0.2 * stretch, 0)),
    after=jnp.where(on[3], after, 0),
    shift=jnp.where(on[4], 0.125 * jnp.stack(shift), 0),
  )


def _sample_color(key, shape, p) -> Color:
  del shape
  on, how = _chances(key, p, 5)
  turns, sizes = jax.random.split(how)
  flip, turn = uniform(turns, 0, 1, (2,))
  brightness, contrast, saturation = jax.random.normal(sizes, (3,))
  return Color(
    brightness=jnp.where(on[0], 0.2 * brightness, 0),
    contrast=jnp.exp2(jnp.where(on[1], 0.5 * contrast, 0)),
    luma_flip=on[2] & (flip < 0.5),
    hue=jnp.where(on[3], 360 * turn - 180, 0),
    saturation=jnp.exp2(jnp.where(on[4], saturation, 0)),
  )


def _sample_filter(key, shape, p) -> Filter:
  del shape
  on, how = _chances(key, p, 4)
  gains = jnp.exp2(jnp.where(on, jax.random.normal(how, (4,)), 0))
  # Each band's change is followed by a rescaling of all four bands that keeps the power of a typical image.
  return Filter(gains / jnp.sqrt(1 + POWER * (gains**2 - 1)).prod())


def _sample_noise(key, shape, p) -> Noise:
  del shape
  on, how = _chances(key, p, 1)
  std, pixels = jax.random.split(how)
  return Noise(key=pixels, std=jnp.where(on[0], 0.1 * jnp.abs(jax.random.normal(std)), 0))


def _sample_cutout(key, shape, p) -> Cutout:
  del shape
  on, how = _chances(key, p, 1)
  return Cutout(centre=uniform(how, 0, 1, (2,)), size=jnp.where(on[0], 0.5, 0))


def _chances(key, p, count: int) -> tuple[Bool[Array, ' n'], PRNGKeyArray]:
  """Draws which of `count` transforms happen; also returns the key for sampling their parameters."""
  on, how = jax.random.split(key)
  return happens(on, p, (count,)), how


# A group's position here selects its random stream: append only.
GROUPS: dict[str, Callable[[PRNGKeyArray, ImageShape, Any], NamedTuple]] = {
  'blit': _sample_blit,
  'geometry': _sample_geometry,
  'color': _sample_color,
  'filter': _sample_filter,
  'noise': _sample_noise,
  'cutout': _sample_cutout,
}


# The controller


class Controller(NamedTuple):
  """State of the controller that adapts p to the signs of real images' logits; arrays only, part of a train state."""

  p: Float[Array, '']
  signs: Float[Array, '']  # mean sign of the real images' logits, summed over the steps since p was last updated
  count: Int[Array, '']  # number of those steps


def init_controller(p: ScalarLike = 0.0) -> Controller:
  """Returns a controller that starts with probability p in [0, 1]."""
  check_range('ada: p', p, 0, 1)
  return Controller(jnp.asarray(p, jnp.float32), jnp.zeros(()), jnp.zeros((), jnp.int32))


def update_controller(
  controller: Controller,
  sign_mean: Float[Array, ''],
  batch_size: ScalarLike,
  target: ScalarLike = 0.6,
  kimg: ScalarLike = 500,
  interval: ScalarLike = 4,
) -> Controller:
  """Updates the controller by one training step; p changes every `interval` steps.

  sign_mean: mean of sign(D(x)) over the step's real images x, on all devices.
  kimg: number of images, in thousands, in which p can go from 0 to 1.
  """
  signs, count = controller.signs + sign_mean, controller.count + 1
  due = count >= interval
  updated = update_p(controller.p, signs / count, batch_size * interval, target, 1000 * kimg)
  return Controller(jnp.where(due, updated, controller.p), jnp.where(due, 0, signs), jnp.where(due, 0, count))


def update_p(
  p: ScalarLike, r_t: ScalarLike, images: ScalarLike, target: ScalarLike = 0.6, images_to_full: ScalarLike = 500_000
) -> Float[Array, '']:
  """Returns p after `images` more images with an overfitting heuristic E[sign(D(real))] of r_t; it stays in [0, 1].

  p grows while r_t is above the target and shrinks while it is below, always at the same speed (paper, section 3).
  """
  return jnp.clip(p + jnp.sign(r_t - target) * images / images_to_full, 0, 1)
