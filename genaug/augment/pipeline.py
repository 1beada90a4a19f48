"""Operations and their probabilities as one fused augmentation of examples and batches.

  pipeline = Pipeline({'rotate': {'degrees': 30}, 'hflip': {'p': 0.5}, 'mixup': {'p': 0.5}}, border='edge')
  batch = pipeline(keys, {'image': images, 'mask': masks, 'boxes': boxes, 'label': labels})

The module `targets` says what an example may hold, and `stages` in which order operations are applied; mixes come last.
"""

import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from genaug.augment import mixing
from genaug.augment.checks import check_example, check_keys, check_targets, unknown
from genaug.augment.choice import Choice, draw_members
from genaug.augment.image import ImageShape, to_float
from genaug.augment.registry import OPS, Op
from genaug.augment.resample import BORDERS, INTERPOLATIONS
from genaug.augment.settings import Settings, check_fraction, read_config, read_operations
from genaug.augment.stages import KNOWN, OpParams, Plan, Sampled, apply_operations, undo_geometry
from genaug.augment.targets import (
  SPATIAL,
  Example,
  Targets,
  entries,
  image_shape,
  with_channels,
  with_flags,
  without_channels,
)

Batch = dict[str, Any]
PARAMS = 'params of one example', 'params of {} examples'
OPTIONS = {'border': BORDERS, 'interpolation': INTERPOLATIONS}


