"""What all programs share: common flags, error messages and exit codes.

Exit codes: 0: done, or stopped cleanly. 1: failed while running. 2: the input is wrong, nothing was computed.
130: interrupted.
"""

import difflib
import errno
import os
import pathlib
import re
import runpy
import sys
from collections.abc import Callable, Collection
from typing import NamedTuple

from absl import app, flags, logging
from ml_collections import config_flags

from genaug.errors import DivergedError, InputError
from genaug.training.allocator import keep_freed_memory

_FILES = {'.png', '.jpg', '.jpeg', '.tif', '.tiff', '.gif', '.bmp', '.webp', '.npy', '.npz', '.bits', '.json'}
_PATH_ERRNOS = {errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.ENOSPC, errno.EDQUOT}  # reported without a traceback
# Programs whose configs are not training runs: a top-level key of these configs, and the config file.
_STUDIES = {'compare': ('tables', 'configs/comparisons.py'), 'reproduce': ('rows', 'configs/headline.py')}


def define_config() -> flags.FlagHolder:
  return config_flags.DEFINE_config_file(
    'config',
    None,
    'Config file of the experiment. Flags override any key of configs/base.py: --config.optim.lr=1e-4',
    lock_config=True,
  )


def define_data_dir() -> flags.FlagHolder:
  return flags.DEFINE_string('data_dir', '.data', 'Directory of the prepared data sets.')


class Trained(NamedTuple):
  """Where a trained run is: the first arguments of `training.experiment.load_trained`."""

  workdir: pathlib.Path
  data_dir: pathlib.Path
  checkpoint: str


def define_trained() -> Callable[[], Trained]:
  """Defines --workdir, --data_dir and --checkpoint. Returns a function that reads them once flags are parsed."""
  workdir = flags.DEFINE_string('workdir', None, 'Directory of the run, as experiments.train wrote it.', required=True)
  data_dir = define_data_dir()
  checkpoint = flags.DEFINE_string(
    'checkpoint',
    'latest',
    'latest, a step number, or best: the one with the best score on the test split (data.test_split).',
  )
  return lambda: Trained(pathlib.Path(workdir.value), pathlib.Path(data_dir.value), checkpoint.value)


def new_directory(output: str) -> pathlib.Path:
  """Returns the path. Raises InputError unless it is a new or empty directory, not named as a file, and writable."""
  path = pathlib.Path(output)
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    problem = 'exists and is not an empty directory'
    raise InputError('output', str(path), problem, 'name a new --output, or remove it')
  if path.suffix.lower() in _FILES and not path.exists():
    raise InputError('output', str(path), 'names a file', f'name a folder, such as --output={path.with_suffix("")}')
  check_writable(path)
  return path


def check_writable(path: pathlib.Path) -> None:
  """Raises InputError if no file or folder can be created at this path."""
  place = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
  if not place.is_dir() or not os.access(place, os.W_OK):
    problem = f'{place} is {"read-only" if place.is_dir() else "not a folder"}'
    raise InputError('output', str(path), problem, 'name another --output')


def config_name() -> str:
  """Returns the name of --config: gan_mnist5k for configs/gan_mnist5k.py, gan_mnist5k-ada for that file with :ada."""
  file, _, variant = flags.FLAGS['config'].config_filename.partition(':')
  return '-'.join(filter(None, (pathlib.Path(file).stem, variant)))


def run(main: Callable[..., int | None], choices: tuple[str, ...] = (), many: bool = False) -> None:
  """Parses flags, calls `main` and exits; on wrong input with one message on stderr and status 2.

  With `choices` the program takes one of them as a positional argument, with `many` any number of arguments. They are
  passed to `main`.
  """

  def guarded(arguments: list[str]) -> int | None:
    if not flags.FLAGS['verbosity'].present:
      logging.set_verbosity(logging.WARNING)
      logging.get_absl_logger().setLevel('ERROR')  # orbax warns of every checkpoint without a score
    try:
      return main(*arguments[1:])
    except InputError as error:
      return _complain(error)
    except DivergedError as error:
      print(f'error: {error}', file=sys.stderr)
      return 1
    except OSError as error:
      if error.errno not in _PATH_ERRNOS:
        raise
      print(f'error: {error.filename or "a file"}: {error.strerror}', file=sys.stderr)
      return 1
    except KeyboardInterrupt:
      print('interrupted', file=sys.stderr)
      return 130

  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  keep_freed_memory()
  app.run(guarded, flags_parser=lambda argv: _parse(argv, choices, many))


def _complain(error: InputError) -> int:
  print(f'error: {error}', file=sys.stderr)
  return 2


