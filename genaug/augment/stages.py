"""The stages of a pipeline, which apply its operations to one example, with parameters that were sampled before.

Randomness picks parameters, never branches; operations that are missing from `params` leave nothing in the compiled
code. The stages follow the registry: policies, tone (one curve, equalisations first), colour (one matrix), local
operations (CLAHE), geometry (all matrices and displacement fields in one resample, with those of the policies), then
cuts, filters, noise and occlusion, which need the final pixels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from genaug.augment import color, matrices, tone, warp
from genaug.augment.conditional import when
from genaug.augment.image import Params, check_channels
from genaug.augment.registry import Op
from genaug.augment.resample import FAR_OUTSIDE, clip_overshoot, resample, source_points
from genaug.augment.targets import (
  OBJECTS,
  SPATIAL,
  Example,
  Target,
  Targets,
  entries,
  resample_options,
  visible_boxes,
  visible_name,
  visible_points,
)


class OpParams(NamedTuple):
  """Sampled parameters of one operation."""

  on: Bool[Array, '*b']  # whether it happens
  values: Params  # keyword arguments of its `apply` and `matrix`


Sampled = dict[str, OpParams]


class Plan(NamedTuple):
  """Settings of a pipeline that the stages need."""

  ops: dict[str, Op]  # in the order of application
  always: frozenset[str]  # operations that happen to every example
  targets: Targets
  border: str
  fill: float
  interpolation: str

  def of(self, params: Sampled, *stages: str) -> Sampled:
    """Returns the `params` of the operations of these stages, in the order of application (jit sorts dicts)."""
    return {name: params[name] for name, op in self.ops.items() if name in params and op.stage in stages}

  def resample_options(self, target: Target) -> dict[str, Any]:
    """Returns the keyword arguments with which an entry is resampled."""
    return resample_options(target, self.border, self.fill, self.interpolation)


def apply_operations(plan: Plan, params: Sampled, example: Example) -> Example:
  """Applies all operations except mixes to an example; its images must be floating point, maps and masks [h, w, c]."""
  for name in params:
    for entry in _recolored(plan, example) if plan.ops[name].channels else ():
      check_channels(example[entry].shape[-1], name, plan.ops[name].channels)
  for stages, run in STAGES.items():
    if chosen := plan.of(params, *stages):
      example = run(plan, chosen, example)
  return with_visibility(plan, example)


def _recolored(plan: Plan, example: Example) -> dict[str, Target]:
  return {name: target for name, target in entries(plan.targets, example, 'image') if target.recolor}


def _when(certain: bool, on: Bool[Array, ''], change: Callable, image: Array, values: Any, **static) -> Array:
  # If the operation happens to every image, none need to be selected.
  return when(jnp.array(True) if certain else on, change, image, values, **static)


def _any_on(params: Sampled) -> Bool[Array, '']:
  return jnp.stack([sampled.on for sampled in params.values()]).any()


def _each(plan: Plan, params: Sampled, example: Example) -> Example:
  """Applies one operation after the other."""
  for name, (on, values) in params.items():
    op, changed = plan.ops[name], {}
    if not op.keeps_annotations and (objects := [entry for entry, _ in entries(plan.targets, example, *OBJECTS)]):
      raise ValueError(
        f'{name}: must be off for examples with {" and ".join(objects)}, which cannot follow the pieces that it moves'
      )
    recolored = _recolored(plan, example)
    for entry, target in entries(plan.targets, example, *SPATIAL):
      options, when_on = plan.resample_options(target), partial(_when, name in plan.always, on)
      if entry in recolored:
        options = tuple((option, options[option]) for option in op.options)
        changed[entry] = when_on(_call, example[entry], values, apply=op.apply, options=options)
      elif op.cuts_masks:
        changed[entry] = when_on(_cut, example[entry], values, apply=op.apply, fill=options['fill'])
    example = example | changed | (_cut_objects(plan, name, params[name], example) if op.cuts_masks else {})
  return example


def _cut_objects(plan: Plan, name: str, params: OpParams, example: Example) -> Example:
  """Returns boxes, keypoints and their flags, reduced to what is still visible after a cut."""
  changed, (on, values) = {}, params
  kept = plan.ops[name].apply(jnp.ones((*_shape(plan, example), 1), bool), **values)[..., 0]
  for entry, target in entries(plan.targets, example, *OBJECTS):
    visible_part, flag = visible_boxes if target.kind == 'boxes' else visible_points, visible_name(entry)
    seen, visible = visible_part(example[entry], kept)
    changed |= {entry: jnp.where(on, seen, example[entry]), flag: example.get(flag, True) & (visible | ~on)}
  return changed


def _call(image, values, apply, options):
  return apply(image, **values, **dict(options))


def _cut(image, values, apply, fill):
  """Cuts a mask or a map, with its own fill: what was cut away is where a mask of ones, cut alike, has zeros."""
  kept = apply(jnp.ones((*image.shape[:2], 1), bool), **values)
  return jnp.where(kept, apply(image, **values), jnp.asarray(fill, image.dtype))


def _tone(plan: Plan, params: Sampled, example: Example) -> Example:
  """Applies all tone operations as one curve over the 256 levels, linear between them."""
  certain, on = bool(plan.always & params.keys()), _any_on(params)
  # Not the order of `params`, which JAX sorts by name. Equalisations come first, because they read the image itself.
  names = sorted(params, key=lambda name: (plan.ops[name].stage != 'equalisation', list(plan.ops).index(name)))
  curves = tuple((name, plan.ops[name].stage == 'equalisation', plan.ops[name].apply) for name in names)
  return example | {
    entry: _when(certain, on, _curved, example[entry], params, curves=curves) for entry in _recolored(plan, example)
  }


def _curved(image: Float[Array, 'h w c'], params: Sampled, curves: tuple) -> Float[Array, 'h w c']:
  levels = jnp.broadcast_to(tone.RAMP[:, None, None], (256, 1, image.shape[-1]))
  for i, (name, equalises, op) in enumerate(curves):
    on, values = params[name]
    if not equalises:
      curve = op(levels, **values)
    else:  # computed from the image as the equalisation before, if there is one, leaves it
      curve = op(tone.lookup(image, levels[:, 0]) if i else image)[:, None]
      curve = tone.lookup(levels, curve[:, 0]) if i else curve
    levels = jnp.where(on, curve, levels)
  return tone.lookup(image, levels[:, 0])


def _color(plan: Plan, params: Sampled, example: Example) -> Example:
  """Applies all colour operations as one matrix per image; values are clipped once, at the end."""
  changed = {}
  for entry, target in _recolored(plan, example).items():
    mean, matrix = color.mean_color(example[entry]), color.compose_colors()
    for name, (on, values) in params.items():
      op = plan.ops[name]
      if op.stage == 'contrast':  # it needs the mean of the image as the matrix so far leaves it
        values = values | {'mean': color.map_color(matrix, mean)}
      options = {option: plan.resample_options(target)[option] for option in op.options}
      following = jnp.where(on, op.apply(**values, **options), color.compose_colors())
      matrix = color.compose_colors(matrix, following)
    changed[entry] = color.apply_colors_clipped(example[entry], matrix)
  return example | changed


# Geometry


def _geometry(plan: Plan, params: Sampled) -> tuple[Sampled, Sampled]:
  """Returns the `params` of the operations with displacement fields, and of those with matrices."""
  fields = plan.of(params, 'field')
  return fields, {name: params[name] for name, op in plan.ops.items() if name in params and op.matrix}


def _matrix(plan: Plan, moves: Sampled, shape: tuple[int, int]) -> matrices.Matrix:
  return matrices.compose(
    *(jnp.where(on, plan.ops[name].matrix(shape, **values), jnp.eye(3)) for name, (on, values) in moves.items())
  )


def _displacement(
  shape: tuple[int, int], fields: Sampled, ops: tuple[tuple[str, Callable], ...]
) -> Float[Array, 'h w 2'] | None:
  """Returns the sum of the displacements of all fields, None if there are none."""
  if not fields:
    return None
  return sum(jnp.where(fields[name].on, op(shape, **fields[name].values), 0.0) for name, op in ops)


def _field_ops(plan: Plan, fields: Sampled) -> tuple[tuple[str, Callable], ...]:
  return tuple((name, plan.ops[name].apply) for name in sorted(fields))


def _shape(plan: Plan, example: Example) -> tuple[int, int]:
  name, _ = next(entries(plan.targets, example, *SPATIAL))
  return example[name].shape[:2]


def _move(plan: Plan, params: Sampled, example: Example) -> Example:
  """Applies all matrices (those of policies included) as one, and all fields as one displacement, in one resample."""
  shape = _shape(plan, example)
  fields, moves = _geometry(plan, params)
  if not fields and not moves:
    return example
  matrix = _matrix(plan, moves, shape)
  on = jnp.any(matrix != jnp.eye(3))
  on = on | _any_on(fields) if fields else on
  # A policy that happens may still have sampled no move.
  certain = any(plan.ops[name].stage != 'policy' for name in plan.always & params.keys())
  static = {'projective': any(plan.ops[name].projective for name in moves), 'ops': _field_ops(plan, fields)}
  moved, values = {}, {'matrix': matrix, 'fields': fields}
  for name, target in entries(plan.targets, example, *SPATIAL):
    static |= {'options': tuple(plan.resample_options(target).items()), 'clipped': target.kind == 'image'}
    moved[name] = _when(certain, on, _read, example[name], values, **static)
  field = _displacement(shape, fields, _field_ops(plan, fields))
  for name, target in entries(plan.targets, example, *OBJECTS):
    points = example[name]
    if target.kind == 'boxes':
      moved[name] = (
        matrices.transform_boxes(matrix, points) if field is None else warp.move_boxes(field, points, matrix)
      )
    else:
      points = matrices.transform_points(matrix, points)
      moved[name] = points if field is None else warp.invert_points(field, points)
  return example | moved


def _read(image: Array, values: Params, ops: tuple, projective: bool, options: tuple, clipped: bool) -> Array:
  shape = image.shape[:2]
  x, y = source_points(values['matrix'], shape, projective, _displacement(shape, values['fields'], ops))
  return _resampled(image, x, y, dict(options), clipped)


def _resampled(
  image: Array, x: Float[Array, 'h w'], y: Float[Array, 'h w'], options: dict[str, Any], clipped: bool
) -> Array:
  value = resample(image, x, y, **options)
  return clip_overshoot(value, options['interpolation']) if clipped else value


def undo_geometry(plan: Plan, params: Sampled, example: Example) -> Example:
  """Undoes `_move`, and nothing else."""
  h, w = shape = _shape(plan, example)
  fields, moves = _geometry(plan, params)
  if not fields and not moves:
    return with_visibility(plan, example)
  matrix, field = _matrix(plan, moves, shape), _displacement(shape, fields, _field_ops(plan, fields))
  back = matrices.inverse(matrix)
  centres = jnp.stack(jnp.meshgrid(jnp.arange(w) + 0.5, jnp.arange(h) + 0.5), -1).reshape(-1, 2)
  sources = matrices.transform_points(matrix, centres)
  sources = jnp.where(jnp.isfinite(sources), sources, FAR_OUTSIDE)
  if field is not None:
    sources = warp.invert_points(field, sources)
  x, y = jnp.moveaxis(sources, -1, 0).reshape(2, h, w)
  undone = {
    name: _resampled(example[name], x, y, plan.resample_options(target), target.kind == 'image')
    for name, target in entries(plan.targets, example, *SPATIAL)
  }

  def before(points):
    if field is not None:
      column, row = points[None, :, 0], points[None, :, 1]
      points = points + resample(field, column, row, border='edge')[0]
    return matrices.transform_points(back, points)

  for name, target in entries(plan.targets, example, *OBJECTS):
    if target.kind == 'keypoints':
      undone[name] = before(example[name])
    elif field is None:
      undone[name] = matrices.transform_boxes(back, example[name])
    else:
      outlines = warp.outline(example[name])
      points = before(outlines.reshape(-1, 2)).reshape(outlines.shape)
      undone[name] = jnp.concatenate([points.min(1), points.max(1)], axis=-1)
  return with_visibility(plan, example | undone)


def with_visibility(plan: Plan, example: Example) -> Example:
  """Returns the example with visibility flags for all boxes and keypoints; those that it brings along stay in force."""
  shape, flags = _shape(plan, example), {}
  for name, target in entries(plan.targets, example, *OBJECTS):
    if target.kind == 'boxes':
      now = matrices.clip_boxes(example[name], shape)[1]
    else:
      now = matrices.points_inside(example[name], shape)
    flags[visible_name(name)] = now & example.get(visible_name(name), True)
  return example | flags


# Stages of operations -> the function that applies them, in this order; policies change colours first and move later.
STAGES = {
  ('policy',): _each,
  ('equalisation', 'tone'): _tone,
  ('contrast', 'color'): _color,
  ('local',): _each,
  ('policy', 'move', 'field'): _move,
  ('piece', 'filter', 'noise', 'occlusion'): _each,
}
KNOWN = {'mix', *(stage for stages in STAGES for stage in stages)}
