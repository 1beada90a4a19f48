"""Every metric that a config can name."""

from genaug.metrics import Scores
from genaug.metrics.classification import ACCURACY
from genaug.metrics.discriminator import DISCRIMINATOR
from genaug.metrics.distances import DISTANCES
from genaug.metrics.likelihood import ELBO

METRICS = {'distances': DISTANCES, 'elbo': ELBO, 'accuracy': ACCURACY, 'discriminator': DISCRIMINATOR}


def describe(scores: Scores) -> str:
  """Scores as one line for people."""
  return '; '.join(metric.text(scores) for metric in METRICS.values() if metric.key in scores)
