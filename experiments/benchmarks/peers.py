"""The libraries of the throughput table, and how their operations are called.

The file of a library defines MODULE, PACKAGE and OPS. From OPS[operation], `make` builds what is called for images of
side n: for albumentations, OpenCV and Pillow a function or transform of one image; for kornia and torchvision one of a
batch; for augmax and dm_pix a function (key, image), for jit(vmap(...)). For the operations in MIXING, a function of
one image also gets another image of the batch, and genaug's gets the whole batch with its labels. Ranges of parameters
are the same for all libraries as far as a peer allows; every operation is applied to every image.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable

from experiments.benchmarks import albumentations, augmax, dm_pix, genaug_ops, kornia, opencv, pillow, torchvision
from experiments.benchmarks.calls import Named, resolve
from experiments.benchmarks.genaug_ops import MIXING

LIBRARIES = {
  'genaug': genaug_ops,
  'albumentations': albumentations,
  'opencv': opencv,
  'pillow': pillow,
  'kornia': kornia,
  'augmax': augmax,
  'dm_pix': dm_pix,
  'torchvision': torchvision,
}
PER_IMAGE = ('albumentations', 'opencv', 'pillow')
PLAIN = ('opencv', 'pillow')  # not augmentation libraries, but what these are built on
TORCH = ('kornia', 'torchvision')
OPS = tuple(genaug_ops.OPS)


def libraries_with(op: str) -> list[str]:
  """Returns the libraries that have an operation, genaug first."""
  return [name for name, library in LIBRARIES.items() if op in library.OPS]


def full_name(library: str, name: str) -> str:
  """Returns the full dotted name: albumentations.Rotate for 'Rotate' of albumentations."""
  module = LIBRARIES[library].MODULE
  return name if name.startswith(module.partition('.')[0] + '.') else f'{module}.{name}'


def make(library: str, op: str, n: int) -> Callable:
  """Returns the callable of a library's operation for images of side n, as the module's docstring describes it."""
  if library == 'genaug':
    return genaug_ops.make(op, n)
  module, entry = LIBRARIES[library], LIBRARIES[library].OPS[op]
  if isinstance(entry, Named):
    return entry.make(resolve(full_name(library, entry.name)), n)
  for part in getattr(module, 'PARTS', ()):
    importlib.import_module(f'{module.MODULE}.{part}')
  return functools.partial(entry, importlib.import_module(module.MODULE))


def programs(op: str) -> list[tuple[str, str]]:
  """Returns (library, dtype) of all programs that are measured.

  That is float32 if the library takes it, and for libraries of single images also uint8. genaug is measured in uint8,
  too, if a peer takes nothing else.
  """
  libraries = libraries_with(op)
  bytes_only = op not in MIXING and not all(takes_float(library, op) for library in libraries)
  both = (*PER_IMAGE, *['genaug'] * bytes_only)
  return [
    (library, dtype)
    for library in libraries
    for dtype in ('float32', 'uint8')
    if (takes_float(library, op) if dtype == 'float32' else library in both)
  ]


def takes_float(library: str, op: str) -> bool:
  """Whether the library computes the operation in float32."""
  return library != 'pillow' and op not in getattr(LIBRARIES[library], 'FROM_BYTES', ())


def marks(library: str, op: str) -> list[str]:
  """Returns remarks on the figures of a library: uint8 only, or one draw for the whole batch."""
  one_draw = op in getattr(LIBRARIES[library], 'ONE_DRAW', ())
  return ['uint8'] * (not takes_float(library, op)) + ['one draw for the whole batch'] * one_draw


def version(library: str) -> str | None:
  """Returns the version of the library's package, None if it is not installed."""
  module = LIBRARIES[library].MODULE.partition('.')[0]
  return importlib.metadata.version(LIBRARIES[library].PACKAGE) if importlib.util.find_spec(module) else None
