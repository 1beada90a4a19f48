"""Losses of classifiers, in nats, one value per example."""

import jax
from jaxtyping import Array, Float


def cross_entropy(logits: Float[Array, 'b k'], labels: Float[Array, 'b k']) -> Float[Array, ' b']:
  """Cross-entropy of soft labels, one-hot or mixed: -sum of labels times log softmax."""
  return -(labels * jax.nn.log_softmax(logits)).sum(-1)
