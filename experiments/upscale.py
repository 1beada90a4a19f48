"""Enlarges images of any size with a trained super-resolution network.

python -m experiments.upscale --workdir runs/superres --input photo.jpg --output enlarged
python -m experiments.upscale --workdir runs/superres --input photos --output enlarged --tile 256

The factor is model.scale of the run. Opacity is kept, and so are names, with the suffix .png.
"""

import pathlib

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_INPUT = flags.DEFINE_string('input', None, 'An image, or a folder of images.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to; must be new or empty.', required=True)
_TILE = flags.DEFINE_integer(
  'tile',
  128,
  'Side of the tiles that are enlarged one by one, in input pixels: less takes less memory; 0 is no tiles.',
  0,
)
flags.adopt_module_key_flags(cli)


def main() -> None:
  from tqdm import tqdm

  from genaug.data import image_file
  from genaug.offline import reading
  from genaug.offline.upscaling import Upscaler
  from genaug.training import figures
  from genaug.training.experiment import load_trained

  output = cli.new_directory(_OUTPUT.value)
  experiment, state = load_trained(*_RUN(), images=False)
  upscale = Upscaler(experiment.config, experiment.spec, state, _TILE.value)
  paths, names = reading.images_of_channels(pathlib.Path(_INPUT.value), experiment.spec.image_shape[-1])
  for path, name in zip(tqdm(paths, unit='image', disable=None), names, strict=True):
    figures.save_png(output / name, upscale(image_file.read_unchanged(path)))
  print(f'{len(paths):,} images written to {output}')


if __name__ == '__main__':
  cli.run(main)
