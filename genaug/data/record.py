"""Record of a run's data, kept in its workdir: class names, and number and digest of the images of each."""

import hashlib
from typing import NamedTuple

import numpy as np

from genaug.data.dataset import Dataset, Split

_SHOWN = 6  # differences that a message lists


class Differences(NamedTuple):
  """Differences between a record and the present data, in words. Those in class names change what every label means."""

  names: list[str]
  images: list[str]

  def __str__(self) -> str:
    texts = [*self.names, *self.images]
    more = [f'and {len(texts) - _SHOWN} more'] * (len(texts) > _SHOWN)
    return '; '.join(texts[:_SHOWN] + more)


def describe(dataset: Dataset) -> dict:
  """Returns the record of a data set, for JSON. Digests depend on the order of images, which decides the batches."""
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


def differences(recorded: dict, dataset: Dataset) -> Differences:
  """Returns how the present data differ from a record."""
  now = describe(dataset)
  old, new = recorded['class_names'], now['class_names']
  names = [f'class {name!r} is gone' for name in old if name not in new]
  names += [f'class {name!r} is new' for name in new if name not in old]
  if not names and old != new:
    names.append('its classes are in another order')
  images = []
  if recorded['image_shape'] != now['image_shape']:
    images.append(f'images are {now["image_shape"]}, were {recorded["image_shape"]}')
  for split in ('train', 'test'):
    for name in (name for name in old if name in new):
      before, after = recorded[split]['classes'][name], now[split]['classes'][name]
      if before['images'] != after['images']:
        images.append(f'{split}: class {name!r} has {after["images"]} images, had {before["images"]}')
      elif before != after:
        images.append(f'{split}: class {name!r} has other images, or another order; {after["images"]} as before')
    if not names and not images and recorded[split]['digest'] != now[split]['digest']:
      images.append(f'{split}: the same images in another order')
  return Differences(names, images)


def placeholder(recorded: dict) -> Dataset:
  """Returns a data set of the recorded shape and classes without any image: enough to build the networks."""
  empty = Split({'image': np.zeros((0, *recorded['image_shape']), np.uint8), 'label': np.zeros(0, np.int32)})
  vocabulary = tuple(recorded.get('vocabulary', ()))  # runs of older versions have recorded none
  return Dataset(recorded['name'], empty, empty, tuple(recorded['class_names']), vocabulary=vocabulary)
