"""Variations of an image: what the network is told of it, and that it heeds it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from genaug.models import Spec
from genaug.tasks.flow import alexnet_features
from genaug.tasks.registry import TASKS
from genaug.training import loop
from genaug.training.experiment import prepare
from tests.conftest import UNAUGMENTED, png, tiny_config


def test_what_an_image_shows_is_of_one_length_and_hardly_of_its_brightness():
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.random((4, 8, 8, 3), np.float32)).repeat(4, 1).repeat(4, 2)
  found = alexnet_features(images)
  assert found.shape == (4, 256)
  np.testing.assert_allclose((found**2).mean(-1), 1, rtol=1e-4)
  distance = lambda a, b: float(((a - b) ** 2).mean())
  assert distance(alexnet_features(0.9 * images[:1]), found[:1]) < 0.5 * distance(found[1:2], found[:1])
  seen = jax.grad(lambda x: (alexnet_features(x) * found[::-1]).sum())(images)
  assert np.isfinite(seen).all()


@pytest.mark.slow
def test_variations_are_of_the_colour_of_their_image():
  settings = {'model__width': 8, 'flow__ema': 0.9, 'flow__sample_steps': 4, 'optim__lr': 3e-3, 'train__steps': 100}
  task = TASKS['image_variations'].build(
    tiny_config('image_variations', **UNAUGMENTED, **settings), Spec((16, 16, 3), 0)
  )
  image = np.zeros((16, 16, 16, 3), np.uint8)
  image[:8, 4:12, 4:12, 0] = 255
  image[8:, 2:14, 2:14, 2] = 255
  batch, keys = {'image': image, 'label': np.zeros(16, np.int32)}, jax.random.split(jax.random.key(1), 16)
  state, step = task.init(jax.random.key(0)), jax.jit(task.train_step)
  for i in range(100):
    state, _ = step(state, batch, jax.vmap(lambda key: jax.random.fold_in(key, i))(keys))  # noqa: B023
  made = np.asarray(task.samplers['variations'].sample(state, batch, keys))
  error = lambda truth: np.abs(made - truth / 255).mean((1, 2, 3))
  assert (error(image) < error(image[::-1])).mean() > 0.9
  assert task.samplers['samples'].sample(state, {'label': batch['label']}, keys).shape == made.shape


def test_a_run_makes_variations_of_a_file_and_of_a_folder(data_dir, tmp_path, forked):
  config = tiny_config('image_variations', **UNAUGMENTED, train__steps=2, train__snapshot_every=2, flow__sample_steps=1)
  loop.train(prepare(config, data_dir, lambda _: None), tmp_path / 'run', lambda _: None)
  (tmp_path / 'images').mkdir()
  for i in range(4):
    pixels = np.random.default_rng(i).integers(0, 256, (30, 40), np.uint8)
    (tmp_path / 'images' / f'{i}.png').write_bytes(png(pixels))
  common = f'--workdir={tmp_path / "run"}', f'--data_dir={data_dir}', '--count=7'
  done = forked('experiments.sample', *common, f'--input={tmp_path / "images"}', f'--output={tmp_path / "out"}')
  assert done.returncode == 0, done.stderr
  assert len(list((tmp_path / 'out').glob('0*.png'))) == 7
  with Image.open(tmp_path / 'out' / 'grid.png') as grid:
    assert grid.size == (4 * 58 - 2, 2 * 58 - 2)  # a column for every image
  (tmp_path / 'images' / 'cut.png').write_bytes(png(pixels)[:100])
  some = forked('experiments.sample', *common, f'--input={tmp_path / "images"}', f'--output={tmp_path / "some.npz"}')
  assert some.returncode == 1
  assert 'error: 1 files are left out' in some.stderr
  assert len(np.load(tmp_path / 'some.npz')['samples']) == 7
  wrong = forked('experiments.sample', *common, '--input=x', '--sampler=samples', f'--output={tmp_path / "no"}')
  assert wrong.returncode == 2
  assert 'makes images from noise' in wrong.stderr
