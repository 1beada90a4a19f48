"""Noise of sensors and transmission, and JPEG.

Every value takes 16 random bits of Threefry, the generator of jax.random. It is written out here, because JAX's own
loops over the rounds on CPU and takes several times as long.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike, UInt32

from genaug.augment.image import (
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_channels,
  check_range,
  clip,
  from_zero,
  interval,
  operation,
  randomly,
  uniform,
  validated,
)

# ITU-T T.81, tables K.1 and K.2.
LUMINANCE = np.array([
  [16, 11, 10, 16, 24, 40, 51, 61],
  [12, 12, 14, 19, 26, 58, 60, 55],
  [14, 13, 16, 24, 40, 57, 69, 56],
  [14, 17, 22, 29, 51, 87, 80, 62],
  [18, 22, 37, 56, 68, 109, 103, 77],
  [24, 35, 55, 64, 81, 104, 113, 92],
  [49, 64, 78, 87, 103, 121, 120, 101],
  [72, 92, 95, 98, 112, 100, 103, 99],
], np.float32)  # fmt: skip
CHROMINANCE = np.full((8, 8), 99, np.float32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

POISSON_EXACT_BELOW = 8.0
POISSON_MOST = 23  # largest count: the last of the 2 ** 16 quantiles for a mean of 8


# Operations


@operation
def gaussian_noise(image: Float[Array, 'h w c'], key: PRNGKeyArray, std: ScalarLike) -> Float[Array, 'h w c']:
  """Adds normal noise of standard deviation `std` >= 0, independent for every value; 0 changes nothing.

  The noise has quantiles of 16 bits: its distribution function is exact to 0.0002, and none exceeds 4.4 `std`.
  """
  check_range('gaussian_noise: std', std, 0, np.inf)
  return clip(image + std * _normal(_uniform(key, image.shape)))


@operation
def shot_noise(image: Float[Array, 'h w c'], key: PRNGKeyArray, scale: ScalarLike) -> Float[Array, 'h w c']:
  """Simulates photon counts: Poisson of mean image / scale, times `scale` in [0, 1]; the variance is image * scale.

  A scale of 0 changes nothing. Counts have quantiles of 16 bits, exact up to a mean of 8; above, by the expansion of
  Giles 2016, "Algorithm 955", their distribution function is exact to 0.0005. The gradient is that of the mean, as
  without noise.
  """
  check_range('shot_noise: scale', scale, 0, 1)
  photon = jnp.maximum(scale, 1e-6)
  noisy = photon * _poisson(image / photon, _uniform(key, image.shape))
  return clip(jnp.where(scale > 0, noisy, image))


@operation
def salt_and_pepper(
  image: Float[Array, 'h w c'], key: PRNGKeyArray, amount: ScalarLike, *, balance: float = 0.5
) -> Float[Array, 'h w c']:
  """Turns a share `amount` in [0, 1] of the pixels white (a share `balance` of them) or black; 0 changes nothing."""
  check_range('salt_and_pepper: amount', amount, 0, 1)
  check_range('salt_and_pepper: balance', balance, 0, 1)
  h, w, _ = image.shape
  u = _uniform(key, (h, w, 1))
  return jnp.where(u < amount * balance, 1.0, jnp.where(u < amount, 0.0, image))


@operation
def jpeg(image: Float[Array, 'h w c'], quality: ScalarLike, *, subsample: bool = True) -> Float[Array, 'h w c']:
  """Compresses and decompresses a grey or RGB image by JPEG of a quality in [1, 100], on the IJG library's scale.

  subsample: whether chroma has half the resolution (4:2:0), as PIL saves by default; False keeps it full (4:4:4).

  Rounding is differentiated as if it were the identity, after Shin & Song 2017, "JPEG-resistant Adversarial
  Images", whose smooth rounding has a gradient of 0 at the very values that it rounds to.
  """
  check_channels(image.shape[-1], 'jpeg')
  check_range('jpeg: quality', quality, 1, 100)
  x = image * 255 - 128
  if image.shape[-1] == 1:
    return clip((_quantised(x[..., 0], LUMINANCE, quality)[..., None] + 128) / 255)
  luma, blue, red = (_round(plane) for plane in _to_ycbcr(x))
  luma = _quantised(luma, LUMINANCE, quality)
  if subsample:
    blue, red = (_upsampled(_quantised(_halved(plane), CHROMINANCE, quality), image.shape) for plane in (blue, red))
  else:
    blue, red = (_quantised(plane, CHROMINANCE, quality) for plane in (blue, red))
  return clip((_to_rgb(luma, blue, red) + 128) / 255)


# Sampling


@validated(std=Parameter(0, 1, '', 'The standard deviation is uniform in [0, std] or the pair.', (0, 1)))
def sample_gaussian_noise(key: PRNGKeyArray, shape: ImageShape, std: ScalarLike | Pair = 0.1) -> Params:
  """Samples key and std of `gaussian_noise`."""
  del shape
  how, how_much = jax.random.split(key)
  return {'key': how, 'std': uniform(how_much, *interval(std, from_zero))}


@validated(scale=Parameter(0, 1, '', 'The scale is uniform in [0, scale] or the pair.', (0, 1)))
def sample_shot_noise(key: PRNGKeyArray, shape: ImageShape, scale: ScalarLike | Pair = 0.05) -> Params:
  """Samples key and scale of `shot_noise`."""
  del shape
  how, how_much = jax.random.split(key)
  return {'key': how, 'scale': uniform(how_much, *interval(scale, from_zero))}


@validated(amount=Parameter(0, 1, 'of the pixels', 'The amount is uniform in [0, amount] or the pair.', (0, 1)))
def sample_salt_and_pepper(key: PRNGKeyArray, shape: ImageShape, amount: ScalarLike | Pair = 0.05) -> Params:
  """Samples key and amount of `salt_and_pepper`."""
  del shape
  how, how_much = jax.random.split(key)
  return {'key': how, 'amount': uniform(how_much, *interval(amount, from_zero))}


@validated(quality=Parameter(1, 95, '', 'The quality is uniform in [quality, 95] or the pair.', (1, 100)))
def sample_jpeg(key: PRNGKeyArray, shape: ImageShape, quality: ScalarLike | Pair = 30.0) -> Params:
  """Samples the quality of `jpeg`."""
  del shape
  return {'quality': uniform(key, *interval(quality, lambda quality: (quality, 95.0)))}


random_gaussian_noise = randomly(gaussian_noise, sample_gaussian_noise)
random_shot_noise = randomly(shot_noise, sample_shot_noise)
random_salt_and_pepper = randomly(salt_and_pepper, sample_salt_and_pepper)
random_jpeg = randomly(jpeg, sample_jpeg)


# Random numbers


def _uniform(key: PRNGKeyArray, shape: ImageShape) -> Float[Array, 'h w c']:
  """Draws numbers uniform in (0, 1), the middles of 2 ** 16 intervals."""
  size = int(np.prod(shape))
  words = jnp.concatenate(_threefry(jax.random.bits(key, (2,)), -(-size // 4)))
  halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:size]
  return ((halves.astype(jnp.float32) + 0.5) / 2**16).reshape(shape)


def _normal(u: Float[Array, 'h w c']) -> Float[Array, 'h w c']:
  """Returns the standard normal quantile at u, to 0.0005 (Abramowitz & Stegun 1964, 26.2.23); cheaper than erf_inv."""
  tail = jnp.sqrt(-2 * jnp.log(jnp.minimum(u, 1 - u)))
  numerator = 2.515517 + tail * (0.802853 + tail * 0.010328)
  denominator = 1 + tail * (1.432788 + tail * (0.189269 + tail * 0.001308))
  away = tail - numerator / denominator
  return jnp.where(u < 0.5, -away, away)


def _threefry(key: UInt32[Array, '2'], n: int) -> tuple[UInt32[Array, ' n'], UInt32[Array, ' n']]:
  """Enciphers the counters 0 ... n - 1 by Threefry-2x32 in 20 rounds (Salmon et al. 2011)."""
  keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
  a, b = jnp.arange(n, dtype=jnp.uint32) + keys[0], jnp.broadcast_to(keys[1], (n,))
  for group in range(5):
    for shift in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
      a = a + b
      b = a ^ (b << np.uint32(shift) | b >> np.uint32(32 - shift))
    a, b = a + keys[(group + 1) % 3], b + keys[(group + 2) % 3] + np.uint32(group + 1)
  return a, b


@jax.custom_jvp
def _poisson(mean, u):
  """Returns the quantile at u of the Poisson distribution of that mean; its derivative is that of the mean."""
  small = jnp.minimum(mean, POISSON_EXACT_BELOW)
  probability = below = jnp.exp(-small)
  count = jnp.zeros_like(mean)
  for k in range(1, POISSON_MOST + 1):
    count = jnp.where(u > below, count + 1, count)
    probability = probability * (small * (1 / k))  # divisions would take most of the time
    below = below + probability
  large, normal = jnp.maximum(mean, POISSON_EXACT_BELOW), _normal(u)
  root = jnp.sqrt(large)
  expansion = large + root * normal + 1 / 3 + normal**2 / 6 - (normal / 36 + normal**3 / 72) / root
  return jnp.where(mean < POISSON_EXACT_BELOW, count, jnp.maximum(jnp.floor(expansion), 0.0))


_poisson.defjvps(lambda mean_dot, count, mean, u: mean_dot, None)


# JPEG


def _to_ycbcr(x):
  red, green, blue = x[..., 0], x[..., 1], x[..., 2]
  luma = 0.299 * red + 0.587 * green + 0.114 * blue
  return luma, (blue - luma) / 1.772, (red - luma) / 1.402


def _to_rgb(luma, blue, red):
  green = luma - 0.114 * 1.772 / 0.587 * blue - 0.299 * 1.402 / 0.587 * red
  return jnp.stack([luma + 1.402 * red, green, luma + 1.772 * blue], axis=-1)


def _quantised(plane, table, quality):
  """Transforms a plane [h, w] by 8 x 8 cosine transforms, divides by the scaled table, rounds, and transforms back."""
  h, w = plane.shape
  plane = jnp.pad(plane, ((0, -h % 8), (0, -w % 8)), mode='edge')
  rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
  blocks = plane.reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(-1, 64)
  step = _scaled(table, quality).reshape(64)
  blocks = _round(_matmul(_round(_matmul(blocks, _COSINES.T) / step) * step, _COSINES))
  return blocks.reshape(rows, columns, 8, 8).swapaxes(1, 2).reshape(plane.shape)[:h, :w]


def _scaled(table, quality):
  """Returns the quantisation steps for a quality, as in the IJG's library."""
  percent = jnp.where(quality < 50, _floor(5000 / quality), 200 - 2 * quality)
  return jnp.clip(_floor((table * percent + 50) / 100), 1, 255)


