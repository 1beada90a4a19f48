"""Sampled parameters as a vector for a network: non-leaky augmentation of generative models.

The network is conditioned on the augmentation parameters of every training image. Sampling uses a vector of zeros,
which stands for no augmentation, so that the network never generates augmented images (Karras et al. 2022,
arXiv:2206.00364, appendix F.2).
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from genaug.augment.image import Params
from genaug.augment.stages import Sampled


def _angle(degrees) -> tuple:
  """Encodes an angle as (cos - 1, sin), which is 0 for any number of full turns."""
  radians = jnp.deg2rad(degrees)
  return jnp.cos(radians) - 1, jnp.sin(radians)


# Operation -> the encoding of its arguments: numbers of order 1 for its default parameters, 0 where it changes nothing.
ENCODINGS: dict[str, Callable[[Params], tuple]] = {
  'hflip': lambda params: (1.0,),
  'vflip': lambda params: (1.0,),
  'rot90': lambda params: _angle(90 * params['k']),
  'rotate': lambda params: _angle(params['angle']),
  'translate': lambda params: (8 * params['dx'], 8 * params['dy']),
  'scale': lambda params: (4 * jnp.log(params['sx']), 4 * jnp.log(params['sy'])),
  'zoom': lambda params: (4 * jnp.log(params['factor']),),
  'shear': lambda params: (4 * jnp.tan(jnp.deg2rad(params['x'])), 4 * jnp.tan(jnp.deg2rad(params['y']))),
  'brightness': lambda params: (2 * (params['factor'] - 1),),
  'contrast': lambda params: (2 * (params['factor'] - 1),),
  'saturation': lambda params: (2 * (params['factor'] - 1),),
  'hue': lambda params: _angle(params['degrees']),
}


def encode(params: Sampled, names: Sequence[str]) -> Float[Array, '*b n']:
  """Encodes what `Pipeline.sample` returned for an example or a batch, with zeros where an operation does not happen.

  names: one or more operations of ENCODINGS, in the order in which their numbers are concatenated.
  """
  numbers = []
  for name in names:
    on, values = params[name]
    numbers += [jnp.where(on, number, 0.0) for number in ENCODINGS[name](values)]
  return jnp.stack(numbers, axis=-1)
