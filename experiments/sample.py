"""Writes images that a trained run makes: COUNT numbered PNG files and a grid of the first 64.

python -m experiments.sample --workdir runs/gan_mnist5k --count 1000 --output samples/ [--nearest]

With --nearest also nearest.png: the first 32, each above the training image that is nearest by eval.features. Those of
a generator that copies look the same.
"""

import functools
import pathlib

from absl import flags

from experiments import cli

_DATA_DIR = cli.define_data_dir()
_WORKDIR, _CHECKPOINT = cli.define_trained()
_COUNT = flags.DEFINE_integer('count', 64, 'How many images. Labels of a conditional model take turns.', lower_bound=1)
_SAMPLER = flags.DEFINE_string('sampler', None, 'Which of the task. Default: the first that makes images from noise.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the noise.', lower_bound=0)
_NEAREST = flags.DEFINE_bool('nearest', False, 'Show samples above their nearest training images.')
_OUTPUT = flags.DEFINE_string('output', None, 'Directory to write to; must be new or empty.', required=True)
flags.adopt_module_key_flags(cli)


def main() -> None:
  import jax
  import numpy as np

  from genaug.errors import InputError
  from genaug.training import evaluator, figures
  from genaug.training.experiment import trained

  output = pathlib.Path(_OUTPUT.value)
  if output.exists() and (not output.is_dir() or any(output.iterdir())):
    raise InputError('output', str(output), 'exists and is not an empty directory', 'name a new --output')
  load = functools.partial(trained, pathlib.Path(_WORKDIR.value), pathlib.Path(_DATA_DIR.value), _CHECKPOINT.value)
  experiment, state = load(images=False)
  samplers = experiment.task.samplers
  name = _SAMPLER.value or next((name for name, sampler in samplers.items() if not sampler.source), None)
  if name not in samplers:
    problem = f'task {experiment.config.task!r} has no such sampler'
    raise InputError('sampler', name, problem, f'one of {", ".join(samplers)}')
  if samplers[name].source or _NEAREST.value:
    experiment, state = load()
  evaluate, key = evaluator.Evaluator(experiment), jax.random.key(_SEED.value)
  images = np.concatenate(list(evaluate.samples(state, _COUNT.value, key, name)))
  for i, image in enumerate(images):
    figures.save_png(output / f'{i:06d}.png', image)
  figures.save_png(output / 'grid.png', figures.grid(images[:64] / np.float32(255)))
  if _NEAREST.value:
    figures.save_png(output / 'nearest.png', evaluate.nearest(images))
  print(f'{len(images):,} images of step {int(state.step):,} in {output}, the first {min(64, len(images))} in grid.png')


if __name__ == '__main__':
  cli.run(main)
