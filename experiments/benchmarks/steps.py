"""Tables of experiments.bench about whole steps: step, in-step, dispatch and roofline."""

import os
import pathlib
import statistics
import time
from collections.abc import Callable

from experiments.benchmarks import torch_dcgan
from experiments.benchmarks.processes import Program, compare, ratios, worker
from genaug.errors import InputError

CLASSIC = {'hflip.p': 0.5, 'rotate.p': 1.0, 'translate.p': 1.0, 'zoom.p': 1.0}
AUGMENTATIONS = {
  'none': {},
  'classic (flip, rotate, shift, zoom)': {f'augment.{key}': value for key, value in CLASSIC.items()},
  'RandAugment': {'augment.rand_augment.p': 1.0},
  'DiffAugment': {'gan.d_augment': 'diff_augment'},
  'ADA, p = 0.5': {'gan.d_augment': 'ada', 'gan.ada_p': 0.5},
}


def _program(make: Callable, *arguments, tuned: bool = True, **settings) -> Program:
  return Program([worker(tuned)], 'step', make, *arguments, **settings)


def ours(data_dir: pathlib.Path, **settings) -> Callable[[int], None]:
  """run(steps) of the step that experiments.train runs, with its batches, random draws and weight average."""
  import jax

  from configs import gan_mnist5k
  from genaug.training import loop
  from genaug.training.experiment import prepare

  config = gan_mnist5k.get_config()
  config.eval.metrics = ()  # nor are its weights needed
  config.update_from_flattened_dict(settings)
  experiment = prepare(config, data_dir)._replace(steps_per_call=1)
  step, state = loop.make_step(experiment), experiment.init()
  device_data, batch = loop.make_batches(experiment)

  def run(steps: int) -> None:
    nonlocal state
    for i in range(steps):
      state, _ = step(state, device_data, batch(i))
    jax.block_until_ready(state)

  return run


def step(data_dir: pathlib.Path, threads: int | None, rounds: int, steps: int) -> dict:
  try:
    import torch
  except ImportError:
    raise InputError('bench', 'step', 'the peer PyTorch is not installed', 'pip install torch') from None
  threads = threads or os.cpu_count()
  programs = {
    'genaug': _program(ours, data_dir),
    'torch eager': _program(torch_dcgan.make, threads, tuned=False),
    'torch eager, allocator tuned': _program(torch_dcgan.make, threads),
  }
  blocks = compare(programs, rounds, steps)
  takes = ratios(blocks, 'genaug', of_reference=True)
  for name, times in blocks.items():
    spread = f'{statistics.median(times):.1f} ms a step ({min(times):.1f} to {max(times):.1f})'
    print(f'{name}: median {spread}; genaug takes {takes[name]:.2f} of it, median block by block')
  result = _result('DCGAN step, 28x28x1, 64/128 channels, batch 64, float32, milliseconds a step', blocks, steps)
  result['environment']['torch'] = torch.__version__
  return result | {'threads': threads, 'genaug_takes': takes}


def in_step(data_dir: pathlib.Path, threads: int | None, rounds: int, steps: int) -> dict:
  programs = {name: _program(ours, data_dir, **settings) for name, settings in AUGMENTATIONS.items()}
  blocks = compare(programs, rounds, steps)
  takes = ratios(blocks, 'none')
  for name, times in blocks.items():
    print(f'{name}: median {statistics.median(times):.1f} ms a step; {takes[name]:.3f} of the step without')
  what = 'DCGAN step of configs/gan_mnist5k.py (28x28x1, batch 64) with augmentation inside, milliseconds a step'
  return _result(what, blocks, steps) | {'settings': AUGMENTATIONS, 'takes': takes}


def _result(what: str, blocks: dict, steps: int) -> dict:
  from genaug.training import workdir

  return {
    'what': what,
    'excluded': 'compilation, warm-up',
    'steps_per_block': steps,
    'environment': workdir.environment(),
    'milliseconds': blocks,
  }


def policy(dense: bool, side: int, count: int, name: str) -> Callable[[int], None]:
  """run(batches) of a policy, with an operation computed for the images that drew it, or for all: `dense`."""
  import jax
  import jax.numpy as jnp

  from genaug import augment as operations
  from genaug.augment import conditional

  if dense:
    conditional.in_groups = conditional.everywhere
  images = jnp.linspace(0, 1, count * side * side * 3).reshape(count, side, side, 3)
  policy = jax.jit(lambda key: jax.vmap(getattr(operations, name))(jax.random.split(key, count), images))

  def run(steps: int) -> None:
    for i in range(steps):
      jax.block_until_ready(policy(jax.random.key(i)))

  return run


def dispatch(data_dir: pathlib.Path, threads: int | None, rounds: int, steps: int) -> dict:
  tables = {}
  for name in ('rand_augment', 'trivial_augment_wide'):
    for side, count in ((32, 256), (224, 32)):
      ways = {way: _program(policy, way == 'everywhere', side, count, name) for way in ('in groups', 'everywhere')}
      tables[f'{name} {count}x{side}x{side}x3'] = blocks = compare(ways, rounds, steps)
      print(name, side, {way: round(statistics.median(times), 1) for way, times in blocks.items()})
  what = 'a policy, milliseconds a batch: every operation for the images that drew it, in groups, or for all images'
  return _result(what, tables, steps)


def roofline(data_dir: pathlib.Path, threads: int | None, rounds: int, steps: int) -> dict:
  import jax
  import jax.numpy as jnp

  from configs import base
  from genaug.augment import Pipeline
  from genaug.training import workdir

  config = base.get_config().augment
  for name in ('gamma', 'color_jitter', 'hflip', 'rotate', 'translate', 'zoom', 'cutout'):
    config[name].p = 1.0
  images = jnp.linspace(0, 1, 256 * 128 * 128 * 3).reshape(256, 128, 128, 3)
  keys = jax.random.split(jax.random.key(0), 256)
  programs = {
    'copy': jax.jit(lambda keys, images: images + 1),
    'fused chain': jax.jit(lambda keys, images: Pipeline.from_config(config)(keys, {'image': images})['image']),
  }
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  for i in range(rounds + 1):
    for name, program in programs.items():
      start = time.perf_counter()
      jax.block_until_ready(program(keys, images))
      seconds[name] += [time.perf_counter() - start] if i else []
  rate = {name: 2 * images.nbytes / statistics.median(times) / 1e9 for name, times in seconds.items()}
  share = rate['fused chain'] / rate['copy']
  print(', '.join(f'{name} {gb:.1f} GB/s' for name, gb in rate.items()) + f': {share:.2f} of what a copy reaches')
  return {
    'what': '256x128x128x3 float32 read and written once, GB/s: a copy, and a fused chain of gamma, colour jitter, '
    'flip, rotation, shift, zoom and cutout',
    'environment': workdir.environment(),
    'gb_per_s': rate,
    'share': share,
    'seconds': seconds,
  }
