"""Every metric that a config can name."""

from genaug.metrics import Scores
from genaug.metrics.classification import ACCURACY
from genaug.metrics.distances import DISTANCES
from genaug.metrics.held_out import HELD_OUT
from genaug.metrics.likelihood import ELBO

METRICS = {'distances': DISTANCES, 'elbo': ELBO, 'held_out': HELD_OUT, 'accuracy': ACCURACY}


def describe(scores: Scores) -> str:
  """Scores as one line for people."""
  return '; '.join(metric.text(scores) for metric in METRICS.values() if metric.key in scores)
