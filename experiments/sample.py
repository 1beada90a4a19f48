"""Samples images from a trained run: COUNT numbered PNG files and a grid, or one .npz file.

python -m experiments.sample --workdir runs/gan_mnist5k --count 1000 --output samples/ [--nearest] [--interpolate]
python -m experiments.sample --workdir runs/flow_mnist5k --output samples.npz --guidance 2 --classes 3,7

The grid has one column per class if the model is conditioned on 4 to 16 classes, otherwise eight columns. --nearest
adds nearest.png: the first 32 samples, each above its nearest training image by eval.features; if the generator copies,
the two look the same. --interpolate adds interpolation.png, a row for each walk from one sample's noise to the next
one's, and interpolation.gif, which plays all walks.
For VAEs, --traverse adds traversals.png: a row for each of the eight latents that vary most, which goes from -2.5 to
2.5 while the others are 0. --map adds latents.png: the posterior means of test images, in the plane in which they vary
most. For text_to_image, --text "waving hand, dark skin" is the caption; several captions take turns, in a column each
if there are 4 to 16. Samplers that make images from other images (variations, reconstructions, ...) take --input, an
image or a folder of images, which take turns.
The .npz file holds `samples`, uint8 [n, h, w, c], and their classes as `label`.
"""

import functools
import pathlib

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_COUNT = flags.DEFINE_integer(
  'count', 64, 'Number of images; a class-conditional model makes its classes in turn.', lower_bound=1
)
_SAMPLER = flags.DEFINE_string(
  'sampler',
  None,
  'Sampler of the task. Default: the first that makes images from noise or, if given, from --input or --text.',
)
_CLASSES = flags.DEFINE_list('classes', None, 'Names of the classes to make images of. Default: all.')
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the noise.', lower_bound=0)
_TRUNCATION = flags.DEFINE_float(
  'truncation', 1.0, 'Scale of the noise: below 1 images are more typical and less diverse.', lower_bound=0.0
)
_GUIDANCE = flags.DEFINE_float(
  'guidance', None, 'Flow tasks: guidance scale instead of flow.guidance; higher follows class or text more closely.'
)
_STEPS = flags.DEFINE_integer(
  'sample_steps', None, 'Flow tasks: sampling steps instead of flow.sample_steps.', lower_bound=1
)
_NEAREST = flags.DEFINE_bool('nearest', False, 'Save nearest.png: samples above their nearest training images.')
_INTERPOLATE = flags.DEFINE_bool('interpolate', False, 'Save interpolation.png and .gif: walks between samples.')
_TRAVERSE = flags.DEFINE_bool('traverse', False, 'VAEs: save traversals.png: what single latents change.')
_MAP = flags.DEFINE_bool('map', False, 'VAEs: save latents.png: test images of every class in latent space.')
_TEXT = flags.DEFINE_multi_string('text', None, 'text_to_image: caption of the images; may be given several times.')
_INPUT = flags.DEFINE_string('input', None, 'Image, or folder of images, to start from instead of test images.')
_OUTPUT = flags.DEFINE_string('output', None, 'New or empty directory, or new .npz file, to write to.', required=True)
flags.adopt_module_key_flags(cli)


def _save_map(path: pathlib.Path, means, dataset) -> None:
  """Plots the first two principal components of posterior means [n, z] of the test images, coloured by class."""
  import numpy as np
  from matplotlib.figure import Figure

  centred = means - means.mean(0)
  _, spread, axes = np.linalg.svd(centred, full_matrices=False)
  plane, share = centred @ axes[:2].T, spread[:2] ** 2 / (spread**2).sum()
  figure = Figure(figsize=(7, 6), layout='constrained')
  axis, labels = figure.subplots(), dataset.test.arrays['label']
  points = axis.scatter(*plane.T, c=labels, s=6, cmap='tab10' if len(dataset.class_names) <= 10 else 'turbo')
  axis.set(xlabel=f'{share[0]:.0%} of the variance', ylabel=f'{share[1]:.0%} of the variance', aspect='equal')
  axis.set_title(f'Posterior means of {len(means):,} test images')
  if len(dataset.class_names) <= 10:
    axis.legend(points.legend_elements(num=None)[0], [dataset.class_names[i] for i in np.unique(labels)])
  figure.savefig(path)


