"""Speed against peers, measured in the same run on the same cores.

python -m experiments.bench step [--output experiments/results/step_time.json]
python -m experiments.bench augment [--output experiments/results/augment_throughput.json]
python -m experiments.bench in-step | dispatch | roofline [--output ...]

  step   one DCGAN training step (28x28, 64/128 channels, batch 64, float32) against PyTorch eager on CPU. Ours is the
         step that experiments.train runs, with its batch gather, random draws and weight average; PyTorch's is the
         same networks, losses and order of updates on a fixed batch, once as PyTorch comes and once with the memory
         allocator set as experiments.train sets it. Each program is a process of its own, blocks of steps alternate
         between them; compilation and warm-up are left out. Needs PyTorch: pip install torch (the CPU build will do).
  augment  images a second of every operation of genaug.augment that a peer has too, at 32x32 and 224x224. The peers are
         those of experiments.against.peers that are installed. Writes --output after each figure; the same command goes
         on where it stopped. --quick for a first look, --ops rotate,jpeg for some, --fresh to measure again.
  in-step   what augmentation costs inside the DCGAN step.
  dispatch  policies with an operation computed for the images that drew it, and with all computed for all.
  roofline  the share of the memory bandwidth, as a copy reaches it, that a fused chain of the input step reaches.
"""

import multiprocessing
import os
import pathlib
import statistics
import time
from collections.abc import Callable

from absl import flags

from experiments import cli
from genaug.training.allocator import keep_freed_memory

_DATA_DIR = cli.define_data_dir()
_THREADS = flags.DEFINE_integer(
  'threads', None, 'Threads, or processes, of the peers. Default: all cores, as JAX does.', lower_bound=1
)
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Blocks of each program.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 20, 'Steps in a block.', lower_bound=1)
_OPS = flags.DEFINE_list('ops', [], 'augment: operations to measure. Default: all.')
_FRESH = flags.DEFINE_bool('fresh', False, 'augment: measure again what the output has.')
_QUICK = flags.DEFINE_bool('quick', False, 'augment: at most 3 rounds.')
_OUTPUT = flags.DEFINE_string('output', None, 'JSON file for the raw figures.')
flags.adopt_module_key_flags(cli)


def _ours(data_dir: pathlib.Path, **settings) -> Callable[[int], None]:
  import jax

  from configs import gan_mnist5k
  from genaug.training import loop
  from genaug.training.experiment import prepare

  config = gan_mnist5k.get_config()
  config.eval.metrics = ()  # nor are its weights needed
  config.update_from_flattened_dict(settings)
  experiment = prepare(config, data_dir)._replace(steps_per_call=1)
  step, state = loop.make_step(experiment), experiment.init()
  resident, feed = loop.make_feed(experiment)

  def run(steps: int) -> None:
    nonlocal state
    for i in range(steps):
      state, _ = step(state, resident, feed(i))
    jax.block_until_ready(state)

  return run


def _torch_eager(threads: int) -> Callable[[int], None]:
  import torch
  from torch import nn

  torch.set_num_threads(threads)
  generator = nn.Sequential(
    nn.Linear(100, 7 * 7 * 128, bias=False),
    nn.Unflatten(1, (128, 7, 7)),
    nn.BatchNorm2d(128),
    nn.ReLU(),
    nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.ConvTranspose2d(64, 1, 4, 2, 1),
    nn.Tanh(),
  )
  discriminator = nn.Sequential(
    nn.Conv2d(1, 64, 4, 2, 1),
    nn.LeakyReLU(0.2),
    nn.Conv2d(64, 128, 4, 2, 1, bias=False),
    nn.BatchNorm2d(128),
    nn.LeakyReLU(0.2),
    nn.Flatten(),
    nn.Linear(7 * 7 * 128, 1),
  )
  g_opt, d_opt = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, discriminator))
  loss, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(64, 1), torch.zeros(64, 1)
  real = torch.rand(64, 1, 28, 28) * 2 - 1

  def run(steps: int) -> None:
    for _ in range(steps):
      fake = generator(torch.randn(64, 100))
      d_opt.zero_grad()
      (loss(discriminator(real), ones) + loss(discriminator(fake.detach()), zeros)).backward()
      d_opt.step()
      g_opt.zero_grad()
      loss(discriminator(fake), ones).backward()
      g_opt.step()

  return run


class _Program:
  """A benchmark in a process of its own, idle until it is told to run."""

  def __init__(self, make: Callable[..., Callable[[int], None]], *arguments, tuned: bool = True, **settings):
    context = multiprocessing.get_context('spawn')
    self._pipe, theirs = context.Pipe()
    self._process = context.Process(target=self._serve, args=(theirs, make, arguments, tuned, settings), daemon=True)
    self._process.start()

  @staticmethod
  def _serve(pipe, make, arguments, tuned, settings) -> None:
    if tuned:
      keep_freed_memory()
    run = make(*arguments, **settings)
    while steps := pipe.recv():
      start = time.perf_counter()
      run(steps)
      pipe.send((time.perf_counter() - start) / steps * 1e3)

  def milliseconds(self, steps: int) -> float:
    """What one of so many steps takes."""
    self._pipe.send(steps)
    return self._pipe.recv()

  def close(self) -> None:
    self._pipe.send(0)
    self._process.join()


def _alternate(programs: dict[str, _Program], rounds: int, steps: int) -> dict[str, list[float]]:
  """Milliseconds a step of every block, the programs taking turns so that a drifting machine hits all alike."""
  for program in programs.values():
    program.milliseconds(steps)  # compiles and warms up
  blocks: dict[str, list[float]] = {name: [] for name in programs}
  for _ in range(rounds):
    for name, program in programs.items():
      blocks[name].append(program.milliseconds(steps))
  for program in programs.values():
    program.close()
  return blocks


