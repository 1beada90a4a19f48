"""Restores damaged images with a trained VAE: noise, missing parts, blur, or too few pixels.

python -m experiments.restore --workdir runs/vae_photos --kind noise --noise 0.1 --input noisy --output restored
python -m experiments.restore --workdir runs/vae_photos --kind missing --masks masks --input torn --output restored
python -m experiments.restore --workdir runs/vae_photos --kind blur --blur 1.5 --noise 0.02 --input blurred ...
python -m experiments.restore --workdir runs/vae_photos --kind small --scale 2 --input small --output restored

Needs a VAE with vae.likelihood=gaussian, and images of the shape that it was trained on or, with --kind=small, smaller
by --scale. Masks are white where pixels are missing: masks/NAME.png for every image.
"""

import pathlib

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_KIND = flags.DEFINE_enum('kind', None, ['noise', 'missing', 'blur', 'small'], 'Kind of damage.', required=True)
_NOISE = flags.DEFINE_float('noise', 0.0, 'Standard deviation of the noise, where white is 1.', lower_bound=0.0)
_BLUR = flags.DEFINE_float('blur', 0.0, 'Sigma of the Gaussian blur, in pixels.', lower_bound=0.0)
_SCALE = flags.DEFINE_integer('scale', 1, 'With --kind=small: factor by which the images are smaller.', lower_bound=1)
_MASKS = flags.DEFINE_string('masks', None, 'With --kind=missing: folder of masks, white where pixels are missing.')
_STEPS = flags.DEFINE_integer('steps', 200, 'Steps of Adam.', lower_bound=1)
_INPUT = flags.DEFINE_string('input', None, 'Folder of images.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to; must be new or empty.', required=True)
flags.adopt_module_key_flags(cli)


def main() -> None:
  import numpy as np
  from tqdm import tqdm

  from genaug.errors import InputError
  from genaug.offline import reading, restoration
  from genaug.training import figures
  from genaug.training.experiment import load_trained

  output, root = cli.new_directory(_OUTPUT.value), pathlib.Path(_INPUT.value)
  if (_KIND.value == 'missing') != (_MASKS.value is not None):
    problem = 'is missing' if _MASKS.value is None else f'does not go with --kind={_KIND.value}'
    raise InputError('masks', _MASKS.value, problem, '--masks=FOLDER with --kind=missing, and with no other kind')
  experiment, state = load_trained(*_RUN(), images=False)
  spec = experiment.spec
  damage = restoration.damage(_KIND.value, spec, _NOISE.value, _BLUR.value, _SCALE.value)
  restore = restoration.Restorer(experiment.config, spec, state, damage, _STEPS.value)
  height, width, channels = spec.image_shape
  images, names = reading.exact_images(root, (height // _SCALE.value, width // _SCALE.value, channels))
  images = np.stack(images)
  seen = None
  if _MASKS.value:
    masks = dict(zip(*reading.exact_images(pathlib.Path(_MASKS.value), (height, width, 1))[::-1]))
    if missing := set(names) - set(masks):
      name = min(missing)
      raise InputError('masks', _MASKS.value, f'holds no mask for {name}', f'put it at {_MASKS.value}/{name}')
    seen = (np.stack([masks[name] for name in names]) < 128).astype(np.float32)
  restored = restore(images / np.float32(255), seen, lambda starts: tqdm(starts, unit='batch'))
  for image, name in zip(restored, names, strict=True):
    figures.save_png(output / name, np.round(image * 255).astype(np.uint8))
  print(f'{len(images):,} images written to {output}')


if __name__ == '__main__':
  cli.run(main)
