"""PyTorch's side of `experiments.bench step` computes what ours does. Skipped where PyTorch is not installed."""

import importlib

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from experiments.benchmarks import layers, steps
from genaug.losses.likelihood import kl_to_standard_normal
from genaug.models import Spec
from genaug.models.registry import NETWORKS
from genaug.tasks.vae import standardised_posterior

torch = pytest.importorskip('torch')
torch_steps = importlib.import_module('experiments.benchmarks.torch_steps')
torch_networks, torch_translators = (
  importlib.import_module(f'experiments.benchmarks.torch_{name}') for name in ('networks', 'translators')
)
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
  assert run.report == steps.genaug_step(network).report


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

  peer = IN_PYTORCH[network, role]()
  _copy(params, peer)
  arrays = [_channels_first(value) for value in inputs if value is not True and value.size]
  found = peer(*(arrays if role == 'denoiser' else arrays[:1])).detach()
  found = found.permute(0, 2, 3, 1) if found.ndim == 4 else found[:, 0]
  np.testing.assert_allclose(found.numpy(), out, atol=1e-5 * np.abs(out).max())


@pytest.mark.parametrize('layer', layers.LAYERS.values(), ids=layers.LAYERS)
def test_single_convolutions_take_the_same_shapes_there(layer):
  layers.in_pytorch(layer._replace(batch=1), threads=1)(1)


@pytest.mark.parametrize(
  ('network', 'role', 'peer'),
  [
    ('edsr', 'upscaler', torch_translators.Upscaler),
    ('unet_translator', 'translator', torch_translators.UNetTranslator),
    ('unet_translator', 'discriminator', torch_translators.patch_discriminator),
    ('stylizer', 'stylizer', torch_translators.Stylizer),
  ],
)
def test_with_the_same_parameters_images_become_the_same(network, role, peer):
  config, spec = steps._config(network), Spec(steps.NETWORKS[network][1], 0)
  module = NETWORKS[config.model.network].build(config, spec, None)[role]
  side, rng = spec.image_shape[0], np.random.default_rng(0)
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  images = normal(2, side, side, 6 if role == 'discriminator' else 3)
  inputs = (images, np.zeros(2, np.int32)) if role == 'stylizer' else (images,)
  flat = flatten_dict(module.init(jax.random.key(0), *inputs)['params'])
  params = {path: 0.1 * normal(*value.shape) for path, value in flat.items()}
  peer = peer()
  _copy({path: _by_channel(value) for path, value in params.items()}, peer)
  out, found = module.apply({'params': unflatten_dict(params)}, *inputs), peer(_channels_first(images)).detach()
  out, found = np.asarray(out).reshape(2, *out.shape[1:3], -1), found.permute(0, 2, 3, 1).numpy()
  if role == 'upscaler':  # beyond the frame its cubic interpolation sees nothing, ours the pixels at the edge
    out, found = (x[:, 4:-4, 4:-4] for x in (out, found))
  np.testing.assert_allclose(found, out, atol=2e-5 * np.abs(out).max())


@pytest.mark.parametrize('network', ['conv_vae', 'resnet_vae', 'ladder_vae'])
def test_with_the_same_parameters_autoencoders_give_the_same(network):
  config = importlib.import_module('configs.vae_mnist5k').get_config()
  config.update_from_flattened_dict(steps.NETWORKS[network][2])
  modules, rng = NETWORKS[network].build(config, Spec((28, 28, 1), 0), None), np.random.default_rng(0)
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  images, label = rng.random((4, 28, 28, 1), np.float32), np.arange(4)
  noise = tuple(normal(4, *shape) for shape in modules['decoder'].latent_shapes)
  blocks = int(network != 'conv_vae')
  decoder = torch_networks.LadderDecoder() if network == 'ladder_vae' else torch_networks.VaeDecoder(blocks)
  peers = {'encoder': torch_networks.VaeEncoder(blocks), 'decoder': decoder}

  def random_params(role, *inputs):
    flat = flatten_dict(modules[role].init(jax.random.key(0), *inputs)['params'])
    params = {path: 0.05 * normal(*value.shape) for path, value in flat.items()}
    _copy(params, peers[role])
    return {'params': unflatten_dict(params)}

  encoded = modules['encoder'].apply(random_params('encoder', images, label), images, label)
  outputs, _, levels = modules['decoder'].apply(random_params('decoder', noise, label, encoded), noise, label, encoded)
  kl = kl_to_standard_normal(*standardised_posterior(levels)).sum(-1)
  logits, peer_kl = peers['decoder'](list(map(_channels_first, noise)), peers['encoder'](_channels_first(images)))
  np.testing.assert_allclose(logits.detach().permute(0, 2, 3, 1).numpy(), outputs, atol=1e-5 * np.abs(outputs).max())
  np.testing.assert_allclose(peer_kl.detach().numpy(), kl, rtol=1e-4)


def _by_channel(value: np.ndarray) -> np.ndarray:
  """The 12 channels of 2 x 2 pixels in PyTorch's order: ours has a pixel's colours side by side."""
  for axis in (axis for axis, size in enumerate(value.shape) if size == 12):
    value = value.take(np.arange(12).reshape(4, 3).T.ravel(), axis)
  return value


def _channels_first(value: np.ndarray) -> 'torch.Tensor':
  tensor = torch.from_numpy(value)
  return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def _copy(params: dict, peer: 'torch.nn.Module') -> None:
  left = dict(params)
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