def step() -> dict:
  from genaug.errors import InputError
  from genaug.training import workdir

  try:
    import torch
  except ImportError:
    raise InputError('bench', 'step', 'the peer PyTorch is not installed', 'pip install torch') from None
  threads = _THREADS.value or os.cpu_count()
  programs = {
    'genaug': _Program(_ours, pathlib.Path(_DATA_DIR.value)),
    'torch eager': _Program(_torch_eager, threads, tuned=False),
    'torch eager, allocator tuned': _Program(_torch_eager, threads),
  }
  blocks = _alternate(programs, _ROUNDS.value, _STEPS.value)
  ratios = {
    name: statistics.median(ours / theirs for ours, theirs in zip(blocks['genaug'], times))
    for name, times in blocks.items()
  }
  for name, times in blocks.items():
    spread = f'{statistics.median(times):.1f} ms a step ({min(times):.1f} to {max(times):.1f})'
    print(f'{name}: median {spread}; genaug takes {ratios[name]:.2f} of it, median block by block')
  return {
    'what': 'DCGAN step, 28x28x1, 64/128 channels, batch 64, float32, milliseconds a step',
    'excluded': 'compilation, warm-up',
    'threads': threads,
    'steps_per_block': _STEPS.value,
    'environment': {**workdir.environment(), 'torch': torch.__version__},
    'genaug_takes': ratios,
    'milliseconds': blocks,
  }


CLASSIC = {'hflip.p': 0.5, 'rotate.p': 1.0, 'translate.p': 1.0, 'zoom.p': 1.0}
D_AUGMENT = {
  'none': {},
  'classic (flip, rotate, shift, zoom)': {f'augment.{key}': value for key, value in CLASSIC.items()},
  'RandAugment': {'augment.rand_augment.p': 1.0},
  'DiffAugment': {'gan.d_augment': 'diff_augment'},
  'ADA, p = 0.5': {'gan.d_augment': 'ada', 'gan.ada_p': 0.5},
}


def in_step() -> dict:
  from genaug.training import workdir

  programs = {name: _Program(_ours, pathlib.Path(_DATA_DIR.value), **settings) for name, settings in D_AUGMENT.items()}
  blocks = _alternate(programs, _ROUNDS.value, _STEPS.value)
  takes = {
    name: statistics.median(with_it / without for with_it, without in zip(times, blocks['none']))
    for name, times in blocks.items()
  }
  for name, times in blocks.items():
    print(f'{name}: median {statistics.median(times):.1f} ms a step; {takes[name]:.3f} of the step without')
  return {
    'what': 'DCGAN step of configs/gan_mnist5k.py (28x28x1, batch 64) with augmentation inside, milliseconds a step',
    'excluded': 'compilation, warm-up',
    'steps_per_block': _STEPS.value,
    'environment': workdir.environment(),
    'settings': D_AUGMENT,
    'takes': takes,
    'milliseconds': blocks,
  }


def _policy(dense: bool, side: int, count: int, name: str) -> Callable[[int], None]:
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


def dispatch() -> dict:
  from genaug.training import workdir

  result = {
    'what': 'a policy, milliseconds a batch: every operation for the images that drew it, in groups, or for all images',
    'environment': workdir.environment(),
    'milliseconds': {},
  }
  for name in ('rand_augment', 'trivial_augment_wide'):
    for side, count in ((32, 256), (224, 32)):
      programs = {way: _Program(_policy, way == 'everywhere', side, count, name) for way in ('in groups', 'everywhere')}
      blocks = _alternate(programs, _ROUNDS.value, _STEPS.value)
      result['milliseconds'][f'{name} {count}x{side}x{side}x3'] = blocks
      print(name, side, {way: round(statistics.median(times), 1) for way, times in blocks.items()})
  return result


def roofline() -> dict:
  import jax
  import jax.numpy as jnp

  from configs import base
  from genaug.augment import pipeline
  from genaug.training import workdir

  config = base.get_config().augment
  for name in ('gamma', 'color_jitter', 'hflip', 'rotate', 'translate', 'zoom', 'cutout'):
    config[name].p = 1.0
  images = jnp.linspace(0, 1, 256 * 128 * 128 * 3).reshape(256, 128, 128, 3)
  keys = jax.random.split(jax.random.key(0), 256)
  programs = {
    'copy': jax.jit(lambda keys, images: images + 1),
    'fused chain': jax.jit(lambda keys, images: pipeline.input_step(config)(keys, {'image': images})['image']),
  }
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  for i in range(_ROUNDS.value + 1):
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


def augment() -> dict:
  from experiments.against import throughput

  output = _OUTPUT.value and pathlib.Path(_OUTPUT.value)
  rounds, seconds = (min(3, _ROUNDS.value), 1.0) if _QUICK.value else (_ROUNDS.value, 1.5)
  threads = _THREADS.value or os.cpu_count()
  return throughput.table(_alternate, output, _OPS.value, _FRESH.value, threads, rounds, seconds)


TABLES = {'step': step, 'augment': augment, 'in-step': in_step, 'dispatch': dispatch, 'roofline': roofline}


def main(table: str) -> None:
  from genaug.training import workdir

  result = TABLES[table]()
  if _OUTPUT.value:
    workdir.write_json(pathlib.Path(_OUTPUT.value), result)


if __name__ == '__main__':
  cli.run(main, choices=tuple(TABLES))
