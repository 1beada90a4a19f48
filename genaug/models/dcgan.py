"""DCGAN (Radford, Metz and Chintala 2016, arXiv:1511.06434, section 3).

For square images of any side that `layers.base_and_doublings` takes.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genaug.models import Network, Spec, settings
from genaug.models.gan_layers import minibatch_stddev
from genaug.models.layers import ConvDown, ConvUp, base_and_doublings, check_square
from genaug.models.norms import batch_norm

_init = nn.initializers.normal(0.02)


class Generator(nn.Module):
  """z -> images in [-1, 1]. With classes, a learned embedding of the label is appended to z."""

  spec: Spec
  width: int = 64
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, z: Float[Array, 'b d'], label: Int[Array, ' b'], train: bool) -> Float[Array, 'b h w c']:
    side, _, channels = self.spec.image_shape
    base, doublings = base_and_doublings(side)
    if self.spec.num_classes:
      z = jnp.concatenate([z, nn.Embed(self.spec.num_classes, z.shape[-1], name='label')(label)], axis=-1)
    widths = [self.width * 2**i for i in reversed(range(doublings))]
    norm = batch_norm(train, self.dtype, self.axis_name)
    x = nn.Dense(base * base * widths[0], use_bias=False, kernel_init=_init, dtype=self.dtype)(z)
    x = x.reshape(-1, base, base, widths[0])
    x = nn.relu(norm()(x))  # [b, base, base, width * 2^(doublings-1)]
    for features in widths[1:]:
      x = ConvUp(features, use_bias=False, kernel_init=_init, dtype=self.dtype)(x)
      x = nn.relu(norm()(x))
    x = ConvUp(channels, kernel_init=_init, dtype=self.dtype)(x)  # [b, side, side, channels]
    return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
  """Images in [-1, 1] -> one logit each. With classes, a projection head (Miyato and Koyama 2018, eq. 3).

  Batch norm always uses the statistics of the batch it is given, also in evaluation, so its running statistics are not
  kept. Apply with mutable='batch_stats' and drop them.
  """

  spec: Spec
  width: int = 64
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None
  batch_norm: bool = True
  minibatch_stddev: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c'], label: Int[Array, ' b']) -> Float[Array, ' b']:
    _, doublings = base_and_doublings(self.spec.image_shape[0])
    norm = batch_norm(True, self.dtype, self.axis_name)
    x = nn.leaky_relu(ConvDown(self.width, kernel_init=_init, dtype=self.dtype)(x), 0.2)
    for i in range(1, doublings):
      x = ConvDown(self.width * 2**i, use_bias=not self.batch_norm, kernel_init=_init, dtype=self.dtype)(x)
      if self.batch_norm:
        x = norm()(x)
      x = nn.leaky_relu(x, 0.2)  # [b, side / 2^(i+1), ..., width * 2^i]
    if self.minibatch_stddev:
      x = minibatch_stddev(x)
    h = x.reshape(x.shape[0], -1).astype(jnp.float32)
    self.sow('intermediates', 'representation', h)
    logit = nn.Dense(1, kernel_init=_init)(h)[:, 0]
    if self.spec.num_classes:
      logit += (nn.Embed(self.spec.num_classes, h.shape[-1], embedding_init=_init, name='label')(label) * h).sum(-1)
    return logit


def _build(config, spec: Spec, axis_name: str | None):
  shared = settings(config, spec) | {'width': config.model.width, 'axis_name': axis_name}
  options = {'batch_norm': config.model.d_norm == 'batch', 'minibatch_stddev': config.model.minibatch_stddev}
  return {'generator': Generator(**shared), 'discriminator': Discriminator(**shared, **options)}


DCGAN = Network(('generator', 'discriminator'), _build, check_square)
