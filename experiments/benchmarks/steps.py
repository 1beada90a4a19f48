"""Tables of experiments.bench about whole steps: step, in-step, dispatch and roofline."""

import importlib
import json
import pathlib
import statistics
import time
from collections.abc import Callable
from functools import partial

from experiments.benchmarks.processes import Program, compare, ratios, worker
from genaug.errors import InputError

_STYLE = pathlib.Path(__file__).parents[1] / 'results' / 'gan_mnist5k.png'  # the time does not depend on the image
NETWORKS = {  # name: (file in configs/, image shape, overrides of that config)
  'dcgan': ('gan_mnist5k', (28, 28, 1), {'model.width': 64, 'model.conditional': False}),
  'r3': ('r3_mnist5k', (28, 28, 1), {'model.conditional': False}),
  'unet': ('flow_mnist5k', (28, 28, 1), {}),
  'resnet': (
    'sngan_cifar10',
    (32, 32, 3),
    {'model.width': 64, 'model.conditional': False, 'gan.d_steps': 1, 'augment.hflip.p': 0.0},
  ),
  'conv_vae': ('vae_mnist5k', (28, 28, 1), {}),
  'resnet_vae': ('vae_mnist5k', (28, 28, 1), {'model.network': 'resnet_vae'}),
  'ladder_vae': ('vae_mnist5k', (28, 28, 1), {'model.network': 'ladder_vae'}),
  'edsr': ('superres_own_images', (96, 96, 3), {}),
  'unet_translator': ('translate_emoji64', (64, 64, 3), {}),
  'stylizer': ('style_own_images', (128, 128, 3), {'style.images': (str(_STYLE),)}),
}
_OLDER_EMITTERS = '--xla_cpu_use_fusion_emitters=false'  # faster for residual networks, slower for others
CLASSIC = {'hflip.p': 0.5, 'rotate.p': 1.0, 'translate.p': 1.0, 'zoom.p': 1.0}
AUGMENTATIONS = {
  'none': {},
  'classic (flip, rotate, shift, zoom)': {f'augment.{key}': value for key, value in CLASSIC.items()},
  'RandAugment': {'augment.rand_augment.p': 1.0},
  'DiffAugment': {'gan.d_augment': 'diff_augment'},
  'ADA, p = 0.5': {'gan.d_augment': 'ada', 'gan.ada_p': 0.5},
}


def _program(make: Callable, *arguments, tuned: bool = True, xla_flags: str = '', **settings) -> Program:
  return Program([worker(tuned, xla_flags=xla_flags)], 'step', make, *arguments, **settings)


def _config(network: str, settings: dict | None = None):
  name, _, others = NETWORKS[network]
  config = importlib.import_module(f'configs.{name}').get_config()
  config.update_from_flattened_dict(others | (settings or {}))
  return config


def on_noise(config, shape: tuple[int, int, int]):
  """Returns an experiment with this config on a thousand images of noise, one step per call."""
  import numpy as np

  from genaug.data.dataset import Dataset, Split
  from genaug.tasks.registry import TASKS
  from genaug.training.experiment import assemble

  images = lambda seed: np.random.default_rng(seed).integers(0, 256, (1000, *shape), np.uint8)
  arrays = {'image': images(0), 'label': np.arange(1000, dtype=np.int32) % 10}
  split = Split(arrays | ({'target': images(1)} if 'target' in TASKS[config.task].inputs else {}))
  return assemble(config, Dataset('noise', split, split, tuple('0123456789')))._replace(steps_per_call=1)


def genaug_step(network: str, **settings) -> Callable[[int], None]:
  """Returns run(steps) of the step that experiments.train runs, with its batches, random draws and weight average."""
  import jax

  from genaug.training import loop

  experiment = on_noise(_config(network, settings), NETWORKS[network][1])
  step, state = loop.make_step(experiment), experiment.init()
  device_data, batch = loop.make_batches(experiment)

  def run(steps: int) -> None:
    nonlocal state
    for i in range(steps):
      state, _ = step(state, device_data, batch(i))
    jax.block_until_ready(state)

  sizes = {role: sum(leaf.size for leaf in jax.tree.leaves(params)) for role, params in state.params.items()}
  run.report = {role: size for role, size in sizes.items() if size}
  run(8)  # compiles for the initial state and for one that a step returns, each with and without lazy penalties
  return run


def import_torch_module(table: str, module: str):
  """Imports a module of experiments.benchmarks that needs PyTorch. Raises InputError if that is not installed."""
  try:
    return importlib.import_module(f'experiments.benchmarks.{module}')
  except ImportError:
    raise InputError('bench', table, 'needs PyTorch, which is not installed', 'pip install torch') from None


