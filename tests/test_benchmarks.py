"""PyTorch's side of `experiments.bench step` computes what ours does. Skipped where PyTorch is not installed."""

import importlib

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from experiments.benchmarks import steps
from genaug.models import Spec
from genaug.models.registry import NETWORKS

torch = pytest.importorskip('torch')
torch_steps = importlib.import_module('experiments.benchmarks.torch_steps')
torch_networks = importlib.import_module('experiments.benchmarks.torch_networks')
IN_PYTORCH = {
  ('dcgan', 'generator'): torch_networks.dcgan_generator,
  ('dcgan', 'discriminator'): torch_networks.dcgan_discriminator,
  ('r3', 'generator'): torch_networks.R3Generator,
  ('r3', 'discriminator'): torch_networks.R3Discriminator,
  ('resnet', 'generator'): torch_networks.resnet_generator,
  ('resnet', 'discriminator'): torch_networks.ResnetDiscriminator,
  ('unet', 'denoiser'): torch_networks.UNet,
}
pytestmark = pytest.mark.filterwarnings('ignore')  # PyTorch has its own


@pytest.mark.parametrize('network', steps.NETWORKS)
def test_parameters_are_as_many_and_losses_finite(network):
  run = getattr(torch_steps, f'make_{network}')(threads=1, compiled=False)
  losses = run(2)
  assert all(loss.isfinite() for loss in losses)
  assert run.report == steps.ours(network).report


def _as_in_pytorch(value: np.ndarray, name: str, transposed: bool) -> np.ndarray:
  """A parameter of Flax with the axes of PyTorch's."""
  if name == 'basis':
    return value.transpose(2, 0, 1)
  if name != 'kernel':
    return value
  if value.ndim == 2:
    return value.T
  return value[::-1, ::-1].transpose(2, 3, 0, 1) if transposed else value.transpose(3, 2, 0, 1)


@pytest.mark.parametrize(('network', 'role'), IN_PYTORCH)
def test_with_the_same_parameters_networks_give_the_same(network, role):
  config_name, shape, settings = steps.NETWORKS[network]
  config = importlib.import_module(f'configs.{config_name}').get_config()
  config.update_from_flattened_dict(settings)
  spec, rng = Spec(shape, 10 * config.model.conditional), np.random.default_rng(0)
  module = NETWORKS[config.model.network].build(config, spec, None)[role]
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  images, label = normal(4, *shape), np.arange(4)
  inputs = {
    'generator': lambda: (normal(4, config.model.z_dim), label, True),
    'discriminator': lambda: (images, label),
    'denoiser': lambda: (images, rng.random(4, np.float32), label, np.zeros((4, 0), np.float32)),
  }[role]()
  variables = module.init(jax.random.key(0), *inputs)
  params = {path: 0.1 * normal(*value.shape) for path, value in flatten_dict(variables['params']).items()}
  out = module.apply(variables | {'params': unflatten_dict(params)}, *inputs, mutable='batch_stats')[0]

  peer, left = IN_PYTORCH[network, role](), dict(params)
  for layer in list(peer.modules()):
    if torch.nn.utils.parametrize.is_parametrized(layer):  # spectral norm, ours is a function of the parameters
      torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight', leave_parametrized=False)
  for layer in peer.modules():
    for parameter in layer.parameters(recurse=False):  # of those of its kind, in the order of use
      for path, value in left.items():
        value = _as_in_pytorch(value, path[-1], isinstance(layer, torch.nn.ConvTranspose2d))
        bias = parameter is getattr(layer, 'bias', None)
        if (path[-1] == 'bias') == bias and value.size == parameter.numel():
          break
      parameter.data = torch.from_numpy(value.copy()).reshape(parameter.shape)
      del left[path]
  assert not left
  arrays = [torch.from_numpy(value) for value in inputs if value is not True and value.size]
  arrays = [value.permute(0, 3, 1, 2) if value.ndim == 4 else value for value in arrays]
  found = peer(*(arrays if role == 'denoiser' else arrays[:1])).detach()
  found = found.permute(0, 2, 3, 1) if found.ndim == 4 else found[:, 0]
  np.testing.assert_allclose(found.numpy(), out, atol=1e-5 * np.abs(out).max())
