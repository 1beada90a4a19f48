"""Shared by all operations: conversion of images, checks of arguments, sampling, and construction of random forms."""

import inspect
import textwrap
from collections.abc import Callable
from functools import partial, wraps
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray, ScalarLike

ImageShape = tuple[int, int, int]  # (height, width, channels)
Pair = tuple[ScalarLike, ScalarLike]  # (low, high), the range to sample from
Params = dict[str, Any]  # sampled arguments of one operation, by name

_OWN = 0x5EED  # fold_in with it gives none of the keys of a split: split(key, n)[i] is fold_in(key, i) with a small i


def operation(op: Callable[..., Float[Array, 'h w c']]) -> Callable[..., Num[Array, 'H W c']]:
  """Decorates `op`, from float images in [0, 1] to the same, so that it takes any image and returns its dtype.

  uint8 in [0, 255] is computed in float32 and rounded; floats narrower than float32 are computed in float32; with
  interpolation='nearest', masks of other integers and booleans are moved as they are. Raises ValueError for any other
  dtype and unless the image is [h, w, c]. Values that `op` leaves unchanged keep their bits.
  """

  @wraps(op)
  def checked(image, *args, **kwargs):
    image = check_image(image, op.__name__, masks=kwargs.get('interpolation') == 'nearest')
    if not _is_image(image):
      return op(image, *args, **kwargs)
    return from_float(op(to_float(image), *args, **kwargs), image.dtype)

  return checked


def check_image(image: Num[Array, 'h w c'], name: str, masks: bool = False) -> Num[Array, 'h w c']:
  """Returns the image as a JAX array.

  Raises ValueError unless it is [h, w, c], and, without `masks`, unless it is uint8 or floating point.
  """
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
  """Raises ValueError unless the number of channels is among `allowed`, which holds GREY, RGB or both."""
  if channels not in allowed:
    named = ' or '.join({GREY: '1 (grey)', RGB: '3 (RGB)'}[number] for number in allowed)
    raise ValueError(f'{name}: {channels} channels: must be {named}')


def check_range(name: str, value: ScalarLike, low: float, high: float) -> None:
  """Raises ValueError unless low <= value <= high; a traced value is not known and passes."""
  if isinstance(value, jax.core.Tracer):
    return
  if not np.all((np.asarray(value) >= low) & (np.asarray(value) <= high)):
    raise ValueError(f'{name} = {value!r}: must lie in [{low}, {high}]')


def check_order(name: str, low: ScalarLike, high: ScalarLike) -> None:
  """Raises ValueError unless low <= high; traced values pass."""
  if not _ordered(low, high):
    raise ValueError(f'{name} = {(low, high)!r}: must not be reversed')


@jax.tree_util.register_static
class Static(int):
  """An int among sampled values that decides a shape; jit, vmap and grad treat it as static."""


class Parameter(NamedTuple):
  """Declaration of a numeric parameter of a random operation: its range, unit and meaning."""

  low: float
  high: float  # both bounds are included
  unit: str  # '' if it has none
  doc: str
  pair: tuple[float, float] | None = None  # bounds of a pair (low, high) given in place of a number; None: no pairs

  def __str__(self) -> str:
    unit = f' {self.unit}' if self.unit else ''
    pair = f' or a pair (low, high) in [{self.pair[0]:.4g}, {self.pair[1]:.4g}]' if self.pair else ''
    return f'[{self.low:.4g}, {self.high:.4g}]{unit}{pair}'


class Choice(NamedTuple):
  """Declaration of a parameter of a random operation that is one of `names`, or with `several` a tuple of them."""

  names: tuple[str, ...]
  doc: str
  several: bool = False

  def __str__(self) -> str:
    return f'{"a tuple" if self.several else "one"} of {", ".join(self.names)}'


def validated(**parameters: Parameter | Choice) -> Callable[[Callable[..., Params]], Callable[..., Params]]:
  """Declares the parameters of `sample_NAME(key, shape, ...)`; their defaults are those of its signature.

  They are checked on every call: the ValueError names operation, parameter, value and what is allowed. Parameters
  whose default is an int must be ints; they are static and can't be traced. The decorated function has `.parameters`,
  the declarations, and `.check`, which checks its arguments without sampling.
  """

  def decorate(sample_params):
    signature = inspect.signature(sample_params)
    label = sample_params.__name__.removeprefix('sample_')

    def check(*args, **kwargs):
      bound = signature.bind(*args, **kwargs)
      bound.apply_defaults()
      for name, parameter in parameters.items():
        _check_parameter(f'{label}: {name}', bound.arguments[name], parameter, signature.parameters[name].default)

    @wraps(sample_params)
    def checked(*args, **kwargs):
      check(*args, **kwargs)
      return sample_params(*args, **kwargs)

    checked.parameters, checked.check = parameters, check
    return checked

  return decorate