def _encoded_captions(vocabulary):
  """Returns COUNT encoded captions, those of --text in turn; prints their words that training captions lack."""
  from genaug.data import captions

  for text in _TEXT.value:
    if unknown := captions.out_of_vocabulary(text, vocabulary):
      print(f'in fewer than two training captions, so known by parts of words at most: {", ".join(unknown)}')
  texts = [_TEXT.value[i % len(_TEXT.value)] for i in range(_COUNT.value)]
  return captions.encode(texts, vocabulary)


def _input_images(experiment):
  """Returns COUNT images, those of --input in turn, the number of images in --input, and the exit status."""
  import numpy as np

  from genaug.data import image_file
  from genaug.offline import reading

  path, data = pathlib.Path(_INPUT.value), experiment.config.data
  with image_file.truncated_files(data.load_truncated):
    images, _, skipped = reading.squares(path, experiment.spec.image_shape, data.bits)
  return images[np.arange(_COUNT.value) % len(images)], len(images), reading.say_skipped(skipped, path)


def _check_output(output: pathlib.Path) -> None:
  from genaug.errors import InputError

  pictures = [flag.name for flag in (_NEAREST, _INTERPOLATE, _TRAVERSE, _MAP) if flag.value]
  if output.suffix != '.npz':
    cli.new_directory(_OUTPUT.value)
  elif output.exists():
    raise InputError('output', str(output), 'exists already', 'name a new --output')
  elif pictures:
    remedy = f'--output=DIRECTORY, or leave --{", --".join(pictures)} out'
    raise InputError('output', str(output), 'pictures need a directory', remedy)


def _sampler(experiment) -> str:
  """Returns the name of the sampler that the flags select. Raises InputError for flags that do not go with it."""
  from genaug.errors import InputError
  from genaug.tasks.registry import TASKS

  task, samplers = experiment.config.task, experiment.task.samplers
  if _TEXT.value and not experiment.spec.vocabulary:
    raise InputError('text', _TEXT.value[0], f'task {task!r} reads no captions', 'leave --text out')
  if _INPUT.value and experiment.spec.vocabulary:
    raise InputError('input', _INPUT.value, f'task {task!r} makes images from captions', 'give --text instead')
  from_others = bool(_TEXT.value or _INPUT.value)
  wanted = (name for name, sampler in samplers.items() if bool(sampler.source) == from_others)
  name = _SAMPLER.value or next(wanted, None)
  if name is None and from_others:
    given = ('text', _TEXT.value[0]) if _TEXT.value else ('input', _INPUT.value)
    raise InputError(*given, f'task {task!r} makes images from noise alone', f'leave --{given[0]} out')
  if name is None:
    source = '--text' if experiment.spec.vocabulary else '--input'
    remedy = f'{source}, or --sampler, one of {", ".join(samplers)}' if samplers else 'a run of another task'
    raise InputError('workdir', str(_RUN().workdir), f'task {task!r} makes no images from noise', remedy)
  if name not in samplers:
    raise InputError('sampler', name, f'task {task!r} has no such sampler', f'one of {", ".join(samplers)}')
  if from_others and not samplers[name].source:
    raise InputError('sampler', name, 'makes images from noise', 'leave --input and --text out')
  if samplers[name].source and (_INTERPOLATE.value or _TRAVERSE.value or _TRUNCATION.value != 1):
    problem = 'makes images from others (images or captions), not from noise'
    raise InputError('sampler', name, problem, 'leave --interpolate, --traverse and --truncation out')
  if (_TRAVERSE.value or _MAP.value) and 'posterior_means' not in TASKS[task].provides:
    raise InputError('task', task, 'has no latents of images', 'leave --traverse and --map out')
  if samplers[name].source and not from_others and _CLASSES.value:
    problem = 'this sampler takes images and their classes from the data set'
    raise InputError('classes', ','.join(_CLASSES.value), problem, 'leave --classes out')
  return name


