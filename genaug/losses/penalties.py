"""Gradient penalties on the discriminator: (critic, real, fake, keys) -> one value per example.

`critic(images, keys)` returns one logit per image, which it first augments by the random draw of the keys.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Images = Float[Array, 'b h w c']
Keys = Key[Array, ' b']
Critic = Callable[[Images, Keys], Float[Array, ' b']]


def r1(critic: Critic, real: Images, fake: Images, keys: Keys) -> Float[Array, ' b']:
  """Returns half the squared norm of the critic's gradient at real images.

  Mescheder et al. 2018 (arXiv:1801.04406), eq. 9.
  """
  del fake
  return 0.5 * _squared_norm(critic, real, keys)


def r2(critic: Critic, real: Images, fake: Images, keys: Keys) -> Float[Array, ' b']:
  """Returns half the squared norm of the critic's gradient at generated images: Mescheder et al. 2018, eq. 10."""
  del real
  return 0.5 * _squared_norm(critic, fake, keys)


def gradient_penalty(critic: Critic, real: Images, fake: Images, keys: Keys) -> Float[Array, ' b']:
  """Returns (norm of the critic's gradient - 1)^2 at random points between real and generated images.

  Gulrajani et al. 2017 (arXiv:1704.00028), eq. 3.
  """
  share = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1), (1, 1, 1)))(keys)
  squared = _squared_norm(critic, real + share * (fake - real), keys)
  # The square root is infinitely steep at 0, the norm for a critic that does not depend on its input yet.
  return (jnp.sqrt(jnp.maximum(squared, 1e-12)) - 1) ** 2


def _squared_norm(critic: Critic, images: Images, keys: Keys) -> Float[Array, ' b']:
  gradient = jax.grad(lambda images: critic(images, keys).sum())(images)
  return (gradient**2).sum((1, 2, 3))


PENALTIES = {'r1': r1, 'r2': r2, 'gradient_penalty': gradient_penalty}