def _check_parameter(label: str, value: Any, parameter: Parameter | Choice, default: Any) -> None:
  if isinstance(parameter, Choice):
    if not all(one in parameter.names for one in (value if parameter.several else [value])):
      raise ValueError(f'{label} = {value!r}: must be {parameter}')
    return
  whole = isinstance(default, int)
  pair = is_pair(value)
  if pair and parameter.pair:
    numbers, (low, high) = tuple(value), parameter.pair
  else:
    numbers, (low, high) = (value,), parameter[:2]
  if not all(_is_number(number, whole) for number in numbers) or not _ordered(low, *numbers, high):
    kind = 'be a whole number' if whole else 'lie'
    raise ValueError(f'{label} = {value!r}: must {kind} in {parameter}{", low <= high" * pair}')


def _is_number(value: Any, whole: bool) -> bool:
  if isinstance(value, jax.core.Tracer):
    return not whole and value.ndim == 0
  return isinstance(value, int if whole else (int, float, np.number, np.ndarray, jax.Array)) and np.ndim(value) == 0


def _ordered(*numbers: ScalarLike) -> bool:
  known = [number for number in numbers if not isinstance(number, jax.core.Tracer)]
  return all(low <= high for low, high in pairwise(known))


def is_pair(value: Any) -> bool:
  """Whether a parameter is a pair (low, high), the range to sample from (also a list, as read from JSON)."""
  return isinstance(value, tuple | list) and len(value) == 2


def interval(value: Any, of_number: Callable) -> tuple[ScalarLike, ScalarLike]:
  """Returns the range to sample from: a pair as it is, or `of_number(value)` for a number."""
  return tuple(value) if is_pair(value) else of_number(value)


def symmetric(limit: ScalarLike) -> tuple[ScalarLike, ScalarLike]:
  """Returns the range [-limit, limit]."""
  return -limit, limit


def from_zero(limit: ScalarLike) -> tuple[ScalarLike, ScalarLike]:
  """Returns the range [0, limit]."""
  return 0.0, limit


def reciprocal(limit: ScalarLike) -> tuple[ScalarLike, ScalarLike]:
  """Returns the range [1 / (1 + limit), 1 + limit]."""
  return 1 / (1 + limit), 1 + limit


def to_float(image: Num[Array, '...']) -> Float[Array, '...']:
  """Converts uint8 in [0, 255] to float32 in [0, 1]; floats keep their values and become at least float32."""
  if image.dtype != jnp.uint8:
    return image.astype(jnp.promote_types(image.dtype, jnp.float32))
  # Under jit XLA turns a division by a constant into this product, without jit not: written out, both agree.
  return image * jnp.float32(1 / 255)


def from_float(image: Float[Array, '...'], dtype: jnp.dtype) -> Num[Array, '...']:
  """Converts back from `to_float`, with rounding and clipping for uint8."""
  if dtype != jnp.uint8:
    return image.astype(dtype)
  return jnp.clip(jnp.round(image * 255), 0, 255).astype(dtype)


def clip(image: Float[Array, '...']) -> Float[Array, '...']:
  """Clips to [0, 1]."""
  # jnp.clip halves the gradient of a value that sits on a bound, and black and white pixels do.
  return jnp.where(image < 0, 0.0, jnp.where(image > 1, 1.0, image))


def uniform(key: PRNGKeyArray, low: ScalarLike, high: ScalarLike, shape: tuple[int, ...] = ()) -> Float[Array, '...']:
  """Draws float32 numbers uniform in [low, high]."""
  return jax.random.uniform(key, shape, minval=low, maxval=high)


def log_uniform(key: PRNGKeyArray, low: ScalarLike, high: ScalarLike) -> Float[Array, '']:
  """Draws a factor log-uniform in [low, high]."""
  return jnp.exp(uniform(key, jnp.log(low), jnp.log(high)))


def sample_factor(key: PRNGKeyArray, limit: Any, shape: tuple[int, ...] = ()) -> Float[Array, '...']:
  """Draws factors uniform in [1 - limit, 1 + limit], or in the pair `limit`."""
  return uniform(key, *limit, shape) if is_pair(limit) else 1 + uniform(key, -limit, limit, shape)


def sample_value(key: PRNGKeyArray, value: Any) -> Float[Array, '']:
  """Returns a number as it is, or draws uniformly from a pair, independently of the keys that splitting `key` gives."""
  return uniform(jax.random.fold_in(key, _OWN), *value) if is_pair(value) else jnp.asarray(value, jnp.float32)


def happens(key: PRNGKeyArray, p: ScalarLike, shape: tuple[int, ...] = ()) -> Bool[Array, '...']:
  """Draws whether something of probability p happens; p may also be an int."""
  return jax.random.bernoulli(key, jnp.asarray(p, jnp.float32), shape)


def sample_nothing(key: PRNGKeyArray, shape: ImageShape) -> Params:
  """Samples nothing: the operation has no parameters."""
  del key, shape
  return {}


