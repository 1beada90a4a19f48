"""Distances between two sets of features, in float64."""

import numpy as np
from jaxtyping import Float

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
  return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


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
