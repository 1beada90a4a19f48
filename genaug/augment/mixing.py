"""Mixes: new examples made of two, or of four.

An example is a dict whose entries a table of targets describes (see `targets`). The examples that are mixed have the
same entries in the same shapes; entries that `targets`, by default `TARGETS`, does not name come from the first.

  image, map  every pixel from one of the examples, floating point (`mixup`: their weighted mean)
  label       weighted mean of the labels, by exact shares of the pixels (`mixup`: by its weight)
  mask        cut like the image (`mixup`: the mask of the example with more weight, as class indices can't be mixed)
  boxes       the boxes of all examples concatenated, [2n, 4]: each shrinks to the smallest one around its visible
              part, and `boxes_visible` [2n] flags those that have any; flags that examples bring along stay in force
  keypoints   the keypoints of all examples concatenated, [2n, 2], with `keypoints_visible` [2n]
  attributes  of boxes and keypoints: concatenated like these

`op(example, other, ...)` mixes with given parameters, and neutral ones keep all bits of image, label and mask;
`sample_op(key, shape, ...)` samples the parameters; `random_op(keys [b], batch, ..., p)` mixes every example with one
of its `partners`, with probability p. `style` has two more operations, which take an image and a reference.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, ScalarLike

from genaug.augment.checks import check_keys, checked_mix
from genaug.augment.image import (
  ImageShape,
  Parameter,
  Params,
  check_order,
  check_range,
  clip,
  happens,
  random_form,
  sample_nothing,
  to_float,
  uniform,
  validated,
)
from genaug.augment.style import fourier_mix, histogram_match, sample_fourier_mix, sample_histogram_match
from genaug.augment.targets import (
  SPATIAL,
  Example,
  Targets,
  concat_objects,
  entries,
  image_shape,
  transform_example,
  with_flags,
)

Batch = dict[str, Any]

GROUP = 4  # number of consecutive examples that mix only with each other
MAX_SIDE = Parameter(0, 1, 'of the side', 'Largest side; in between it is uniform.')
ROUNDS = 12  # of bisection, which give a threshold to 1 / 4096 of the range


# Mixes with given parameters


@checked_mix(2)
def mixup(example: Example, other: Example, weight: ScalarLike, *, targets: Targets | None = None) -> Example:
  """Returns the weighted mean of two examples; `weight` in [0, 1] is that of `example`.

  Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".
  """
  check_range('mixup: weight', weight, 0, 1)
  share = 1 - jnp.asarray(weight, jnp.float32)
  mixed = {}
  for name, target in entries(targets, example, *SPATIAL):
    if target.kind == 'mask':
      mixed[name] = jnp.where(share <= 0.5, example[name], other[name])
    else:
      mean = _mean(example[name], other[name], share)
      mixed[name] = clip(mean) if target.kind == 'image' else mean
  mixed |= {name: _mean(example[name], other[name], share) for name, _ in entries(targets, example, 'label')}
  seen = jnp.ones(_size(targets, example), bool)
  return example | mixed | concat_objects(targets, (example, seen & (share < 1)), (other, seen & (share > 0)))


@checked_mix(2)
def cutmix(example: Example, other: Example, box: Float[ArrayLike, '4'], *, targets: Targets | None = None) -> Example:
  """Pastes `other` inside a box (x_min, y_min, x_max, y_max), fractions of the side, rounded to whole pixels.

  Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features".
  """
  check_range('cutmix: box', box, 0, 1)
  size = _size(targets, example)
  return _paste(targets, example, other, *_inside(_edges(box, size), size))


@checked_mix(2)
def resizemix(
  example: Example, other: Example, box: Float[ArrayLike, '4'], *, targets: Targets | None = None
) -> Example:
  """Pastes all of `other`, scaled down, into a box as in `cutmix`; bilinear, not antialiased: small boxes skip pixels.

  Qin et al. 2020, "ResizeMix: Mixing Data with Preserved Object Information and True Labels".
  """
  check_range('resizemix: box', box, 0, 1)
  h, w = size = _size(targets, example)
  left, top, right, bottom = edges = _edges(box, size)
  # An empty box shows nothing, but its matrix must still have an inverse, or gradients become NaN.
  sx, sy = jnp.maximum(right - left, 1) / w, jnp.maximum(bottom - top, 1) / h
  return _paste(targets, example, transform_example(targets, other, _affine(sx, left, sy, top)), *_inside(edges, size))


@checked_mix(4)
def mosaic(
  first: Example,
  second: Example,
  third: Example,
  fourth: Example,
  centre: Float[ArrayLike, '2'],
  *,
  targets: Targets | None = None,
) -> Example:
  """Places four examples around `centre` = (x, y): at the top left, top right, bottom left and bottom right.

  The centre is in fractions, rounded to whole pixels. The top left image shows its bottom right part, and so on: the
  corners of all four meet there. At (1, 1) the first fills the image. Bochkovskiy et al. 2020, "YOLOv4", section 3.3.
  """
  check_range('mosaic: centre', centre, 0, 1)
  examples = first, second, third, fourth
  h, w = _size(targets, first)
  x, y = jnp.round(jnp.asarray(centre) * jnp.array([w, h])).astype(jnp.int32)
  column, row = jnp.arange(w), jnp.arange(h)[:, None]
  places = [(True, True), (False, True), (True, False), (False, False)]  # (left, top) of each
  # Rolled by (x, y), all four lie where they are shown. They are combined before the roll: one gather, not four.
  taken = [((column >= w - x) == left) & ((row >= h - y) == top) for left, top in places]
  index = (row - y) % h * w + (column - x) % w
  mixed = {}
  for name, _ in entries(targets, first, *SPATIAL):
    together = jnp.select([some[..., None] for some in taken], [example[name] for example in examples])
    mixed[name] = together.reshape(h * w, -1).at[index].get(mode='promise_in_bounds')
  sides = jnp.stack([x * y, (w - x) * y, x * (h - y), (w - x) * (h - y)]) / (h * w)
  for name, _ in entries(targets, first, 'label'):
    labels = jnp.stack([to_float(example[name]) for example in examples])
    mixed[name] = (sides.reshape(4, *[1] * (labels.ndim - 1)) * labels).sum(0).astype(first[name].dtype)
  shifts = [_affine(1.0, x - w * left, 1.0, y - h * top) for left, top in places]
  moved = [transform_example(targets, *one, spatial=False) for one in zip(examples, shifts)]
  shown = [((column < x) == left) & ((row < y) == top) for left, top in places]
  return first | mixed | concat_objects(targets, *zip(moved, shown))


@checked_mix(2)
def fmix(
  example: Example,
  other: Example,
  key: PRNGKeyArray,
  weight: ScalarLike,
  *,
  decay: ScalarLike = 3.0,
  targets: Targets | None = None,
) -> Example:
  """Pastes `other` in blobs, where low-frequency noise is high: a share 1 - weight of the pixels.

  `weight` in [0, 1] is met to about 1 / 1000 (the label has the exact share). Amplitudes fall as frequency^-decay:
  larger `decay` in [0, 10], larger blobs. Harris et al. 2020, "FMix: Enhancing Mixed Sample Data Augmentation".
  """
  check_range('fmix: weight', weight, 0, 1)
  check_range('fmix: decay', decay, 0, 10)
  noise = low_frequency_noise(key, _size(targets, example), decay)
  pasted = noise > _threshold(noise, 1 - jnp.asarray(weight, jnp.float32))
  return _paste(targets, example, other, lambda _: pasted[..., None], pasted.mean())


@checked_mix(2)
def copy_paste(example: Example, other: Example, *, targets: Targets | None = None) -> Example:
  """Pastes the objects of `other`, where its mask is neither 0 nor the mask's fill, at the same place.

  The mask is the first one of the table. Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method
  for Instance Segmentation", without their scale jitter. Raises ValueError for examples without masks.
  """
  name, target = next(entries(targets, other, 'mask'), (None, None))
  if name is None:
    raise ValueError("copy_paste: an example without 'mask': pass one, or turn copy_paste off")
  pasted = (other[name] != 0) & (other[name] != jnp.asarray(target.fill or 0, other[name].dtype))
  return _paste(targets, example, other, lambda _: pasted, pasted.mean())


def low_frequency_noise(key: PRNGKeyArray, shape: tuple[int, int], decay: ScalarLike) -> Float[Array, 'h w']:
  """Draws Gaussian noise with amplitudes ~ frequency^-decay, of arbitrary scale; Harris et al. 2020, section 4."""
  h, w = shape
  frequency = np.maximum(np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)), 1 / max(h, w))
  real, imaginary = jax.random.normal(key, (2, *frequency.shape)) * (max(h, w) * frequency) ** -decay
  return jnp.fft.irfft2(jax.lax.complex(real, imaginary), shape)


# Parts of mixes


def _mean(a: Float[Array, '...'], b: Float[Array, '...'], share: ScalarLike) -> Float[Array, '...']:
  # In this form a share of 0 keeps the bits.
  return (to_float(a) + share * (to_float(b) - to_float(a))).astype(a.dtype)


def _size(targets: Targets, example: Example) -> tuple[int, int]:
  name, _ = next(entries(targets, example, *SPATIAL))
  return example[name].shape[:2]


def _paste(
  targets: Targets, example: Example, other: Example, pasted: Callable[[int], Bool[Array, 'h w #c']], share: ScalarLike
) -> Example:
  """Pastes `other` where the mask `pasted(number of channels)` is true, which is `share` of the pixels."""
  mixed = {
    name: jnp.where(pasted(example[name].shape[-1]), other[name], example[name])
    for name, _ in entries(targets, example, *SPATIAL)
  }
  mixed |= {name: _mean(example[name], other[name], share) for name, _ in entries(targets, example, 'label')}
  seen = pasted(1)[..., 0]
  return example | mixed | concat_objects(targets, (example, ~seen), (other, seen))


def _edges(box: Float[ArrayLike, '4'], size: tuple[int, int]) -> Float[Array, '4']:
  h, w = size
  return jnp.round(jnp.asarray(box, jnp.float32) * jnp.array([w, h, w, h]))


def _inside(
  edges: Float[Array, '4'], size: tuple[int, int]
) -> tuple[Callable[[int], Bool[Array, 'h w c']], Float[Array, '']]:
  """Returns (number of channels -> mask of the pixels between the edges), and the share of these pixels."""
  h, w = size
  left, top, right, bottom = edges

  def pasted(channels):
    # Constants repeated per channel, or XLA on CPU loops over a pixel's channels, not over a row: twice as slow.
    x, y = np.repeat(np.arange(w), channels).reshape(w, channels), np.arange(h)[:, None, None]
    return (left <= x) & (x < right) & (top <= y) & (y < bottom)

  return pasted, jnp.maximum(right - left, 0) * jnp.maximum(bottom - top, 0) / (h * w)


def _affine(sx, dx, sy, dy) -> Float[Array, '3 3']:
  return jnp.array([[sx, 0, dx], [0, sy, dy], [0, 0, 1]], jnp.float32)


def _threshold(noise: Float[Array, 'h w'], share: ScalarLike) -> Float[Array, '']:
  """Returns a threshold that at most `share` of the noise exceeds, and hardly less: none of it for 0, all for 1."""
  low, high = noise.min(), noise.max()
  low -= (high - low) / 1000  # for a share of 1, below the lowest value

  def halve(_, bounds):
    low, high = bounds
    middle = (low + high) / 2
    few = (noise > middle).mean() <= share
    return jnp.where(few, low, middle), jnp.where(few, middle, high)

  return jax.lax.fori_loop(0, ROUNDS, halve, (low, high))[1]


# Sampling


@validated(alpha=Parameter(0, 100, '', 'Shares are distributed as Beta(alpha, alpha); 0 changes nothing.'))
def sample_mixup(key: PRNGKeyArray, shape: ImageShape, alpha: ScalarLike = 0.2) -> Params:
  """Samples a weight ~ Beta(alpha, alpha); alpha = 0 changes nothing."""
  del shape
  return {'weight': beta(key, alpha)}


@validated(alpha=Parameter(0, 100, '', 'Shares are distributed as Beta(alpha, alpha); 0 changes nothing.'))
def sample_cutmix(key: PRNGKeyArray, shape: ImageShape, alpha: ScalarLike = 1.0) -> Params:
  """Samples a box around a uniformly random point, of area 1 - Beta(alpha, alpha) before it is clipped to the frame."""
  del shape
  size, where = jax.random.split(key)
  side = jnp.sqrt(1 - beta(size, alpha))
  centre = uniform(where, 0, 1, (2,))
  return {'box': jnp.clip(jnp.concatenate([centre - side / 2, centre + side / 2]), 0, 1)}


@validated(max_side=MAX_SIDE, min_side=Parameter(0, 1, 'of the side', 'Least side.'))
def sample_resizemix(
  key: PRNGKeyArray, shape: ImageShape, max_side: ScalarLike = 0.8, min_side: ScalarLike = 0.1
) -> Params:
  """Samples a box inside the image, both sides the same fraction, uniform in [min_side, max_side]."""
  check_order('resizemix: (min_side, max_side)', min_side, max_side)
  del shape
  size, where = jax.random.split(key)
  side = uniform(size, min_side, max_side)
  corner = uniform(where, 0, 1, (2,)) * (1 - side)
  return {'box': jnp.concatenate([corner, corner + side])}


@validated(margin=Parameter(0, 0.5, 'of the side', 'Least distance of the centre from the sides.'))
def sample_mosaic(key: PRNGKeyArray, shape: ImageShape, margin: ScalarLike = 0.25) -> Params:
  """Samples a centre uniform in the image, at least `margin`, a fraction up to 0.5, from its sides."""
  del shape
  return {'centre': uniform(key, margin, 1 - margin, (2,))}


@validated(alpha=Parameter(0, 100, '', 'Shares are distributed as Beta(alpha, alpha); 0 changes nothing.'))
def sample_fmix(key: PRNGKeyArray, shape: ImageShape, alpha: ScalarLike = 1.0) -> Params:
  """Samples a key for the noise and a weight ~ Beta(alpha, alpha); alpha = 0 changes nothing."""
  noise, how = jax.random.split(key)
  return {'key': noise} | sample_mixup(how, shape, alpha)


def beta(key: PRNGKeyArray, alpha: ScalarLike) -> Float[Array, '']:
  """Draws from Beta(alpha, alpha), exactly for any alpha > 0 and without a loop; returns 1 for alpha = 0.

  x ~ Beta(alpha + 1, alpha + 1) is computed from two uniforms by Ulrich's formula (Devroye 1986, "Non-Uniform Random
  Variate Generation", IX.4), and brought to alpha by the relation of Gamma draws G(alpha) = G(alpha + 1) u^(1 / alpha).
  """
  tiny = float(jnp.finfo(jnp.float32).tiny)
  radius, turn, *rest = jax.random.uniform(key, (4,), minval=tiny)
  x = 0.5 + 0.5 * jnp.sqrt(1 - radius ** (2 / (2 * alpha + 1))) * jnp.cos(2 * jnp.pi * turn)
  power = jnp.where(alpha > 0, alpha, 1.0)
  odds = jnp.log(x) - jnp.log1p(-x) + (jnp.log(rest[0]) - jnp.log(rest[1])) / power
  return jnp.where(alpha > 0, jax.nn.sigmoid(odds), 1.0)


# Whole batches


def partners(size: int, shift: int = 1) -> Int[np.ndarray, ' size']:
  """Returns the index of each example's partner, another of the GROUP consecutive examples around it, if there is one.

  It is `shift` places further in the group, cyclically: shifts of 1, 2 and 3 give the three others (the last group
  may be shorter). Batches arrive shuffled, so a neighbour is as random as any other example; but unlike a permutation
  of the batch, this does not depend on how many devices share it, as long as each has whole groups.
  Raises ValueError for a shift outside [1, GROUP - 1].
  """
  if not 1 <= shift < GROUP:
    raise ValueError(f'shift = {shift!r}: must lie in [1, {GROUP - 1}]')
  index = np.arange(size)
  start = index - index % GROUP
  members = np.minimum(GROUP, size - start)
  step = np.where(members > 1, 1 + (shift - 1) % np.maximum(members - 1, 1), 0)
  return start + (index - start + step) % members


def mix_batch(
  op: Callable[..., Any],
  batch: Batch,
  params: tuple[Bool[Array, ' b'], Params],
  *,
  shift: int = 1,
  targets: Targets | None = None,
  **options,
) -> Batch:
  """Mixes by `op`, any mix of this module, the examples for which `params` = (on, parameters), each [b], are on.

  Others keep the bits of image, label and mask, and none of the partner's boxes and keypoints is visible.
  """
  targets = with_flags(targets)
  shifts = [1 + (shift - 1 + step) % (GROUP - 1) for step in range(3 if op is mosaic else 1)]
  known = {name: jnp.asarray(batch[name]) for name in targets if name in batch}
  others = [jax.tree.map(lambda x, rows=rows: x[rows], known) for rows in (partners(len(params[0]), n) for n in shifts)]

  def one(on, values, example, *others):
    if op in IMAGE_MIXES:
      images = [name for name, target in entries(targets, example, 'image') if target.recolor]
      mixed = {name: op(example[name], others[0][name], **values, **options) for name in images}
      return example | {name: jnp.where(on, mixed[name], example[name]) for name in images}
    mixed = op(example, *others, **values, **options, targets=targets)
    seen = jnp.ones(_size(targets, example), bool)
    alone = example | concat_objects(targets, (example, seen), *((other, ~seen) for other in others))
    return jax.tree.map(partial(jnp.where, on), mixed, alone)

  return dict(batch) | jax.vmap(one)(*params, known, *others)


BATCH = {'keys': 'a key for each example, [b].', 'batch': 'entries [b, ...] as `targets` names them.'}


def _randomly(op: Callable[..., Any], sample_params: Callable[..., Params]) -> Callable[..., Batch]:
  """Returns the random form of a mix: (keys [b], batch, <parameters>, *, p=1, shift=1, ...) -> batch."""

  def apply(keys, batch, parameters, p, shift, **options):
    shape = image_shape(with_flags(options.get('targets')), batch, 1)

    def sample(key):
      on, how = jax.random.split(key)
      return happens(on, p), sample_params(how, shape, **parameters)

    return mix_batch(op, batch, jax.vmap(sample)(check_keys(keys)), shift=shift, **options)

  return random_form(f'random_{op.__name__}', op.__doc__, op, sample_params, apply, BATCH, p=1.0, shift=1)


IMAGE_MIXES = (histogram_match, fourier_mix)  # they take an image and a reference, the other mixes take examples

random_mixup = _randomly(mixup, sample_mixup)
random_cutmix = _randomly(cutmix, sample_cutmix)
random_resizemix = _randomly(resizemix, sample_resizemix)
random_mosaic = _randomly(mosaic, sample_mosaic)
random_fmix = _randomly(fmix, sample_fmix)
random_copy_paste = _randomly(copy_paste, sample_nothing)
random_histogram_match = _randomly(histogram_match, sample_histogram_match)
random_fourier_mix = _randomly(fourier_mix, sample_fourier_mix)