def _parse(argv: list[str], choices: tuple[str, ...], many: bool) -> list[str]:
  """Parses flags with absl; returns the program name and positional arguments.

  Unlike absl, accepts dashes in flag names (--dry-run), expands ~ after `=`, where no shell does, and reports every
  mistake with its remedy.
  """
  argv = [re.sub(r'^--[^=]+', lambda match: '--' + match[0][2:].replace('-', '_'), a) for a in argv]
  argv = [re.sub(r'^(--[^=]+=)(~.*)', lambda match: match[1] + os.path.expanduser(match[2]), a) for a in argv]
  try:
    rest = flags.FLAGS(argv)
    if not many and (len(rest) != 1 + bool(choices) or (choices and rest[1] not in choices)):
      problem = f'expected one of {", ".join(choices)}' if choices else 'not a flag: flags begin with --'
      remedy = f'see python -m experiments.{_program()} --help'
      raise InputError('command line', ' '.join(rest[1:]), problem, remedy)
    if 'config' in flags.FLAGS:
      keys = flags.FLAGS.config.keys()  # a config file that failed to load says so only when touched
      if problem := _config_of_another_program(flags.FLAGS['config'].config_filename, keys):
        raise problem
    return rest
  except BrokenPipeError:
    raise
  except InputError as error:
    sys.exit(_complain(error))
  except Exception as error:  # absl, ConfigDict and a config file, which is a program, may raise anything
    sys.exit(_complain(_explain(error, argv)))


def _config_of_another_program(config: str, keys: Collection[str]) -> InputError | None:
  """Returns the error for a config whose top-level keys show that it is not for this program, or None."""
  remedy = f'one of {", ".join(_configs())}'
  other = next((name for name, (key, _) in _STUDIES.items() if key in keys and name != _program()), None)
  if other:
    return InputError('config', config, f'is for experiments.{other}', remedy)
  needed, _ = _STUDIES.get(_program(), ('task', ''))
  problem = f'holds no {needed}, which experiments.{_program()} needs'
  return None if needed in keys else InputError('config', config, problem, remedy)


def _explain(error: Exception, argv: list[str]) -> InputError:
  """Translates an error into what is wrong with the command line: absl and ConfigDict name neither key nor remedy."""
  given = _pairs(argv)
  if missing := re.search(r'Flag --(\w+) must have a value other than None', str(error)):
    example = f'--config={_configs()[0]}' if missing[1] == 'config' else f'--{missing[1]}=...'
    return InputError(missing[1], None, 'is missing', f'{example}, see python -m experiments.{_program()} --help')
  usage = InputError(
    'command line',
    ' '.join(argv[1:]),
    ' '.join(str(error).split()),
    f'see python -m experiments.{_program()} --help',
  )
  if 'config' not in given:
    return usage
  try:
    keys = _keys_of(given['config'])
  except FileNotFoundError:
    return InputError('config', given['config'], 'no such file', f'one of {", ".join(_configs())}')
  except Exception as broken:  # a config file is a program and may fail in any way
    problem = f'{type(broken).__name__}: {" ".join(str(broken).split())}'
    variant = isinstance(broken, ValueError) and ':' in given['config']
    every = 'mend the config file; configs/base.py lists all keys'
    remedy = 'name one of these variants after the colon' if variant else every
    return InputError('config', given['config'], problem, remedy)
  if problem := _config_of_another_program(given['config'], {key.partition('.')[0] for key in keys}):
    return problem
  for name, value in given.items():
    key = name.removeprefix('config.')
    if key == name:
      continue
    if key not in keys:
      same_name = [k for k in sorted(keys, key=len) if k.rsplit('.', 1)[-1] == key.rsplit('.', 1)[-1]]
      close = same_name or difflib.get_close_matches(key, keys, n=3, cutoff=0.5)
      remedy = f'did you mean --config.{" or --config.".join(close[:3])}?' if close else 'see configs/base.py'
      return InputError(name, value, 'no such config key', remedy)
    if f'{name}=' in str(error):
      kind = type(keys[key]).__name__
      return InputError(name, value, f'not of type {kind}', f'a value of type {kind} such as {keys[key]!r}')
  return usage


def _pairs(argv: list[str]) -> dict[str, str]:
  """Returns {name: value} of arguments --name=value and --name value."""
  pairs = {}
  for argument, following in zip(argv[1:], [*argv[2:], '']):
    if argument.startswith('--'):
      name, separator, value = argument[2:].partition('=')
      pairs[name] = value if separator else following
  return pairs


def _keys_of(config: str) -> dict[str, object]:
  """Returns {key: value} of a config file (FILE or FILE:ARGUMENT). Raises whatever the file raises."""
  from flax.traverse_util import flatten_dict  # pulls in jax, which --help need not wait for

  file, _, argument = config.partition(':')
  get_config = runpy.run_path(file)['get_config']
  return flatten_dict((get_config(argument) if argument else get_config()).to_dict(), sep='.')


def _configs() -> list[str]:
  """Returns the paths of the config files that this program takes."""
  if _program() in _STUDIES:
    return [_STUDIES[_program()][1]]
  others = {'configs/__init__.py', 'configs/base.py', *(config for _, config in _STUDIES.values())}
  return sorted(path for path in map(str, pathlib.Path('configs').glob('*.py')) if path not in others)


def _program() -> str:
  path = pathlib.Path(sys.argv[0])
  return path.parent.name if path.stem == '__main__' else path.stem
