"""Reads samples of other programs, and the images to compare them with, from an .npz file for the metrics."""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.metrics import EvalContext

_SETS = ('samples', 'train', 'test')
_REMEDY = 'save samples, train and test with numpy.savez: all uint8 images [n, h, w, 1 or 3], or all features [n, d]'
_LABELS = 'save integer arrays [n] as samples_label, train_label and test_label, all three of them or none'


def read(path: pathlib.Path, settings: ConfigDict) -> EvalContext:
  """Reads an .npz file of arrays `samples`, `train` and `test`: uint8 images, or features of your own.

  With integer arrays `samples_label`, `train_label` and `test_label`, they are also compared within classes. `settings`
  is `config.eval`; in the result `samples` is the number in the file, and `features` is 'given' if the file has
  features. Raises InputError if the file is missing or its arrays don't fit.
  """
  try:
    with np.load(path) as file:  # refuses pickled objects
      arrays = dict(file)
  except (OSError, ValueError, EOFError) as error:
    raise InputError('arrays', str(path), f'is not a readable .npz file ({error})', _REMEDY) from error
  for name in _SETS:
    array, first = arrays.get(name), arrays.get('samples')
    if array is None or array.ndim not in (2, 4) or array.shape[1:] != first.shape[1:] or len(array) < 2:
      found = 'missing' if array is None else f'of shape {array.shape}'
      raise InputError('arrays', str(path), f'{name} is {found}', _REMEDY)
    if array.ndim == 4 and (array.dtype != np.uint8 or array.shape[-1] not in (1, 3)):
      raise InputError('arrays', str(path), f'{name} is {array.dtype}, of shape {array.shape}', _REMEDY)
  settings = settings.copy_and_resolve_references()
  settings.samples = len(arrays['samples'])
  if arrays['samples'].ndim == 2:
    settings.features = 'given'
  labels = {f'{name}_label': len(arrays[name]) for name in _SETS}
  labelled = bool(labels.keys() & arrays.keys())
  for name, count in labels.items() if labelled else ():
    label = arrays.get(name)
    if label is None or label.shape != (count,) or not np.issubdtype(label.dtype, np.integer):
      found = 'missing' if label is None else f'{label.dtype}, of shape {label.shape}'
      raise InputError('arrays', str(path), f'{name} is {found}', _LABELS)
  real = {
    name: {'image': arrays[name], **({'label': arrays[f'{name}_label']} if labelled else {})}
    for name in ('train', 'test')
  }
  return EvalContext(
    settings=settings,
    outputs=dict,
    train_images=dict,
    train_outputs=dict,
    on_demand=lambda name: {},
    train_on_demand=lambda name: {},
    samplers=('samples',),
    samples=lambda name: arrays[name],
    samples_from_test=lambda name: arrays[name],
    labels=arrays['samples_label'] if labelled else None,
    **real,
    split='test',
    paired_test=True,
    class_names=(),
    cache={},
    generated={},
  )
