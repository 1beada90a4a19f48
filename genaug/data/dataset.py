"""Data sets in memory: both splits as arrays, and what their numbers mean."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from genaug.data import subsets

_SHOWN = 20  # classes that a line lists


class Split(NamedTuple):
  """uint8 'image' [n, h, w, c] and int32 'label' [n]; some have more.

  uint8 'target' [n, h, w, c] of pairs, uint8 'mask' [n, h, w, 1], int32 'caption' [n, l] as of `captions.encode`, uint8
  'unlabelled' [n, r, h, w, c] of `with_unlabelled`.
  """

  arrays: dict[str, np.ndarray]

  def take(self, rows: subsets.Rows) -> 'Split':
    return Split({name: array[rows] for name, array in self.arrays.items()})


def copies(train: Split, test: Split) -> subsets.Rows:
  """Rows of the test images that are among the training images, to the pixel."""
  digest = lambda image: hashlib.blake2b(image, digest_size=16).digest()
  seen = {digest(image) for image in train.arrays['image']}
  return np.array([i for i, image in enumerate(test.arrays['image']) if digest(image) in seen], int)


def with_unlabelled(labelled: Split, images: UInt8[np.ndarray, 'n h w c'], ratio: int, seed: int) -> Split:
  """As many of the unlabelled images in every row; an epoch is one of all images.

  Every labelled one is in as many rows as any other; to fill these, some unlabelled ones are there once more.
  """
  known = len(labelled.arrays['label'])
  count = known * -(-len(images) // (known * ratio))
  order = np.random.default_rng((seed, len(images))).permutation(len(images))
  unlabelled = images[np.resize(order, count * ratio)].reshape(count, ratio, *images.shape[1:])
  return Split({**labelled.take(np.arange(count) % known).arrays, 'unlabelled': unlabelled})


def mix(real: Split, generated: Split, share: float) -> Split:
  """Both, the scarcer one repeated as a whole, so that about `share` of the images are generated."""
  if share == 1:
    return generated
  have, want = len(generated.arrays['label']) / len(real.arrays['label']), share / (1 - share)
  copies = (max(1, round(have / want)), max(1, round(want / have)))
  parts = [real] * copies[0] + [generated] * copies[1]
  return Split({name: np.concatenate([part.arrays[name] for part in parts]) for name in ('image', 'label')})


class Dataset(NamedTuple):
  """Both splits in memory, and what the numbers in 'label' mean."""

  name: str
  train: Split
  test: Split
  class_names: tuple[str, ...]
  prepared: str = ''  # where its records are, below the data_dir
  paired_test: bool = True  # whether the target of a test image shows the same
  vocabulary: tuple[str, ...] = ()  # tokens of training captions, which 'caption' numbers from 1

  @property
  def image_shape(self) -> tuple[int, int, int]:
    return self.train.arrays['image'].shape[1:]

  @property
  def num_classes(self) -> int:
    return len(self.class_names)

  @property
  def summary(self) -> str:
    """How many images there are, of which classes."""
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
    """Their images alone, numbered in the order of `names`."""
    number = np.full(self.num_classes, -1, np.int32)
    for new, name in enumerate(names):
      number[self.class_names.index(name)] = new

    def taken(split: Split) -> Split:
      kept = split.take(np.flatnonzero(number[split.arrays['label']] >= 0))
      return Split({**kept.arrays, 'label': number[kept.arrays['label']]})

    return self._replace(train=taken(self.train), test=taken(self.test), class_names=tuple(names))
