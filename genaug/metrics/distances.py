"""Frechet and kernel distance between the features of generated and of real images, in float64."""

import numpy as np
from jaxtyping import Float, Int

from genaug.metrics import EvalContext, Metric, Scores, features, inception

Features = Float[np.ndarray, 'n d']
Labels = Int[np.ndarray, ' n']


def frechet_distance(a: Features, b: Features) -> float:
  """Computes the Frechet distance between Gaussians fitted to both sets; covariances with n - 1.

  Heusel et al. 2017, eq. 6. tr sqrt(A B) is the sum of the square roots of the eigenvalues of sqrt(A) B sqrt(A), which
  is symmetric: no complex square root and no singular product. If a set has fewer rows than columns, it is the sum of
  the singular values of X Y', both centred, which is smaller. The distance is biased upwards for few samples: always
  print n.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
  a, b = ((x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b))
  if min(len(a), len(b)) < a.shape[1]:
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
  else:
    values, vectors = np.linalg.eigh(a.T @ a)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ (b.T @ b) @ root), 0, None)).sum()
  distance = shift + (a**2).sum() + (b**2).sum() - 2 * cross
  return max(float(distance), 0.0)  # rounding of the roots can make a set's distance to itself negative


def kernel_distance(a: Features, b: Features, subsets: int = 100, size: int = 1000, seed: int = 0) -> float:
  """Estimates the squared MMD with the kernel (x.y / d + 1)^3, without bias, as a mean over subsets.

  Binkowski et al. 2018, section 4. Each subset has min(size, n of the smaller set) rows. May be negative near zero.
  """
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  size = min(size, len(a), len(b))
  if size == len(a) == len(b):
    subsets = 1  # every subset would be the whole set
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


def _within_classes(a: Features, a_label: Labels, b: Features, b_label: Labels) -> tuple[float, int] | None:
  """Returns (mean over classes of the Frechet distance within the class, size of the smallest class in either set).

  None if a class has fewer than two images in either set.
  """
  classes = np.unique(np.concatenate([a_label, b_label]))
  pairs = [(a[a_label == label], b[b_label == label]) for label in classes]
  smallest = min(len(one) for pair in pairs for one in pair)
  return (float(np.mean([frechet_distance(*pair) for pair in pairs])), smallest) if smallest > 1 else None


def _distances(run: EvalContext) -> Scores:
  """Computes the Frechet and kernel distance to the test split, of generated and of as many real training images.

  The latter, the real-vs-real baseline, is what a perfect generator would get. For class-conditional models, also
  computes the Frechet distance within classes.
  """
  reference = features.of_test(run)
  if 'distances' not in run.cache:
    real = features.of_baseline(run)
    run.cache['distances'] = {
      'eval/fd_baseline': frechet_distance(real, reference),
      'eval/kid_baseline': kernel_distance(real, reference),
    }
  scores: Scores = {}
  for name in run.samplers:
    if name.startswith('samples'):
      generated, suffix = features.of_samples(run, name), name.removeprefix('samples')
      scores[f'eval/fd{suffix}'] = frechet_distance(generated, reference)
      scores[f'eval/kid{suffix}'] = kernel_distance(generated, reference)
  scores |= {**run.cache['distances'], **features.score_context(run), 'eval/features': reference.shape[1]}
  return scores if run.labels is None else scores | _class_distances(run)


def _class_distances(run: EvalContext) -> Scores:
  reference, label = features.of_test(run), run.test['label']
  if 'class distances' not in run.cache:
    real_label = run.train['label'][features.baseline_rows(run)]
    run.cache['class distances'] = _within_classes(features.of_baseline(run), real_label, reference, label)
  baseline = run.cache['class distances']
  within = _within_classes(features.of_samples(run), run.labels, reference, label)
  if within is None or baseline is None:
    return {}
  names = ('eval/fd_within_classes', 'eval/smallest_class', 'eval/fd_within_classes_baseline')
  return dict(zip(names, (*within, baseline[0])))


def _distances_text(scores: Scores) -> str:
  name = 'FID' if scores['eval/network'] == inception.LABEL else 'FD'
  others = {'raw': 'raw weights', 'mixture': 'latents of a fitted mixture'}
  shown = {text: f'eval/fd_{key}' for key, text in others.items() if f'eval/fd_{key}' in scores}
  more = ''.join(f', {text} {scores[key]:.2f}' for text, key in shown.items())
  within = ''
  if 'eval/fd_within_classes' in scores:
    within = (
      f', {name} within classes {scores["eval/fd_within_classes"]:.2f}'
      f' (baseline {scores["eval/fd_within_classes_baseline"]:.2f}; smallest class {scores["eval/smallest_class"]:,})'
    )
  fewest = min(scores[f'eval/{n}'] for n in ('samples', 'reference_samples', 'baseline_samples'))
  few = f' {fewest:,} images are too few for {scores["eval/features"]:,} features: read KID, not {name}'
  return (
    f'{name} {scores["eval/fd"]:.2f}{more}, KID {scores["eval/kid"]:.4f}{within}'
    f' [{features.sizes_text(scores)};'
    f' real-vs-real baseline of {scores["eval/baseline_samples"]:,} training images:'
    f' {name} {scores["eval/fd_baseline"]:.2f}, KID {scores["eval/kid_baseline"]:.4f}]'
    f'{few if fewest <= scores["eval/features"] else ""}'
  )


DISTANCES = Metric(_distances, 'eval/fd', 'min', 'samples', _distances_text, features.check)
