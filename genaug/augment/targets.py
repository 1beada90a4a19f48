"""An example and what belongs to its image, moved together, and what is left of it where parts are covered.

An example is a dict with `image` and any of mask [h, w, 1], boxes [n, 4] and keypoints [n, 2], in the pixel frame of
`matrices`.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from genaug.augment.matrices import Matrix, points_inside, transform_boxes, transform_points
from genaug.augment.resample import warp

Example = dict[str, Any]


def moved(example: Example, matrix: Matrix, pictures: tuple[str, ...] = ('image', 'mask')) -> Example:
  """The example moved by a matrix; of its pictures only those named."""
  moved = {}
  for name in pictures:
    if name in example:
      interpolation = 'bilinear' if name == 'image' else 'nearest'
      moved[name] = warp(example[name], matrix, interpolation=interpolation, border='edge')
  if 'boxes' in example:
    moved['boxes'] = transform_boxes(matrix, example['boxes'])
  if 'keypoints' in example:
    moved['keypoints'] = transform_points(matrix, example['keypoints'])
  return example | moved


def seen_annotations(*parts: tuple[Example, Bool[Array, 'h w']]) -> Example:
  """Boxes and keypoints of all (example, pixels that are seen of it)."""
  joined = {}
  for name, look in {'boxes': seen_boxes, 'keypoints': seen_points}.items():
    if name in parts[0][0]:
      values, visible = zip(*(look(example[name], seen) for example, seen in parts))
      before = [example.get(f'{name}_visible', True) for example, _ in parts]
      joined[name] = jnp.concatenate(values)
      joined[f'{name}_visible'] = jnp.concatenate([now & was for now, was in zip(visible, before)])
  return joined


def seen_boxes(boxes: Float[Array, 'n 4'], seen: Bool[Array, 'h w']) -> tuple[Float[Array, 'n 4'], Bool[Array, ' n']]:
  """The smallest boxes about what is seen of each, and which are seen at all; the others have no area."""
  h, w = seen.shape
  x, y = jnp.arange(w), jnp.arange(h)
  columns = (x + 1 > boxes[:, :1]) & (x < boxes[:, 2:3])
  rows = (y + 1 > boxes[:, 1:2]) & (y < boxes[:, 3:])
  # Counts of pixels, of which only being 0 matters: any precision of the product will do.
  pixels = seen.astype(jnp.float32)
  seen_columns = columns & (rows.astype(jnp.float32) @ pixels > 0)
  seen_rows = rows & (columns.astype(jnp.float32) @ pixels.T > 0)
  low = [jnp.where(seen_columns, x, w).min(-1), jnp.where(seen_rows, y, h).min(-1)]
  high = [jnp.where(seen_columns, x + 1, 0).max(-1), jnp.where(seen_rows, y + 1, 0).max(-1)]
  low, high = jnp.maximum(boxes[:, :2], jnp.stack(low, -1)), jnp.minimum(boxes[:, 2:], jnp.stack(high, -1))
  return jnp.concatenate([low, jnp.maximum(low, high)], axis=-1), jnp.all(high > low, axis=-1)


def seen_points(points: Float[Array, 'n 2'], seen: Bool[Array, 'h w']) -> tuple[Float[Array, 'n 2'], Bool[Array, ' n']]:
  """The points as they are, and which lie on a pixel that is seen."""
  h, w = seen.shape
  column, row = jnp.clip(jnp.floor(points).astype(jnp.int32), 0, jnp.array([w - 1, h - 1])).T
  return points, points_inside(points, seen.shape) & seen[row, column]
