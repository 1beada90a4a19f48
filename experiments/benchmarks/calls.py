"""How the files of the libraries write down their counterpart of an operation of genaug."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

WHOLE = (  # features of the class with which a library composes operations
  'another draw for every image of a batch', 'replay of a draw', 'gradients to the image',
  'on the accelerator, inside the training step',
)  # fmt: skip


class Named(NamedTuple):
  """The name of what a user of a library calls, and make(that, side of the image), which configures it."""

  name: str  # relative to the library's module, or full
  make: Callable


def call(name: str, *arguments, **keywords) -> Named:
  """Returns the entry of a class with these arguments; those that are functions are called with the image's side."""

  def make(constructor, n):
    at = lambda value: value(n) if callable(value) else value
    return constructor(*map(at, arguments), **{key: at(value) for key, value in keywords.items()})

  return Named(name, make)


def resolve(name: str):
  """Returns what a dotted name refers to: modules as far as they go, then attributes. Raises AttributeError."""
  module, _, rest = name.partition('.')
  resolved = importlib.import_module(module)
  for part in filter(None, rest.split('.')):
    module += f'.{part}'
    if not hasattr(resolved, part):
      try:
        importlib.import_module(module)
      except ImportError:
        raise AttributeError(f'{name}: no {part}') from None
    resolved = getattr(resolved, part)
  return resolved
