"""A config becomes one augmentation: every operation of `registry.OPS`, each with its probability and strengths.

An example is a dict with `image`, [h, w, c], float in [0, 1] or uint8, and any of
  mask       [h, w, 1], integers: moves with the image, nearest pixel, 0 where nothing was
  boxes      [n, 4], pixels: move; `boxes_visible` [n] says which still have a part in the frame
  keypoints  [n, 2], pixels: move; `keypoints_visible` [n] says which are still in the frame
  label      [k], shares of classes: mixed where images are
Other entries pass through untouched. What hides or recolours pixels leaves mask, boxes and keypoints alone.

`sample` turns a key into a draw, `apply` carries a draw out, `augment` does both. A draw says of every operation
whether it happens and how: it can be logged, and applied again to the same or another example.
Randomness picks parameters, never branches; what the config turns off is decided while tracing and leaves nothing
in the compiled code. The order is that of the registry: policies, tone (one curve), colour (one matrix), moves and
fields (one resample, with those of the policies), then what needs the final pixels, then mixing.
"""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from ml_collections import ConfigDict

from genaug.augment import color, matrices, mixing, tone, warp
from genaug.augment.conditional import when
from genaug.augment.image import ImageShape as Shape
from genaug.augment.image import Params, check_channels, check_range, from_float, to_float
from genaug.augment.registry import OPS, parameters
from genaug.augment.resample import BORDERS, INTERPOLATIONS, in_range, resample, source_points

Example = dict[str, Any]
Batch = dict[str, Any]


class Drawn(NamedTuple):
  """What a key makes of one operation."""

  on: Bool[Array, '']  # whether it happens
  arguments: Params  # and how


Draw = dict[str, Drawn]

CHOICES = {'border': BORDERS, 'interpolation': INTERPOLATIONS}


def check(config: ConfigDict, image_shape: Shape) -> None:
  """Raises ValueError, with key, value and what is allowed, unless the config suits images [h, w, c].

  Nothing is computed: the operations say what they refuse when they are traced.
  """
  for key, choices in CHOICES.items():
    if config[key] not in choices:
      raise ValueError(f'{key} = {config[key]!r}: must be one of {", ".join(choices)}')
  check_range('fill', config.fill, 0, 1)
  key = jax.eval_shape(lambda: jax.random.key(0))
  example = {'image': jax.ShapeDtypeStruct(image_shape, jnp.float32)}
  for name, op in OPS.items():
    settings = config[name]
    check_range(f'{name}.p', settings.p, 0, 1)
    try:
      # Strengths are looked at even while the operation is off: turning it on should hold no surprise.
      if given := _strengths(name, settings):
        op.sample_params.check(None, image_shape, **given)
      if settings.p:
        jax.eval_shape(partial(_augment_by, config, name), key, example)
    except ValueError as error:
      raise ValueError(f'{name} = {settings.to_dict()}: {error}') from None


def _augment_by(config: ConfigDict, name: str, key: PRNGKeyArray, example: Example) -> Example:
  return apply(config, {name: _sample_one(name, config[name], key, example['image'].shape)}, example)


def sample(config: ConfigDict, key: PRNGKeyArray, image_shape: Shape) -> Draw:
  """What the key makes of the config, one independent stream an operation. Raises ValueError as `check` does."""
  check(config, image_shape)
  return {name: _sample_one(name, config[name], key, image_shape) for name in OPS if config[name].p}


def _sample_one(name: str, settings: ConfigDict, key: PRNGKeyArray, image_shape: Shape) -> Drawn:
  # By name, so that neither a new operation nor another order changes a draw.
  on, how = jax.random.split(jax.random.fold_in(key, zlib.crc32(name.encode())))
  return Drawn(
    jax.random.bernoulli(on, settings.p), OPS[name].sample_params(how, image_shape, **_strengths(name, settings))
  )


def _strengths(name: str, settings: ConfigDict) -> dict[str, Any]:
  return {strength: settings[strength] for strength in parameters(name)}


