"""Colour operations that change the light: shifts along ImageNet's principal components, and light of black bodies."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, ScalarLike

from genaug.augment.color import EYE, Matrix, apply_colors_clipped, color_matrix
from genaug.augment.image import (
  RGB,
  ImageShape,
  Parameter,
  Params,
  check_channels,
  check_order,
  check_range,
  operation,
  randomly,
  uniform,
  validated,
)

# Principal components of ImageNet's pixel colours, one per column, times their eigenvalues (Krizhevsky et al., 2012,
# "ImageNet classification with deep convolutional neural networks", section 4.1), with the numbers in common use.
_COMPONENTS = np.array(
  [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32
) * np.array([0.2175, 0.0188, 0.0045], np.float32)  # fmt: skip


def pca_lighting_matrix(alphas: Float[Array, '3']) -> Matrix:
  return color_matrix(EYE, (_COMPONENTS * alphas).sum(1))


@operation
def pca_lighting(image: Float[Array, 'h w 3'], alphas: Float[Array, '3']) -> Float[Array, 'h w 3']:
  """Shifts all pixels along the principal components of ImageNet's colours, by `alphas` times the eigenvalues.

  Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 4.1.
  """
  check_channels(image.shape[-1], 'pca_lighting', (RGB,))
  return apply_colors_clipped(image, pca_lighting_matrix(alphas))


@validated(std=Parameter(0, 10, '', 'Alphas are normal with mean 0 and this standard deviation.'))
def sample_pca_lighting(key: PRNGKeyArray, shape: ImageShape, std: ScalarLike = 0.1) -> Params:
  """Samples the alphas of `pca_lighting`."""
  del shape
  return {'alphas': std * jax.random.normal(key, (3,))}


def _light(temperature: np.ndarray) -> np.ndarray:
  """Returns the linear sRGB of black bodies, scaled to green = 1.

  The locus is that of Kim et al., 2002, US patent 7024034, valid to 25000 K.
  """
  t = 1000 / temperature
  warm = temperature < 4000
  x = np.where(
    warm,
    ((-0.2661239 * t - 0.2343589) * t + 0.8776956) * t + 0.179910,
    ((-3.0258469 * t + 2.1070379) * t + 0.2226347) * t + 0.240390,
  )
  y = np.where(
    warm,
    ((-0.9549476 * x - 1.37418593) * x + 2.09137015) * x - 0.16748867,
    ((3.0817580 * x - 5.87338670) * x + 3.75112997) * x - 0.37001483,
  )
  from_xyz = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
  rgb = np.stack([x, y, 1 - x - y], axis=-1) @ from_xyz.T
  return rgb / rgb[:, 1:2]


# A table, because at its knot 6500 K the gains are then exactly 1. Images are gamma-encoded, so gains of light are
# raised to the power 1 / 2.2.
_COOLEST, _HOTTEST, _STEP = 3000.0, 15000.0, 250.0
_LIGHTS = _light(np.arange(_COOLEST, _HOTTEST + 1, _STEP))
_GAINS = ((_LIGHTS / _light(np.array([6500.0]))) ** (1 / 2.2)).astype(np.float32)


def planckian_jitter_matrix(temperature: ScalarLike) -> Matrix:
  check_range('planckian_jitter: temperature', temperature, _COOLEST, _HOTTEST)
  position = (jnp.asarray(temperature, jnp.float32) - _COOLEST) / _STEP
  knot = jnp.clip(jnp.floor(position), 0, len(_GAINS) - 2).astype(jnp.int32)
  low, high = jnp.asarray(_GAINS)[knot], jnp.asarray(_GAINS)[knot + 1]
  return color_matrix(EYE * (low + (position - knot) * (high - low)))


@operation
def planckian_jitter(image: Float[Array, 'h w 3'], temperature: ScalarLike) -> Float[Array, 'h w 3']:
  """Lights the image by a black body of 3000 K (red) to 15000 K (blue) instead of 6500 K; the green channel stays.

  Source: Zini et al., 2022, "Planckian jitter"; their gains are steeper, because they treat pixels as linear light.
  """
  check_channels(image.shape[-1], 'planckian_jitter', (RGB,))
  return apply_colors_clipped(image, planckian_jitter_matrix(temperature))


@validated(
  low=Parameter(_COOLEST, _HOTTEST, 'kelvin', 'Least temperature.'),
  high=Parameter(_COOLEST, _HOTTEST, 'kelvin', 'Largest temperature; in between it is uniform.'),
)
def sample_planckian_jitter(
  key: PRNGKeyArray, shape: ImageShape, low: ScalarLike = _COOLEST, high: ScalarLike = _HOTTEST
) -> Params:
  """Samples the temperature of `planckian_jitter`."""
  check_order('planckian_jitter: (low, high)', low, high)
  del shape
  return {'temperature': uniform(key, low, high)}


random_pca_lighting = randomly(pca_lighting, sample_pca_lighting)
random_planckian_jitter = randomly(planckian_jitter, sample_planckian_jitter)
