"""Restored images are nearer to the originals than the damaged ones, and what was observed of them stays."""

import numpy as np
import pytest
from PIL import Image

from genaug.errors import InputError
from genaug.offline import restoration
from genaug.training import loop
from genaug.training.experiment import load_trained, prepare
from tests.conftest import UNAUGMENTED, slow_but, tiny_config


@pytest.fixture(scope='module')
def run(data_dir, tmp_path_factory):
  """A small VAE of digits after a few hundred steps: (experiment, state, workdir)."""
  settings = {'train__steps': 300, 'train__checkpoint_every': 300, 'train__batch_size': 32, 'model__width': 8}
  config = tiny_config('vae', vae__likelihood='gaussian', optim__lr=3e-3, model__z_dim=16, **settings, **UNAUGMENTED)
  directory = tmp_path_factory.mktemp('vae')
  loop.train(prepare(config, data_dir, lambda _: None), directory, lambda _: None)
  return *load_trained(directory, data_dir, 'latest', lambda _: None), directory


DAMAGED = {
  'noise': {'noise': 0.3},
  'missing': {},
  'blur': {'blur': 1.5, 'noise': 0.02},
  'small': {'scale': 2, 'noise': 0.02},
}


@pytest.mark.parametrize('kind', slow_but(['noise', 'missing'], DAMAGED))
def test_restored_images_are_nearer_to_the_originals(kind, run):
  experiment, state, _ = run
  images = experiment.dataset.test.arrays['image'][:32] / np.float32(255)
  damage, rng = restoration.damage(kind, experiment.spec, **DAMAGED[kind]), np.random.default_rng(0)
  observed = np.asarray(damage.apply(images))
  observed = observed + damage.noise * rng.normal(size=observed.shape).astype(np.float32)
  seen = np.ones((32, 28, 28, 1), np.float32)
  if kind == 'missing':
    seen[:, 8:18, 8:18] = 0
    observed = observed * seen
  restored = restoration.Restorer(experiment.config, experiment.spec, state, damage, steps=100)(
    observed, seen if kind == 'missing' else None
  )
  rough = np.asarray(damage.undo(observed))
  error = lambda found: ((found - images) ** 2).mean()
  assert restored.shape == images.shape
  if kind != 'small':  # as small a network as this one draws worse than interpolation does
    assert error(restored) < 0.8 * error(rough)
  # What was observed is kept, as far as it can be trusted.
  misfit = (np.asarray(damage.apply(restored)) - observed) * seen[:, : observed.shape[1], : observed.shape[2]]
  assert np.abs(misfit).mean() < max(1.5 * damage.noise, 0.01)


def test_a_folder_is_restored(run, tmp_path, forked):
  experiment, _, workdir = run
  for i, image in enumerate(experiment.dataset.test.arrays['image'][:3]):
    for folder, array in (('in', image), ('masks', np.zeros_like(image))):
      (tmp_path / folder).mkdir(exist_ok=True)
      Image.fromarray(array[..., 0]).save(tmp_path / folder / f'{i}.png')
  flags = [f'--workdir={workdir}', f'--input={tmp_path / "in"}', f'--output={tmp_path / "out"}', '--steps=20']
  done = forked('experiments.restore', *flags, '--kind=missing', f'--masks={tmp_path / "masks"}')
  assert done.returncode == 0, done.stderr
  with Image.open(tmp_path / 'in' / '1.png') as image, Image.open(tmp_path / 'out' / '1.png') as restored:
    assert np.abs(np.asarray(image, int) - np.asarray(restored, int)).mean() < 1


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--kind=blur'], 'blur = 0.0'),
    (['--kind=small', '--scale=3'], 'scale = 3'),
    (['--kind=missing'], 'masks = None'),
    (['--kind=noise'], 'noise = 0.0'),
    (['--kind=noise', '--noise=0.1'], '3 of 3 files are not'),
  ],
)
def test_what_does_not_fit_is_refused_in_words(flags, message, run, tmp_path, forked):
  (tmp_path / 'in').mkdir()
  for i in range(3):
    Image.new('L', (9, 9)).save(tmp_path / 'in' / f'{i}.png')
  places = [f'--workdir={run[2]}', f'--input={tmp_path / "in"}', f'--output={tmp_path / "out"}']
  done = forked('experiments.restore', *places, *flags)
  assert done.returncode == 2
  assert message in done.stderr
  assert not (tmp_path / 'out').exists()


def test_models_that_can_not_restore_are_refused():
  config = tiny_config('vae')
  with pytest.raises(InputError, match=r'vae\.likelihood'):
    restoration.Restorer(config, None, None, None)
