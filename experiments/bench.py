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
         those of experiments.benchmarks that are installed. Writes --output after each figure; the same command goes on
         where it stopped. --quick for a first look, --ops rotate,jpeg for some, --fresh to measure again.
  in-step   what augmentation costs inside the DCGAN step.
  dispatch  policies with an operation computed for the images that drew it, and with all computed for all.
  roofline  the share of the memory bandwidth, as a copy reaches it, that a fused chain of the input step reaches.
"""

import os
import pathlib

from absl import flags

from experiments import cli

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


def _augment() -> dict:
  from experiments.benchmarks import throughput

  output = _OUTPUT.value and pathlib.Path(_OUTPUT.value)
  rounds, seconds = (min(3, _ROUNDS.value), 1.0) if _QUICK.value else (_ROUNDS.value, 1.5)
  return throughput.table(output, _OPS.value, _FRESH.value, _THREADS.value or os.cpu_count(), rounds, seconds)


def main(table: str) -> None:
  from experiments.benchmarks import steps
  from genaug.training import workdir

  if table == 'augment':
    result = _augment()
  else:
    make = getattr(steps, table.replace('-', '_'))
    result = make(pathlib.Path(_DATA_DIR.value), _THREADS.value, _ROUNDS.value, _STEPS.value)
  if _OUTPUT.value:
    workdir.write_json(pathlib.Path(_OUTPUT.value), result)


if __name__ == '__main__':
  cli.run(main, choices=('step', 'augment', 'in-step', 'dispatch', 'roofline'))
