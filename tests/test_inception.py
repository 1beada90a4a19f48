"""InceptionV3 against torchvision's, changed as the graph of the FID differs from it, and against published counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from genaug.errors import InputError
from genaug.metrics import inception, registry
from genaug.training import checks
from tests.conftest import noise, tiny_config


@pytest.fixture(scope='module')
def shapes():
  variables = jax.eval_shape(inception.InceptionV3().init, jax.random.key(0), jnp.zeros((1, 299, 299, 3)))
  return {path: leaf.shape for path, leaf in flatten_dict(variables).items()}


@pytest.fixture(scope='module')
def arrays(shapes):
  """Random weights by their PyTorch names, scaled so that activations neither grow nor vanish."""
  rng = np.random.default_rng(0)
  found = {'fc.weight': np.zeros((1008, 2048), np.float32)}
  for (_, *place, leaf), shape in shapes.items():
    name = {'kernel': 'weight', 'scale': 'weight', 'mean': 'running_mean', 'var': 'running_var'}.get(leaf, leaf)
    if leaf == 'kernel':
      kernel = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:3]))
      found['.'.join((*place, name))] = np.float32(kernel.transpose(3, 2, 0, 1))
    else:
      low, high = (0.5, 1.5) if leaf in ('scale', 'var') else (-0.1, 0.1)
      found['.'.join((*place, name))] = np.float32(rng.uniform(low, high, shape))
  return found


@pytest.fixture(scope='module')
def path(arrays, tmp_path_factory):
  file = tmp_path_factory.mktemp('inception') / 'inception.npz'
  np.savez(file, **arrays)
  return file


def test_it_has_the_published_parameters(shapes):
  """Keras' InceptionV3 without its head has 21,802,784: kernels, and three vectors a batch norm instead of four."""
  size = lambda leaves: sum(int(np.prod(shape)) for path, shape in shapes.items() if path[-1] in leaves)
  assert size(('kernel', 'bias', 'mean', 'var')) == 21_802_784
  assert sum(path[-1] == 'kernel' for path in shapes) == 94


@pytest.mark.slow
def test_features_are_those_of_torch(arrays, path, monkeypatch):
  torch = pytest.importorskip('torch')
  peer = pytest.importorskip('torchvision.models.inception')
  functional, average = torch.nn.functional, torch.nn.functional.avg_pool2d

  def pool(x, kernel_size, stride, padding):
    """The graph averages over what is in the image, and its last block, the only one that sees 2,048, takes maxima."""
    if x.shape[1] == 2048:
      return functional.max_pool2d(x, kernel_size, stride, padding)
    return average(x, kernel_size, stride, padding, count_include_pad=False)

  monkeypatch.setattr(functional, 'avg_pool2d', pool)
  net = peer.Inception3(num_classes=1008, aux_logits=False, init_weights=False).eval()
  net.fc = torch.nn.Identity()
  net.load_state_dict({k: torch.tensor(v) for k, v in arrays.items() if k != 'fc.weight'}, strict=False)
  images = noise(2, 40, 40, 3)
  with torch.no_grad():
    x = torch.tensor(images).permute(0, 3, 1, 2).float() / 255
    x = functional.interpolate(x, (299, 299), mode='bilinear', align_corners=False)
    expected = net(2 * x - 1).numpy()
  found = np.asarray(inception.extractor(str(path))(images))
  assert found.shape == (2, 2048)
  np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
  assert np.abs(expected).mean() > 0.1


def test_the_average_leaves_out_what_is_beyond_the_image():
  x = np.random.default_rng(0).normal(size=(1, 4, 5, 2)).astype(np.float32)
  expected = [[x[0, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean((0, 1)) for j in range(5)] for i in range(4)]
  np.testing.assert_allclose(inception.POOLS['average'](x)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
  ('network', 'name'), [(inception.LABEL, 'FID'), ('alexnet relu5', 'FD'), ('my.module:f', 'FD')]
)
def test_only_its_distance_is_called_fid(network, name):
  sizes = {f'eval/{n}': 5000 for n in ('samples', 'reference_samples', 'baseline_samples')}
  figures = {f'eval/{n}{end}': 1.0 for n in ('fd', 'kid') for end in ('', '_baseline')}
  labels = {'eval/network': network, 'eval/reference_split': 'test', 'eval/features': 2048}
  text = registry.describe({**sizes, **figures, **labels})
  assert text.startswith(f'{name} 1.00, KID 1.0000 [5,000 samples v 5,000 of test, {network}; real-vs-real baseline')


def test_a_file_of_other_weights_is_refused(arrays, tmp_path):
  config = tiny_config('gan', eval__metrics=('distances',), eval__features='inception')
  wrong = {
    'missing.npz': None,
    'pickled.npz': {'x': np.array([{}], object)},
    'other.npz': {'Conv2d_1a_3x3.conv.weight': np.zeros((32, 3, 5, 5))},
    'less.npz': dict(list(arrays.items())[:50]),
  }
  for name, content in wrong.items():
    if content:
      np.savez(tmp_path / name, **content)
    config.eval.inception_weights = str(tmp_path / name)
    with pytest.raises(InputError, match=r'(?s)not InceptionV3.*metrics/inception.py'):
      checks.check_config(config)
