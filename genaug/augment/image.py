"""What every operation shares: which images it takes, how its arguments are checked, and how it turns random."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PRNGKeyArray, ScalarLike

Shape = tuple[int, int, int]  # (height, width, channels)
Params = dict[str, Any]  # what a draw decides: arguments of one operation, by name


def operation(op: Callable[..., Float[Array, 'h w c']]) -> Callable[..., Num[Array, 'H W c']]:
  """Lets `op`, float image in [0, 1] to the same, take any image and give back the dtype it was given.

  uint8 in [0, 255] is computed in float32 and rounded; floats narrower than float32 are computed in float32; with
  method='nearest', masks of other integers and booleans are moved as they are. Raises ValueError for another rank or
  dtype. A value that `op` leaves as it is comes back with the same bits.
  """

  @wraps(op)
  def checked(image, *args, **kwargs):
    image = check_image(image, op.__name__, masks=kwargs.get('method') == 'nearest')
    if not _is_image(image):
      return op(image, *args, **kwargs)
    return from_float(op(to_float(image), *args, **kwargs), image.dtype)

  return checked


def check_image(image: Num[Array, 'h w c'], name: str, masks: bool = False) -> Num[Array, 'h w c']:
  """The image as a JAX array. Raises ValueError unless it is [h, w, c], uint8 or floating point (or `masks` may be)."""
  image = jnp.asarray(image)
  if image.ndim != 3:
    raise ValueError(f'{name}: an image of shape {image.shape}: must be [h, w, c]; use jax.vmap for a batch')
  if not masks and not _is_image(image):
    raise ValueError(f'{name}: an image of {image.dtype}: must be uint8 in [0, 255] or floating point in [0, 1]')
  return image


def _is_image(image):
  return image.dtype == jnp.uint8 or jnp.issubdtype(image.dtype, jnp.floating)


GREY, RGB = 1, 3


def check_channels(channels: int, name: str, allowed: tuple[int, ...] = (GREY, RGB)) -> None:
  """Raises ValueError unless an image of so many channels is grey or RGB, or only one of them, as `allowed` says."""
  if channels not in allowed:
    named = ' or '.join({GREY: '1 (grey)', RGB: '3 (RGB)'}[number] for number in allowed)
    raise ValueError(f'{name}: {channels} channels: must be {named}')


def check_range(name: str, value: ScalarLike, low: float, high: float) -> None:
  """Raises ValueError unless low <= value <= high; a value that is being traced can't be looked at and passes."""
  if isinstance(value, jax.core.Tracer):
    return
  if not np.all((np.asarray(value) >= low) & (np.asarray(value) <= high)):
    raise ValueError(f'{name} = {value!r}: must lie in [{low}, {high}]')


def validated(**ranges: tuple) -> Callable[[Callable[..., Params]], Callable[..., Params]]:
  """Declares what the strengths of a draw may be: (low, high), both included, or the names to choose from.

  They are checked on every call, so that ValueError names strength, value and range; whole numbers (as the default
  is one) are static and can't be traced. `draw.ranges` are the ranges, `draw.check` checks without drawing.
  """

  def decorate(draw):
    signature = inspect.signature(draw)
    label = draw.__name__.removeprefix('sample_')

    def check(*args, **kwargs):
      bound = signature.bind(*args, **kwargs)
      bound.apply_defaults()
      for name, allowed in ranges.items():
        _check_strength(f'{label}: {name}', bound.arguments[name], allowed, signature.parameters[name].default)

    @wraps(draw)
    def checked(*args, **kwargs):
      check(*args, **kwargs)
      return draw(*args, **kwargs)

    checked.ranges, checked.check = ranges, check
    return checked

  return decorate


def _check_strength(label, value, allowed, default):
  if isinstance(default, str):
    if value not in allowed:
      raise ValueError(f'{label} = {value!r}: must be one of {", ".join(allowed)}')
  elif isinstance(default, int) and not isinstance(value, int):
    raise ValueError(f'{label} = {value!r}: must be a whole number in [{allowed[0]}, {allowed[1]}]')
  else:
    check_range(label, value, *allowed)


def to_float(image: Num[Array, '...']) -> Float[Array, '...']:
  """uint8 in [0, 255] as float32 in [0, 1]; floats as they are, but at least float32."""
  if image.dtype != jnp.uint8:
    return image.astype(jnp.promote_types(image.dtype, jnp.float32))
  # XLA turns a division by a constant into this product under jit but not without: spelled out, they agree.
  return image * jnp.float32(1 / 255)


def from_float(image: Float[Array, '...'], dtype: jnp.dtype) -> Num[Array, '...']:
  """The way back of `to_float`: rounded and clipped for uint8."""
  if dtype != jnp.uint8:
    return image.astype(dtype)
  return jnp.clip(jnp.round(image * 255), 0, 255).astype(dtype)


def clip(image: Float[Array, '...']) -> Float[Array, '...']:
  """Clipped to [0, 1]."""
  # jnp.clip halves the gradient of a value that sits on a bound, and black and white pixels do.
  return jnp.where(image < 0, 0.0, jnp.where(image > 1, 1.0, image))


def uniform(key: PRNGKeyArray, low: ScalarLike, high: ScalarLike, shape: tuple[int, ...] = ()) -> Float[Array, '...']:
  """Uniform in [low, high], float32."""
  return jax.random.uniform(key, shape, minval=low, maxval=high)


def log_uniform(key: PRNGKeyArray, low: ScalarLike, high: ScalarLike) -> Float[Array, '']:
  """A factor in [low, high], as often above as below their geometric mean."""
  return jnp.exp(uniform(key, jnp.log(low), jnp.log(high)))


def sample_nothing(key: PRNGKeyArray, shape: Shape) -> Params:
  """nothing: there is no strength."""
  del key, shape
  return {}


def randomly(op: Callable, draw: Callable[..., Params]) -> Callable[..., Num[Array, 'h w c']]:
  """The random form of an operation: (key, image, *strengths, p=1, **options) -> image.

  `draw(key, shape, *strengths)` decides the arguments of `op` for an image of that shape; strengths have names
  and defaults there. With probability 1 - p the image comes back as it was; `options` go to `op` as they are.
  """
  strengths = list(inspect.signature(draw).parameters)[2:]

  def random_op(key, image, *values, p=1.0, **options):
    check_range(f'random_{op.__name__}: p', p, 0, 1)
    image = check_image(image, f'random_{op.__name__}', masks=options.get('method') == 'nearest')
    named = {name: options.pop(name) for name in strengths if name in options}
    on, how = jax.random.split(key)
    changed = op(image, **draw(how, image.shape, *values, **named), **options)
    if isinstance(p, (int, float)) and p == 1:  # XLA would work out most of `changed` twice for a choice
      return changed
    return jnp.where(jax.random.bernoulli(on, p * 1.0), changed, image)

  random_op.__name__ = random_op.__qualname__ = f'random_{op.__name__}'
  random_op.__doc__ = f'`{op.__name__}`, with probability p, by {draw.__doc__}'
  return random_op
