"""Flow matching: straight paths from noise to images, the loss of the velocity along them, and the ODE solver.

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
  """Returns x_t = (1 - t) noise + t image: Liu et al. 2023 (rectified flow, arXiv:2209.03003), section 2.1.

  It is the conditional optimal transport path of Lipman et al. 2023 (arXiv:2210.02747), eq. 22, with sigma_min = 0.
  """
  t = t[:, None, None, None]
  return (1 - t) * noise + t * images


def velocity(predicted: Images, x: Images, t: Times) -> Images:
  """Returns the velocity that leads straight from x at time t < 1 to the images that a network predicts."""
  return (predicted - x) / (1 - t)[:, None, None, None]


def flow_matching(predicted: Images, images: Images, t: Times) -> Float[Array, ' b']:
  """Computes the squared error of `velocity` against image - noise, averaged over pixels: Lipman et al. 2023, eq. 23.

  The network predicts images, as networks with few channels predict these better than noise: Li and He 2025 (JiT,
  arXiv:2511.13720), section 4. The weight of their squared error, 1 / (1 - t)^2, is constant from t = 0.95 on.
  """
  return ((predicted - images) ** 2).mean((1, 2, 3)) / jnp.maximum(1 - t, 0.05) ** 2


def logit_normal_times(keys: Key[Array, ' b']) -> Times:
  """Draws t = sigmoid(u), u standard normal: times in the middle most often, where the task is hardest.

  Esser et al. 2024 (arXiv:2403.03206), section 3.1 with m = 0, s = 1.
  """
  return jax.nn.sigmoid(jax.vmap(jax.random.normal)(keys))


def stratified_times(count: int) -> Float[Array, ' n']:
  """Returns the midpoints of `count` equally probable parts of the distribution of `logit_normal_times`, ascending."""
  return jax.nn.sigmoid(jax.scipy.special.ndtri((jnp.arange(count) + 0.5) / count))


def heun(velocity: Velocity, noise: Images, steps: int) -> Images:
  """Solves dx/dt = velocity(x, t) from noise to images by Heun's method, with 2 * steps - 1 evaluations.

  The last step is Euler's, as at t = 1 there is no noise left to predict: Karras et al. 2022 (arXiv:2206.00364),
  algorithm 1, with straight paths in place of its schedules.
  """

  def evaluate(i, carry):
    """Makes the i-th evaluation: at even i an Euler step, at odd i its correction by the velocity at its end."""
    x, start, start_slope = carry
    slope = velocity(x, jnp.full(x.shape[:1], (i + 1) // 2 / steps, x.dtype))
    corrects = i % 2 == 1
    x_next = jnp.where(corrects, start + (start_slope + slope) / (2 * steps), x + slope / steps)
    return x_next, jnp.where(corrects, start, x), jnp.where(corrects, start_slope, slope)

  # One call of the velocity in the loop, not two in it and one after it: compiling each is what takes the time.
  return jax.lax.fori_loop(0, 2 * steps - 1, evaluate, (noise, noise, jnp.zeros_like(noise)))[0]
