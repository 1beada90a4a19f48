"""How sure a mean over seeds is."""

from collections.abc import Sequence

import numpy as np
import scipy.stats


def mean_interval(values: Sequence[float]) -> dict[str, float]:
  """Mean, and half width of Student's 95 % interval; no interval for one value."""
  summary = {'mean': float(np.mean(values))}
  if len(values) > 1:
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    summary['half_width_95'] = float(scipy.stats.t.ppf(0.975, len(values) - 1) * error)
  return summary
