"""Contrastive loss between the patches of one image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def patch_nce(
  queries: Float[Array, 'b n d'], keys: Float[Array, 'b n d'], temperature: float = 0.07
) -> Float[Array, ' b']:
  """Computes the cross-entropy of finding each query's own key among the keys of its image, in nats; log n by chance.

  Vectors must have length 1. No gradient reaches the keys. Park et al. 2020 (CUT, arXiv:2007.15651), eq. 4.
  """
  logits = jnp.einsum('bnd,bmd->bnm', queries, jax.lax.stop_gradient(keys)) / temperature
  positive = jnp.diagonal(logits, axis1=1, axis2=2)
  return (jax.nn.logsumexp(logits, axis=-1) - positive).mean(-1)
