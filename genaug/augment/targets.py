"""Kinds of entries of an example, and how they follow when its image is moved, recoloured, cut or mixed.

An example is a dict of arrays. A table such as `TARGETS` declares what kind of entry each name is; entries that it
does not name pass through untouched. `TARGETS | {'teacher': Target('image', recolor=False)}` has one more.

  image      [h, w, c], uint8 or floating point in [0, 1]: moved and recoloured like every other image of the example;
             with `recolor=False` only moved, like the target of an image pair
  map        [h, w] or [h, w, c], floating point of any range (depth, heat maps, logits): only moved
  mask       [h, w] or [h, w, 1], integers or booleans: only moved, with nearest-neighbour interpolation
  boxes      [n, 4], (x_min, y_min, x_max, y_max)
  keypoints  [n, 2], (x, y)
  visible    [n], booleans: which of the boxes or keypoints named by `of` are still visible in the frame; added under
             the name NAME_visible where it is missing
  attribute  [n, ...]: what belongs to each of the boxes or keypoints named by `of`: classes, scores, ...
  label      soft label [k], or a number; integers such as class indices pass, but can't be mixed

Images, maps and masks of an example share one height and width. Boxes and keypoints are continuous coordinates in
pixels, in the frame that `matrices` describes: the image spans [0, w] x [0, h], pixel centres lie at halves. No box or
keypoint is ever removed, because shapes are static: those that left the frame or are covered are flagged as not
visible.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from genaug.augment.image import ImageShape
from genaug.augment.matrices import Matrix, points_inside, transform_boxes, transform_points
from genaug.augment.resample import warp

Example = dict[str, Any]


class Target(NamedTuple):
  """Declaration of an entry: its kind (see the module's docstring), and the options of some kinds."""

  kind: str
  of: str = ''  # visible and attribute: the boxes or keypoints that they belong to
  recolor: bool = True  # image: False leaves its values alone
  interpolation: str | None = None  # image and map: nearest, bilinear or cubic; None is the pipeline's
  fill: float | None = None  # image: in [0, 1], None is the pipeline's; map and mask: in their units, None is 0


Targets = Mapping[str, Target]

TARGETS = {
  'image': Target('image'),
  'image2': Target('image'),
  'target': Target('image', recolor=False),
  'depth': Target('map', interpolation='nearest'),  # depths between an object's and its background's would be wrong
  'mask': Target('mask'),
  'boxes': Target('boxes'),
  'boxes_visible': Target('visible', of='boxes'),
  'boxes_classes': Target('attribute', of='boxes'),
  'boxes_scores': Target('attribute', of='boxes'),
  'keypoints': Target('keypoints'),
  'keypoints_visible': Target('visible', of='keypoints'),
  'keypoints_classes': Target('attribute', of='keypoints'),
  'label': Target('label'),
}

SPATIAL = ('image', 'map', 'mask')
OBJECTS = ('boxes', 'keypoints')
KINDS = (*SPATIAL, *OBJECTS, 'visible', 'attribute', 'label')


def entries(targets: Targets, example: Example, *kinds: str) -> Iterator[tuple[str, Target]]:
  """Returns (name, target) of the example's entries of these kinds, in the order of the table."""
  return ((name, target) for name, target in targets.items() if name in example and target.kind in kinds)


def attributes(targets: Targets, example: Example, of: str) -> list[str]:
  """Returns the names of the example's attributes of the boxes or keypoints named `of`."""
  return [name for name, target in entries(targets, example, 'attribute') if target.of == of]


def visible_name(name: str) -> str:
  """Returns the name of the entry that flags which of the boxes or keypoints of this name are visible."""
  return f'{name}_visible'


def with_flags(targets: Targets | None) -> dict[str, Target]:
  """Returns the table, by default `TARGETS`, with an entry NAME_visible for all boxes and keypoints."""
  targets = TARGETS if targets is None else targets
  objects = [name for name, target in targets.items() if target.kind in OBJECTS]
  return dict(targets) | {visible_name(name): Target('visible', of=name) for name in objects}


def with_channels(targets: Targets, example: Example, leading: int = 0) -> Example:
  """Returns the example with maps and masks [h, w] as [h, w, 1], after `leading` leading axes."""
  flat = [name for name, _ in entries(targets, example, 'map', 'mask') if example[name].ndim == leading + 2]
  return example | {name: example[name][..., None] for name in flat}


def without_channels(example: Example, like: Example) -> Example:
  """Undoes `with_channels`: entries have as many axes as in `like` again."""
  flat = [name for name in like if example[name].ndim == like[name].ndim + 1]
  return example | {name: example[name][..., 0] for name in flat}


def resample_options(target: Target, border: str, fill: float, interpolation: str) -> dict[str, Any]:
  """Returns the keyword arguments of `resample.warp` for an entry; `fill` and `interpolation` are those of images."""
  default = fill if target.kind == 'image' else 0
  return {
    'border': border,
    'fill': default if target.fill is None else target.fill,
    'interpolation': 'nearest' if target.kind == 'mask' else target.interpolation or interpolation,
  }


def image_shape(targets: Targets, known: Example, leading: int) -> ImageShape:
  """Returns the shape of the first image, without `leading` leading axes. Raises ValueError if there is no image."""
  name, _ = next(entries(targets, known, 'image'), (None, None))
  if name is None:
    raise ValueError(f'a batch of {", ".join(map(repr, known))}: must hold an image to sample for')
  return jnp.shape(known[name])[leading:]


def transform_example(targets: Targets, example: Example, matrix: Matrix, spatial: bool = True) -> Example:
  """Returns the example moved by a matrix, with border 'edge'; without `spatial` only boxes and keypoints are moved."""
  changed = {}
  for name, target in entries(targets, example, *SPATIAL) if spatial else ():
    changed[name] = warp(example[name], matrix, **resample_options(target, 'edge', 0.0, 'bilinear'))
  for name, target in entries(targets, example, *OBJECTS):
    changed[name] = (transform_boxes if target.kind == 'boxes' else transform_points)(matrix, example[name])
  return example | changed


def concat_objects(targets: Targets, *parts: tuple[Example, Bool[Array, 'h w']]) -> Example:
  """Concatenates boxes, keypoints, flags and attributes of all parts, (example, mask of its visible pixels) each."""
  first, _ = parts[0]
  joined = {}
  for name, target in entries(targets, first, *OBJECTS):
    visible_part, flag = visible_boxes if target.kind == 'boxes' else visible_points, visible_name(name)
    values, visible = zip(*(visible_part(example[name], seen) for example, seen in parts))
    before = [example.get(flag, True) for example, _ in parts]
    joined[name] = jnp.concatenate(values)
    joined[flag] = jnp.concatenate([now & was for now, was in zip(visible, before)])
    for attribute in attributes(targets, first, name):
      joined[attribute] = jnp.concatenate([example[attribute] for example, _ in parts])
  return joined


def visible_boxes(
  boxes: Float[Array, 'n 4'], seen: Bool[Array, 'h w']
) -> tuple[Float[Array, 'n 4'], Bool[Array, ' n']]:
  """Returns the smallest boxes around each box's visible part, and which have one; the others come with no area."""
  h, w = seen.shape
  x, y = jnp.arange(w), jnp.arange(h)
  columns = (x + 1 > boxes[:, :1]) & (x < boxes[:, 2:3])
  rows = (y + 1 > boxes[:, 1:2]) & (y < boxes[:, 3:])
  # Pixel counts, of which it only matters whether they are 0: any precision of the product will do.
  pixels = seen.astype(jnp.float32)
  seen_columns = columns & (rows.astype(jnp.float32) @ pixels > 0)
  seen_rows = rows & (columns.astype(jnp.float32) @ pixels.T > 0)
  low = [jnp.where(seen_columns, x, w).min(-1), jnp.where(seen_rows, y, h).min(-1)]
  high = [jnp.where(seen_columns, x + 1, 0).max(-1), jnp.where(seen_rows, y + 1, 0).max(-1)]
  low, high = jnp.maximum(boxes[:, :2], jnp.stack(low, -1)), jnp.minimum(boxes[:, 2:], jnp.stack(high, -1))
  return jnp.concatenate([low, jnp.maximum(low, high)], axis=-1), jnp.all(high > low, axis=-1)


def visible_points(
  points: Float[Array, 'n 2'], seen: Bool[Array, 'h w']
) -> tuple[Float[Array, 'n 2'], Bool[Array, ' n']]:
  """Returns the points as they are, and which of them lie on a visible pixel."""
  h, w = seen.shape
  column, row = jnp.clip(jnp.floor(points).astype(jnp.int32), 0, jnp.array([w - 1, h - 1])).T
  return points, points_inside(points, seen.shape) & seen[row, column]
