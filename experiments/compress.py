"""Compresses images with a trained model into one file, which experiments.decompress decodes.

python -m experiments.compress --workdir runs/vae_mnist5k-lossless --input digits --output digits.bits
python -m experiments.compress --workdir runs/hyperprior --input photos --output photos.bits

Lossless with a run of configs/vae_own_images.py (vae.likelihood=logistic_mixture or discretized_logistic), for images
of the shape that it was trained on. Lossy, with smaller files and images of any size, with a run of
configs/hyperprior_own_images.py. All images must have 8 bits per channel. The file can only be decoded with the same
run, the same versions of JAX, NumPy and constriction, and the same kind of processor; decoding reports what differs.
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
    raise InputError('output', str(output), 'exists already', 'name a new --output')
  cli.check_writable(output)
  codec = codecs.of_run(*_RUN())
  images, names = reading.exact_images(pathlib.Path(_INPUT.value), codec.input_shape)
  coded = codec.compress(images, names, tqdm)
  container.write(output, coded.content)
  values = sum(image.size for image in images)
  print(
    f'{len(images):,} images of {values:,} bytes compressed to {len(coded.content):,} bytes: '
    f'{8 * len(coded.content) / values:.3f} bits per value (cost under the model: {coded.bound_bits / values:.3f}), '
    f'including {coded.initial_bits // 8:,} bytes of initial bits and {coded.header_bytes:,} bytes of header'
  )


if __name__ == '__main__':
  cli.run(main)