def apply(config: ConfigDict, draw: Draw, example: Example) -> Example:
  """The example under the draw, all but the mixing; image and mask keep shape and dtype."""
  given = example['image']
  for name in draw:
    if OPS[name].channels:
      check_channels(given.shape[-1], name, OPS[name].channels)
  example = example | {'image': to_float(given)}
  for stages, carry_out in STAGES.items():
    if drawn := _of(draw, *stages):
      example = carry_out(config, drawn, example)
  return _flagged(example) | {'image': from_float(example['image'], given.dtype)}


def _of(draw: Draw, *stages: str) -> Draw:
  """What was drawn for these stages, in the registry's order (jit sorts dicts)."""
  return {name: draw[name] for name, op in OPS.items() if name in draw and op.stage in stages}


def augment(config: ConfigDict, key: PRNGKeyArray, example: Example) -> Example:
  """One example, augmented at random, not mixed. Raises ValueError as `check` does."""
  return apply(config, sample(config, key, example['image'].shape), example)


def input_step(config: ConfigDict) -> Callable[[PRNGKeyArray, Batch], Batch]:
  """The first thing a training step does: (keys [B], batch) -> batch, every example augmented by its own key.

  uint8 images come out as float32 in [0, 1]; float images keep their dtype. Mixing needs labels [B, k], shares of
  classes, and partners are found among four neighbours (see `mixing.partners`).
  """

  def step(keys, batch):
    image = batch['image']
    batch = batch | {'image': to_float(image) if image.dtype == jnp.uint8 else image}
    draws = jax.vmap(lambda key: sample(config, key, image.shape[1:]))(keys)
    batch = jax.vmap(partial(apply, config))(draws, batch)
    return mix(config, draws, batch)

  return step


def mix(config: ConfigDict, draws: Draw, batch: Batch) -> Batch:
  """The batch with its images mixed as `draws`, one an example, say."""
  for name, drawn in _of(draws, 'mix').items():
    batch = mixing.mix_batch(OPS[name].apply, batch, drawn)
  return batch


# Stages: (config, draw of its operations, example) -> example


def _each(config: ConfigDict, draw: Draw, example: Example) -> Example:
  """One operation after the other."""
  settings = {'fill': config.fill, 'border': config.border, 'interpolation': config.interpolation}
  for name, drawn in draw.items():
    op = OPS[name]
    change = partial(_call, op.apply, {option: settings[option] for option in op.options})
    example = example | {'image': _changed(config[name].p, change, example['image'], drawn)}
    if op.cuts_masks and 'mask' in example:
      example = example | {'mask': _changed(config[name].p, partial(_call, op.apply, {}), example['mask'], drawn)}
    if not op.keeps_annotations and not example.keys().isdisjoint(('boxes', 'keypoints')):
      raise ValueError(f'{name}.p = {config[name].p!r}: must be 0, boxes and keypoints would be torn apart')
  return example


def _call(op, options, image, arguments):
  return op(image, **arguments, **options)


def _changed(p: float, change: Callable, image: Array, drawn: Drawn) -> Array:
  # Where every image is to be changed there is nothing to pick out.
  return when(jnp.array(True) if p == 1 else drawn.on, change, image, drawn.arguments)


def _tone(config: ConfigDict, draw: Draw, example: Example) -> Example:
  """All tone operations as one curve over the 256 levels; between them it is linear."""
  p = max(config[name].p for name in draw)
  return example | {'image': _changed(p, _curved, example['image'], Drawn(_any_on(draw), draw))}


def _any_on(draw: Draw) -> Bool[Array, '']:
  return jnp.stack([drawn.on for drawn in draw.values()]).any()


