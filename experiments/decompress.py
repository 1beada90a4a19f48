"""Decodes a file of experiments.compress into PNG files of the same names.

python -m experiments.decompress --workdir runs/vae_mnist5k-lossless --input digits.bits --output digits_again

Refuses a file that was truncated or changed, or compressed with another model, version or kind of machine, before it
writes anything.
"""

import pathlib

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_INPUT = flags.DEFINE_string('input', None, 'File that experiments.compress wrote.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to; must be new or empty.', required=True)
flags.adopt_module_key_flags(cli)


def main() -> None:
  from tqdm import tqdm

  from genaug.errors import InputError
  from genaug.offline import codecs
  from genaug.training import figures

  path, output = pathlib.Path(_INPUT.value), cli.new_directory(_OUTPUT.value)
  if not path.is_file():
    raise InputError('input', str(path), 'no such file', '--input=FILE, written by experiments.compress')
  codec = codecs.of_run(*_RUN())
  images, names = codec.decompress(path.read_bytes(), tqdm)
  for image, name in zip(images, names, strict=True):
    figures.save_png(output / name, image)
  print(f'{len(images):,} images written to {output}')


if __name__ == '__main__':
  cli.run(main)
