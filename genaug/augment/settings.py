"""Reads and checks operations, their parameters and choices between them, as users write them in Python and configs."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from genaug.augment.checks import unknown
from genaug.augment.choice import Choice, Group
from genaug.augment.registry import Op

Settings = Mapping[str, Any]  # p and parameters of one operation

CHOICES = {'one_of': '(p, (name, ...))', 'some_of': '(p, n, (name, ...))'}


def read_operations(
  operations: Mapping[str, Settings | Choice], ops: Mapping[str, Op]
) -> tuple[dict[str, dict[str, Any]], list[Group]]:
  """Returns p and parameters of all operations, members of choices included, and the choices.

  Raises ValueError for invalid ones.
  """
  found, groups, label_of = {}, [], {}
  for label, given in operations.items():
    is_choice = isinstance(given, Choice)
    members = given.operations if is_choice else {label: given}
    if not hasattr(members, 'keys'):
      raise ValueError(f'{label}: operations {members!r}: must be a dict from names of operations to their parameters')
    for name, settings in members.items():
      if name in label_of:
        raise ValueError(f'{label}: {name} is in {label_of[name]!r} as well: must be in only one of them')
      label_of[name] = label
      try:
        found[name] = _settings(name, settings, ops)
      except ValueError as error:
        if not is_choice:
          raise
        raise ValueError(f'{label}: {error}') from None
    if is_choice:
      groups.append(_group(label, given, ops))
      for name in members:
        found[name]['p'] = given.p  # a member is off if the choice is
  return found, groups


def read_config(
  config: Mapping[str, Any], ops: Mapping[str, Op], options: Iterable[str]
) -> tuple[dict[str, Settings | Choice], dict[str, Any]]:
  """Splits a config (see `Pipeline.from_config`) into the operations for `read_operations` and the options.

  Raises ValueError for unknown keys and malformed choices.
  """
  for key in config:
    if key not in (*ops, *options, *CHOICES):
      raise unknown('operation', key, (*ops, *options, *CHOICES))
  operations = {name: config[name] for name in config if name in ops}
  taken = set()
  for key in CHOICES:
    entries = config.get(key, ())
    if not isinstance(entries, (tuple, list)):
      raise ValueError(f'{key} = {entries!r}: must be ({CHOICES[key]}, ...)')
    for i, entry in enumerate(entries):
      label = f'{key} = {entries!r}: entry {i}'
      try:
        p, *n, names = entry
        if len(n) != (key == 'some_of') or isinstance(names, str):
          raise TypeError
      except (TypeError, ValueError):
        raise ValueError(f'{label}: must be {CHOICES[key]}') from None
      for name in names:
        if name in taken:
          raise ValueError(f'{label}: {name} is there twice: must be in only one choice, and once')
        taken.add(name)
      operations[label] = Choice(*n or (1,), {name: operations.pop(name, {}) for name in names}, p)
  return operations, {option: config[option] for option in options if option in config}


def _settings(name: str, given: Settings, ops: Mapping[str, Op]) -> dict[str, Any]:
  """Returns the checked p and parameters of an operation, in the order of its signature."""
  if name not in ops:
    raise unknown('operation', name, ops)
  if not hasattr(given, 'keys'):
    raise ValueError(f'{name} = {given!r}: must be a dict of p and parameters')
  given, sample_params = {'p': 1.0} | dict(given), ops[name].sample_params
  names = ('p', *list(inspect.signature(sample_params).parameters)[2:])
  for parameter in given:
    if parameter not in names:
      raise ValueError(f'{name}: {unknown("parameter", parameter, names)}')
  values = {key: _constant(f'{name}.{key}', given[key]) for key in names if key in given}
  check_fraction(f'{name}.p', values['p'])
  if check := getattr(sample_params, 'check', None):
    try:  # even while the operation is off, so that turning it on holds no surprise
      check(None, None, **{key: value for key, value in values.items() if key != 'p'})
    except ValueError as error:
      raise ValueError(f'{name} = {dict(sorted(values.items()))}: {error}') from None
  return values


def _constant(label: str, value: Any) -> Any:
  """Converts a value to a number, string or tuple of these. Raises ValueError for a traced one."""
  if isinstance(value, jax.core.Tracer):
    raise ValueError(f'{label} is traced: must be a constant; pass traced values as params of Pipeline.apply')
  if isinstance(value, (np.ndarray, np.generic, jax.Array)):
    value = value.tolist()
  return tuple(_constant(label, entry) for entry in value) if isinstance(value, (list, tuple)) else value


def check_fraction(label: str, value: Any, remark: str = '') -> None:
  """Raises ValueError unless the value is a number in [0, 1]."""
  if isinstance(value, (bool, str)) or not np.isscalar(value) or not 0 <= value <= 1:
    raise ValueError(f'{label} = {value!r}: must lie in [0, 1]{remark}')


def _group(label: str, choice: Choice, ops: Mapping[str, Op]) -> Group:
  names = tuple(name for name in ops if name in choice.operations)
  check_fraction(f'{label}: p', choice.p)
  if not isinstance(choice.n, int) or not 1 <= choice.n <= len(names):
    raise ValueError(
      f'{label}: n = {choice.n!r}: must be a whole number in [1, {len(names)}], the number of its operations'
    )
  # In a config all operations have a p; that of a member is 0 unless a weight was set.
  weights = tuple(float(dict(choice.operations[name]).get('p', 0)) for name in names)
  if any(weights) and not all(weights):
    raise ValueError(f'{label}: p of {", ".join(names)} = {weights}: must be above 0 for all (weights), or for none')
  return Group(choice.n, float(choice.p), names, weights if any(weights) else (1.0,) * len(names))
