"""Flow matching: straight lines from noise to images, the velocity along them, and the way back along the flow.

Time t runs from 0 (standard normal noise) to 1 (images in [-1, 1]).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Images = Float[Array, 'b h w c']
Times = Float[Array, ' b']
Velocity = Callable[[Images, Times], Images]


def interpolate(noise: Images, images: Images, t: Times) -> Images:
  """x_t = (1 - t) noise + t image: Liu et al. 2023 (rectified flow, arXiv:2209.03003), section 2.1.

  It is the conditional optimal transport path of Lipman et al. 2023 (arXiv:2210.02747), eq. 22, with sigma_min = 0.
  """
  t = t[:, None, None, None]
  return (1 - t) * noise + t * images


def velocity(predicted: Images, x: Images, t: Times) -> Images:
  """Of the flow from x at time t < 1 straight to the images that a network predicts."""
  return (predicted - x) / (1 - t)[:, None, None, None]


def flow_matching(predicted: Images, images: Images, t: Times) -> Float[Array, ' b']:
  """Squared error of that velocity against image - noise, mean over pixels: Lipman et al. 2023, eq. 23.

  By way of images, as networks of few channels predict them better than noise: Li and He 2025 (JiT, arXiv:2511.13720),
  section 4. Near t = 1 the weight of their error stays what it is at 0.95.
  """
  return ((predicted - images) ** 2).mean((1, 2, 3)) / jnp.maximum(1 - t, 0.05) ** 2


def logit_normal_times(keys: Key[Array, ' b']) -> Times:
  """t = sigmoid(u), u standard normal: the times in the middle most often, as there it is hardest.

  Esser et al. 2024 (arXiv:2403.03206), section 3.1 with m = 0, s = 1.
  """
  return jax.nn.sigmoid(jax.vmap(jax.random.normal)(keys))


def stratified_times(count: int) -> Float[Array, ' n']:
  """The middles of `count` equally probable parts of the distribution of `logit_normal_times`, ascending."""
  return jax.nn.sigmoid(jax.scipy.special.ndtri((jnp.arange(count) + 0.5) / count))


def heun(velocity: Velocity, noise: Images, steps: int) -> Images:
  """Images where the flow dx/dt = velocity(x, t) takes noise, by Heun's method: 2 * steps - 1 evaluations.

  The last step is Euler's, as at t = 1 there is no noise left to predict: Karras et al. 2022 (arXiv:2206.00364),
  algorithm 1, with straight lines in place of its schedules.
  """

  def evaluate(i, carry):
    """The i-th evaluation: at even i from the beginning of a step to its end, at odd ones there."""
    x, start, here = carry
    found = velocity(x, jnp.full(x.shape[:1], (i + 1) // 2 / steps, x.dtype))
    corrects = i % 2 == 1
    x_next = jnp.where(corrects, start + (here + found) / (2 * steps), x + found / steps)
    return x_next, jnp.where(corrects, start, x), jnp.where(corrects, here, found)

  # One velocity in the loop, not two in it and one behind it: to compile them is what takes the time.
  return jax.lax.fori_loop(0, 2 * steps - 1, evaluate, (noise, noise, jnp.zeros_like(noise)))[0]
