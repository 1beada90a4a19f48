"""Data sets in memory: training and test split as arrays, names of the classes, and tokens of captions."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from genaug.data import subsets

_SHOWN = 20  # classes that a summary lists


class Split(NamedTuple):
  """Arrays of one split: uint8 'image' [n, h, w, c], int32 'label' [n], and in some data sets more.

  These are uint8 'target' [n, h, w, c] of pairs, uint8 'mask' [n, h, w, 1], int32 'caption' [n, l] from
  `captions.encode`, and uint8 'unlabelled' [n, r, h, w, c] from `with_unlabelled`.
  """

  arrays: dict[str, np.ndarray]

  def take(self, rows: subsets.Rows) -> 'Split':
    return Split({name: array[rows] for name, array in self.arrays.items()})


def duplicate_test_rows(train: Split, test: Split) -> subsets.Rows:
  """Returns the rows of test images that are, pixel for pixel, among the training images."""
  digest = lambda image: hashlib.blake2b(image, digest_size=16).digest()
  seen = {digest(image) for image in train.arrays['image']}
  return np.array([i for i, image in enumerate(test.arrays['image']) if digest(image) in seen], int)


def with_unlabelled(labelled: Split, images: UInt8[np.ndarray, 'n h w c'], ratio: int, seed: int) -> Split:
  """Returns a split with one labelled and `ratio` unlabelled images per row, so that an epoch covers all images.

  All labelled images are in equally many rows. To fill these rows, some unlabelled images are repeated.
  """
  known = len(labelled.arrays['label'])
  count = known * -(-len(images) // (known * ratio))
  order = np.random.default_rng((seed, len(images))).permutation(len(images))
  unlabelled = images[np.resize(order, count * ratio)].reshape(count, ratio, *images.shape[1:])
  return Split({**labelled.take(np.arange(count) % known).arrays, 'unlabelled': unlabelled})


def mix(real: Split, generated: Split, share: float) -> Split:
  """Returns both splits, the scarcer one repeated as a whole, so that about `share` of the images are generated."""
  if share == 1:
    return generated
  have, want = len(generated.arrays['label']) / len(real.arrays['label']), share / (1 - share)
  copies = (max(1, round(have / want)), max(1, round(want / have)))
  parts = [real] * copies[0] + [generated] * copies[1]
  return Split({name: np.concatenate([part.arrays[name] for part in parts]) for name in ('image', 'label')})


class Dataset(NamedTuple):
  """Training and test split in memory, and the names of the classes that 'label' numbers."""

  name: str
  train: Split
  test: Split
  class_names: tuple[str, ...]
  prepared: str = ''  # folder of its records, relative to data_dir
  paired_test: bool = True  # whether a test image and its target show the same thing
  vocabulary: tuple[str, ...] = ()  # tokens of training captions, which 'caption' numbers from 1

  @property
  def image_shape(self) -> tuple[int, int, int]:
    return self.train.arrays['image'].shape[1:]

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  @property
  def summary(self) -> str:
    """Numbers of training and test images, in total and per class, in one line."""
    train = self.train.arrays
    rows = np.unique(train['image'], axis=0, return_index=True)[1] if 'unlabelled' in train else np.s_[:]
    labels = train['label'][rows], self.test.arrays['label']
    counts = [np.bincount(label, minlength=self.num_classes) for label in labels]
    each = [f'{name}: {train:,} + {test:,}' for name, train, test in zip(self.class_names, *counts)]
    more = f', and {len(each) - _SHOWN} more classes' * (len(each) > _SHOWN)
    labelled, tested = (f'{count.sum():,}' for count in counts)
    trained = f'{labelled} training'
    if 'unlabelled' in train:
      different = {image.tobytes() for images in train['unlabelled'] for image in images}
      trained = f'{labelled} labelled, {len(different):,} unlabelled'
    return f'{self.name}: {trained} + {tested} test images ({", ".join(each[:_SHOWN])}{more})'

  def of_classes(self, names: Sequence[str]) -> 'Dataset':
    """Returns only the images of the named classes, with labels in the order of `names`."""
    number = np.full(self.num_classes, -1, np.int32)
    for new, name in enumerate(names):
      number[self.class_names.index(name)] = new

    def taken(split: Split) -> Split:
      kept = split.take(np.flatnonzero(number[split.arrays['label']] >= 0))
      return Split({**kept.arrays, 'label': number[kept.arrays['label']]})

    return self._replace(train=taken(self.train), test=taken(self.test), class_names=tuple(names))
