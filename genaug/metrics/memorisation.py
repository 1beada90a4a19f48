"""Memorisation: whether samples are copies of training images, which distances between distributions reward."""

import numpy as np
from jaxtyping import Float

from genaug.metrics import EvalContext, Metric, Scores, features, neighbours

# Points of AuthPct below held-out images from which on a warning is given. With 200 digits, GANs were within 7 points
# of held-out images, flow models that copy up to 41 below.
_FAR = 15


def margins(
  samples: neighbours.Features, train: neighbours.Features, train_radii: Float[np.ndarray, ' n'] | None = None
) -> tuple[Float[np.ndarray, ' m'], Float[np.ndarray, ' m']]:
  """Returns (margin, distance) of every sample.

  `distance` is to its nearest training image. `train_radii` holds each training image's distance to its nearest other
  one, `neighbours.radii(train, 1)`, computed if None; `margin` is `distance` minus the entry of that nearest image.
  """
  train_radii = neighbours.radii(train, 1) if train_radii is None else train_radii
  index, distance = neighbours.nearest(samples, train)
  return distance - train_radii[index], distance


def authenticity(
  samples: neighbours.Features, train: neighbours.Features, train_radii: Float[np.ndarray, ' n'] | None = None
) -> tuple[float, Float[np.ndarray, ' m']]:
  """Returns AuthPct, and the distance of every sample to its nearest training image.

  AuthPct is the percentage of samples whose margin is positive, see `margins` (Alaa et al. 2022, "How Faithful is your
  Synthetic Data?", arXiv:2102.08921, section 4.3; the name is of Stein et al. 2023, arXiv:2306.04675).
  """
  margin, distance = margins(samples, train, train_radii)
  return 100 * float((margin > 0).mean()), distance


def copying_test(samples: Float[np.ndarray, ' m'], held_out: Float[np.ndarray, ' n']) -> float:
  """Returns the z-score of a Mann-Whitney U test: are samples farther from training images than held-out real ones?

  Both arguments are distances to the nearest training image: of samples and of held-out real images. Far below 0
  samples are copies, far above 0 they are unlike the data. The score grows with the square root of n. It is the C_T of
  Meehan et al. 2020, arXiv:2004.05675, with one cell.
  """
  held_out, m, n = np.sort(held_out), len(samples), len(held_out)
  below, up_to = (np.searchsorted(held_out, samples, side).sum() for side in ('left', 'right'))
  return float(((below + up_to) / 2 - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))


def _memorisation(run: EvalContext) -> Scores:
  """Computes AuthPct and, unless the test images are the training images, its value for held-out images and C_T."""
  samples, train = features.of_samples(run), features.of_train(run)
  if 'train_radii' not in run.cache:
    run.cache['train_radii'] = neighbours.radii(train, 1)
  train_radii = run.cache['train_radii']
  authpct, distances = authenticity(samples, train, train_radii)
  scores: Scores = {**features.score_context(run), 'eval/authpct': authpct, 'eval/train_samples': len(train)}
  if run.test['image'] is run.train['image']:
    return scores
  if 'held out' not in run.cache:
    run.cache['held out'] = authenticity(features.of_test(run), train, train_radii)
  baseline, held_out = run.cache['held out']
  return {**scores, 'eval/authpct_baseline': baseline, 'eval/c_t': copying_test(distances, held_out)}


def _text(scores: Scores) -> str:
  authpct, warning = scores['eval/authpct'], ''
  if 'eval/authpct_baseline' in scores:
    baseline = f'held-out real images {scores["eval/authpct_baseline"]:.1f}; C_T {scores["eval/c_t"]:.1f}'
    if authpct < scores['eval/authpct_baseline'] - _FAR:
      warning = ' WARNING: copies training images; train for fewer steps, augment, or use a smaller network'
  else:
    baseline = 'no held-out images to compare it with: the test images are the training images'
  return (
    f'AuthPct {authpct:.1f} ({baseline}) [compared with {scores["eval/train_samples"]:,} training images;'
    f' {features.sizes_text(scores)}]{warning}'
  )


MEMORISATION = Metric(_memorisation, 'eval/authpct', 'max', 'samples', _text, features.check)
