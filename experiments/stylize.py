"""Stylises images with a trained style transfer network.

python -m experiments.stylize --workdir runs/style --input photos --output stylised
python -m experiments.stylize --workdir runs/style --input photo.jpg --output stylised --styles wave,scream

The input is a folder, with or without sub-folders, or one file. Images of any size keep it, and their opacity. Styles
are those of config.style.images, by name or number; if there are several, each gets a folder in --output. Strokes are
as large, in pixels, as in training: on a larger image they look finer. Every new image size takes seconds to compile.
Files that are left out are listed; exit status 1: some of them may be images.
"""

import pathlib

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_INPUT = flags.DEFINE_string('input', None, 'An image, or a folder of images.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to; must be new or empty.', required=True)
_STYLES = flags.DEFINE_list('styles', [], 'Names or numbers of styles. Default: all.')
flags.adopt_module_key_flags(cli)


def main() -> int:
  from tqdm import tqdm

  from genaug.data import image_file
  from genaug.offline import reading, stylization
  from genaug.training.experiment import load_trained

  output, root = cli.new_directory(_OUTPUT.value), pathlib.Path(_INPUT.value)
  contents = reading.items_of(root)
  experiment, state = load_trained(*_RUN(), images=False)
  stylist = stylization.Stylist(experiment.config, experiment.spec, state)
  numbers = stylist.numbers(_STYLES.value)
  data = experiment.config.data
  written = stylization.write(stylist, contents, numbers, output, data.bits)
  with image_file.truncated_files(data.load_truncated):
    done = list(tqdm(written, total=len(contents.items), unit='image'))
  print(f'{len(done):,} images in {", ".join(stylist.names[number] for number in numbers)}: {output}')
  return reading.say_skipped(contents.skipped, root)


if __name__ == '__main__':
  cli.run(main)
