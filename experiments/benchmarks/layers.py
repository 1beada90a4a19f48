"""Table layers of experiments.bench: single convolutions of the networks here, against XLA's own and PyTorch's."""

import statistics
from collections.abc import Callable
from typing import NamedTuple

from experiments.benchmarks.processes import Program, alternate, ratios, worker
from experiments.benchmarks.steps import import_torch_module


class Layer(NamedTuple):
  op: str  # conv1x1 | conv3x3 | conv_down | conv_up
  batch: int
  side: int  # side of the input in pixels
  in_features: int
  out_features: int
  groups: int = 1


LAYERS = {
  'dcgan, down 1': Layer('conv_down', 64, 28, 1, 64),
  'dcgan, down 2': Layer('conv_down', 64, 14, 64, 128),
  'dcgan, up 1': Layer('conv_up', 64, 7, 128, 64),
  'r3, pointwise': Layer('conv1x1', 64, 14, 32, 64),
  'r3, high': Layer('conv3x3', 64, 14, 64, 64, groups=4),
  'r3, low': Layer('conv3x3', 64, 7, 128, 128, groups=8),
  'unet, high': Layer('conv3x3', 64, 14, 32, 32),
  'unet, high, with skip': Layer('conv3x3', 64, 14, 64, 32),
  'unet, low': Layer('conv3x3', 64, 7, 64, 64),
  'unet, low, with skip': Layer('conv3x3', 64, 7, 128, 64),
  'resnet, high': Layer('conv3x3', 64, 32, 64, 64),
  'resnet, middle': Layer('conv3x3', 64, 16, 128, 128),
  'resnet, low': Layer('conv3x3', 64, 8, 256, 256),
  'edsr': Layer('conv3x3', 16, 24, 32, 32),
  'edsr, first': Layer('conv3x3', 16, 24, 3, 32),
}


def shapes(layer: Layer) -> tuple[tuple, tuple, tuple]:
  """Returns the shapes of images, kernel (height, width, in, out) and result, channels last."""
  kernel_size = {'conv1x1': 1, 'conv3x3': 3}.get(layer.op, 4)
  side = {'conv_down': layer.side // 2, 'conv_up': layer.side * 2}.get(layer.op, layer.side)
  kernel = (kernel_size, kernel_size, layer.in_features // layer.groups, layer.out_features)
  return (layer.batch, layer.side, layer.side, layer.in_features), kernel, (layer.batch, side, side, layer.out_features)


def convolution(layer: Layer, native: bool = False) -> Callable:
  """Returns the function (images, kernel) -> result of genaug.models or, if `native`, of XLA."""
  from genaug.models import layers

  if layer.op == 'conv1x1':
    return lambda images, kernel: images @ kernel[0, 0]
  return getattr(layers, f'_{layer.op}_native' if native else layer.op)


def in_jax(layer: Layer, native: bool = False) -> Callable[[int], None]:
  """Returns run(times), which computes the convolution and its gradients by images and kernel."""
  import jax
  import jax.numpy as jnp

  images, kernel, cotangent = (jnp.full(shape, 0.01) for shape in shapes(layer))

  @jax.jit
  def with_gradients(images, kernel, cotangent):
    result, backwards = jax.vjp(convolution(layer, native), images, kernel)
    return result, backwards(cotangent)

  def run(times: int) -> None:
    for _ in range(times):
      jax.block_until_ready(with_gradients(images, kernel, cotangent))

  return run


def in_pytorch(layer: Layer, threads: int) -> Callable[[int], None]:
  """Returns the same in eager PyTorch, with channels last in memory, which is fastest on CPU."""
  import torch
  from torch.nn import functional as F

  torch.set_num_threads(threads)
  images, kernel, cotangent = (torch.full(shape, 0.01) for shape in shapes(layer))
  images, cotangent = images.permute(0, 3, 1, 2).requires_grad_(), cotangent.permute(0, 3, 1, 2)
  order = (2, 3, 0, 1) if layer.op == 'conv_up' else (3, 2, 0, 1)
  kernel = kernel.permute(order).contiguous(memory_format=torch.channels_last).requires_grad_()
  convolve = F.conv_transpose2d if layer.op == 'conv_up' else F.conv2d
  settings = {'padding': int(layer.op != 'conv1x1'), 'groups': layer.groups}
  settings |= {'stride': 2} if layer.op in ('conv_down', 'conv_up') else {}

  def run(times: int) -> None:
    for _ in range(times):
      torch.autograd.grad(convolve(images, kernel, **settings), (images, kernel), cotangent)

  return run


def table(threads: int, rounds: int, steps: int) -> dict:
  """Measures milliseconds of every layer, and genaug's time divided by those of XLA and PyTorch."""
  from genaug.training import workdir

  torch = import_torch_module('layers', 'torch_networks').torch
  workers, blocks, takes = [worker(), worker()], {}, {}
  for name, layer in LAYERS.items():
    programs = {
      'genaug': Program(workers[:1], 'genaug', in_jax, layer),
      'XLA': Program(workers[:1], 'XLA', in_jax, layer, native=True),
      'torch eager': Program(workers[1:], 'torch eager', in_pytorch, layer, threads),
    }
    blocks[name] = alternate(programs, rounds, steps)
    takes[name] = ratios(blocks[name], 'genaug', of_reference=True)
    medians = (
      f'{who} {statistics.median(times):.2f} ms ({takes[name][who]:.2f})' for who, times in blocks[name].items()
    )
    print(f'{name}: {", ".join(medians)}; in brackets the time of genaug divided by it, median over rounds', flush=True)
  for process in workers:
    process.shutdown()
  return {
    'what': 'a convolution with the gradients of its images and of its kernel, float32, milliseconds',
    'excluded': 'compilation, warm-up',
    'threads': threads,
    'environment': workdir.environment() | {'torch': torch.__version__},
    'layers': {name: layer._asdict() for name, layer in LAYERS.items()},
    'milliseconds': blocks,
    'genaug_takes': takes,
  }
