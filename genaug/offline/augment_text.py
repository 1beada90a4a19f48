"""Properties of a config's `augment` for preview and augment_folder: its operations and settings, captioned draws."""

import json
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from genaug.augment import OpParams, policies
from genaug.augment.image import Static
from genaug.augment.registry import OPS
from genaug.errors import InputError
from genaug.training import checks

Example = dict[str, Any]  # as in genaug.augment.targets, of NumPy arrays

SMALL = 4  # values of a parameter; more of them would make a caption unreadable and are left out
DEGREES = {'angle', 'degrees', 'shear_x', 'shear_y'}  # parameters with this unit


def turned_on(augment: ConfigDict) -> list[str]:
  """Returns the operations that may happen, in order. Raises InputError for an invalid `augment`."""
  return list(checks.check_augment(augment).operations)


def effective(augment: ConfigDict) -> dict:
  """Returns the part of `augment` that has an effect: without operations that are off and empty choices."""
  on = turned_on(augment)
  differs = lambda name, value: name in on if name in OPS else value or name not in ('one_of', 'some_of')
  return {name: value for name, value in json.loads(augment.to_json()).items() if differs(name, value)}


def loses_annotations(augment: ConfigDict) -> bool:
  """Whether an operation may happen that boxes and keypoints cannot follow."""
  return any(not OPS[name].keeps_annotations for name in turned_on(augment))


def settings(augment: ConfigDict) -> str:
  """Returns all settings that have an effect as text: 'hflip p 0.5 · rotate p 1, degrees 30' and so on."""
  chosen = effective(augment)
  entries = [f'{name} {_named(chosen[name])}'.strip() for name in OPS if name in chosen]
  return ' · '.join([*entries, _named({k: v for k, v in chosen.items() if k not in OPS})]) if entries else ''


def _named(values: dict) -> str:
  ordered = sorted(values.items(), key=lambda item: item[0] != 'p')
  return ', '.join(f'{k} {v:.4g}' if isinstance(v, float) else f'{k} {v}' for k, v in ordered)


def draws(
  augment: ConfigDict, examples: list[Example], seed: int, number: int
) -> Iterator[tuple[int, Example, list[str]]]:
  """Yields (row, example, caption) for `number` draws per row, a row being the index of an example.

  Examples of equal shapes are mixed with each other. Images are uint8 before and after. Raises InputError if the
  augmentation does not suit what comes with an image.
  """
  pipeline = checks.check_augment(augment)
  alike: dict[tuple, list[int]] = {}
  for row, example in enumerate(examples):
    alike.setdefault(tuple((name, value.shape) for name, value in example.items()), []).append(row)
  root = jax.random.key(seed)
  for rows in alike.values():
    batch = {name: np.stack([examples[row][name] for row in rows]) for name in examples[rows[0]]}
    batch['image'] = batch['image'].astype(np.float32) / 255  # mixing takes floats, and labels: here one per row
    batch['label'] = np.eye(len(rows), dtype=np.float32)
    for column in range(number):
      keys = jnp.stack([jax.random.fold_in(jax.random.fold_in(root, row), column) for row in rows])
      try:
        drawn = pipeline.sample(keys, batch)
        changed = pipeline.apply(drawn, batch)
      except ValueError as error:
        value = ', '.join(turned_on(augment))
        raise InputError(
          'config.augment', value, str(error), '--config.augment.OPERATION.p=0 for the operation that does not suit'
        ) from None
      changed = jax.tree.map(np.asarray, changed)
      changed['image'] = np.round(changed['image'] * 255).astype(np.uint8)
      for i, row in enumerate(rows):
        example = {name: values[i] for name, values in changed.items()}
        shares = example.pop('label')
        caption = describe(jax.tree.map(lambda x, i=i: x[i], drawn))
        if shares[i] < 1:
          caption.append(
            'of ' + ' + '.join(f'{share:.2f} row {other + 1}' for other, share in zip(rows, shares) if share >= 0.005)
          )
        yield row, example, caption or ['unchanged']


def describe(draw: dict[str, OpParams]) -> list[str]:
  """Returns a text such as 'rotate 12.3°' for every operation that happens."""
  return [f'{name} {_arguments(name, draw[name].values)}'.strip() for name in OPS if name in draw and draw[name].on]


def _arguments(name: str, arguments: dict) -> str:
  parts = []
  arguments = {key: value for key, value in arguments.items() if not isinstance(value, Static)}
  for key, value in arguments.items():
    if isinstance(value, policies.Layers):
      parts += [_layer(*layer) for layer in zip(np.ravel(value.op), np.ravel(value.parameter))]
    elif jnp.issubdtype(value.dtype, jax.dtypes.prng_key) or value.size > SMALL:
      continue
    elif value.dtype == bool:
      parts += [key] * bool(value.all())
    else:
      degrees = key in DEGREES or name == 'shear'
      text = ', '.join(f'{v:.1f}°' if degrees else _short(v) for v in np.ravel(value))
      parts.append(text if len(arguments) == 1 else f'{key} {text}')
  return ', '.join(part for part in parts if part)


def _layer(op: int, strength: float) -> str:
  name = policies.OPERATIONS[op]
  return '' if name == 'identity' else f'{name} {_short(strength)}' if strength else name


def _short(value: float) -> str:
  return f'{value:.2g}' if abs(value) < 0.1 else f'{value:.4g}' if value == round(value) else f'{value:.2f}'
