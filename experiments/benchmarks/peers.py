"""The libraries of the throughput table, and how they are called.

A library's file has MODULE, PACKAGE and OPS[operation], of which `make` makes, for a side n of the image: of
albumentations, OpenCV and Pillow a function or transform of one image, of kornia and torchvision one of a batch, of
augmax and dm_pix a function (key, image), for jit(vmap(...)). In the operations of MIXING a function of one
image gets another one of the batch as well, and ours the whole batch with its labels. Ranges are the same for everyone
as far as a peer's parameters allow; every operation is applied to every image.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable

from experiments.benchmarks import albumentations, augmax, dm_pix, kornia, opencv, ours, pillow, torchvision
from experiments.benchmarks.calls import Named, resolve
from experiments.benchmarks.ours import MIXING

LIBRARIES = {
  'genaug': ours,
  'albumentations': albumentations,
  'opencv': opencv,
  'pillow': pillow,
  'kornia': kornia,
  'augmax': augmax,
  'dm_pix': dm_pix,
  'torchvision': torchvision,
}
PER_IMAGE = ('albumentations', 'opencv', 'pillow')
PLAIN = ('opencv', 'pillow')  # no augmentation libraries, but what such are made of
TORCH = ('kornia', 'torchvision')
OPS = tuple(ours.OPS)


def having(op: str) -> list[str]:
  """The libraries that have an operation, ours first."""
  return [name for name, library in LIBRARIES.items() if op in library.OPS]


def full_name(library: str, name: str) -> str:
  """'Rotate' of albumentations is albumentations.Rotate, and so on."""
  module = LIBRARIES[library].MODULE
  return name if name.startswith(module.partition('.')[0] + '.') else f'{module}.{name}'


def make(library: str, op: str, n: int) -> Callable:
  if library == 'genaug':
    return ours.make(op, n)
  module, entry = LIBRARIES[library], LIBRARIES[library].OPS[op]
  if isinstance(entry, Named):
    return entry.make(resolve(full_name(library, entry.name)), n)
  for part in getattr(module, 'PARTS', ()):
    importlib.import_module(f'{module.MODULE}.{part}')
  return functools.partial(entry, importlib.import_module(module.MODULE))


def programs(op: str) -> list[tuple[str, str]]:
  """(library, dtype) of everything that is measured: float32 where it is taken, and uint8 where both are.

  Ours is measured in uint8 where a peer takes nothing else.
  """
  libraries = having(op)
  bytes_only = op not in MIXING and not all(takes_float(library, op) for library in libraries)
  both = (*PER_IMAGE, *['genaug'] * bytes_only)
  return [
    (library, dtype)
    for library in libraries
    for dtype in ('float32', 'uint8')
    if (takes_float(library, op) if dtype == 'float32' else library in both)
  ]


def takes_float(library: str, op: str) -> bool:
  return library != 'pillow' and op not in getattr(LIBRARIES[library], 'FROM_BYTES', ())


def marks(library: str, op: str) -> list[str]:
  """What a reader has to know of a figure."""
  one_draw = op in getattr(LIBRARIES[library], 'ONE_DRAW', ())
  return ['uint8'] * (not takes_float(library, op)) + ['one draw for the whole batch'] * one_draw


def version(library: str) -> str | None:
  """Of the package that brings the library; None where it is not installed."""
  module = LIBRARIES[library].MODULE.partition('.')[0]
  return importlib.metadata.version(LIBRARIES[library].PACKAGE) if importlib.util.find_spec(module) else None
