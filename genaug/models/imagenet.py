"""AlexNet and VGG16 up to their last convolution, as LPIPS and the metrics' features use them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from genaug.models import weights
from genaug.models.layers import Conv3x3

SIDE = 64
"""Side in pixels of resized images."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet; LPIPS uses the same
_PRECISION = lax.Precision.HIGHEST
Taps = list[Float[Array, 'n h w c']]


class AlexNet(nn.Module):
  """AlexNet (Krizhevsky 2014, arXiv:1404.5997): normalised images of at least 31 pixels -> its five ReLU outputs."""

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w 3']) -> Taps:
    taps = []
    layers = [(64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)]
    for i, (features, size, stride, padding) in enumerate(layers):
      if i in (1, 2):
        x = nn.max_pool(x, (3, 3), (2, 2))
      x = nn.relu(nn.Conv(features, (size, size), stride, padding, precision=_PRECISION)(x))
      taps.append(x)
    return taps


class VGG16(nn.Module):
  """VGG16 (Simonyan and Zisserman 2015, arXiv:1409.1556): normalised images -> last ReLU outputs of all five blocks."""

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w 3']) -> Taps:
    taps, number = [], 0
    for convolutions, features in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]:
      if number:
        x = _halved(x)
      for _ in range(convolutions):
        x = nn.relu(Conv3x3(features, precision=_PRECISION, name=f'Conv_{number}')(x))
        number += 1
      taps.append(x)
    return taps


def _halved(x):
  """Max-pools 2x2 pixels, an odd last row or column left out; XLA's own pooling has a gradient that is slow on CPU."""
  h, w = (side // 2 * 2 for side in x.shape[1:3])
  rows = jnp.maximum(x[:, 0:h:2], x[:, 1:h:2])
  return jnp.maximum(rows[:, :, 0:w:2], rows[:, :, 1:w:2])


def resized(images: Float[Array, 'n h w c']) -> Float[Array, 'n 64 64 c']:
  """Resizes images bilinearly to 64x64, antialiased where that shrinks them."""
  return jax.image.resize(images, (len(images), SIDE, SIDE, images.shape[-1]), 'bilinear')


def rgb(images: Float[Array, 'n h w c']) -> Float[Array, 'n h w 3']:
  """Repeats grey images to three channels; RGB images stay as they are."""
  return jnp.broadcast_to(images, (*images.shape[:3], 3))


def variables(network: str) -> PyTree:
  """Returns the variables of 'alexnet' or 'vgg16', trained on ImageNet. Raises InputError as `weights.load` does."""
  return {'params': weights.load(network)[_NETWORKS[network][1]]}


def taps(network: str, variables: PyTree, images: Float[Array, 'n h w c']) -> Taps:
  """Returns the activations for images in [0, 255], grey or RGB, at their own size."""
  x = (rgb(images) / 255 - jnp.array(_MEAN)) / jnp.array(_STD)
  return _NETWORKS[network][0].apply(variables, x)


_NETWORKS = {'alexnet': (AlexNet(), 'AlexNet_0'), 'vgg16': (VGG16(), 'VGG16_0')}
