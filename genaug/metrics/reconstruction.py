"""Similarity of images to those that they reconstruct: PSNR, SSIM and LPIPS."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from genaug.metrics import EvalContext, Metric, Scores
from genaug.metrics.diversity import lpips
from genaug.models import imagenet, weights

WINDOW, _SIGMA = 11, 1.5
_COUNT = 1000  # largest number of images whose LPIPS is computed

Images = UInt8[np.ndarray, 'n h w c'] | Float[np.ndarray, 'n h w c']  # in [0, 255]


def psnr(images: Images, references: Images) -> Float[np.ndarray, ' n']:
  """Computes the peak signal-to-noise ratio in dB per image, from the mean squared error over pixels and channels.

  It is at most 58.9: the error is taken as at least that of rounding to whole levels, as one infinite value would make
  a mean useless.
  """
  error = ((images.astype(np.float64) - references) ** 2).mean((1, 2, 3))
  return 10 * np.log10(255**2 / np.maximum(error, 1 / 12))


def ssim(images: Images, references: Images) -> Float[np.ndarray, ' n']:
  """Computes the structural similarity per image, averaged over channels: Wang et al. 2004, section III.B.

  Gaussian windows of 11x11 pixels and sigma 1.5, only those inside the image. Raises ValueError for smaller images.
  """
  if min(images.shape[1:3]) < WINDOW:
    raise ValueError(f'images of {images.shape[1]} x {images.shape[2]} pixels: SSIM has windows of 11 x 11')
  return np.concatenate([np.asarray(_ssim(*pair)) for pair in zip(_parts(images), _parts(references), strict=True)])


def _parts(images: Images) -> list[Images]:
  return np.array_split(images, -(-len(images) // 250))


@jax.jit
def _ssim(a: Float[Array, 'n h w c'], b: Float[Array, 'n h w c']) -> Float[Array, ' n']:
  a, b = (x.astype(jnp.float32) for x in (a, b))
  window = jnp.exp(-0.5 * ((jnp.arange(WINDOW) - WINDOW // 2) / _SIGMA) ** 2)
  window /= window.sum()

  def blur(x):
    for axis in (1, 2):
      count = x.shape[axis] - WINDOW + 1
      slices = (jax.lax.slice_in_dim(x, i, i + count, axis=axis) for i in range(WINDOW))
      x = sum(weight * part for weight, part in zip(window, slices))
    return x

  mean_a, mean_b = blur(a), blur(b)
  # A mean of squares minus a squared mean loses precision where both are large: centre the pixels at mid-grey.
  centred_a, centred_b = a - 128, b - 128
  var_a = blur(centred_a**2) - blur(centred_a) ** 2
  var_b = blur(centred_b**2) - blur(centred_b) ** 2
  covariance = blur(centred_a * centred_b) - blur(centred_a) * blur(centred_b)
  c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
  luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  return (luminance * (2 * covariance + c2) / (var_a + var_b + c2)).mean((1, 2, 3))


def mean_lpips(images: Images, references: Images) -> float:
  """Returns the mean LPIPS (AlexNet) of pairs of images, resized to 64x64."""
  resized = lambda x: imagenet.resized(jnp.asarray(x, jnp.float32))
  values = [lpips(resized(a), resized(b)) for a, b in zip(_parts(images), _parts(references), strict=True)]
  return float(np.concatenate(values).mean(dtype=np.float64))


def _reconstruction(run: EvalContext) -> Scores:
  """Scores the reconstructions of all test images; without SSIM if these are smaller than its window."""
  images, references = run.samples_from_test('reconstructions'), run.test['image']
  scores = {'eval/psnr': float(np.mean(psnr(images, references)))}
  if min(images.shape[1:3]) >= WINDOW:
    scores['eval/ssim'] = float(np.mean(ssim(images, references), dtype=np.float64))
  return scores | {
    'eval/lpips': mean_lpips(images[:_COUNT], references[:_COUNT]),
    'eval/reconstructions': len(images),
    'eval/reconstructions_split': run.split,
  }


def _text(scores: Scores) -> str:
  similarity = f', SSIM {scores["eval/ssim"]:.3f}' if 'eval/ssim' in scores else ''
  return (
    f'reconstructions: PSNR {scores["eval/psnr"]:.2f} dB{similarity}, LPIPS'
    f' {scores["eval/lpips"]:.3f} [{scores["eval/reconstructions"]:,} images of'
    f' {scores["eval/reconstructions_split"]}; LPIPS of {min(_COUNT, scores["eval/reconstructions"]):,}, alexnet]'
  )


RECONSTRUCTION = Metric(
  _reconstruction, 'eval/psnr', 'max', 'reconstructions', _text, lambda config: weights.load('alexnet')
)
