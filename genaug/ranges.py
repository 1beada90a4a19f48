"""Allowed values of config keys: one declaration gives the check, the error message and the remedy."""

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from genaug.errors import InputError

ABOVE_ZERO = 5e-324  # the smallest positive float


class Number(NamedTuple):
  """A finite number in [low, high]. With `schedule` also a pair of them: the values at the first and the last step."""

  low: float = 0
  high: float = math.inf
  schedule: bool = False
  optional: bool = False  # None is allowed and means the value of another key

  def problem(self, value: object) -> tuple[str, str] | None:
    if self.low == ABOVE_ZERO:
      allowed = 'above 0' + f', up to {self.high}' * math.isfinite(self.high)
    else:
      allowed = f'from {self.low} to {self.high}' if math.isfinite(self.high) else f'of at least {self.low}'
    remedy = f'a number {allowed}' + ', or a pair of such numbers, for the first and the last step' * self.schedule
    values = value if self.schedule and isinstance(value, tuple | list) and len(value) == 2 else (value,)
    if self.optional and value is None:
      return None
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
      return 'not a number', remedy
    return (
      None if all(self.low <= one <= self.high and math.isfinite(one) for one in values) else ('out of range', remedy)
    )


class Choice(NamedTuple):
  """One of the given names."""

  names: Collection[str]

  def problem(self, value: object) -> tuple[str, str] | None:
    return None if value in self.names else ('no such choice', f'one of {", ".join(self.names)}')


class Subset(NamedTuple):
  """A tuple of any of the given names."""

  names: Collection[str]

  def problem(self, value: object) -> tuple[str, str] | None:
    unknown = [name for name in value if name not in self.names]
    return (f'{unknown[0]!r} is not a choice', f'a tuple of any of {", ".join(self.names)}') if unknown else None


Range = Number | Choice | Subset
"""`problem(value)` returns None for an allowed value, otherwise (what is wrong, remedy)."""


def get(config: ConfigDict, key: str) -> object:
  """Returns the value of a dotted key. Raises InputError if the config is of another version that lacks the key."""
  for part in key.split('.'):
    if part not in config:
      remedy = 'train again, or use the code that wrote it (git_commit in environment.json)'
      raise InputError(key, None, 'missing: this config is of another version of genaug', remedy)
    config = config[part]
  return config


def check(config: ConfigDict, ranges: Mapping[str, Range]) -> None:
  """Raises InputError for the first key whose value is out of its range."""
  for key, allowed in ranges.items():
    if mistake := allowed.problem(value := get(config, key)):
      raise InputError(key, value, *mistake)


def check_trained(config: ConfigDict, needed: Mapping[str, Collection[object]], problem: str) -> None:
  """Raises InputError, with `problem`, for the first key of a trained run whose value the program does not support."""
  for key, values in needed.items():
    if (value := get(config, key)) not in values:
      raise InputError(key, value, problem, f'train one with {key} = {" or ".join(map(str, values))}')
