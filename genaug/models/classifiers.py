"""Image classifiers: a small strided CNN, and the residual networks of CIFAR papers. Images in [-1, 1] -> logits."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genaug.models import ImageShape, Network, Spec, settings
from genaug.models.layers import Conv3x3, ConvDown, base_and_doublings
from genaug.models.norms import batch_norm

_he = nn.initializers.he_normal()


class CNN(nn.Module):
  """A strided convolution, batch norm and ReLU per halving, then a linear layer: a few ms per step on two cores."""

  spec: Spec
  width: int = 32
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b k']:
    doublings = min(base_and_doublings(side)[1] for side in self.spec.image_shape[:2])
    norm = batch_norm(train, self.dtype, self.axis_name)
    for i in range(doublings):
      x = ConvDown(self.width * 2**i, use_bias=False, kernel_init=_he, dtype=self.dtype)(x)
      x = nn.relu(norm()(x))  # [b, side / 2^(i+1), ..., width * 2^i]
    x = x.reshape(x.shape[0], -1)
    return nn.Dense(self.spec.num_classes)(x.astype(jnp.float32))


class ResNet(nn.Module):
  """Residual network: three groups of basic blocks with 16, 32, 64 channels times `widen`, then global average pooling.

  `pre_activation=False`: ResNet with 6n + 2 layers (He et al. 2016a, section 4.2). `True`: wide ResNet with 6n + 4
  layers (Zagoruyko and Komodakis 2016, table 1).
  """

  spec: Spec
  blocks: int  # n, in each group
  widen: int = 1
  pre_activation: bool = False
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], train: bool) -> Float[Array, 'b k']:
    options = {'use_bias': False, 'kernel_init': _he, 'dtype': self.dtype}
    norm = batch_norm(train, self.dtype, self.axis_name)

    def conv(channels, stride=1):
      return Conv3x3(channels, **options) if stride == 1 else nn.Conv(channels, (3, 3), stride, **options)

    def block(x, channels, stride):
      if self.pre_activation:
        h = nn.relu(norm()(x))
        skip = x if x.shape[-1] == channels else nn.Conv(channels, (1, 1), stride, **options)(h)
        h = nn.relu(norm()(conv(channels, stride)(h)))
        return skip + conv(channels)(h)
      h = nn.relu(norm()(conv(channels, stride)(x)))
      h = norm()(conv(channels)(h))
      # The paper's option A: a shortcut without parameters.
      skip = jnp.pad(x[:, ::stride, ::stride], [(0, 0)] * 3 + [(0, channels - x.shape[-1])])
      return nn.relu(skip + h)

    x = conv(16)(x.astype(self.dtype))
    if not self.pre_activation:
      x = nn.relu(norm()(x))
    for group in range(3):
      for i in range(self.blocks):
        x = block(x, 16 * 2**group * self.widen, 2 if group and not i else 1)  # [b, side / 2^group, ..., channels]
    if self.pre_activation:
      x = nn.relu(norm()(x))
    return nn.Dense(self.spec.num_classes)(x.mean((1, 2)).astype(jnp.float32))


def _cnn(config, spec: Spec, axis_name: str | None):
  return {'classifier': CNN(**settings(config, spec), width=config.model.width, axis_name=axis_name)}


def _check_sides(model, shape: ImageShape) -> None:
  del model
  for side in shape[:2]:
    base_and_doublings(side)


def _residual(**sizes) -> Network:
  def build(config, spec, axis_name):
    return {'classifier': ResNet(**settings(config, spec), axis_name=axis_name, **sizes)}

  return Network(('classifier',), build)


SMALL_CNN = Network(('classifier',), _cnn, _check_sides)
RESNET20 = _residual(blocks=3)
WRN16_4 = _residual(blocks=2, widen=4, pre_activation=True)