def _halved(plane):
  """Returns means of 2 x 2 whole numbers, odd edges repeated; as in libjpeg, every other column rounds ties down."""
  h, w = plane.shape
  plane = jnp.pad(plane, ((0, h % 2), (0, w % 2)), mode='edge')
  plane = plane[::2] + plane[1::2]
  plane = plane[:, ::2] + plane[:, 1::2]
  return _floor((plane + 1 + np.arange(plane.shape[1]) % 2) / 4)


def _upsampled(plane, shape):
  """Doubles the size of a plane and crops it to `shape`: bilinear, as libjpeg's "fancy" upsampling."""
  h, w, _ = shape
  return _doubled(_doubled(plane).T).T[:h, :w]


def _doubled(x):
  padded = jnp.pad(x, ((1, 1), (0, 0)), mode='edge')
  near = 0.75 * x
  return jnp.stack([near + 0.25 * padded[:-2], near + 0.25 * padded[2:]], axis=1).reshape(2 * x.shape[0], -1)


def _matmul(a, b):
  # By default accelerators multiply float32 matrices in lower precision, which would add a loss of its own.
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@jax.custom_jvp
def _floor(x):
  """Rounds down, with the gradient of the identity."""
  return jnp.floor(x)


_floor.defjvps(lambda x_dot, floor, x: x_dot)


def _round(x):
  return _floor(x + 0.5)


def _cosines() -> np.ndarray:
  """Returns the 2D cosine transform of a flattened 8 x 8 block, an orthogonal matrix [frequency, pixel]."""
  k, n = np.arange(8)[:, None], np.arange(8)
  one = np.cos(np.pi * (2 * n + 1) * k / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
  return np.kron(one, one).astype(np.float32)


_COSINES = _cosines()
