"""Style transfer between images: an image gets the histogram or low frequencies of a reference; its content stays.

The random forms are in `mixing`: they take whole batches, where the reference of an image is its partner.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, ScalarLike

from genaug.augment.image import (
  ImageShape,
  Pair,
  Parameter,
  Params,
  check_image,
  check_order,
  check_range,
  clip,
  from_zero,
  interval,
  operation,
  to_float,
  uniform,
  validated,
)
from genaug.augment.tone import RAMP, histogram, lookup


@operation
def histogram_match(
  image: Num[Array, 'h w c'], reference: Num[Array, 'H W c'], amount: ScalarLike = 1.0
) -> Num[Array, 'h w c']:
  """Replaces every channel's values by those of the same rank in the reference, by `amount` in [0, 1].

  Ranks are counted in 256 bins, exactly the values of uint8 images; in between, values are interpolated.
  Source: Gonzalez & Woods, "Digital Image Processing", 3.3.2.
  """
  check_range('histogram_match: amount', amount, 0, 1)
  reference = _reference('histogram_match', reference, (*reference.shape[:2], image.shape[-1]))
  matched = jax.vmap(_match, -1, -1)(histogram(image), histogram(reference))
  # Blending curves costs 256 values, blending images all pixels; and at amount 0 the curve RAMP keeps the image's bits.
  ramp = RAMP[:, None]
  return lookup(image, ramp + amount * (matched - ramp))


@validated(
  max_amount=Parameter(0, 1, '', 'Largest amount; in between it is uniform.'),
  min_amount=Parameter(0, 1, '', 'Least amount.'),
)
def sample_histogram_match(
  key: PRNGKeyArray, shape: ImageShape, max_amount: ScalarLike = 1.0, min_amount: ScalarLike = 0.5
) -> Params:
  """Samples the amount of `histogram_match`."""
  check_order('histogram_match: (min_amount, max_amount)', min_amount, max_amount)
  del shape
  return {'amount': uniform(key, min_amount, max_amount)}


@operation
def fourier_mix(image: Num[Array, 'h w c'], reference: Num[Array, 'h w c'], beta: ScalarLike) -> Num[Array, 'h w c']:
  """Gives low frequencies the amplitude that they have in the reference; their phase stays.

  Low frequencies have up to floor(beta * min(h, w)) periods across and down the image, for beta in [0, 0.5]; beta = 0
  changes nothing, and the smallest values above 0 change only the mean.
  Source: Yang & Soatto 2020, "FDA: Fourier Domain Adaptation for Semantic Segmentation", section 3.1.
  """
  check_range('fourier_mix: beta', beta, 0, 0.5)
  reference = _reference('fourier_mix', reference, image.shape)
  h, w, _ = image.shape
  down, across = np.abs(np.fft.fftfreq(h, 1 / h)), np.fft.rfftfreq(w, 1 / w)
  periods = np.round(np.maximum(down[:, None], across)).astype(np.int32)
  low = (periods <= jnp.floor(beta * min(h, w))) & (beta > 0)
  ours, theirs = _spectrum(image), _spectrum(reference)
  amplitude = jnp.abs(ours)
  phase = jnp.where(amplitude > 0, ours / jnp.where(amplitude > 0, amplitude, 1), 1)
  # Only the change goes through the inverse transform, so that without a change there is no rounding either.
  change = jnp.where(low, phase * (jnp.abs(theirs) - amplitude), 0)
  return clip(image + jnp.moveaxis(jnp.fft.irfft2(change, (h, w)), 0, -1))


@validated(max_beta=Parameter(0, 0.5, 'of the shorter side', 'Beta is uniform in [0, max_beta] or the pair.', (0, 0.5)))
def sample_fourier_mix(key: PRNGKeyArray, shape: ImageShape, max_beta: ScalarLike | Pair = 0.1) -> Params:
  """Samples beta of `fourier_mix`."""
  del shape
  return {'beta': uniform(key, *interval(max_beta, from_zero))}


def _reference(name: str, reference: Num[Array, 'H W c'], shape: ImageShape) -> Float[Array, 'H W c']:
  if reference.shape != shape:
    raise ValueError(f'{name}: a reference of shape {reference.shape}: must be {shape}')
  return to_float(check_image(reference, name))


def _match(counts: Int[Array, ' bins'], target: Int[Array, ' bins']) -> Float[Array, ' bins']:
  """Returns for every bin the value of the same rank in the target."""
  level = jnp.arange(len(RAMP))
  # An empty bin stands for the last value before it; empty bins before all values stand for the first one.
  value = jax.lax.cummax(jnp.where(target > 0, level, jnp.argmax(target > 0)))
  rank, ranks = (jnp.cumsum(bins) / bins.sum() for bins in (counts, target))
  return jnp.interp(rank, ranks, jnp.asarray(RAMP)[value])


def _spectrum(image: Float[Array, 'h w c']):
  return jnp.fft.rfft2(jnp.moveaxis(image, -1, 0))
