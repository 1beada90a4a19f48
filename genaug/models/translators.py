"""Image-to-image networks: the generators of pix2pix, CycleGAN and CUT, with their discriminators.

No layer works at full resolution: the first convolution has stride 2 or comes after space to depth.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.models import ImageShape, Network, Spec, settings
from genaug.models.layers import Conv3x3, ConvDown, ConvUp
from genaug.models.norms import InstanceNorm
from genaug.models.patch_gan import PatchDiscriminator
from genaug.models.unet import depth_to_space, space_to_depth

_init = nn.initializers.normal(0.02)
_PROJECTED = 256  # dimensions of the vector that describes a patch

Taps = list[Float[Array, 'b h w c']]


def halvings(side: int) -> int:
  """Returns how many times a side can be halved until it is at most 4 or odd."""
  count = 0
  while side > 4 and side % 2 == 0:
    side, count = side // 2, count + 1
  return count


class UNetTranslator(nn.Module):
  """U-Net, images in [-1, 1] -> images in [-1, 1]: Isola et al. 2017 (arXiv:1611.07004), appendix 6.1.1, no dropout."""

  spec: Spec
  width: int = 64
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    height, width, channels = self.spec.image_shape
    count = halvings(min(height, width))
    options = {'kernel_init': _init, 'dtype': self.dtype}
    unbiased = options | {'use_bias': False}  # the norm that follows would cancel a bias
    skips = []
    for i in range(count):
      x = ConvDown(self.width * 2 ** min(i, 3), **(unbiased if i else options))(nn.leaky_relu(x, 0.2) if i else x)
      x = InstanceNorm(dtype=self.dtype)(x) if i else x
      skips.append(x)  # [b, h / 2^(i+1), ..., width * 2^i]
    x = nn.relu(skips.pop())
    for i in reversed(range(count - 1)):
      x = InstanceNorm(dtype=self.dtype)(ConvUp(self.width * 2 ** min(i, 3), **unbiased)(x))
      x = nn.relu(jnp.concatenate([x, skips.pop()], axis=-1))
    return jnp.tanh(ConvUp(channels, **options)(x).astype(jnp.float32))


class ResNetTranslator(nn.Module):
  """ResNet, images in [-1, 1] -> (images in [-1, 1], taps): Zhu et al. 2017 (arXiv:1703.10593).

  The taps, activations of five layers, follow Park et al. 2020 (arXiv:2007.15651), appendix C.2: pixels, both
  convolutions before the residual blocks, the first and the middle residual block (one tap where these are the same).
  """

  spec: Spec
  width: int = 64
  blocks: int = 6
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> tuple[Float[Array, 'b h w c'], Taps]:
    options = {'kernel_init': _init, 'dtype': self.dtype}
    unbiased = options | {'use_bias': False}  # the norm that follows would cancel a bias
    norm = lambda x: InstanceNorm(dtype=self.dtype)(x)
    taps = [space_to_depth(x, 2)]
    for conv, features in ((Conv3x3, self.width), (ConvDown, 2 * self.width)):
      taps.append(nn.relu(norm(conv(features, **unbiased)(taps[-1]))))
    x = taps[-1]
    for i in range(self.blocks):
      h = nn.relu(norm(Conv3x3(2 * self.width, **unbiased)(x)))
      x = x + norm(Conv3x3(2 * self.width, **unbiased)(h))
      if i in (0, self.blocks // 2):
        taps.append(x)
    x = nn.relu(norm(ConvUp(self.width, **unbiased)(x)))
    x = Conv3x3(4 * self.spec.image_shape[-1], **options)(x)
    return jnp.tanh(depth_to_space(x.astype(jnp.float32), 2)), taps


def rows_of(positions: Float[Array, 'b n'], pixels: int) -> Int[Array, 'b n']:
  """Returns the index of the pixel at each position.

  Position k of n must lie in [k / n, (k + 1) / n]; it gives a pixel of the k-th of n parts, so no two are the same.
  """
  count = positions.shape[1]
  first = jnp.arange(count + 1) * pixels // count  # start of each part; parts differ by one pixel if not divisible
  within = positions * count - jnp.arange(count)
  rows = first[:-1] + (within * jnp.diff(first)).astype(jnp.int32)
  return jnp.clip(rows, first[:-1], first[1:] - 1)  # a position may round to the end of its part


class Projector(nn.Module):
  """Taps at some pixels -> a unit vector for each: Park et al. 2020 (arXiv:2007.15651), section 3.

  `positions` are fractions of a tap's pixels in raster order, the k-th of n in [k / n, (k + 1) / n]. A tap with at most
  as many pixels as there are positions uses all of them.
  """

  @nn.compact
  def __call__(self, taps: Taps, positions: Float[Array, 'b n']) -> list[Float[Array, 'b n d']]:
    vectors = []
    for tap in taps:
      b, h, w, c = tap.shape
      x = tap.reshape(b, h * w, c)
      if h * w > positions.shape[1]:  # otherwise every pixel, once
        x = jnp.take_along_axis(x, rows_of(positions, h * w)[..., None], axis=1)
      x = nn.Dense(_PROJECTED)(nn.relu(nn.Dense(_PROJECTED)(x.astype(jnp.float32))))
      vectors.append(x * jax.lax.rsqrt((x**2).sum(-1, keepdims=True) + 1e-8))
    return vectors


def _build_unet(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  shared = settings(config, spec)
  return {
    'translator': UNetTranslator(**shared, width=config.model.width),
    'discriminator': PatchDiscriminator(config.model.d_width, config.model.halvings, dtype=shared['dtype']),
  }


def _build_resnet(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  shared = settings(config, spec)
  translator = ResNetTranslator(**shared, width=config.model.width, blocks=config.model.blocks)
  discriminator = PatchDiscriminator(config.model.d_width, config.model.halvings, dtype=shared['dtype'])
  return {
    'translator': translator,
    'discriminator': discriminator,
    'inverse': translator.copy(),
    'inverse_discriminator': discriminator.copy(),
    'projector': Projector(),
  }


def _check(model, shape: ImageShape) -> None:
  multiple = max(4, 2**model.halvings)
  if any(side % multiple or side < 2 * 2**model.halvings for side in shape[:2]):
    least = 2 * 2**model.halvings  # instance norm of one pixel is 0
    sides = f'sides must be multiples of {multiple}, at least {least}'
    raise ValueError(f'images of {shape[0]} x {shape[1]} pixels: {sides}')


UNET_TRANSLATOR = Network(('translator', 'discriminator'), _build_unet, _check)
RESNET_TRANSLATOR = Network(
  ('translator', 'discriminator', 'inverse', 'inverse_discriminator', 'projector'), _build_resnet, _check
)
