"""The house: arrows point down, one file maps over devices, every file fits in one reading."""

import ast
import pathlib

import pytest

from genaug.metrics.registry import METRICS
from genaug.tasks.registry import TASKS

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = {  # room of genaug -> the rooms it may use
  'errors': set(),
  'ranges': {'errors'},
  'augment': set(),
  'losses': set(),
  'models': {'losses', 'errors'},
  'data': {'errors'},
  'metrics': {'models', 'errors'},
  'tasks': {'models', 'losses', 'augment', 'ranges', 'errors'},
  'training': {'tasks', 'models', 'losses', 'augment', 'data', 'metrics', 'ranges', 'errors'},
  'offline': {'training', 'tasks', 'models', 'losses', 'augment', 'data', 'ranges', 'errors'},
  'study': {'training', 'tasks', 'models', 'data', 'metrics', 'ranges', 'errors'},
}
SOURCES = sorted(path for top in ('genaug', 'experiments', 'configs', 'tests') for path in (ROOT / top).rglob('*.py'))


def _imports(path: pathlib.Path) -> set[str]:
  """Dotted names of all that a file imports, also inside functions."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path}: relative import'
      names |= {f'{node.module}.{alias.name}' for alias in node.names}
  return names


@pytest.mark.parametrize('room', ROOMS)
def test_rooms_use_only_rooms_below(room):
  own = ROOT / 'genaug' / room
  files = sorted(own.rglob('*.py')) if own.is_dir() else [own.with_suffix('.py')]
  assert files
  for path in files:
    for name in _imports(path):
      top, *rest = name.split('.')
      assert top not in ('configs', 'experiments', 'tests'), f'{path} imports {name}'
      assert name != 'absl.flags', f'{path} reads flags'
      if top == 'genaug' and rest and rest[0] != room:
        assert rest[0] in ROOMS[room], f'{path} imports {name}'


def test_every_room_is_listed():
  rooms = {p.stem for p in (ROOT / 'genaug').iterdir() if p.suffix == '.py' or (p / '__init__.py').exists()}
  assert rooms - {'__init__'} == set(ROOMS)


def test_configs_import_only_ml_collections_each_other_and_the_operations():
  for path in (ROOT / 'configs').rglob('*.py'):
    for name in _imports(path):
      assert name == 'genaug.augment' or name.partition('.')[0] in ('configs', 'ml_collections'), (
        f'{path} imports {name}'
      )


def test_only_the_loop_maps_over_devices():
  def names(path):
    """What the file calls things, imports included, so that `from jax import pmap` is found as well."""
    for node in ast.walk(ast.parse(path.read_text())):
      yield from (getattr(node, key, None) for key in ('id', 'attr', 'name'))

  users = [path for path in (ROOT / 'genaug').rglob('*.py') if 'pmap' in names(path)]
  assert users == [ROOT / 'genaug' / 'training' / 'loop.py']


def test_every_file_fits_in_one_reading():
  assert [path for path in SOURCES if len(path.read_text().splitlines()) > 400] == []


def test_no_shared_code_names_a_task_or_a_metric():
  """Loop, logger, checks, dry run, evaluator, study and programs go by the registries; readers of results may name."""
  names, found = {*TASKS, *METRICS}, []
  for path in SOURCES:
    place = path.relative_to(ROOT)
    shared = place.parts[:2] in (('genaug', 'training'), ('genaug', 'study')) or place.parts[0] == 'experiments'
    if not shared or place.parts[:2] == ('experiments', 'report'):
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Constant) and node.value in names:
        found.append(f'{place}:{node.lineno}: {node.value!r}')
  assert not found
