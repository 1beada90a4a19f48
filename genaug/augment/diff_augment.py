"""Differentiable augmentation of a discriminator's inputs, real and fake alike (Zhao et al. 2020, DiffAugment).

Unlike elsewhere, images are float in [-1, 1], as a discriminator takes them. Zero, which fills what a translation
uncovers and what a cutout removes, is thus mid grey. Nothing is clipped: values may leave the range, for real and fake
images alike.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import Choice, ImageShape, Params, check_image, check_range, randomly, uniform, validated

POLICIES = ('color', 'translation', 'cutout')


def diff_augment(
  image: Float[Array, 'h w c'],
  brightness: ScalarLike = 0.0,
  saturation: ScalarLike = 1.0,
  contrast: ScalarLike = 1.0,
  dx: Int[Array, ''] | int = 0,
  dy: Int[Array, ''] | int = 0,
  centre: Int[Array, '2'] | None = None,
) -> Float[Array, 'h w c']:
  """Changes brightness, saturation and contrast of an image in [-1, 1], translates it and cuts out a box.

  `brightness` is added; `saturation` and `contrast` >= 0 multiply the distance from the mean of a pixel's channels and
  from the mean of the image. (dx, dy) are whole pixels to the right and down. A box of half the height and half the
  width around the pixel `centre` = (x, y) becomes 0; by default there is no box.

  Raises ValueError for a negative factor, and unless the image is [h, w, c] and floating point.
  Differentiable twice in the image.
  Source: Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training (2020), section 4.
  """
  image = check_signed(image, 'diff_augment')
  check_range('diff_augment: saturation', saturation, 0, jnp.inf)
  check_range('diff_augment: contrast', contrast, 0, jnp.inf)
  x = image.astype(jnp.promote_types(image.dtype, jnp.float32)) + brightness
  # In this form, unlike mean + factor * (x - mean), a factor of 1 keeps the bits.
  x = x + (saturation - 1) * (x - _channel_mean(x))
  x = x + (contrast - 1) * (x - x.mean())
  x = _shift(x, dx, dy)
  if centre is not None:
    x = jnp.where(_box(centre, image.shape), 0, x)
  return x.astype(image.dtype)


@validated(policy=Choice(POLICIES, 'Groups of changes, with the ranges of the paper.', several=True))
def sample_diff_augment(key: PRNGKeyArray, shape: ImageShape, policy: tuple[str, ...] = POLICIES) -> Params:
  """Samples the arguments of the changes that `policy` names, with the paper's ranges.

  'color': brightness uniform in [-0.5, 0.5], saturation in [0, 2] and contrast in [0.5, 1.5]; 'translation': dx and
  dy uniform among whole pixels, up to 1/8 of the side either way; 'cutout': the centre uniform among the pixels.
  """
  h, w, _ = shape
  color, translation, cutout = jax.random.split(key, 3)
  params = {}
  if 'color' in policy:
    low, high = jnp.array([-0.5, 0.0, 0.5]), jnp.array([0.5, 2.0, 1.5])
    params |= zip(('brightness', 'saturation', 'contrast'), uniform(color, low, high, (3,)))
  if 'translation' in policy:
    limit = jnp.array([_rounded(w / 8), _rounded(h / 8)])
    params |= zip(('dx', 'dy'), jax.random.randint(translation, (2,), -limit, limit + 1))
  if 'cutout' in policy:
    # A box with an even side has its centre between pixels, so there is one more place for it.
    places = jnp.array([w + 1 - _rounded(w / 2) % 2, h + 1 - _rounded(h / 2) % 2])
    params['centre'] = jax.random.randint(cutout, (2,), 0, places)
  return params


random_diff_augment = randomly(diff_augment, sample_diff_augment)


def check_signed(image: Num[Array, 'h w c'], name: str) -> Float[Array, 'h w c']:
  """Returns the image as a JAX array. Raises ValueError unless it is [h, w, c] and floating point."""
  image = check_image(image, name)
  if image.dtype == jnp.uint8:
    raise ValueError(f'{name}: an image of uint8: must be floating point in [-1, 1]')
  return image


def _channel_mean(x):
  """Returns the mean over the channels of every pixel, repeated in all channels."""
  # Rolls and their gradients, rolls again, fuse; the gradient of a mean over three channels is ten times slower on CPU.
  c = x.shape[-1]
  return sum(jnp.roll(x, i, -1) for i in range(c)) / c


@jax.custom_vjp
def _shift(image, dx, dy):
  """Shifts the image by (dx, dy) whole pixels and fills with zeros.

  The custom derivative is the shift back; JAX's own would be a scatter, six times slower on CPU.
  """
  h, w, _ = image.shape
  padded = jnp.pad(image, ((h, h), (w, w), (0, 0)))
  return lax.dynamic_slice(padded, (h - dy, w - dx, 0), image.shape)


_shift.defvjp(
  lambda image, dx, dy: (_shift(image, dx, dy), (dx, dy)),
  lambda moved, cotangent: (_shift(cotangent, -moved[0], -moved[1]), None, None),
)


def _box(centre, shape):
  (x, y), (h, w, _) = centre, shape
  rows, columns = _near(jnp.arange(h), y, _rounded(h / 2)), _near(jnp.arange(w), x, _rounded(w / 2))
  return (rows[:, None] & columns)[..., None]


def _near(places, centre, side):
  start = centre - side // 2
  return (places >= start) & (places < start + side)


def _rounded(length: float) -> int:
  return int(length + 0.5)
