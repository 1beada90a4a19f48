"""Image transformation network for style transfer (Johnson et al. 2016, arXiv:1603.08155), one for several styles.

The network of the authors' supplement has a 9x9 convolution, two convolutions of stride 2, five residual blocks and the
mirror image of the convolutions. Here space to depth replaces the first halving, so that no layer works at full
resolution. The output of the last layer is added to the image's logits and is small at first: the network starts near
the image itself, as Gatys' optimisation does, and need not learn to draw the content first.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.models import ImageShape, Network, Spec, settings
from genaug.models.layers import Conv3x3, ConvDown, ConvUp
from genaug.models.norms import InstanceNorm
from genaug.models.unet import depth_to_space, space_to_depth

MULTIPLE = 4
"""Image sides must be multiples of this."""

_PATCH = 2
_BORDER = 8  # pixels of reflection padding, cropped at the end: the zero padding of convolutions would be visible
_LEAST = 0.02  # images are clipped this far from 0 and 1, where their logits are infinite
_SMALLEST = 8  # side in pixels: the last layer of the losses has an eighth of it


class _BatchNorm(nn.Module):
  """Batch norm with a scale and a shift for each style, like those of `InstanceNorm`."""

  styles: int
  dtype: jnp.dtype
  axis_name: str | None

  @nn.compact
  def __call__(self, x, style, train: bool):
    options = {'use_running_average': not train, 'momentum': 0.9, 'dtype': self.dtype}
    axis_name = self.axis_name if train else None
    x = nn.BatchNorm(**options, axis_name=axis_name, use_scale=False, use_bias=False, name='norm')(x)
    scale = self.param('scale', nn.initializers.ones, (self.styles, x.shape[-1]))
    bias = self.param('bias', nn.initializers.zeros, (self.styles, x.shape[-1]))
    return (x * scale[style][:, None, None] + bias[style][:, None, None]).astype(self.dtype)


class Stylizer(nn.Module):
  """Images in [0, 1], with sides that are multiples of 4, and a style for each -> stylised images in [0, 1]."""

  spec: Spec
  styles: int
  width: int = 32
  blocks: int = 5
  norm: str = 'instance'
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self, images: Float[Array, 'b h w c'], style: Int[Array, ' b'], train: bool = False
  ) -> Float[Array, 'b h w c']:
    options = {'use_bias': False, 'dtype': self.dtype}  # the norm that follows would cancel a bias

    def norm(x):
      if self.norm == 'instance':
        return InstanceNorm(self.styles, self.dtype)(x, style)
      return _BatchNorm(self.styles, self.dtype, self.axis_name)(x, style, train)

    sides = ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0))
    x = space_to_depth(2 * jnp.pad(images, sides, 'reflect') - 1, _PATCH)
    x = nn.relu(norm(Conv3x3(self.width, **options)(x)))
    x = nn.relu(norm(ConvDown(2 * self.width, **options)(x)))  # [b, h / 4, w / 4, 2 * width]
    for _ in range(self.blocks):
      h = nn.relu(norm(Conv3x3(2 * self.width, **options)(x)))
      x = x + norm(Conv3x3(2 * self.width, **options)(h))
    x = nn.relu(norm(ConvUp(self.width, **options)(x)))
    x = Conv3x3(self.spec.image_shape[-1] * _PATCH**2, kernel_init=nn.initializers.normal(0.02), dtype=self.dtype)(x)
    x = depth_to_space(x.astype(jnp.float32), _PATCH)[:, _BORDER:-_BORDER, _BORDER:-_BORDER]
    images = jnp.clip(images, _LEAST, 1 - _LEAST)
    return nn.sigmoid(jnp.log(images / (1 - images)) + x)


def _build(config, spec: Spec, axis_name: str | None):
  model = config.model
  options = {'width': model.width, 'blocks': model.blocks, 'norm': model.norm, 'axis_name': axis_name}
  return {'stylizer': Stylizer(**settings(config, spec), **options, styles=len(config.style.images))}


def _check(model, shape: ImageShape) -> None:
  del model
  height, width, _ = shape
  if height % MULTIPLE or width % MULTIPLE or min(height, width) < _SMALLEST:
    raise ValueError(f'images of {height} x {width} pixels: sides must be multiples of {MULTIPLE}, from {_SMALLEST}')


STYLIZER = Network(('stylizer',), _build, _check)
