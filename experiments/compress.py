"""Compresses images by a trained model into one file, from which experiments.decompress makes them again.

python -m experiments.compress --workdir runs/vae_mnist5k-lossless --input digits --output digits.bits
python -m experiments.compress --workdir runs/hyperprior --input photos --output photos.bits

Without loss with a run of configs/vae_own_images.py (vae.likelihood=logistic_mixture or discretized_logistic), for
images of the shape that it was trained on. With a run of configs/hyperprior_own_images.py images of any size come back
changed, and their file is smaller. All must have 8 bits a channel. The file can be read with the same run, the same
versions of JAX, NumPy and constriction, and the same kind of processor; it says so where one differs.
"""

import pathlib

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_INPUT = flags.DEFINE_string('input', None, 'Folder of images.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'File to write; must be new.', required=True)
flags.adopt_module_key_flags(cli)


def main() -> None:
  from tqdm import tqdm

  from genaug.errors import InputError
  from genaug.offline import codecs, container, reading

  output = pathlib.Path(_OUTPUT.value)
  if output.exists():
    raise InputError('output', str(output), 'exists', 'name a new --output')
  cli.check_writable(output)
  codec = codecs.of_run(*_RUN())
  images, names = reading.exact_images(pathlib.Path(_INPUT.value), codec.input_shape)
  found = codec.compress(images, names, tqdm)
  container.write(output, found.content)
  values = sum(image.size for image in images)
  print(
    f'{len(images):,} images of {values:,} bytes in {len(found.content):,}: {8 * len(found.content) / values:.3f} bits '
    f'per value, bound by the model {found.bound_bits / values:.3f}; {found.initial_bits // 8:,} bytes are initial '
    f'bits, {found.header_bytes:,} the header'
  )


if __name__ == '__main__':
  cli.run(main)