def _curved(image: Float[Array, 'h w c'], draw: Draw) -> Float[Array, 'h w c']:
  levels = jnp.broadcast_to(tone.RAMP[:, None, None], (256, 1, image.shape[-1]))
  for name, (on, arguments) in draw.items():
    op = OPS[name]
    curve = op.apply(image)[:, None] if op.stage == 'equalisation' else op.apply(levels, **arguments)
    levels = jnp.where(on, curve, levels)
  return tone.lookup(image, levels[:, 0])


def _color(config: ConfigDict, draw: Draw, example: Example) -> Example:
  """All colour operations as one matrix; values are clipped once, at the end."""
  del config
  mean, matrix = color.mean_color(example['image']), color.compose_colors()
  for name, (on, arguments) in draw.items():
    op = OPS[name]
    if op.stage == 'contrast':  # about the mean of the image as the matrix so far leaves it
      arguments = arguments | {'mean': color.map_color(matrix, mean)}
    following = jnp.where(on, op.apply(**arguments), color.compose_colors())
    matrix = color.compose_colors(matrix, following)
  return example | {'image': color.recolored(example['image'], matrix)}


def _move(config: ConfigDict, draw: Draw, example: Example) -> Example:
  """All moves, those of the policies included, as one matrix, all fields as one displacement: one resample."""
  h, w, _ = example['image'].shape
  bends = {name: drawn for name, drawn in draw.items() if OPS[name].stage == 'field'}
  moves = {name: drawn for name, drawn in draw.items() if OPS[name].matrix}
  if not bends and not moves:
    return example
  matrix = matrices.compose(
    *(jnp.where(on, OPS[name].matrix((h, w), **arguments), jnp.eye(3)) for name, (on, arguments) in moves.items())
  )
  on = jnp.any(matrix != jnp.eye(3))
  drawn = Drawn(on | _any_on(bends) if bends else on, {'matrix': matrix, 'bends': bends})
  # A policy that happens may still have drawn no move.
  p = max((config[name].p for name in draw if OPS[name].stage != 'policy'), default=0)
  read = partial(_read, 'perspective' in moves, config.border)
  moved = {'image': _changed(p, partial(read, config.interpolation, config.fill), example['image'], drawn)}
  if 'mask' in example:
    moved['mask'] = _changed(p, partial(read, 'nearest', 0), example['mask'], drawn)
  bend = _bend((h, w), bends)
  if 'keypoints' in example:
    points = matrices.transform_points(matrix, example['keypoints'])
    moved['keypoints'] = points if bend is None else warp.invert_points(bend, points)
  if 'boxes' in example:
    boxes = example['boxes']
    moved['boxes'] = matrices.transform_boxes(matrix, boxes) if bend is None else warp.move_boxes(bend, boxes, matrix)
  return example | moved


def _read(projective, border, method, fill, image, arguments):
  shape = image.shape[:2]
  x, y = source_points(arguments['matrix'], shape, projective, _bend(shape, arguments['bends']))
  return in_range(resample(image, x, y, interpolation=method, border=border, fill=fill), method)


def _bend(shape: tuple[int, int], bends: Draw) -> Float[Array, 'h w 2'] | None:
  """The displacements of all fields, added up."""
  if not bends:
    return None
  return sum(jnp.where(on, OPS[name].apply(shape, **arguments), 0.0) for name, (on, arguments) in bends.items())


def _flagged(example: Example) -> Example:
  shape = example['image'].shape[:2]
  flags = {}
  if 'boxes' in example:
    flags['boxes_visible'] = matrices.clip_boxes(example['boxes'], shape)[1]
  if 'keypoints' in example:
    flags['keypoints_visible'] = matrices.points_inside(example['keypoints'], shape)
  return example | {name: now & example.get(name, True) for name, now in flags.items()}


STAGES = {  # kinds of operations, carried out in this order
  ('policy',): _each,
  ('equalisation', 'tone'): _tone,
  ('contrast', 'color'): _color,
  ('local',): _each,
  ('policy', 'move', 'field'): _move,
  ('piece', 'filter', 'noise', 'occlusion'): _each,
}
