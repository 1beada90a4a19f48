"""Precision, recall, density and coverage: whether samples look real, and whether they show all that is real.

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv:2002.09797, section 3.
"""

from typing import NamedTuple

import numpy as np

from genaug.metrics import Evaluated, Metric, Scores, features, neighbours

K = 5


class Prdc(NamedTuple):
  """Precision, recall and coverage are in [0, 1]; density may exceed 1."""

  precision: float  # share of generated images within the ball of any real one
  recall: float  # share of real images within the ball of any generated one
  density: float  # in how many balls of real images a generated one is, on average, over k
  coverage: float  # share of real images whose ball holds a generated one


def prdc(real: neighbours.Features, generated: neighbours.Features, k: int = K) -> Prdc:
  """A ball reaches to the k-th nearest image of the same set and leaves out its surface.

  So identical real images have empty balls: k or more copies of one are never covered. Raises ValueError for sets of
  at most k images.
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


def _coverage(run: Evaluated) -> Scores:
  reference = features.of_test(run)
  if 'prdc' not in run.cache:
    run.cache['prdc'] = prdc(reference, features.of_baseline(run))
  baseline, scores = run.cache['prdc'], prdc(reference, features.of_samples(run))
  return {
    **{f'eval/{name}': value for name, value in scores._asdict().items()},
    **{f'eval/{name}_baseline': value for name, value in baseline._asdict().items()},
    **features.protocol(run),
  }


def _text(scores: Scores) -> str:
  names = Prdc._fields[::-1]
  figures, baseline = (', '.join(f'{n} {scores[f"eval/{n}{end}"]:.2f}' for n in names) for end in ('', '_baseline'))
  return (
    f'{figures} [k = {K}; {features.sizes_text(scores)}; real-vs-real baseline of {scores["eval/baseline_samples"]:,}'
    f' training images: {baseline}]{_warning(scores)}'
  )


def _warning(scores: Scores) -> str:
  """Samples early in training are neither real nor do they cover much; few modes are real and cover little."""
  precision, coverage = scores['eval/precision'], scores['eval/coverage']
  if precision < scores['eval/precision_baseline'] / 2:
    return ' WARNING: unlike the real images; train longer, or look at the losses for one that diverges'
  if coverage * scores['eval/precision_baseline'] < precision * scores['eval/coverage_baseline'] / 2:
    return ' WARNING: few modes; for a GAN try a relativistic loss with R1 and R2, or DiffAugment'
  return ''


COVERAGE = Metric(_coverage, 'eval/coverage', 'max', 'samples', _text, features.check, at_least=K + 1)
