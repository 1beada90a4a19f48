"""Features for the FID: InceptionV3 as in TensorFlow's graph of 2015-12-05, with weights that the user provides.

The architecture is that of pytorch-fid's port, which publishes the weights as pt_inception-2015-12-05-6726825d.pth.
Convert them once, where PyTorch is installed, and set `eval.inception_weights` to the file:

  weights = torch.load('pt_inception-2015-12-05-6726825d.pth', weights_only=True)
  numpy.savez('inception.npz', **{name: value.numpy() for name, value in weights.items()})

Protocol: images in [0, 255], grey repeated to RGB, bilinear to 299x299 without antialiasing, then to [-1, 1]; the mean
over positions of the last block: 2,048 values per image.
"""

import functools
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax
from jaxtyping import Array, Float, PyTree

from genaug.errors import InputError
from genaug.models import imagenet

LABEL = 'inception-v3 pool3'
_NAMES = {  # (collection, leaf) of Flax -> name of PyTorch
  ('params', 'kernel'): 'weight',
  ('params', 'scale'): 'weight',
  ('params', 'bias'): 'bias',
  ('batch_stats', 'mean'): 'running_mean',
  ('batch_stats', 'var'): 'running_var',
}

# A layer is (name, channels, kernel[, stride]). A branch is a chain of layers, pools and tuples of parallel layers.
_DOUBLE_3X3 = ('branch3x3dbl_1', 64, (1, 1)), ('branch3x3dbl_2', 96, (3, 3))


def _a(pooled: int) -> tuple:
  return (
    (('branch1x1', 64, (1, 1)),),
    (('branch5x5_1', 48, (1, 1)), ('branch5x5_2', 64, (5, 5))),
    (*_DOUBLE_3X3, ('branch3x3dbl_3', 96, (3, 3))),
    ('average', ('branch_pool', pooled, (1, 1))),
  )


_B = ((('branch3x3', 384, (3, 3), 2),), (*_DOUBLE_3X3, ('branch3x3dbl_3', 96, (3, 3), 2)), ('halve',))


def _c(width: int) -> tuple:
  double = [('branch7x7dbl_1', width, (1, 1))]
  double += [(f'branch7x7dbl_{i}', width, (1, 7) if i % 2 else (7, 1)) for i in (2, 3, 4)]
  return (
    (('branch1x1', 192, (1, 1)),),
    (('branch7x7_1', width, (1, 1)), ('branch7x7_2', width, (1, 7)), ('branch7x7_3', 192, (7, 1))),
    (*double, ('branch7x7dbl_5', 192, (1, 7))),
    ('average', ('branch_pool', 192, (1, 1))),
  )


_D = (
  (('branch3x3_1', 192, (1, 1)), ('branch3x3_2', 320, (3, 3), 2)),
  (
    ('branch7x7x3_1', 192, (1, 1)),
    ('branch7x7x3_2', 192, (1, 7)),
    ('branch7x7x3_3', 192, (7, 1)),
    ('branch7x7x3_4', 192, (3, 3), 2),
  ),
  ('halve',),
)


def _e(pool: str) -> tuple:
  fork = lambda name: ((f'{name}a', 384, (1, 3)), (f'{name}b', 384, (3, 1)))
  return (
    (('branch1x1', 320, (1, 1)),),
    (('branch3x3_1', 384, (1, 1)), fork('branch3x3_2')),
    (('branch3x3dbl_1', 448, (1, 1)), ('branch3x3dbl_2', 384, (3, 3)), fork('branch3x3dbl_3')),
    (pool, ('branch_pool', 192, (1, 1))),
  )


_BLOCKS = {
  'Mixed_5b': _a(32),
  'Mixed_5c': _a(64),
  'Mixed_5d': _a(64),
  'Mixed_6a': _B,
  'Mixed_6b': _c(128),
  'Mixed_6c': _c(160),
  'Mixed_6d': _c(160),
  'Mixed_6e': _c(192),
  'Mixed_7a': _D,
  'Mixed_7b': _e('average'),
  'Mixed_7c': _e('max'),  # an oversight of the original graph, on which FIDs depend
}
POOLS = {
  'average': lambda x: nn.avg_pool(x, (3, 3), (1, 1), 'SAME', count_include_pad=False),
  'max': lambda x: nn.max_pool(x, (3, 3), (1, 1), 'SAME'),
  'halve': lambda x: nn.max_pool(x, (3, 3), (2, 2)),
}