class Pipeline:
  """Augmentation by several operations, each with its probability, as one function of examples and of batches.

  operations: name -> parameters of the operation, and `p`, its probability in [0, 1] (default 1; 0 is off). Where the
    value is a choice (`one_of`, `some_of`) the name is only a label. The order is that of `ops`, not of this dict.
  border: how images continue beyond the frame: constant, edge, reflect or wrap.
  fill: value of constant borders and of what is hidden in images, in [0, 1] whatever their dtype.
  interpolation: of images and maps: nearest, bilinear or cubic.
  ops: registry of operations, by default `augment.OPS`; `augment.OPS | {'mine': augment.Op(...)}` has one more.
  targets: declarations of an example's entries, by default `augment.TARGETS`; `augment.TARGETS | {'sketch':
    augment.Target('image', recolor=False)}` has one more.

  A pipeline is immutable, hashable, and equal to any other with the same arguments. It may be called directly, where it
  compiles once per structure, shapes and dtypes of its input, and under jit, vmap and grad. Calls and `sample` take
  one example with one key, or a batch [b, ...] with keys [b]; `apply` and `inverse` take the params that `sample`
  returned in place of keys. Mixing needs a batch. Images of uint8 come back as float32 in [0, 1], floats keep their
  dtype. The constructor raises ValueError, with the name and what is allowed, and so do all methods for an example that
  does not suit.
  """

  def __init__(
    self,
    operations: Mapping[str, Settings | Choice],
    *,
    border: str = 'constant',
    fill: float = 0.0,
    interpolation: str = 'bilinear',
    ops: Mapping[str, Op] | None = None,
    targets: Targets | None = None,
  ):
    ops = OPS if ops is None else ops
    for key, value in (('border', border), ('interpolation', interpolation)):
      if value not in OPTIONS[key]:
        raise ValueError(f'{key} = {value!r}: must be one of {", ".join(OPTIONS[key])}')
    check_fraction('fill', fill, ', whatever the dtype of the images')
    check_targets(with_flags(targets))
    for name, op in ops.items():
      if op.stage not in KNOWN:
        raise ValueError(f'ops: {name}.stage = {op.stage!r}: must be one of {", ".join(sorted(KNOWN))}')
    alone, groups = read_operations(operations, ops)
    p = {name: float(settings.pop('p')) for name, settings in alone.items()}
    self._values = {name: alone[name] for name in ops if p.get(name)}  # what is off is dropped
    self._p = {name: p[name] for name in self._values}
    self._groups = tuple(group for group in groups if group.p)
    certain = {name for name, value in self._p.items() if value == 1}
    for group in self._groups:
      certain -= set(group.names) if group.p < 1 or group.n < len(group.names) else set()
    self._plan = Plan(
      {name: ops[name] for name in self._values},
      frozenset(certain),
      with_flags(targets),
      border,
      float(fill),
      interpolation,
    )
    values = tuple((name, self._p[name], tuple(given.items())) for name, given in self._values.items())
    plan = self._plan._replace(ops=tuple(self._plan.ops.items()), targets=tuple(self._plan.targets.items()))
    self._identity = values, self._groups, plan

  @classmethod
  def from_config(
    cls, config: Mapping[str, Any], *, ops: Mapping[str, Op] | None = None, targets: Targets | None = None
  ) -> 'Pipeline':
    """Builds a pipeline from a mapping such as `c.augment`: operations with p and parameters, and the options.

    border, fill, interpolation: as in the constructor;
    one_of: ((p, (name, ...)), ...), exactly one of the named operations with probability p;
    some_of: ((p, n, (name, ...)), ...), n of them. A member's own p is its weight; 0 for all means equal weights.
    """
    operations, options = read_config(config, OPS if ops is None else ops, (*OPTIONS, 'fill'))
    return cls(operations, **options, ops=ops, targets=targets)

  @property
  def operations(self) -> tuple[str, ...]:
    """Names of the operations that may happen, in the order of `ops`."""
    return tuple(self._plan.ops)

  def __call__(self, keys: PRNGKeyArray, batch: Batch) -> Batch:
    """Augments a batch, every example with its own key, or one example with one key."""
    keys = check_keys(keys)
    known = self._checked(batch, keys.shape, 'one key', '{} keys')
    self._check_mixes(self._values, keys.shape)
    return dict(batch) | _augment(self, keys, known)

  def sample(self, keys: PRNGKeyArray, batch: Batch) -> Sampled:
    """Samples the `OpParams` of every operation, by name, [b] for a batch: a pytree that can be stored for `apply`.

    Each operation has its own random stream, which neither other operations nor the batch size change; which members of
    a choice happen depends on the names of all of them. Only the shape of the batch's images matters.
    """
    keys = check_keys(keys)
    known = self._checked(batch, keys.shape, 'one key', '{} keys')
    return _sample(self, keys, image_shape(self._plan.targets, known, keys.ndim))

  def apply(self, params: Sampled, batch: Batch) -> Batch:
    """Applies sampled or stored `params` to a batch; operations that are missing from `params` do not happen.

    For operations with p = 1, `on` must be True, as `sample` returns it; what False does is not defined.
    """
    params, lead = self._checked_params(params, batch)
    self._check_mixes(params, lead)
    return dict(batch) | _apply(self, params, self._checked(batch, lead, *PARAMS), bool(lead))

  def inverse(self, params: Sampled, batch: Batch) -> Batch:
    """Undoes the geometry of `params`: moves images, maps, masks, boxes and keypoints back to where they were.

    For test-time augmentation, to lay a network's outputs for augmented images over the original ones. What had left
    the frame is filled by `border` and `fill`. Colours, filters, noise and hidden parts are not undone, and neither are
    the moves inside AugMix, which averages them. Boxes come back as the upright boxes around the transformed ones.
    Raises ValueError for mixes, and for `grid_shuffle`, which does not leave an image in one piece.
    """
    params, lead = self._checked_params(params, batch)
    for name in params:
      op = self._plan.ops[name]
      if op.stage == 'mix' or not op.keeps_annotations:
        raise ValueError(f'{name}: has no inverse; leave it out of the pipeline, or out of params')
    return dict(batch) | _inverse(self, params, self._checked(batch, lead, *PARAMS), bool(lead))

  def check(self, image_shape: ImageShape) -> None:
    """Raises ValueError, with operation and problem, unless all operations suit images [h, w, c]; computes nothing."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    example = {self._image_name(): jax.ShapeDtypeStruct(image_shape, jnp.float32)}
    for name, values in self._values.items():

      def one(key, example, name=name):
        return apply_operations(self._plan, {name: self._sample_one(name, key, image_shape)}, example)

      try:
        jax.eval_shape(one, key, example)
      except ValueError as error:
        settings = dict(sorted({'p': self._p[name], **values}.items()))  # as a config shows them
        raise ValueError(f'{name} = {settings}: {error}') from None

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Pipeline) and self._identity == other._identity

  def __hash__(self) -> int:
    return hash(self._identity)

  def __repr__(self) -> str:
    members = {name for group in self._groups for name in group.names}
    shown = {name: {'p': self._p[name], **values} for name, values in self._values.items() if name not in members}
    for group in self._groups:
      weighted = {name: {'p': weight, **self._values[name]} for name, weight in zip(group.names, group.weights)}
      shown[' | '.join(group.names)] = Choice(group.n, weighted, group.p)
    options = ', '.join(f'{option}={getattr(self._plan, option)!r}' for option in (*OPTIONS, 'fill'))
    return f'Pipeline({shown}, {options})'

  # Traced functions of one example

  def _sample_example(self, key: PRNGKeyArray, image_shape: ImageShape) -> Sampled:
    members = {}
    for group in self._groups:
      members |= draw_members(key, group)
    params = {name: self._sample_one(name, key, image_shape) for name in self._values}
    return {name: sampled._replace(on=members.get(name, sampled.on)) for name, sampled in params.items()}

  def _sample_one(self, name: str, key: PRNGKeyArray, image_shape: ImageShape) -> OpParams:
    # The stream depends on the name, so that neither a new operation nor another order changes what is sampled.
    on, how = jax.random.split(jax.random.fold_in(key, zlib.crc32(name.encode())))
    values = self._plan.ops[name].sample_params(how, image_shape, **self._values[name])
    return OpParams(jax.random.bernoulli(on, self._p[name]), values)

  def _apply_example(self, params: Sampled, example: Example) -> Example:
    targets = self._plan.targets
    images = {name: example[name] for name, _ in entries(targets, example, 'image')}
    work = with_channels(targets, example | {name: to_float(image) for name, image in images.items()})
    done = without_channels(apply_operations(self._plan, params, work), like=example)
    return done | {name: done[name].astype(image.dtype) for name, image in images.items()}

  def _invert_example(self, params: Sampled, example: Example) -> Example:
    targets = self._plan.targets
    return without_channels(undo_geometry(self._plan, params, with_channels(targets, example)), like=example)

  # Checks before tracing

  def _checked(self, batch: Batch, lead: tuple[int, ...], one: str, many: str) -> Example:
    return check_example(self._plan.targets, batch, *(lead or (None,)), many.format(*lead) if lead else one)

  def _checked_params(self, params: Sampled, batch: Batch) -> tuple[Sampled, tuple[int, ...]]:
    for name in params:
      if name not in self._plan.ops:
        raise unknown('operation of this pipeline', name, self._plan.ops)
    params = {name: OpParams(jnp.asarray(on), dict(values)) for name, (on, values) in params.items()}
    leads = {sampled.on.shape for sampled in params.values()}
    if len(leads) > 1 or any(len(lead) > 1 for lead in leads):
      raise ValueError(f'params of shapes {", ".join(map(str, leads))}: must all be of one example, or of one batch')
    if leads:
      return params, *leads
    name, _ = next(entries(self._plan.targets, batch, *SPATIAL), (None, None))
    return params, np.shape(batch[name])[:-3] if name else ()

  def _check_mixes(self, params: Mapping[str, Any], lead: tuple[int, ...]) -> None:
    mixes = [name for name in params if self._plan.ops[name].stage == 'mix']
    if mixes and not lead:
      raise ValueError(f'{mixes[0]} mixes a batch: must have keys [b] and images [b, h, w, c], without vmap')

  def _image_name(self) -> str:
    return next(name for name, target in self._plan.targets.items() if target.kind == 'image' and target.recolor)


# Compiled once for equal pipelines and inputs of the same structure; inlined under another jit.
compiled = partial(jax.jit, inline=True)


def _with_floats(pipeline: Pipeline, batch: Batch) -> Batch:
  images = {name: batch[name] for name, _ in entries(pipeline._plan.targets, batch, 'image')}
  return batch | {name: to_float(image) for name, image in images.items() if image.dtype == jnp.uint8}


@partial(compiled, static_argnums=(0, 2))
def _sample(pipeline: Pipeline, keys: PRNGKeyArray, image_shape: ImageShape) -> Sampled:
  pipeline.check(image_shape)
  sample = partial(pipeline._sample_example, image_shape=image_shape)
  return jax.vmap(sample)(keys) if keys.ndim else sample(keys)


@partial(compiled, static_argnums=(0, 3))
def _apply(pipeline: Pipeline, params: Sampled, batch: Batch, batched: bool) -> Batch:
  batch = _with_floats(pipeline, batch)
  if not batched:
    return pipeline._apply_example(params, batch)
  batch = jax.vmap(pipeline._apply_example)(params, batch)
  for name, sampled in pipeline._plan.of(params, 'mix').items():
    batch = mixing.mix_batch(pipeline._plan.ops[name].apply, batch, sampled, targets=pipeline._plan.targets)
  return batch


@partial(compiled, static_argnums=0)
def _augment(pipeline: Pipeline, keys: PRNGKeyArray, batch: Batch) -> Batch:
  params = _sample(pipeline, keys, image_shape(pipeline._plan.targets, batch, keys.ndim))
  return _apply(pipeline, params, batch, bool(keys.ndim))


@partial(compiled, static_argnums=(0, 3))
def _inverse(pipeline: Pipeline, params: Sampled, batch: Batch, batched: bool) -> Batch:
  batch = _with_floats(pipeline, batch)
  return (jax.vmap(pipeline._invert_example) if batched else pipeline._invert_example)(params, batch)
