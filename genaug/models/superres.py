"""Residual networks for super-resolution, after EDSR: Lim et al. 2017 (arXiv:1707.02921), section 3.

Every convolution works at low resolution; the last one predicts all pixels of the finer grid at once (sub-pixel
convolution: Shi et al. 2016, arXiv:1609.05158). Fully convolutional: images may have any size.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from genaug.models import ImageShape, Network, Spec, settings
from genaug.models.layers import Conv3x3
from genaug.models.patch_gan import PatchDiscriminator
from genaug.models.unet import depth_to_space

_HALVINGS = 2  # of the discriminator, which judges textures: patches are 26 pixels wide and 4 apart
PATCH_MULTIPLE = 2**_HALVINGS
"""Sides of the patches that the discriminator sees must be multiples of this."""


def cubic_upscaled(x: Float[Array, 'b h w c'], scale: int) -> Float[Array, 'b H W c']:
  """Upscales by the cubic kernel of Keys 1981 with a = -0.5, edges repeated.

  The same as `augment.resize` with 'cubic' and 'edge', but not clipped.
  """
  weights = _phases(scale)

  def along(x, axis):
    side = x.shape[axis]
    padded = jnp.pad(x, [(2, 2) if i == axis else (0, 0) for i in range(x.ndim)], 'edge')
    parts = [padded.take(jnp.arange(i, i + side), axis) for i in range(5)]
    finer = [sum(weight * part for weight, part in zip(phase, parts) if weight) for phase in weights]
    return jnp.stack(finer, axis + 1).reshape(*x.shape[:axis], scale * side, *x.shape[axis + 1 :])

  return along(along(x, 1), 2)


def _phases(scale: int) -> list[list[float]]:
  """Returns, for each of the `scale` pixels that one becomes, the weights of that pixel and of two on either side."""
  centre = (np.arange(scale) + 0.5) / scale - 0.5
  x = np.abs(np.arange(-2, 3) - centre[:, None])
  near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
  return np.where(x < 1, near, np.where(x < 2, far, 0)).tolist()


class Upscaler(nn.Module):
  """Images in [0, 1] -> images with sides `scale` times as long, in about [0, 1]; at first `cubic_upscaled`."""

  channels: int
  scale: int = 2
  width: int = 32
  blocks: int = 6
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b H W c']:
    conv = lambda features, name, **options: Conv3x3(features, dtype=self.dtype, name=name, **options)
    first = h = conv(self.width, 'first')(x - 0.5)
    for i in range(self.blocks):
      inner = nn.relu(conv(self.width, f'block{i}_in')(h))
      h = h + conv(self.width, f'block{i}_out')(inner)
    h = first + conv(self.width, 'body')(h)
    h = conv(self.channels * self.scale**2, 'last', kernel_init=nn.initializers.zeros)(h)
    return cubic_upscaled(x, self.scale) + depth_to_space(h.astype(jnp.float32), self.scale)


def receptive_radius(blocks: int) -> int:
  """Returns how many input pixels each way an output pixel of an `Upscaler` with so many blocks depends on."""
  return 2 * blocks + 3


def _build(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  dtype, model = settings(config, spec)['dtype'], config.model
  upscaler = Upscaler(spec.image_shape[-1], model.scale, model.width, model.blocks, dtype)
  return {'upscaler': upscaler, 'discriminator': PatchDiscriminator(model.width, _HALVINGS, dtype=dtype)}


def _check(model, shape: ImageShape) -> None:
  height, width, _ = shape
  if height % model.scale or width % model.scale or min(height, width) < 4 * model.scale:
    least = 4 * model.scale
    raise ValueError(
      f'images of {height} x {width} pixels: sides must be multiples of model.scale = {model.scale}, at least {least}'
    )


EDSR = Network(('upscaler', 'discriminator'), _build, _check)
