"""Table layers of experiments.bench: convolutions of the networks here, each by itself, against PyTorch's."""

import statistics
from collections.abc import Callable

from experiments.benchmarks.processes import Program, alternate, ratios, worker
from experiments.benchmarks.steps import of_pytorch

LAYERS = {  # network: of each of its layers (kind, images, side of the input, its channels, those of the output)
  'dcgan': (('conv_down', 64, 28, 1, 64), ('conv_down', 64, 14, 64, 128), ('conv_up', 64, 7, 128, 64)),
  'r3': (('conv1x1', 64, 14, 32, 64), ('conv3x3, 4 groups', 64, 14, 64, 64), ('conv3x3, 8 groups', 64, 7, 128, 128)),
  'unet': (('conv3x3', 64, 14, 32, 32), ('conv3x3', 64, 14, 64, 32), ('conv3x3', 64, 7, 64, 64)),
  'resnet': (('conv3x3', 64, 32, 64, 64), ('conv3x3', 64, 16, 128, 128), ('conv3x3', 64, 8, 256, 256)),
  'edsr': (('conv3x3', 16, 24, 32, 32), ('conv3x3', 16, 24, 3, 32)),
}


def shapes(kind: str, batch: int, side: int, before: int, after: int) -> tuple[tuple, tuple, tuple]:
  """Of the images, the kernel (height, width, in, out) and the result, channels last."""
  scale = {'conv_down': 0.5, 'conv_up': 2}.get(kind, 1)
  length = 4 if scale != 1 else 1 if kind == 'conv1x1' else 3
  result = (batch, int(side * scale), int(side * scale), after)
  return (batch, side, side, before), (length, length, before // _groups(kind), after), result


def _groups(kind: str) -> int:
  return int(kind.split()[1]) if kind.endswith('groups') else 1


def layer_of(kind: str) -> Callable:
  from genaug.models import layers

  pointwise = lambda images, kernel: images @ kernel[0, 0]
  return pointwise if kind == 'conv1x1' else getattr(layers, kind.partition(',')[0])


def ours(kind: str, *sizes: int) -> Callable[[int], None]:
  """run(times) of the layer as genaug.models has it, with the gradients of its images and its kernel."""
  import jax
  import jax.numpy as jnp

  layer = layer_of(kind)
  images, kernel, cotangent = (jnp.full(shape, 0.01) for shape in shapes(kind, *sizes))

  @jax.jit
  def with_gradients(images, kernel, cotangent):
    result, backwards = jax.vjp(layer, images, kernel)
    return result, backwards(cotangent)

  def run(times: int) -> None:
    for _ in range(times):
      jax.block_until_ready(with_gradients(images, kernel, cotangent))

  return run


def of_torch(kind: str, *sizes: int, threads: int) -> Callable[[int], None]:
  """The same by PyTorch eager; channels are at the end in memory, as is fastest on CPU."""
  import torch
  from torch.nn import functional as F

  torch.set_num_threads(threads)
  images, kernel, cotangent = (torch.full(shape, 0.01) for shape in shapes(kind, *sizes))
  images, cotangent = (x.permute(0, 3, 1, 2).requires_grad_() for x in (images, cotangent))
  order = (2, 3, 0, 1) if kind == 'conv_up' else (3, 2, 0, 1)
  kernel = kernel.permute(order).contiguous(memory_format=torch.channels_last).requires_grad_()
  layer = F.conv_transpose2d if kind == 'conv_up' else F.conv2d
  settings = {'stride': 2} if kind in ('conv_down', 'conv_up') else {'groups': _groups(kind)}

  def run(times: int) -> None:
    for _ in range(times):
      result = layer(images, kernel, padding=0 if kind == 'conv1x1' else 1, **settings)
      torch.autograd.grad(result, (images, kernel), cotangent.detach())

  return run


def table(threads: int, rounds: int, steps: int) -> dict:
  from genaug.training import workdir

  torch = of_pytorch('layers', 'torch_networks').torch
  workers, blocks = [worker(), worker()], {}
  for network, layers in LAYERS.items():
    for kind, *sizes in layers:
      name = f'{network}: {kind}, {"x".join(map(str, sizes[:2] + sizes[1:3]))} -> {sizes[-1]}'
      programs = {
        'genaug': Program(workers[:1], name, ours, kind, *sizes),
        'torch eager': Program(workers[1:], name, of_torch, kind, *sizes, threads=threads),
      }
      blocks[name] = alternate(programs, rounds, steps)
      takes = ratios(blocks[name], 'genaug', of_reference=True)['torch eager']
      times = ', '.join(f'{who} {statistics.median(times):.2f} ms' for who, times in blocks[name].items())
      print(f'{name}: {times}; genaug takes {takes:.2f} of it, median block by block', flush=True)
  for process in workers:
    process.shutdown()
  return {
    'what': 'a convolution with the gradients of its images and of its kernel, float32, milliseconds',
    'excluded': 'compilation, warm-up',
    'threads': threads,
    'environment': workdir.environment() | {'torch': torch.__version__},
    'milliseconds': blocks,
  }
