"""Translates images with a trained pix2pix, CUT or CycleGAN.

python -m experiments.translate --workdir runs/cut --input PHOTOS --output translated
python -m experiments.translate --workdir runs/cyclegan --sampler translated_back --input PAINTINGS --output photos

Images may be of any size: as in training they are cropped to the central square and resized. OUTPUT gets a PNG file for
each, under its name, and grid.png, which shows the first of them above their translations.
"""

import pathlib

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_SAMPLER = flags.DEFINE_string('sampler', None, 'Sampler of the task. Default: its first one, which translates images.')
_INPUT = flags.DEFINE_string('input', None, 'An image, or a folder of images.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to; must be new or empty.', required=True)
flags.adopt_module_key_flags(cli)

_SHOWN = 32


def main() -> int:
  import numpy as np

  from genaug.data import image_file
  from genaug.data.builders import batches_done
  from genaug.errors import InputError
  from genaug.offline import reading
  from genaug.tasks.registry import TASKS
  from genaug.training import figures
  from genaug.training.evaluator import Evaluator
  from genaug.training.experiment import load_trained

  output, root = cli.new_directory(_OUTPUT.value), pathlib.Path(_INPUT.value)
  experiment, state = load_trained(*_RUN(), images=False)
  task, samplers = experiment.config.task, list(experiment.task.samplers)
  if 'target' not in TASKS[task].inputs:
    problem = f'is a run of task {task!r}, which translates no images'
    raise InputError('workdir', str(_RUN().workdir), problem, '--workdir=RUN of pix2pix, CUT or CycleGAN')
  name = _SAMPLER.value or samplers[0]
  if name not in samplers:
    raise InputError('sampler', name, f'task {task!r} has no such sampler', f'one of {", ".join(samplers)}')
  data = experiment.config.data
  with image_file.truncated_files(data.load_truncated):
    images, names, skipped = reading.squares(root, experiment.spec.image_shape, data.bits)
  if 'grid.png' in names:
    raise InputError('input', str(root), 'an image has the name of the overview, grid.png', 'rename that image')
  evaluate, source = Evaluator(experiment, progress=batches_done), experiment.task.samplers[name].source
  translated = evaluate.apply_sampler(state, name, **{source: images})
  for image, file in zip(translated, names, strict=True):
    figures.save_png(output / file, image)
  shown = [some[:_SHOWN] / np.float32(255) for some in (images, translated)]
  figures.save_png(output / 'grid.png', figures.grid(figures.interleave_rows(*shown)))
  print(f'{len(names):,} images written to {output}; grid.png shows the first of them')
  return reading.say_skipped(skipped, root)


if __name__ == '__main__':
  cli.run(main)
