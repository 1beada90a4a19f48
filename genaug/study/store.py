"""Finished stages on disk, each under a hash of all it depends on, so that a second run computes only what changed."""

import ast
import functools
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import flax.serialization
import jax
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

import genaug
from genaug.metrics.registry import METRICS
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.tasks.registry import TASKS
from genaug.training import workdir

_REGISTRIES = {'genaug.tasks.registry', 'genaug.models.registry', 'genaug.metrics.registry'}
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')


class Store:
  """Stages as msgpack files (arrays and numbers, no code), each beside a JSON file that says what it depends on."""

  def __init__(self, directory: pathlib.Path):
    self._directory = directory

  def key(self, kind: str, modules: Iterable[str], **depends: Any) -> str:
    """Returns the name of the stage of that kind with these dependencies, and writes its JSON file.

    It depends on packages, backend, `depends`, which may be keys of other stages, and the code of these modules and all
    genaug modules that they import (see `code_of`).
    """
    everything = {'kind': kind, 'depends': depends, 'code': _digest(frozenset(modules)), **_platform()}
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:24]
    key = f'{kind}-{digest}'
    if not (self._directory / f'{key}.json').exists():
      workdir.write_json(self._directory / f'{key}.json', everything)
    return key

  def __contains__(self, key: str) -> bool:
    return self._path(key).exists()

  def read(self, key: str, template: PyTree | None = None) -> Any:
    """Returns what was written under that key, in the structure of the template, if one is given."""
    content = self._path(key).read_bytes()
    return flax.serialization.from_bytes(template, content) if template else flax.serialization.msgpack_restore(content)

  def write(self, key: str, tree: PyTree) -> None:
    """Writes a stage atomically."""
    workdir.write_atomic(self._path(key), flax.serialization.to_bytes(jax.device_get(tree)))

  def _path(self, key: str) -> pathlib.Path:
    return self._directory / f'{key}.msgpack'


def fingerprint(arrays: dict[str, np.ndarray]) -> str:
  """Returns a hash of names, contents, dtypes and shapes."""
  digest = hashlib.sha256()
  for name, array in sorted(arrays.items()):
    digest.update(f'{name} {array.dtype} {array.shape} '.encode() + np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()[:24]


def code_of(config: ConfigDict, spec: Spec) -> set[str]:
  """Returns the modules that a config's training, sampling and scores start from, with task, networks and metrics."""
  entries = [TASKS[config.task].build, *(METRICS[name].compute for name in config.eval.metrics)]
  networks = NETWORKS[config.model.network].build(config, spec, None).values()
  return {
    'genaug.training.fit',
    'genaug.training.evaluator',
    *(entry.__module__ for entry in entries),
    *(type(network).__module__ for network in networks),
  }


@functools.cache
def _platform() -> dict[str, Any]:
  return {
    'packages': {name: importlib.metadata.version(name) for name in _PACKAGES},
    'devices': [jax.default_backend(), jax.device_count()],
  }


@functools.cache
def _digest(modules: frozenset[str]) -> str:
  """Returns a hash of the modules' source and that of all genaug modules they import, without comments and docstrings.

  The registries of tasks, networks and metrics are not followed: only their entries in use matter, so that a new model
  leaves the finished stages of others valid.
  """
  waiting, found = list(modules), {}
  while waiting:
    name = waiting.pop()
    path = _path_of(name)
    if name in found or name in _REGISTRIES or path is None:
      continue
    found[name], imported = _parsed(path.read_text())
    waiting += imported
  content = json.dumps(found, sort_keys=True)
  return hashlib.sha256(content.encode()).hexdigest()[:24]


def _path_of(module: str) -> pathlib.Path | None:
  """Returns the file of a genaug module; None for anything else."""
  package, *rest = module.split('.')
  if package != 'genaug':
    return None
  place = pathlib.Path(genaug.__file__).parent.joinpath(*rest)
  return next((path for path in (place.with_suffix('.py'), place / '__init__.py') if path.is_file()), None)


@functools.cache
def _parsed(source: str) -> tuple[str, list[str]]:
  """Returns the syntax tree of a module without comments and docstrings, as text, and the names that it imports."""
  tree, imported = ast.parse(source), []
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      imported += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      imported += [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]
    body = getattr(node, 'body', None)
    if isinstance(body, list):
      node.body = [line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
  return ast.dump(tree), imported
