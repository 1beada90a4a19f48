"""Random examples: a right result, or an error that names the entry; nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genaug.augment import Pipeline

SIDE = 8
PIPELINES = [
  Pipeline({'rotate': {}, 'brightness': {}, 'cutout': {}}),
  Pipeline({'hflip': {}, 'mixup': {}}, border='edge'),
  Pipeline({'translate': {}, 'cutmix': {}}),
]
DTYPES = ('uint8', 'float32', 'float16', 'float64', 'int32', 'int64', 'int16', 'uint16', 'bool', 'complex64')
SHAPES = {
  'image': [
    (SIDE, SIDE, 3),
    (SIDE, SIDE, 1),
    (SIDE, SIDE),
    (3, SIDE, SIDE),
    (0, SIDE, 3),
    (SIDE, SIDE, 0),
    (SIDE,),
    (),
  ],
  'mask': [(SIDE, SIDE, 1), (SIDE, SIDE), (2 * SIDE, SIDE, 1), (SIDE, SIDE, 3), (SIDE, SIDE, 1, 1), ()],
  'boxes': [(2, 4), (0, 4), (2, 5), (4,), (2, 2, 2)],
  'keypoints': [(3, 2), (0, 2), (3, 3), (2,), ()],
  'label': [(), (4,), (2, 2), (0,)],
  'depth': [(SIDE, SIDE), (SIDE, SIDE, 1)],
}
NAMES = (*SHAPES, 'keys', 'example', 'channels')


def _value(rng, name):
  """Mostly well-formed; an array of NumPy or JAX, a list, or a scalar."""
  shapes = SHAPES[name]
  shape = shapes[0] if rng.random() < 0.6 else shapes[rng.integers(len(shapes))]
  usual = {'image': ('uint8', 'float32'), 'mask': ('int32', 'uint8')}.get(name, ('float32',))
  dtype = usual[rng.integers(len(usual))] if rng.random() < 0.7 else DTYPES[rng.integers(len(DTYPES))]
  values = rng.integers(0, 2, shape).astype(dtype)
  if values.dtype.kind == 'f' and values.size and rng.random() < 0.1:
    values.reshape(-1)[0] = np.nan
  return [values, lambda: jnp.asarray(values), values.tolist()][0 if (way := rng.random()) < 0.6 else 1 + (way > 0.8)]


def _example(rng, batch):
  names = [name for name in SHAPES if rng.random() < (0.9 if name == 'image' else 0.35)]
  values = {name: _value(rng, name) for name in names}
  values = {name: value() if callable(value) else value for name, value in values.items()}
  if batch:
    sizes = {name: batch if rng.random() < 0.9 else batch + 1 for name in names}
    values = {name: np.stack([np.asarray(value)] * sizes[name]) for name, value in values.items()}
  return values


def _augmented(pipeline, keys, example, computed):
  """What comes out, and what is said where that is an error. Tracing sees every check."""
  try:
    return (pipeline(keys, example) if computed else jax.eval_shape(pipeline, keys, example)), ''
  except ValueError as error:
    return None, str(error)


@pytest.mark.parametrize('count', [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_random_examples_are_augmented_or_refused_by_name(count):
  refused = 0
  for seed in range(count):
    rng = np.random.default_rng(seed)
    batch = (0, 4, 8)[rng.integers(3)]
    pipeline, example = PIPELINES[seed % len(PIPELINES)], _example(rng, batch)
    key = jax.random.key(seed)
    out, problem = _augmented(pipeline, jax.random.split(key, batch) if batch else key, example, seed % 20 == 0)
    if problem:
      refused += 1
      assert any(name in problem for name in NAMES), (seed, problem)
      continue
    for name in example.keys() & {'image', 'mask'}:
      given = jnp.asarray(example[name]).dtype
      bytes_become_floats = name == 'image' and given == jnp.uint8
      assert out[name].dtype == (jnp.float32 if bytes_become_floats else given), (seed, name)
      assert out[name].shape == np.shape(example[name]), (seed, name)
  assert 0.2 < refused / count < 0.95
