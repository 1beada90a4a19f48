"""genaug: learning from few images with augmentation inside the training step, GANs and VAEs."""

import importlib
import importlib.metadata
from types import ModuleType

try:
  __version__ = importlib.metadata.version('genaug')
except importlib.metadata.PackageNotFoundError:  # a checkout that isn't installed
  __version__ = '0+unknown'


def __getattr__(name: str) -> ModuleType:
  """Imports `genaug.augment` on first use, so that `import genaug` alone loads no JAX."""
  if name != 'augment':
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return importlib.import_module('genaug.augment')
