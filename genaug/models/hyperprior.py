"""Networks of lossy compression: an autoencoder, and one of the scales of its latents (Balle et al. 2018, the scale
hyperprior, arXiv:1802.01436, section 3 and figure 4). Fully convolutional, for images of sides that 64 divides.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from genaug.models import Network, Spec, settings
from genaug.models.layers import Conv3x3, ConvDown, ConvUp

MULTIPLE = 64
"""Of pixels; sides are halved four times, and those of the scales twice more."""

_LEAST_SCALE = 0.11  # of a latent, as in the authors' code: below it rounding leaves nothing to learn from


class _Normalization(nn.Module):
  """x / sqrt(beta + gamma x^2) over channels, or times it: Balle et al. 2016 (GDN, arXiv:1511.06281), eq. 3."""

  inverse: bool = False

  @nn.compact
  def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
    channels = x.shape[-1]
    inside = lambda value: jnp.log(jnp.expm1(value))  # of softplus
    beta = nn.softplus(self.param('beta', nn.initializers.constant(inside(1.0)), (channels,)))
    gamma = self.param('gamma', lambda key, shape: inside(0.1 * jnp.eye(*shape) + 1e-4), (channels, channels))
    x = x.astype(jnp.float32)
    norm = jnp.sqrt(beta + x**2 @ nn.softplus(gamma))
    return x * norm if self.inverse else x / norm


class Analysis(nn.Module):
  """Images in [0, 1] -> latents, a sixteenth of their sides."""

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
  """Latents -> images about [0, 1]."""

  channels: int
  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, y: Float[Array, 'b h w m']) -> Float[Array, 'b 16*h 16*w c']:
    for _ in range(3):
      y = _Normalization(inverse=True)(ConvUp(self.width, dtype=self.dtype)(y))
    return ConvUp(self.channels, dtype=self.dtype)(y).astype(jnp.float32) + 0.5


class HyperAnalysis(nn.Module):
  """Latents -> what is sent of their scales, a quarter of their sides."""

  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, y: Float[Array, 'b h w m']) -> Float[Array, 'b h/4 w/4 n']:
    x = nn.relu(Conv3x3(self.width, dtype=self.dtype)(jnp.abs(y)))
    x = nn.relu(ConvDown(self.width, dtype=self.dtype)(x))
    return ConvDown(self.width, dtype=self.dtype)(x).astype(jnp.float32)


class HyperSynthesis(nn.Module):
  """What was sent -> the standard deviation of every latent."""

  latents: int
  width: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, z: Float[Array, 'b h w n']) -> Float[Array, 'b 4*h 4*w m']:
    for _ in range(2):
      z = nn.relu(ConvUp(self.width, dtype=self.dtype)(z))
    return _LEAST_SCALE + nn.softplus(Conv3x3(self.latents, dtype=self.dtype)(z).astype(jnp.float32))


class Factorized(nn.Module):
  """A logistic of its own mean and scale for every channel, -> log probability of each whole number."""

  @nn.compact
  def __call__(self, z: Float[Array, 'b h w n']) -> Float[Array, 'b h w n']:
    mean = self.param('mean', nn.initializers.zeros, z.shape[-1:])
    scale = _LEAST_SCALE + nn.softplus(self.param('scale', nn.initializers.ones, z.shape[-1:]))
    upper, lower = (z + 0.5 - mean) / scale, (z - 0.5 - mean) / scale
    return -nn.softplus(-upper) - nn.softplus(lower) + jnp.log(-jnp.expm1(-1 / scale))


def log_mass_of_normal(y: Float[Array, '*b'], scale: Float[Array, '*b']) -> Float[Array, '*b']:
  """log probability that a normal number about zero rounds to y; of any y in between, as if shifted."""
  y = jnp.abs(y)  # on the side where the logarithms of both tails keep their digits
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
