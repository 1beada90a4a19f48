"""The evidence lower bound of test images and its parts."""

import numpy as np

from genaug.metrics import Evaluated, Metric, Scores


def _elbo(run: Evaluated) -> Scores:
  outputs = run.outputs()
  names = ('elbo_nats', 'log_likelihood_nats', 'kl_nats', 'bits_per_dim')
  means = {f'eval/{name}': float(outputs[name].mean(dtype=np.float64)) for name in names}
  return {**means, 'eval/elbo_images': len(outputs['elbo_nats']), 'eval/elbo_split': run.split}


def _elbo_text(scores: Scores) -> str:
  return (
    f'ELBO {scores["eval/elbo_nats"]:.2f} nats = log-likelihood {scores["eval/log_likelihood_nats"]:.2f}'
    f' - KL {scores["eval/kl_nats"]:.2f}; {scores["eval/bits_per_dim"]:.4f} bits/dim'
    f' [{scores["eval/elbo_images"]:,} images of {scores["eval/elbo_split"]}]'
  )


ELBO = Metric(_elbo, 'eval/elbo_nats', 'max', 'elbo_nats', _elbo_text)
