"""Distances between two sets of features, in float64."""

import numpy as np
from jaxtyping import Float

from genaug.metrics import Evaluated, Metric, Scores, features

Features = Float[np.ndarray, 'n d']


def frechet_distance(a: Features, b: Features) -> float:
  """Frechet distance between Gaussians fitted to both sets (Heusel et al. 2017, eq. 6); covariances with n - 1.

  tr sqrt(A B) is the sum of the square roots of the eigenvalues of sqrt(A) B sqrt(A), which is symmetric: no
  complex square root and no singular product. Biased upwards for few samples: always print n.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
  values, vectors = np.linalg.eigh(cov_a)
  root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
  cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
  distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
  return max(float(distance), 0.0)  # rounding of the roots can take that of a set to itself below


def kernel_distance(a: Features, b: Features, subsets: int = 100, size: int = 1000, seed: int = 0) -> float:
  """Unbiased squared MMD with the kernel (x.y / d + 1)^3, mean over subsets (Binkowski et al. 2018, section 4).

  Subsets hold min(size, n of the smaller set) rows each. May be negative near zero.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  size = min(size, len(a), len(b))
  if size == len(a) == len(b):
    subsets = 1  # all subsets would be the whole
  rng = np.random.default_rng(seed)

  def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3

  def mean_off_diagonal(k):
    return (k.sum() - np.trace(k)) / (size * (size - 1))

  distances = []
  for _ in range(subsets):
    x, y = (s[rng.choice(len(s), size, replace=False)] for s in (a, b))
    within = mean_off_diagonal(kernel(x, x)) + mean_off_diagonal(kernel(y, y))
    distances.append(within - 2 * kernel(x, y).mean())
  return float(np.mean(distances))


def _distances(run: Evaluated) -> Scores:
  """Frechet and kernel distance of generated images to the test split, and of as many real training images.

  The latter, the real-vs-real baseline, is what a perfect generator would get.
  """
  if 'real features' not in run.cache:
    size, test, train = run.settings.batch_size, run.test['image'], run.train['image']
    rows = np.random.default_rng(0).permutation(len(train))[: run.settings.samples]
    reference = features.extract(test[i : i + size] for i in range(0, len(test), size))
    real = features.extract(train[rows[i : i + size]] for i in range(0, len(rows), size))
    baseline = {
      'eval/fd_alexnet_baseline': frechet_distance(real, reference),
      'eval/kid_alexnet_baseline': kernel_distance(real, reference),
      'eval/baseline_samples': len(real),
    }
    run.cache['real features'] = reference, baseline
  reference, baseline = run.cache['real features']
  scores: Scores = {}
  for name in run.samplers:
    if name.startswith('samples'):
      generated, suffix = features.extract(run.samples(name)), name.removeprefix('samples')
      scores[f'eval/fd_alexnet{suffix}'] = frechet_distance(generated, reference)
      scores[f'eval/kid_alexnet{suffix}'] = kernel_distance(generated, reference)
  return {
    **scores,
    **baseline,
    'eval/samples': run.settings.samples,
    'eval/reference_samples': len(reference),
    'eval/reference_split': run.split,
    'eval/network': features.NETWORK,
  }


def _distances_text(scores: Scores) -> str:
  raw = f', raw weights {scores["eval/fd_alexnet_raw"]:.2f}' if 'eval/fd_alexnet_raw' in scores else ''
  return (
    f'FD ({scores["eval/network"]}) {scores["eval/fd_alexnet"]:.2f}{raw}, KID {scores["eval/kid_alexnet"]:.4f}'
    f' [{scores["eval/samples"]:,} samples v {scores["eval/reference_samples"]:,} of {scores["eval/reference_split"]};'
    f' real-vs-real baseline of {scores["eval/baseline_samples"]:,} training images:'
    f' FD {scores["eval/fd_alexnet_baseline"]:.2f}, KID {scores["eval/kid_alexnet_baseline"]:.4f}]'
  )


def _alexnet_is_installed() -> None:
  features.load_weights(features.weights_file())


DISTANCES = Metric(_distances, 'eval/fd_alexnet', 'min', 'samples', _distances_text, _alexnet_is_installed)
