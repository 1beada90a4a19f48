"""Speed against peers, measured in the same run on the same cores.

python -m experiments.bench step [--output experiments/results/step_time.json]

  step   one DCGAN training step (28x28, 64/128 channels, batch 64, float32) against PyTorch eager on CPU. Ours is the
         step that experiments.train runs, with its batch gather, random draws and weight average; PyTorch's is the
         same networks, losses and order of updates on a fixed batch, once as PyTorch comes and once with the memory
         allocator set as experiments.train sets it. Each program is a process of its own, blocks of steps alternate
         between them; compilation and warm-up are left out. Needs PyTorch: pip install torch (the CPU build will do).
"""

import json
import multiprocessing
import os
import pathlib
import statistics
import time
from collections.abc import Callable

from absl import flags

from experiments import cli

_DATA_DIR = cli.define_data_dir()
_THREADS = flags.DEFINE_integer(
  'threads', None, 'Threads PyTorch uses. Default: all cores, as JAX does.', lower_bound=1
)
_ROUNDS = flags.DEFINE_integer('rounds', 15, 'Blocks of each program.', lower_bound=1)
_STEPS = flags.DEFINE_integer('steps', 20, 'Steps in a block.', lower_bound=1)
_OUTPUT = flags.DEFINE_string('output', None, 'JSON file for the raw figures.')
flags.adopt_module_key_flags(cli)


def _ours(data_dir: pathlib.Path) -> Callable[[int], None]:
  import jax

  from configs import gan_mnist5k
  from genaug.training import loop
  from genaug.training.experiment import prepare

  loop.keep_freed_memory()
  experiment = prepare(gan_mnist5k.get_config(), data_dir)._replace(steps_per_call=1)
  step, state = loop.make_step(experiment), experiment.init()
  resident, feed = loop.make_feed(experiment)

  def run(steps: int) -> None:
    nonlocal state
    for i in range(steps):
      state, _ = step(state, resident, feed(i))
    jax.block_until_ready(state)

  return run


def _torch_eager(threads: int, keep_memory: bool) -> Callable[[int], None]:
  import torch
  from torch import nn

  from genaug.training import loop

  if keep_memory:
    loop.keep_freed_memory()
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

  def __init__(self, make: Callable[..., Callable[[int], None]], *arguments):
    context = multiprocessing.get_context('spawn')
    self._pipe, theirs = context.Pipe()
    self._process = context.Process(target=self._serve, args=(theirs, make, arguments), daemon=True)
    self._process.start()

  @staticmethod
  def _serve(pipe, make, arguments) -> None:
    run = make(*arguments)
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
    'torch eager': _Program(_torch_eager, threads, False),
    'torch eager, allocator tuned': _Program(_torch_eager, threads, True),
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


TABLES = {'step': step}


def main(table: str) -> None:
  result = TABLES[table]()
  if _OUTPUT.value:
    output = pathlib.Path(_OUTPUT.value)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
  cli.run(main, choices=tuple(TABLES))
