"""Finished stages on disk, each under the hash of all it depends on, so that a second run does only what changed."""

import ast
import functools
import hashlib
import importlib.metadata
import json
import pathlib
from typing import Any

import flax.serialization
import jax
import numpy as np
from jaxtyping import PyTree

import genaug
from genaug.training import workdir

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
_ROOMS = ('augment', 'data', 'losses.py', 'models', 'tasks', 'training', 'evaluation')  # what a stage may compute with


class Store:
  """Stages as msgpack files (arrays and numbers, no code), beside each a JSON file that says what it depends on."""

  def __init__(self, directory: pathlib.Path):
    self._directory = directory

  def key(self, kind: str, **depends: Any) -> str:
    """Name of the stage of that kind that depends on code, packages, backend and `depends`; other keys among them."""
    everything = {'kind': kind, 'depends': depends, **_surroundings()}
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:24]
    key = f'{kind}-{digest}'
    if not (self._directory / f'{key}.json').exists():
      workdir.write_json(self._directory / f'{key}.json', everything)
    return key

  def __contains__(self, key: str) -> bool:
    return self._path(key).exists()

  def read(self, key: str, template: PyTree | None = None) -> Any:
    """What was written under that key, in the structure of the template, if one is given."""
    content = self._path(key).read_bytes()
    return flax.serialization.from_bytes(template, content) if template else flax.serialization.msgpack_restore(content)

  def write(self, key: str, tree: PyTree) -> None:
    """Whole or not at all."""
    partial = self._path(key).with_suffix('.partial')
    partial.write_bytes(flax.serialization.to_bytes(jax.device_get(tree)))
    partial.replace(self._path(key))

  def _path(self, key: str) -> pathlib.Path:
    return self._directory / f'{key}.msgpack'


def fingerprint(arrays: dict[str, np.ndarray]) -> str:
  """Of contents, dtypes and shapes."""
  digest = hashlib.sha256()
  for name, array in sorted(arrays.items()):
    digest.update(f'{name} {array.dtype} {array.shape} '.encode() + np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()[:24]


@functools.cache
def _surroundings() -> dict[str, Any]:
  root, code = pathlib.Path(genaug.__file__).parent, hashlib.sha256()
  for room in _ROOMS:
    for path in sorted((root / room).rglob('*.py') if (root / room).is_dir() else [root / room]):
      code.update(f'{path.relative_to(root)} {_meaning(path)}'.encode())
  return {
    'code': code.hexdigest()[:24],
    'packages': {name: importlib.metadata.version(name) for name in _PACKAGES},
    'devices': [jax.default_backend(), jax.device_count()],
  }


def _meaning(path: pathlib.Path) -> str:
  """A module without comments and docstrings."""
  tree = ast.parse(path.read_text())
  for node in ast.walk(tree):
    body = getattr(node, 'body', None)
    if isinstance(body, list):
      node.body = [line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
  return ast.dump(tree)
