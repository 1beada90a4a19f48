"""Input checks of pipelines and mixes: whether an example or a batch is what its table of targets declares.

Only shapes and dtypes are inspected, so the checks cost nothing in compiled code. Their ValueErrors name the entry,
what it is and what it must be.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from genaug.augment.resample import INTERPOLATIONS
from genaug.augment.targets import (
  KINDS,
  OBJECTS,
  SPATIAL,
  Example,
  Target,
  Targets,
  entries,
  visible_name,
  with_channels,
  with_flags,
  without_channels,
)

MOST_CHANNELS = 16  # an image with more, whose first axis has length 1 or 3, is refused: its channels seem to be first

IMAGE_CURES = {
  'bool': 'convert it with image.astype(np.float32), or pass labels of pixels as a mask',
  'uint16': 'convert it with image.astype(np.float32) / 65535',
}
LAYOUTS = {  # kind -> its shapes as text ({b}: batch axis), and the allowed numbers of axes, without the batch axis
  'image': ('[{b}h, w, c]', (3,)),
  'map': ('[{b}h, w] or [{b}h, w, c]', (2, 3)),
  'mask': ('[{b}h, w] or [{b}h, w, 1]', (2, 3)),
  'boxes': ('[{b}n, 4], (x_min, y_min, x_max, y_max)', (2,)),
  'keypoints': ('[{b}n, 2], (x, y)', (2,)),
  'visible': ('[{b}n]', (1,)),
  'attribute': ('[{b}n, ...]', range(1, 9)),
  'label': ('[{b}k] or one number each', (0, 1)),
}


def check_targets(targets: Targets) -> None:
  """Raises ValueError unless kinds, interpolations, owners (`of`) and fills are valid and some image is recoloured."""
  for name, target in targets.items():
    if not isinstance(target, Target):
      raise ValueError(f'targets: {name} = {target!r}: must be an augment.Target')
    if target.kind not in KINDS:
      raise ValueError(f'targets: {name}.kind = {target.kind!r}: must be one of {", ".join(KINDS)}')
    if target.interpolation not in (None, *INTERPOLATIONS):
      allowed = ', '.join(INTERPOLATIONS)
      raise ValueError(f'targets: {name}.interpolation = {target.interpolation!r}: must be one of {allowed}')
    if target.kind in ('visible', 'attribute') and getattr(targets.get(target.of), 'kind', None) not in OBJECTS:
      raise ValueError(f'targets: {name}.of = {target.of!r}: must name an entry of kind boxes or keypoints')
    if target.kind == 'image' and target.fill is not None and not 0 <= target.fill <= 1:
      raise ValueError(f'targets: {name}.fill = {target.fill!r}: must lie in [0, 1], whatever the dtype of images')
  if not any(target.kind == 'image' and target.recolor for target in targets.values()):
    raise ValueError('targets: no image: must have an entry of kind image with recolor=True')


def check_keys(keys: PRNGKeyArray) -> PRNGKeyArray:
  """Returns one key, or one per example, as typed keys; converts old-style uint32 keys.

  Raises ValueError for anything else.
  """
  keys = jnp.asarray(keys)
  if keys.dtype == jnp.uint32 and keys.ndim:
    keys = jax.random.wrap_key_data(keys)
  if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) or keys.ndim > 1:
    raise ValueError(
      f'keys of {keys.dtype}, shape {keys.shape}: must be jax.random.key(seed) for one example, or '
      'jax.random.split(key, b) for a batch of b examples'
    )
  return keys


def check_example(targets: Targets, example: Example, size: int | None, given: str = 'one example') -> Example:
  """Returns the entries that the table names as JAX arrays, with coordinates as floats.

  size: number of examples in a batch, or None for a single example.
  given: what fixes that number, for messages, such as '8 keys' or 'params of one example'.
  Raises ValueError for an entry whose shape or dtype does not suit, for flags or attributes without their boxes or
  keypoints, and for an example without image, mask or map.
  """
  known = {name: _array(name, example[name]) for name in targets if name in example}
  frame = None
  for name, target in entries(targets, known, *KINDS):
    _check_shape(name, target, known[name], size, given)
    _check_dtype(name, target, known[name])
    if target.kind in OBJECTS and not jnp.issubdtype(known[name].dtype, jnp.floating):
      known[name] = known[name].astype(jnp.float32)
    if target.kind in SPATIAL:
      frame = frame or (name, known[name].shape[size is not None :][:2])
      _check_frame(name, known[name].shape[size is not None :][:2], *frame)
  if not frame:
    raise ValueError(f'an example of {", ".join(map(repr, example)) or "nothing"}: must hold an image, mask or map')
  for name, target in entries(targets, known, 'visible', 'attribute'):
    _check_owner(name, target.of, known, size is not None)
  return known


def _array(name: str, value: Any) -> Array:
  try:
    return jnp.asarray(value)
  except (TypeError, ValueError) as error:
    raise ValueError(f'{name} of {type(value).__name__}: must be an array of numbers ({error})') from None


def _check_shape(name: str, target: Target, value: Array, size: int | None, given: str) -> None:
  text, ranks = LAYOUTS[target.kind]
  wanted, shape = text.format(b='' if size is None else f'{size}, '), value.shape
  lead = 0 if size is None else 1
  if shape[:lead] != (size,) * lead or len(shape) - lead not in ranks:
    remedy = ''
    if target.kind == 'image' and len(shape) == 4 and 'key' in given:
      remedy = f'; jax.random.split(key, {shape[0]}) gives a key for each image'
    elif target.kind == 'image' and len(shape) == 2:
      remedy = '; image[..., None] adds the channel axis of a greyscale image'
    raise ValueError(f'{name} of shape {shape}: must be {wanted}, for {given}{remedy}')
  if target.kind in SPATIAL and 0 in shape[lead:]:
    raise ValueError(f'{name} of shape {shape}: must hold at least one pixel')
  if target.kind == 'image':
    first, channels = shape[lead], shape[-1]
    if channels > MOST_CHANNELS and first in (1, 3):
      raise ValueError(
        f'{name} of shape {shape}: must be {wanted}, but {channels} channels look like a width; if channels come '
        'first, np.moveaxis(image, -3, -1) puts them last'
      )
  if target.kind == 'mask' and len(shape) - lead == 3 and shape[-1] != 1:
    raise ValueError(f'{name} of shape {shape}: must be {wanted}; convert a one-hot mask with jnp.argmax(mask, -1)')
  if target.kind in OBJECTS and shape[-1] != (4 if target.kind == 'boxes' else 2):
    kept = f'{name}_classes' if target.kind == 'boxes' else visible_name(name)
    raise ValueError(
      f'{name} of shape {shape}: must be {wanted} in pixels; pass other values of each in an entry of their own, '
      f'such as {kept!r}'
    )


def _check_dtype(name: str, target: Target, value: Array) -> None:
  dtype = value.dtype
  integer, floating = jnp.issubdtype(dtype, jnp.integer), jnp.issubdtype(dtype, jnp.floating)
  problem = ''
  if target.kind == 'image' and not floating and dtype != jnp.uint8:
    problem = 'uint8 in [0, 255] or floating point in [0, 1]'
    problem += f'; {IMAGE_CURES[dtype.name]}' if dtype.name in IMAGE_CURES else ''
  elif target.kind == 'map' and not floating:
    problem = 'floating point; convert it with .astype(np.float32), or pass integer labels of pixels as a mask'
  elif target.kind == 'mask' and not (integer or dtype == jnp.bool_):
    problem = "integers or booleans; pass values to be interpolated as an entry of kind 'map'"
  elif target.kind in OBJECTS and not (integer or floating):
    problem = 'numbers, in pixels'
  elif target.kind == 'visible' and dtype != jnp.bool_:
    problem = 'booleans; convert them with flags > 0'
  if problem:
    raise ValueError(f'{name} of {dtype}: must be {problem}')


def _check_frame(name: str, shape: tuple[int, int], first: str, frame: tuple[int, int]) -> None:
  if shape != frame:
    raise ValueError(
      f'{name} of {" x ".join(map(str, shape))} pixels: must be {" x ".join(map(str, frame))}, as {first} is'
    )


def _check_owner(name: str, of: str, known: Example, batched: bool) -> None:
  if of not in known:
    raise ValueError(f'{name} without {of}: pass the {of} that they belong to as well')
  count, number = known[name].shape[batched], known[of].shape[batched]
  if count != number:
    raise ValueError(f'{name} of shape {known[name].shape}: must be {number} long, one for each of the {of}')


def checked_mix(count: int) -> Callable[[Callable[..., Example]], Callable[..., Example]]:
  """Returns a decorator of mixes that checks their first `count` arguments, which are examples.

  Inside the mix, masks and maps [h, w] have a channel axis; its result has none again.
  """

  def decorate(op):
    signature = inspect.signature(op)

    @wraps(op)
    def mix(*args, **kwargs):
      bound = signature.bind(*args, **kwargs)
      bound.apply_defaults()
      targets = with_flags(bound.arguments['targets'])
      names = list(signature.parameters)[:count]
      given = [bound.arguments[name] for name in names]
      checked = _check_mixed(op.__name__, targets, *given)
      bound.arguments.update(zip(names, (with_channels(targets, example) for example in checked)), targets=targets)
      return dict(given[0]) | without_channels(op(*bound.args, **bound.kwargs), like=checked[0])

    return mix

  return decorate


def _check_mixed(name: str, targets: Targets, *examples: Example) -> list[Example]:
  for entry in (entry for entry, target in targets.items() if target.kind != 'visible'):
    shapes = [jnp.shape(example[entry]) if entry in example else None for example in examples]
    if len(set(shapes)) > 1:
      raise ValueError(f'{name}: {entry} of shapes {", ".join(map(str, shapes))}: must be the same in all examples')
  first, *_ = examples = [check_example(targets, example, None) for example in examples]
  cures = {'image': '.astype(np.float32) / 255', 'label': 'jax.nn.one_hot(label, num_classes)'}
  for entry, target in entries(targets, first, *cures):
    if not jnp.issubdtype(dtype := first[entry].dtype, jnp.floating):
      raise ValueError(f'{name}: {entry} of {dtype}: must be floating point; convert it with {cures[target.kind]}')
  if all(target.kind == 'image' and target.recolor for _, target in entries(targets, first, *KINDS)):
    raise ValueError(
      f'{name}: images alone: must come with annotations to mix: label, a soft label [k] such as jax.nn.one_hot '
      'gives, or boxes, keypoints, masks or targets'
    )
  return examples


def unknown(what: str, name: str, known: Iterable[str]) -> ValueError:
  """Returns the error for an unknown name; it suggests the closest known one, or else lists all."""
  known = list(known)
  close = difflib.get_close_matches(str(name), known, 1)
  hint = f'did you mean {close[0]!r}?' if close else f'must be one of {", ".join(known) or "none"}'
  return ValueError(f'unknown {what} {name!r}: {hint}')
