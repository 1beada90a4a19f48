"""Shows what a config's augmentation does: a sheet of originals, each with eight augmented draws and their parameters.

python -m experiments.preview --config configs/gan_mnist5k.py --config.augment.rotate.p=1 [--output preview.png]

Rows are the first training images of the config's data set. With --images they are taken evenly from a folder of
images of any sizes, its sub-folders too, with their masks: NAME_mask.png beside NAME.jpg, or NAME.png in --masks. These
images are put on white where they are transparent, and downscaled first if a side has more than 512 pixels.
If there is a mask, the box around what it covers is drawn as well and moves along. If the config mixes images, those of
the same size are mixed with each other. Below each draw stands what was done to it, such as `rotate 12.3°`.
Files of the folder that are left out are listed; exit status 1: some of them may be images, such as unreadable ones.
"""

import pathlib

import numpy as np
from absl import flags

from experiments import cli
from genaug.errors import InputError

_CONFIG = cli.define_config()
_DATA_DIR = cli.define_data_dir()
_IMAGES = flags.DEFINE_string('images', None, "Folder of images to show instead of the config's data set.")
_MASKS = flags.DEFINE_string('masks', None, 'With --images: folder of masks, if they are not beside the images.')
_OUTPUT = flags.DEFINE_string('output', 'preview.png', 'PNG file to write; an existing one is replaced.')
_ROWS = flags.DEFINE_integer('rows', 6, 'Number of images, one per row.', lower_bound=1, upper_bound=100)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the random augmentation.', lower_bound=0, upper_bound=2**32 - 1)
flags.mark_flag_as_required('config')
flags.adopt_module_key_flags(cli)

_DRAWS = 8

Example = dict[str, np.ndarray]


def main() -> int:
  from genaug.offline import augment_text, contact_sheet
  from genaug.training import checks, figures

  config, output = _CONFIG.value, pathlib.Path(_OUTPUT.value)
  _check_output(output)
  names, examples, status = _read_folder(config.data) if _IMAGES.value else (*_read_data_set(config.data), 0)
  for shape, name in {example['image'].shape: name for name, example in zip(names, examples)}.items():
    checks.check_augment(config.augment, shape, name if _IMAGES.value else f'an image of {config.data.name}')
  on = augment_text.turned_on(config.augment)
  if not on:
    print('the config augments nothing: turn an operation on, for example with --config.augment.rotate.p=1')
  examples = contact_sheet.annotated(examples, boxes=not augment_text.loses_annotations(config.augment))

  rows = [
    [contact_sheet.Cell(*cell)] for cell in zip(examples, ([f'row {i}: {name}'] for i, name in enumerate(names, 1)))
  ]
  for row, example, caption in augment_text.draws(config.augment, examples, _SEED.value, _DRAWS):
    rows[row].append(contact_sheet.Cell(example, caption))
  title = [f'{cli.config_name()}, seed {_SEED.value}', augment_text.settings(config.augment) or 'nothing is augmented']
  heads = ['original', *(f'draw {i}' for i in range(1, _DRAWS + 1))]
  figures.save_png(output, contact_sheet.render(title, heads, rows))
  print(f'{len(rows)} images with {_DRAWS} augmented draws each: {output}')
  return status


def _check_output(output: pathlib.Path) -> None:
  if output.suffix.lower() != '.png' or output.is_dir():
    raise InputError('output', str(output), 'not the name of a PNG file', '--output=preview.png')
  cli.check_writable(output.parent)


def _read_data_set(data) -> tuple[list[str], list[Example]]:
  from genaug.data import sources

  if _MASKS.value:
    raise InputError('masks', _MASKS.value, 'only goes with --images', 'add --images=FOLDER, or leave --masks out')
  dataset = sources.load(data, pathlib.Path(_DATA_DIR.value))
  arrays = {name: array[: _ROWS.value] for name, array in dataset.train.arrays.items()}
  labels = arrays.pop('label')
  examples = [{name: array[i] for name, array in arrays.items()} for i in range(len(labels))]
  return [dataset.class_names[label] for label in labels], examples


def _read_folder(data) -> tuple[list[str], list[Example], int]:
  """Returns names, examples, and the exit status, which is 1 if an image may have been left out."""
  from genaug.data import folder, image_file
  from genaug.offline import reading

  root, masks = pathlib.Path(_IMAGES.value), pathlib.Path(_MASKS.value) if _MASKS.value else None
  image_file.check_bits(data.bits)
  items, skipped = folder.contents(root, masks, key='images')
  with image_file.truncated_files(data.load_truncated):
    examples = reading.examples(items, skipped, _ROWS.value, data.bits)
  status = reading.say_skipped(skipped, root)
  if not examples:
    raise InputError('images', str(root), 'holds no readable image', '--images=FOLDER with other images')
  return list(examples), list(examples.values()), status


if __name__ == '__main__':
  cli.run(main)