def randomly(op: Callable, sample_params: Callable[..., Params]) -> Callable[..., Num[Array, 'h w c']]:
  """Returns the random form of an image operation: (key, image, <parameters>, *, p=1, <keywords of `op`>) -> image.

  `sample_params(key, shape, <parameters>)` samples arguments of `op`, by name, for an image of that shape.
  """
  name = f'random_{op.__name__}'

  def apply(key, image, parameters, p, **options):
    image = check_image(image, name, masks=options.get('interpolation') == 'nearest')
    on, how = jax.random.split(key)
    options = {key: value for key, value in options.items() if value is not None}
    changed = op(image, **sample_params(how, image.shape, **parameters) | options)
    if isinstance(p, (int, float)) and p == 1:  # with a select, XLA would compute most of `changed` twice
      return changed
    return jnp.where(happens(on, p), changed, image)

  return random_form(name, op.__doc__, op, sample_params, apply, p=1.0)


IMAGE = {'key': 'a key of `jax.random`.', 'image': 'one image, [h, w, c].'}
KEYWORDS = {
  'p': 'probability of the operation, in [0, 1]; otherwise the input is returned.',
  'interpolation': "'nearest', 'bilinear' or 'cubic'; only 'nearest' takes integer masks.",
  'border': "what continues the image beyond its frame: 'constant' (`fill`), 'edge', 'reflect' or 'wrap'.",
  'fill': 'value of pixels without image content, in [0, 1]: a number, or one per channel.',
  'centre': 'the fixed point (x, y), in fractions of width and height.',
  'size': 'size of the output, (height, width) in pixels; by default that of the input.',
  'ksize': 'side of the window in pixels, odd and static; for Gaussians, None: wide enough for sigma, 0: the image.',
  'cutoff': 'percent of the pixels, in [0, 50), that may saturate at either end.',
  'grid': 'number of tiles, (rows, columns).',
  'threshold': 'differences up to this, in [0, 1], are not sharpened.',
  'balance': 'share in [0, 1] of the changed pixels that turn white.',
  'subsample': 'whether chroma has half the resolution (4:2:0).',
  'decay': 'how fast amplitudes fall with frequency: larger values make larger blobs.',
  'targets': 'kind of each entry; None: `augment.TARGETS`.',
  'shift': 'which of the other three examples of the group is the partner: 1, 2 or 3.',
}


def random_form(
  name: str,
  doc: str,
  op: Callable,
  sample_params: Callable[..., Params],
  apply: Callable,
  inputs: dict[str, str] = IMAGE,
  **keywords: Any,
) -> Callable:
  """Builds a random operation whose signature and docstring list all of its arguments.

  These are `inputs` (name -> description), the parameters of `sample_params`, and by keyword `keywords` (name ->
  default) and the keywords of `op`. It calls `apply(*inputs, parameters, **keywords)`.
  """
  kind = inspect.Parameter
  sampled = list(inspect.signature(sample_params).parameters.values())[2:]
  by_keyword = [kind(key, kind.KEYWORD_ONLY, default=default) for key, default in keywords.items()]
  by_keyword += [value for value in inspect.signature(op).parameters.values() if value.kind == kind.KEYWORD_ONLY]
  first = [kind(key, kind.POSITIONAL_OR_KEYWORD) for key in inputs]
  declared = {value.name: sample_params.parameters[value.name] for value in sampled}
  # Plain types, because in `help` jaxtyping's annotations take whole lines.
  shown = [value.replace(annotation=_plain(value, declared)) for value in (*sampled, *by_keyword)]
  signature = inspect.Signature([*first, *shown])

  def random_op(*args, **kwargs):
    try:
      bound = signature.bind(*args, **kwargs)
    except TypeError as error:
      raise TypeError(f'{name}: {error}; it takes {", ".join(signature.parameters)}') from None
    bound.apply_defaults()
    values = bound.arguments
    check_range(f'{name}: p', values.get('p', 1), 0, 1)
    inputs, parameters, options = ({x.name: values[x.name] for x in part} for part in (first, sampled, by_keyword))
    return apply(*inputs.values(), parameters, **options)

  lines = [f'{key}: {text}' for key, text in inputs.items()]
  lines += [f'{key}: {"in " * isinstance(value, Parameter)}{value}. {value.doc}' for key, value in declared.items()]
  lines += [f'{value.name}: {KEYWORDS[value.name]}' for value in by_keyword]
  wrap = partial(textwrap.fill, width=110, initial_indent='  ', subsequent_indent='      ', break_on_hyphens=False)
  arguments = '\n'.join(map(wrap, lines))
  raises = 'ValueError: for a value outside its range, or an image that the operation does not take.'
  random_op.__doc__ = f'{inspect.cleandoc(doc)}\n\nArgs:\n{arguments}\n\nRaises:\n  {raises}\n'
  random_op.__name__ = random_op.__qualname__ = name
  random_op.__module__, random_op.__signature__ = sample_params.__module__, signature
  return random_op


def _plain(value: inspect.Parameter, declared: dict[str, Parameter | Choice]) -> Any:
  number = type(value.default)
  special = {'fill': float | tuple[float, ...], 'centre': tuple[float, float], 'size': tuple[int, int] | None}
  if value.name in special and value.kind == value.KEYWORD_ONLY:
    return special[value.name]
  return number | tuple[number, number] if getattr(declared.get(value.name), 'pair', None) else number