def step(output: pathlib.Path | None, networks: list[str], threads: int, rounds: int, steps: int) -> dict:
  """Measures networks, and writes the output after each; results of other networks in it stay."""
  from genaug.training import workdir

  torch_steps = import_torch_module('step', 'torch_steps')

  if steps % 4:
    problem = 'r3 computes its penalties every 4th step, and all blocks must contain equally many'
    raise InputError('steps', steps, problem, 'a multiple of 4')
  networks = networks or list(NETWORKS)
  if unknown := set(networks) - NETWORKS.keys():
    raise InputError('networks', ', '.join(sorted(unknown)), 'no such network', f'any of {", ".join(NETWORKS)}')
  result = json.loads(output.read_text()) if output and output.exists() else {}
  for network in networks:
    make, missing = getattr(torch_steps, f'make_{network}'), {}
    programs = {
      'genaug': _program(genaug_step, network),
      'torch eager': _program(make, threads, False, tuned=False),
      'torch eager, allocator tuned': _program(make, threads, False),
    }
    optional = {  # another version of XLA may not know the flag and end the process
      f'genaug, {_OLDER_EMITTERS}': partial(_program, genaug_step, network, xla_flags=_OLDER_EMITTERS),
      'torch.compile, allocator tuned': partial(_program, make, threads, True),
    }
    for name, start in optional.items():
      try:
        programs[name] = start()
      except RuntimeError as error:
        reason = 'torch.compile has no double backward' if 'double backward' in str(error) else str(error)
        missing[name] = reason
    parameters = programs['torch eager'].report  # the generator first
    assert all(program.report == parameters for program in programs.values()), 'parameter counts differ'
    blocks = compare(programs, rounds, steps)
    takes = ratios(blocks, 'genaug', of_reference=True)
    print(f'{network}: parameters {parameters}', *(f'; no {name}: {reason}' for name, reason in missing.items()))
    for name, times in blocks.items():
      spread = f'{statistics.median(times):.1f} ms per step ({min(times):.1f} to {max(times):.1f})'
      print(f'{network}, {name}: median {spread}; time of genaug divided by it: {takes[name]:.2f}, median over rounds')
    result[network] = _result(
      f'training steps, batch {_config(network).train.batch_size}, float32, milliseconds a step', blocks, steps
    )
    result[network]['environment']['torch'] = torch_steps.torch.__version__
    about = {'images': NETWORKS[network][1], 'parameters': parameters, 'threads': threads}
    result[network] |= about | {'genaug_takes': takes, 'missing': missing}
    if output:
      workdir.write_json(output, result)
  return result


def in_step(rounds: int, steps: int) -> dict:
  """Measures the DCGAN step with each of AUGMENTATIONS."""
  programs = {name: _program(genaug_step, 'dcgan', **settings) for name, settings in AUGMENTATIONS.items()}
  blocks = compare(programs, rounds, steps)
  takes = ratios(blocks, 'none')
  for name, times in blocks.items():
    ratio = f'{takes[name]:.3f} times as long as without augmentation'
    print(f'{name}: median {statistics.median(times):.1f} ms per step, {ratio}')
  what = 'DCGAN step (28x28x1, 64/128 channels, batch 64) with augmentation inside, milliseconds a step'
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
  """Returns run(batches) of a policy; `dense` computes operations for all images, not only for those that drew them."""
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


def dispatch(rounds: int, steps: int) -> dict:
  """Measures policies with operations computed in groups of images that drew them, and for all images."""
  tables = {}
  for name in ('rand_augment', 'trivial_augment_wide'):
    for side, count in ((32, 256), (224, 32)):
      ways = {way: _program(policy, way == 'everywhere', side, count, name) for way in ('in groups', 'everywhere')}
      tables[f'{name} {count}x{side}x{side}x3'] = blocks = compare(ways, rounds, steps)
      print(name, side, {way: round(statistics.median(times), 1) for way, times in blocks.items()})
  what = 'a policy, milliseconds a batch: every operation for the images that drew it, in groups, or for all images'
  return _result(what, tables, steps)


def roofline(rounds: int, steps: int) -> dict:
  """Measures the memory bandwidth of a fused chain of operations, and of a copy."""
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
  print(', '.join(f'{name} {gb:.1f} GB/s' for name, gb in rate.items()) + f': {share:.2f} of the bandwidth of a copy')
  return {
    'what': '256x128x128x3 float32 read and written once, GB/s: a copy, and a fused chain of gamma, colour jitter, '
    'flip, rotation, shift, zoom and cutout',
    'environment': workdir.environment(),
    'gb_per_s': rate,
    'share': share,
    'seconds': seconds,
  }
