"""Every network that a config can name as `model.network`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from genaug.models import ImageShape, Spec
from genaug.models.classifiers import CNN, ResNet
from genaug.models.dcgan import Discriminator, Generator
from genaug.models.layers import stages
from genaug.models.vae import Decoder, Encoder


class Network(NamedTuple):
  """Modules that are trained together, by their role in a task."""

  roles: tuple[str, ...]
  build: Callable[[ConfigDict, Spec, str | None], Mapping[str, nn.Module]]  # of the config, for batch norm over an axis
  check: Callable[[ImageShape], None] = lambda shape: None  # raises ValueError for images that it can't take


def _shared(config: ConfigDict, spec: Spec) -> dict:
  return {'spec': spec, 'dtype': jnp.dtype(config.dtype)}


def _dcgan(config, spec, axis_name):
  shared = _shared(config, spec) | {'width': config.model.width, 'axis_name': axis_name}
  return {'generator': Generator(**shared), 'discriminator': Discriminator(**shared)}


def _conv_vae(config, spec, axis_name):
  del axis_name  # no batch norm
  shared = _shared(config, spec) | {'width': config.model.width}
  return {
    'encoder': Encoder(**shared, z_dim=config.model.z_dim),
    'decoder': Decoder(**shared, has_scale=config.vae.likelihood != 'bernoulli'),
  }


def _cnn(config, spec, axis_name):
  return {'classifier': CNN(**_shared(config, spec), width=config.model.width, axis_name=axis_name)}


def _resnet(**settings):
  return lambda config, spec, axis_name: {
    'classifier': ResNet(**_shared(config, spec), axis_name=axis_name, **settings)
  }


def _square(shape: ImageShape) -> None:
  height, width, _ = shape
  if height != width:
    raise ValueError(f'images of {height} x {width} pixels: must be square')
  stages(height)


def _halved(shape: ImageShape) -> None:
  for side in shape[:2]:
    stages(side)


NETWORKS = {
  'dcgan': Network(('generator', 'discriminator'), _dcgan, _square),
  'conv_vae': Network(('encoder', 'decoder'), _conv_vae, _square),
  'cnn': Network(('classifier',), _cnn, _halved),
  'resnet20': Network(('classifier',), _resnet(blocks=3)),
  'wrn16_4': Network(('classifier',), _resnet(blocks=2, widen=4, pre_activation=True)),
}
