"""Precision, recall, density and coverage: whether samples look real, and whether they cover the real images.

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv:2002.09797, section 3.
"""

from typing import NamedTuple

import numpy as np

from genaug.metrics import EvalContext, Metric, Scores, features, neighbours

K = 5


class Prdc(NamedTuple):
  """The four scores. Precision, recall and coverage are in [0, 1]; density may exceed 1."""

  precision: float  # share of generated images inside the ball of at least one real image
  recall: float  # share of real images inside the ball of at least one generated image
  density: float  # mean number of real images' balls that a generated image is in, divided by k
  coverage: float  # share of real images whose ball holds a generated one


def prdc(real: neighbours.Features, generated: neighbours.Features, k: int = K) -> Prdc:
  """Computes the scores by balls that reach from each image to the k-th nearest other image of the same set.

  A ball excludes its surface: that of a real image with k or more identical others is empty, and the image is never
  covered. Raises ValueError for sets of at most k images.
  """
  real_radii, generated_radii = neighbours.squared_radii(real, k), neighbours.squared_radii(generated, k)
  inside, recalled, covered = np.zeros(len(generated), int), 0, 0
  for rows, squared in neighbours.blocks(real, generated):
    in_real = squared < real_radii[rows, None]
    inside += in_real.sum(0)
    covered += in_real.any(1).sum()
    recalled += (squared < generated_radii).any(1).sum()
  return Prdc(
    precision=float((inside > 0).mean()),
    recall=float(recalled / len(real)),
    density=float(inside.mean() / k),
    coverage=float(covered / len(real)),
  )


def _coverage(run: EvalContext) -> Scores:
  reference = features.of_test(run)
  if 'prdc' not in run.cache:
    run.cache['prdc'] = prdc(reference, features.of_baseline(run))
  baseline, scores = run.cache['prdc'], prdc(reference, features.of_samples(run))
  return {
    **{f'eval/{name}': value for name, value in scores._asdict().items()},
    **{f'eval/{name}_baseline': value for name, value in baseline._asdict().items()},
    **features.score_context(run),
  }


def _text(scores: Scores) -> str:
  names = Prdc._fields[::-1]
  figures, baseline = (', '.join(f'{n} {scores[f"eval/{n}{end}"]:.2f}' for n in names) for end in ('', '_baseline'))
  return (
    f'{figures} [k = {K}; {features.sizes_text(scores)}; real-vs-real baseline of {scores["eval/baseline_samples"]:,}'
    f' training images: {baseline}]{_warning(scores)}'
  )


def _warning(scores: Scores) -> str:
  """Returns a warning for low precision, as early in training, or for coverage low against it, as with few modes."""
  precision, coverage = scores['eval/precision'], scores['eval/coverage']
  if precision < scores['eval/precision_baseline'] / 2:
    return ' WARNING: samples are unlike the real images; train longer, or check that no loss diverges'
  if coverage * scores['eval/precision_baseline'] < precision * scores['eval/coverage_baseline'] / 2:
    return ' WARNING: samples cover few modes; for a GAN try a relativistic loss with R1 and R2, or DiffAugment'
  return ''


COVERAGE = Metric(_coverage, 'eval/coverage', 'max', 'samples', _text, features.check, at_least=K + 1)