class _Conv(nn.Module):
  features: int
  kernel: tuple[int, int]
  stride: int = 1
  padding: str = 'SAME'

  @nn.compact
  def __call__(self, x):
    sizes = self.features, self.kernel, self.stride, self.padding
    x = nn.Conv(*sizes, use_bias=False, precision=lax.Precision.HIGHEST, name='conv')(x)
    return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name='bn')(x))


class _Mixed(nn.Module):
  branches: tuple

  @nn.compact
  def __call__(self, x):
    def layer(x, name, features, kernel, stride=1):
      return _Conv(features, kernel, stride, 'SAME' if stride == 1 else 'VALID', name=name)(x)

    def apply(x, step):
      if isinstance(step, str):
        return POOLS[step](x)
      side_by_side = step if isinstance(step[0], tuple) else (step,)
      return jnp.concatenate([layer(x, *one) for one in side_by_side], -1)

    return jnp.concatenate([functools.reduce(apply, branch, x) for branch in self.branches], -1)


class InceptionV3(nn.Module):
  """InceptionV3 (Szegedy et al. 2016, arXiv:1512.00567): images [n, 299, 299, 3] in [-1, 1] -> features [n, 2048]."""

  @nn.compact
  def __call__(self, x: Float[Array, 'n 299 299 3']) -> Float[Array, 'n 2048']:
    x = _Conv(32, (3, 3), 2, 'VALID', name='Conv2d_1a_3x3')(x)
    x = _Conv(32, (3, 3), 1, 'VALID', name='Conv2d_2a_3x3')(x)
    x = POOLS['halve'](_Conv(64, (3, 3), name='Conv2d_2b_3x3')(x))
    x = _Conv(80, (1, 1), name='Conv2d_3b_1x1')(x)
    x = POOLS['halve'](_Conv(192, (3, 3), 1, 'VALID', name='Conv2d_4a_3x3')(x))
    for name, branches in _BLOCKS.items():
      x = _Mixed(branches, name=name)(x)
    return x.mean((1, 2))


@functools.cache
def _shapes() -> dict[tuple[str, ...], jax.ShapeDtypeStruct]:
  return flatten_dict(jax.eval_shape(InceptionV3().init, jax.random.key(0), jnp.zeros((1, 299, 299, 3))))


def read(path: pathlib.Path) -> PyTree:
  """Reads the variables of InceptionV3 from arrays with PyTorch's names; others, such as fc.weight, are ignored.

  Raises InputError if the file is missing or does not hold these arrays.
  """
  remedy = 'convert the weights as genaug/metrics/inception.py says'
  variables = {}
  try:
    with np.load(path) as arrays:  # refuses pickled objects
      for (collection, *place, leaf), expected in _shapes().items():
        name = '.'.join((*place, _NAMES[collection, leaf]))
        value = arrays[name].astype(np.float32)
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        if value.shape != expected.shape:
          raise ValueError(f'{name} is of shape {arrays[name].shape}')
        variables[collection, *place, leaf] = value
  except (OSError, KeyError, ValueError, EOFError) as error:
    raise InputError('eval.inception_weights', str(path), f'not InceptionV3 ({error})', remedy) from error
  return unflatten_dict(variables)


@functools.cache
def extractor(path: str) -> Callable[[np.ndarray], Float[Array, 'b 2048']]:
  """Returns the function from uint8 images to features, with the weights of that file. Raises InputError as `read`."""
  variables = read(pathlib.Path(path))

  @jax.jit
  def features(variables, images):
    x = imagenet.rgb(images.astype(jnp.float32))
    x = jax.image.resize(x, (len(x), 299, 299, 3), 'bilinear', antialias=False)
    return InceptionV3().apply(variables, x / 127.5 - 1)

  return lambda images: features(variables, images)