def _save_pictures(output: pathlib.Path, images, columns: int, evaluate, state, key, name: str, labels) -> None:
  """Saves the grid, and the pictures that the flags ask for."""
  import numpy as np

  from genaug.training import figures

  rows_of = lambda walks: figures.grid(walks.reshape(-1, *walks.shape[2:]), walks.shape[1])
  figures.save_png(output / 'grid.png', figures.grid(images[: columns * (64 // columns)] / np.float32(255), columns))
  if _NEAREST.value:
    figures.save_png(output / 'nearest.png', evaluate.nearest(images))
  if _INTERPOLATE.value:
    walks = evaluate.walks(state, key, name, labels)
    figures.save_png(output / 'interpolation.png', rows_of(walks))
    figures.save_gif(output / 'interpolation.gif', walks[:, :-1].reshape(-1, *walks.shape[2:]))
  if _TRAVERSE.value:
    figures.save_png(output / 'traversals.png', rows_of(evaluate.traversals(state, name)))


def main() -> int:
  import jax
  import numpy as np

  from genaug.data.builders import batches_done
  from genaug.training import evaluator, figures
  from genaug.training.experiment import load_trained

  output = pathlib.Path(_OUTPUT.value)
  _check_output(output)
  given = {'flow.guidance': _GUIDANCE.value, 'flow.sample_steps': _STEPS.value}
  overrides = {key: value for key, value in given.items() if value is not None}
  load = functools.partial(load_trained, *_RUN(), overrides=overrides)
  experiment, state = load(images=False)
  name = _sampler(experiment)
  sampler, labels = experiment.task.samplers[name], evaluator.labels_of(experiment, _CLASSES.value)
  from_test = sampler.source and not (_TEXT.value or _INPUT.value)
  if from_test or sampler.fit or _NEAREST.value or _TRAVERSE.value or _MAP.value:
    experiment, state = load()
  evaluate = evaluator.Evaluator(experiment, _TRUNCATION.value, batches_done)
  key = jax.random.key(_SEED.value)
  turns = {} if labels is None else {'label': np.resize(labels, _COUNT.value)}
  status = 0
  if _TEXT.value:
    images = evaluate.apply_sampler(state, name, key, caption=_encoded_captions(experiment.dataset.vocabulary), **turns)
    shown = len(_TEXT.value)
  elif _INPUT.value:
    inputs, shown, status = _input_images(experiment)
    images = evaluate.apply_sampler(state, name, key, **{sampler.source: inputs}, **turns)
  else:
    images = np.concatenate(list(evaluate.samples(state, _COUNT.value, key, name, labels)))
    shown = 0 if labels is None else len(labels)
  summary = f'{len(images):,} images of the checkpoint of step {int(state.step):,} written to {output}'
  if output.suffix == '.npz':
    output.parent.mkdir(parents=True, exist_ok=True)
    if from_test:
      split = experiment.dataset.train if sampler.split == 'train' else experiment.dataset.test
      turns = {'label': np.resize(split.arrays['label'], len(images))}
    np.savez(output, samples=images, **turns)
    print(summary)
    return status
  for i, image in enumerate(images):
    figures.save_png(output / f'{i:06d}.png', image)
  _save_pictures(output, images, evaluator.columns(shown), evaluate, state, key, name, labels)
  if _MAP.value:
    _save_map(output / 'latents.png', evaluate.posterior_means(state), experiment.dataset)
  print(f'{summary}; grid.png shows the first of them')
  return status


if __name__ == '__main__':
  cli.run(main)
