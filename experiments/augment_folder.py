"""Writes augmented copies of every image in a folder, as a config says, in the same sub-folders.

python -m experiments.augment_folder --config configs/gan_own_images.py --config.augment.rotate.p=1
  --input photos --output photos_augmented --copies 10

cat/tom.jpg becomes cat/tom_aug000.png, cat/tom_aug001.png ... in --output; originals are not copied. The same command
continues where it was stopped, and a larger --copies adds to the existing ones: a draw depends only on the seed, the
image's path below --input and the copy's number. Existing files are never overwritten.

Masks move along and keep their labels: NAME_mask.png beside NAME.jpg, whose copies are NAME_aug000_mask.png; or
NAME.png in --masks, whose copies go into a folder of their own, OUTPUT_masks. They are greyscale with 8 or 16 bits,
palette or RGB images; areas that a move uncovers get label 0.
Copies are upright (EXIF), in sRGB and have 8 bits per channel: greyscale images stay greyscale, deeper ones are scaled
by the range of all images together (--config.data.bits), palette and CMYK images become RGB.
Transparency moves like a mask and is kept; colours are augmented whether transparent or not. JPEG (--format=jpg) has no
transparency: copies are put on white.

Images of one size are computed together, and each size is compiled once. Files that are left out are listed; exit
status 1: some of them may be images, such as unreadable ones.
"""

import pathlib

from absl import flags

from experiments import cli

_CONFIG = cli.define_config()
_INPUT = flags.DEFINE_string('input', None, 'Folder of images, with or without sub-folders.', required=True)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'Folder to write to: new, empty, or begun by this command.', required=True
)
_MASKS = flags.DEFINE_string('masks', None, 'Folder of masks, if they are not beside the images.')
_COPIES = flags.DEFINE_integer('copies', None, 'Number of augmented copies per image.', lower_bound=1, required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of the random augmentation.', lower_bound=0, upper_bound=2**32 - 1)
_FORMAT = flags.DEFINE_enum('format', 'png', ['png', 'jpg'], 'File format of the copies; masks are always png.')
flags.mark_flag_as_required('config')
flags.adopt_module_key_flags(cli)


def main() -> int:
  from genaug.offline import augment_folder, reading

  root, output, masks = (flag.value and pathlib.Path(flag.value).resolve() for flag in (_INPUT, _OUTPUT, _MASKS))
  config = _CONFIG.value
  settings = _COPIES.value, _SEED.value, _FORMAT.value, config.data.bits, config.data.load_truncated
  written, existing, skipped = augment_folder.run(augment_folder.Job(config.augment, root, output, masks, *settings))
  print(f'{written:,} images written to {output}' + (f', {existing:,} existed already' if existing else ''))
  return reading.say_skipped(skipped, root)


if __name__ == '__main__':
  cli.run(main)
