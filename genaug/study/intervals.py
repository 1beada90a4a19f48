"""Confidence intervals and tests of means over seeds."""

from collections.abc import Sequence

import numpy as np
import scipy.stats


def mean_interval(values: Sequence[float]) -> dict[str, float]:
  """Returns the mean and the half width of Student's 95 % interval; no interval for one value."""
  summary = {'mean': float(np.mean(values))}
  if len(values) > 1:
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    summary['half_width_95'] = float(scipy.stats.t.ppf(0.975, len(values) - 1) * error)
  return summary


def paired_p(differences: Sequence[float]) -> float:
  """Returns the two-sided p-value of Student's t-test that paired differences have mean 0; 1 for fewer than two."""
  if len(differences) < 2 or max(differences) == min(differences):
    return float(len(differences) < 2 or not differences[0])
  return float(scipy.stats.ttest_1samp(differences, 0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
  """Returns p-values corrected for their number: the probability of any false positive below 0.05 is at most 0.05.

  Holm 1979, "A simple sequentially rejective multiple test procedure".
  """
  order = np.argsort(p, kind='stable')
  factors = np.arange(len(p), 0, -1)
  adjusted = np.empty(len(p))
  adjusted[order] = np.maximum.accumulate(np.minimum(factors * np.asarray(p)[order], 1))
  return adjusted.tolist()


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
  """Returns the BCa bootstrap 95 % interval of the mean (Efron 1987) by 9,999 resamples; zero width for equal values.

  For few values it is too narrow: of the intervals from 5 normally distributed values, 84 % cover the true mean instead
  of 95 %, from 10 values 90 % (20,000 simulations each).
  """
  if min(values) == max(values):
    return float(values[0]), float(values[0])
  result = scipy.stats.bootstrap((values,), np.mean, n_resamples=9999, method='BCa', rng=np.random.default_rng(0))
  return float(result.confidence_interval.low), float(result.confidence_interval.high)
