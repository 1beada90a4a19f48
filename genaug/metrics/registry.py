"""Every metric that a config can name in `eval.metrics`."""

from genaug.metrics import Scores
from genaug.metrics.cas import CAS
from genaug.metrics.classification import ACCURACY
from genaug.metrics.coverage import COVERAGE
from genaug.metrics.discriminator import DISCRIMINATOR
from genaug.metrics.distances import DISTANCES
from genaug.metrics.diversity import DIVERSITY
from genaug.metrics.held_out import HELD_OUT
from genaug.metrics.likelihood import AMORTISATION, CODES, ELBO, IWAE, LATENTS
from genaug.metrics.linear_probe import LINEAR_PROBE
from genaug.metrics.memorisation import MEMORISATION
from genaug.metrics.modes import MODES
from genaug.metrics.rate_distortion import RATE
from genaug.metrics.reconstruction import RECONSTRUCTION
from genaug.metrics.retrieval import RETRIEVAL
from genaug.metrics.style import STYLE
from genaug.metrics.super_resolution import SUPER_RESOLUTION
from genaug.metrics.translation import TRANSLATION

METRICS = {
  'distances': DISTANCES,
  'coverage': COVERAGE,
  'memorisation': MEMORISATION,
  'diversity': DIVERSITY,
  'cas': CAS,
  'modes': MODES,
  'rate_distortion': RATE,
  'discriminator': DISCRIMINATOR,
  'elbo': ELBO,
  'iwae': IWAE,
  'amortisation': AMORTISATION,
  'latents': LATENTS,
  'codes': CODES,
  'reconstruction': RECONSTRUCTION,
  'translation': TRANSLATION,
  'retrieval': RETRIEVAL,
  'super_resolution': SUPER_RESOLUTION,
  'style': STYLE,
  'held_out': HELD_OUT,
  'linear_probe': LINEAR_PROBE,
  'accuracy': ACCURACY,
}


def describe(scores: Scores) -> str:
  """Returns scores as text for people, one line per metric."""
  return '\n  '.join(metric.text(scores) for metric in METRICS.values() if metric.key in scores)
