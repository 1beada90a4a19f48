"""How the files of the libraries write down what stands for an operation of ours."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

WHOLE = (  # features of a library's way to put operations together
  'another draw for every image of a batch', 'replay of a draw', 'gradients to the image',
  'on the accelerator, inside the training step',
)  # fmt: skip


class Named(NamedTuple):
  """What a user of a library calls, and `make(that, side of the image)`, which configures it."""

  name: str  # below the library's module, or whole
  make: Callable


def call(name: str, *arguments, **keywords) -> Named:
  """A class made with these arguments; those that are functions are of the side of the image."""

  def make(found, n):
    at = lambda value: value(n) if callable(value) else value
    return found(*map(at, arguments), **{key: at(value) for key, value in keywords.items()})

  return Named(name, make)


def resolve(name: str):
  """What a dotted name leads to: modules as far as they go, attributes from there on. Raises AttributeError."""
  module, _, rest = name.partition('.')
  found = importlib.import_module(module)
  for part in filter(None, rest.split('.')):
    module += f'.{part}'
    if not hasattr(found, part):
      try:
        importlib.import_module(module)
      except ImportError:
        raise AttributeError(f'{name}: no {part}') from None
    found = getattr(found, part)
  return found
