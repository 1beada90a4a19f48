"""PatchGAN: a discriminator that judges overlapping patches (Isola et al. 2017, arXiv:1611.07004, appendix 6.1.2)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from genaug.models.layers import Conv3x3, ConvDown
from genaug.models.norms import InstanceNorm

_init = nn.initializers.normal(0.02)


class PatchDiscriminator(nn.Module):
  """Images in [-1, 1] -> one logit per patch.

  With `halvings` of 1, 2, 3, patches are 12, 26, 54 pixels wide and 2, 4, 8 pixels apart. Image sides must be
  divisible by two that many times.
  """

  width: int = 64
  halvings: int = 3
  norm: bool = True
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b i j']:
    options = {'kernel_init': _init, 'dtype': self.dtype}
    for i in range(self.halvings + 1):
      features = self.width * 2 ** min(i, 3)
      normed = bool(i and self.norm)
      # The norm cancels a bias: its gradient would be rounding error, which Adam would scale up like any other.
      conv = (ConvDown if i < self.halvings else Conv3x3)(features, use_bias=not normed, **options)
      x = InstanceNorm(dtype=self.dtype)(conv(x)) if normed else conv(x)
      x = nn.leaky_relu(x, 0.2)  # [b, h / 2^(i+1), w / 2^(i+1), features]
    return Conv3x3(1, **options)(x)[..., 0].astype(jnp.float32)
