"""What a run was trained on, as its workdir keeps it: class names, and number and digest of their images."""

import hashlib
from typing import NamedTuple

import numpy as np

from genaug.data.dataset import Dataset, Split

_SHOWN = 6  # differences that a message lists


class Differences(NamedTuple):
  """Between a record and the data at hand, in words. Other class names change what every label means."""

  names: list[str]
  images: list[str]

  def __str__(self) -> str:
    found = [*self.names, *self.images]
    more = [f'and {len(found) - _SHOWN} more'] * (len(found) > _SHOWN)
    return '; '.join(found[:_SHOWN] + more)


def describe(dataset: Dataset) -> dict:
  """JSON; digests are of pixels in their order, which decides the batches."""
  return {
    'name': dataset.name,
    'image_shape': list(dataset.image_shape),
    'class_names': list(dataset.class_names),
    'prepared': dataset.prepared,
    'vocabulary': list(dataset.vocabulary),
    'train': _describe_split(dataset.train, dataset.class_names),
    'test': _describe_split(dataset.test, dataset.class_names),
  }


def _describe_split(split: Split, class_names: tuple[str, ...]) -> dict:
  label, classes = split.arrays['label'], {}
  whole = hashlib.sha256(np.ascontiguousarray(label))
  for number, name in enumerate(class_names):
    rows, digest = np.flatnonzero(label == number), hashlib.sha256()
    for key in sorted(split.arrays.keys() - {'label'}):
      digest.update(np.ascontiguousarray(split.arrays[key][rows]))
    whole.update(digest.digest())
    classes[name] = {'images': len(rows), 'digest': digest.hexdigest()[:16]}
  return {'digest': whole.hexdigest()[:16], 'classes': classes}


def differences(there: dict, dataset: Dataset) -> Differences:
  """Of the data at hand from a record."""
  now = describe(dataset)
  old, new = there['class_names'], now['class_names']
  names = [f'class {name!r} is gone' for name in old if name not in new]
  names += [f'class {name!r} is new' for name in new if name not in old]
  if not names and old != new:
    names.append('its classes are in another order')
  images = []
  if there['image_shape'] != now['image_shape']:
    images.append(f'images are {now["image_shape"]}, were {there["image_shape"]}')
  for split in ('train', 'test'):
    for name in (name for name in old if name in new):
      before, after = there[split]['classes'][name], now[split]['classes'][name]
      if before['images'] != after['images']:
        images.append(f'{split}: class {name!r} has {after["images"]} images, had {before["images"]}')
      elif before != after:
        images.append(f'{split}: other images in class {name!r}, or in another order, {after["images"]} as before')
    if not names and not images and there[split]['digest'] != now[split]['digest']:
      images.append(f'{split}: the same images in another order')
  return Differences(names, images)


def placeholder(there: dict) -> Dataset:
  """A data set of the recorded shape and classes without an image: enough to build the networks."""
  empty = Split({'image': np.zeros((0, *there['image_shape']), np.uint8), 'label': np.zeros(0, np.int32)})
  vocabulary = tuple(there.get('vocabulary', ()))  # runs of older versions have recorded none
  return Dataset(there['name'], empty, empty, tuple(there['class_names']), vocabulary=vocabulary)
