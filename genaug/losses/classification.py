"""Losses for classifiers, in nats, one value per example."""

import jax
from jaxtyping import Array, Float


def cross_entropy(logits: Float[Array, 'b k'], labels: Float[Array, 'b k']) -> Float[Array, ' b']:
  """Computes the cross-entropy with soft labels, one-hot or mixed: minus the sum of labels times log softmax."""
  return -(labels * jax.nn.log_softmax(logits)).sum(-1)
