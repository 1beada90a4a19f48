"""Networks for lossy compression with a scale hyperprior (Balle et al. 2018, arXiv:1802.01436, section 3 and figure 4):
an autoencoder of images, and one that codes the scales of its latents. Fully convolutional, for image sides that are
multiples of 64.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genaug.models import Network, Spec, settings
from genaug.models.layers import Conv3x3, ConvDown, ConvUp

MULTIPLE = 64
"""Image sides must be multiples of this: `Analysis` halves them four times, `HyperAnalysis` twice more."""

# Least standard deviation of a latent, as in the authors' code: below it rounding leaves nothing to learn from.
_LEAST_SCALE = 0.11


class _Normalization(nn.Module):
  """Generalised divisive normalisation, x / sqrt(beta + gamma x^2) over channels; `inverse` multiplies by the root.

  Balle et al. 2016 (GDN, arXiv:1511.06281), eq. 3.
  """

  inverse: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    channels = x.shape[-1]
    inside = lambda value: jnp.log(jnp.expm1(value))  # inverse of softplus
    beta = nn.softplus(self.param('beta', nn.initializers.constant(inside(1.0)), (channels,)))
    gamma = self.param('gamma', lambda key, shape: inside(0.1 * jnp.eye(*shape) + 1e-4), (channels, channels))
    x = x.astype(jnp.float32)
    norm = jnp.sqrt(beta + x**2 @ nn.softplus(gamma))
    return x * norm if self.inverse else x / norm


class Analysis(nn.Module):
  """Images in [0, 1] -> latents with sides a sixteenth as long."""

  width: int
  latents: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h/16 w/16 m']:
    x = x - 0.5
    for _ in range(3):
      x = _Normalization()(ConvDown(self.width, dtype=self.dtype)(x))
    return ConvDown(self.latents, dtype=self.dtype)(x).astype(jnp.float32)


class Synthesis(nn.Module):
  """Latents -> images in about [0, 1], not clipped."""

  channels: int
  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, y: Float[Array, 'b h w m']) -> Float[Array, 'b 16*h 16*w c']:
    for _ in range(3):
      y = _Normalization(inverse=True)(ConvUp(self.width, dtype=self.dtype)(y))
    return ConvUp(self.channels, dtype=self.dtype)(y).astype(jnp.float32) + 0.5


class HyperAnalysis(nn.Module):
  """Latents -> hyper-latents, the side information about their scales, with sides a quarter as long."""

  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, y: Float[Array, 'b h w m']) -> Float[Array, 'b h/4 w/4 n']:
    x = nn.relu(Conv3x3(self.width, dtype=self.dtype)(jnp.abs(y)))
    x = nn.relu(ConvDown(self.width, dtype=self.dtype)(x))
    return ConvDown(self.width, dtype=self.dtype)(x).astype(jnp.float32)


class HyperSynthesis(nn.Module):
  """Hyper-latents -> the standard deviation of every latent."""

  latents: int
  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, z: Float[Array, 'b h w n']) -> Float[Array, 'b 4*h 4*w m']:
    for _ in range(2):
      z = nn.relu(ConvUp(self.width, dtype=self.dtype)(z))
    return _LEAST_SCALE + nn.softplus(Conv3x3(self.latents, dtype=self.dtype)(z).astype(jnp.float32))


class Factorized(nn.Module):
  """Factorised prior of the hyper-latents: values -> log probability of the bin of width 1 about each.

  Every channel has a logistic distribution with its own mean and scale.
  """

  @nn.compact
  def __call__(self, z: Float[Array, 'b h w n']) -> Float[Array, 'b h w n']:
    mean = self.param('mean', nn.initializers.zeros, z.shape[-1:])
    scale = _LEAST_SCALE + nn.softplus(self.param('scale', nn.initializers.ones, z.shape[-1:]))
    upper, lower = (z + 0.5 - mean) / scale, (z - 0.5 - mean) / scale
    return -nn.softplus(-upper) - nn.softplus(lower) + jnp.log(-jnp.expm1(-1 / scale))


def log_mass_of_normal(y: Float[Array, '*b'], scale: Float[Array, '*b']) -> Float[Array, '*b']:
  """Returns the log probability that a zero-mean normal with that standard deviation rounds to y.

  For y that is not an integer, it is that of the bin of width 1 about y.
  """
  y = jnp.abs(y)  # on this side the logarithms of both tails keep their precision
  upper, lower = (jax.scipy.special.log_ndtr((half - y) / scale) for half in (0.5, -0.5))
  return upper + jnp.log(-jnp.expm1(lower - upper))


def _build(config, spec: Spec, axis_name: str | None):
  del axis_name  # no batch norm
  dtype, model = settings(config, spec)['dtype'], config.model
  shared, latents = {'width': model.width, 'dtype': dtype}, {'latents': model.latent_width}
  return {
    'analysis': Analysis(**shared, **latents),
    'synthesis': Synthesis(spec.image_shape[-1], **shared),
    'hyper_analysis': HyperAnalysis(**shared),
    'hyper_synthesis': HyperSynthesis(**shared, **latents),
    'prior': Factorized(),
  }


ROLES = ('analysis', 'synthesis', 'hyper_analysis', 'hyper_synthesis', 'prior')
HYPERPRIOR = Network(ROLES, _build)
