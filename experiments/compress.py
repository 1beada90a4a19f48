"""Compresses images without loss by a trained VAE into one file, from which experiments.decompress makes them again.

python -m experiments.compress --workdir runs/vae_mnist5k --input digits --output digits.bits

For VAEs with vae.likelihood=logistic_mixture or discretized_logistic. All images must have the shape that the model was
trained on, 8 bits a channel; what resizes them loses something. The file can be read with the same run, the same
versions of JAX, NumPy and constriction, and the same kind of machine and accelerator; it says so where one differs.
"""

import pathlib

from absl import flags

from experiments import cli

_WORKDIR, _CHECKPOINT = cli.define_trained()
_DATA_DIR = cli.define_data_dir()
_INPUT = flags.DEFINE_string('input', None, 'Folder of images.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'File to write; must be new.', required=True)
flags.adopt_module_key_flags(cli)


def main() -> None:
  from tqdm import tqdm

  from genaug.errors import InputError
  from genaug.offline import compression, reading
  from genaug.training.experiment import trained

  output, root = pathlib.Path(_OUTPUT.value), pathlib.Path(_INPUT.value)
  if output.exists():
    raise InputError('output', str(output), 'exists', 'name a new --output')
  workdir, data_dir = pathlib.Path(_WORKDIR.value), pathlib.Path(_DATA_DIR.value)
  experiment, state = trained(workdir, data_dir, _CHECKPOINT.value, images=False)
  codec = compression.Codec(experiment.config, experiment.spec, state)
  images, names = reading.exact_images(root, experiment.spec.image_shape)
  found = codec.compress(images, names, lambda starts: tqdm(starts, unit='batch'))
  compression.write(output, found.content)
  size, values = len(found.content), images.size
  print(
    f'{len(images):,} images of {images.nbytes:,} bytes in {size:,}: {8 * size / values:.3f} bits a value; '
    f"the model's bound {found.bound_bits / values:.3f}, to begin with {found.initial_bits / 8:,.0f} bytes, "
    f'header {found.header_bytes:,} bytes'
  )


if __name__ == '__main__':
  cli.run(main)
