"""Super-resolution: images are made small as the references do, networks beat interpolation, tiles equal the whole."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs.families import superres as family
from genaug.augment import crops
from genaug.data import sources
from genaug.errors import InputError
from genaug.metrics.super_resolution import SUPER_RESOLUTION, cropped, luma
from genaug.models import Spec
from genaug.models.superres import Upscaler as Network
from genaug.models.superres import cubic_upscaled, receptive_radius
from genaug.offline.upscaling import Upscaler
from genaug.tasks.registry import TASKS
from genaug.tasks.superres import bicubic, blind_degradation
from genaug.training import checks
from tests.conftest import UNAUGMENTED, tiny_config, tiny_flags

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (36, 60, 3), np.uint8)
SPEC = Spec((24, 24, 1), 0)
KEYS = jax.random.split(jax.random.key(0), 8)


def _keys_kernel(x):
  x = np.abs(x)
  far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
  return (1.5 * x**3 - 2.5 * x**2 + 1) * (x <= 1) + far * ((x > 1) & (x <= 2))


def imresize(image, factor, border='edge'):
  """MATLAB's, of 8 bits: as its `contributions` counts pixels from 1, and rounded after each dimension."""
  for axis in (0, 1):
    side = image.shape[axis]
    goal = int(np.ceil(side * factor))
    shrink, width = min(factor, 1), 4 / min(factor, 1)
    u = np.arange(1, goal + 1) / factor + 0.5 * (1 - 1 / factor)
    indices = np.floor(u - width / 2)[:, None] + np.arange(np.ceil(width) + 2)
    weights = shrink * _keys_kernel(shrink * (u[:, None] - indices))
    weights /= weights.sum(1, keepdims=True)
    if border == 'edge':
      indices = np.clip(indices, 1, side)
    else:
      mirrored = np.concatenate([np.arange(1, side + 1), np.arange(side, 0, -1)])
      indices = mirrored[(indices.astype(int) - 1) % (2 * side)]
    taken = np.moveaxis(image.astype(float), axis, 0)[indices.astype(int) - 1]
    image = np.clip(np.round(np.moveaxis(np.einsum('op,op...->o...', weights, taken), 0, axis)), 0, 255)
  return image


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_images_are_made_small_as_by_matlab(scale):
  small = np.asarray(jax.jit(bicubic, static_argnums=1)(PHOTO / np.float32(255), scale)) * 255
  difference = np.abs(small - imresize(PHOTO, 1 / scale))
  assert small.shape == (36 // scale, 60 // scale, 3)
  assert difference.max() < 1.01  # where a sum lies half-way between two levels
  assert (difference > 0.01).mean() < 0.005


@pytest.mark.parametrize('border', ['edge', 'reflect'])
def test_resize_continues_images_as_both_versions_of_matlab_do(border):
  smooth = np.clip(np.round(imresize(PHOTO, 1 / 4) / 2 + 64), 0, 255).astype(np.uint8)  # no pass leaves [0, 255]
  for factor in (1 / 3, 2):
    size = tuple(int(np.ceil(side * factor)) for side in smooth.shape[:2])
    found = np.asarray(crops.resize(smooth, *size, 'cubic', border=border), float)
    assert np.abs(found - imresize(smooth, factor, border)).max() <= 1
  assert (crops.resize(smooth, 3, 5, 'cubic') != crops.resize(smooth, 3, 5, 'cubic', border=border)).any()
  with pytest.raises(ValueError, match=r"border = 'constant': must be None or one of edge, reflect, wrap"):
    crops.resize(smooth, 3, 5, border='constant')


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_a_network_starts_as_cubic_interpolation(scale):
  small = RNG.uniform(0.3, 0.7, (1, 7, 5, 3)).astype(np.float32)
  network = Network(3, scale, width=4, blocks=1)
  params = jax.jit(network.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
  expected = crops.resize(small[0], 7 * scale, 5 * scale, 'cubic', border='edge')
  np.testing.assert_allclose(jax.jit(network.apply)(params, small)[0], expected, atol=1e-6)
  np.testing.assert_allclose(cubic_upscaled(jnp.ones((1, 4, 4, 1)), scale), 1, atol=1e-6)


def test_luma_is_matlabs():
  images = np.array([[[[0, 0, 0], [255, 255, 255], [255, 0, 0], [12, 200, 77]]]], np.uint8)
  y = luma(images)[0, 0, :, 0]
  np.testing.assert_allclose(y[:3], [16, 235, 16 + 65.481], atol=1e-9)
  assert y[3] == pytest.approx(16 + (65.481 * 12 + 128.553 * 200 + 24.966 * 77) / 255)
  np.testing.assert_array_equal(luma(images[..., :1]), images[..., :1])
  assert cropped(images.repeat(9, 1).repeat(2, 2), 3).shape == (1, 3, 2, 3)


def test_blurred_images_score_worse_in_everything():
  sharp = RNG.integers(0, 256, (2, 18, 18, 3), np.uint8).repeat(4, 1).repeat(4, 2)
  less, more = (np.stack([crops.resize(x, 72, 72, 'cubic') for x in _small(sharp, side)]) for side in (36, 18))
  samples = {'upscaled': less, 'bicubic': more}
  said = {'scale': np.full(2, 2.0), 'blind': np.zeros(2)}
  shown = {'samples_from_test': samples.get, 'test': {'image': sharp}, 'split': 'test', 'cache': {}}
  run = SimpleNamespace(outputs=lambda: said, **shown)
  scores = SUPER_RESOLUTION.compute(run)
  for name, sign in {'psnr': 1, 'psnr_y': 1, 'ssim': 1, 'ssim_y': 1, 'lpips': -1}.items():
    assert sign * scores[f'eval/super_{name}'] > sign * scores[f'eval/bicubic_{name}'], name
  y = [16 + images[:, 2:-2, 2:-2].astype(float) @ [65.481, 128.553, 24.966] / 255 for images in (less, sharp)]
  expected = np.mean(10 * np.log10(255**2 / ((y[0] - y[1]) ** 2).mean((1, 2))))
  assert scores['eval/super_psnr_y'] == pytest.approx(expected)
  assert '[2 images of test, 2 pixels of each border left out;' in SUPER_RESOLUTION.text(scores)


def _small(images: np.ndarray, side: int) -> list:
  return [crops.resize(image, side, side, 'cubic') for image in images]


def test_blind_damage_differs_between_images_and_not_between_batches():
  config = family.get_config('blind')
  images = jnp.tile(PHOTO[None, :24, :24] / np.float32(255), (8, 1, 1, 1))
  small = jax.jit(jax.vmap(lambda key, image: blind_degradation(config, key, image, 2)))
  found = np.asarray(small(KEYS, images))
  assert len({image.tobytes() for image in found}) == 8
  np.testing.assert_allclose(small(KEYS[2:5], images[2:5]), found[2:5], atol=0.5 / 255)
  plain = np.asarray(bicubic(images[0], 2))
  assert ((found - plain) ** 2).mean() > 1e-4
  config.superres.update({'blur': (0.0, 0.0), 'noise': 0.0, 'jpeg_quality': (100.0, 100.0)})
  grey = images[0, ..., :1]  # of colours, JPEG halves the resolution
  np.testing.assert_allclose(blind_degradation(config, KEYS[0], grey, 2), bicubic(grey, 2), atol=1.1 / 255)


def _squares(count: int) -> np.ndarray:
  """Of two pixels a side: what is left of them once small says all, and interpolation blurs it."""
  return RNG.integers(0, 256, (count, 12, 12, 1), np.uint8).repeat(2, 1).repeat(2, 2)


def _trained(steps: int, **settings):
  task = TASKS['superres'].build(tiny_config('superres', **UNAUGMENTED, **{'superres__ema': 0.5} | settings), SPEC)
  state, step = jax.jit(task.init)(jax.random.key(0)), jax.jit(task.train_step)
  for i in range(steps):
    batch = {'image': _squares(8), 'label': np.zeros(8, np.int32)}
    state, metrics = step(state, batch, jax.vmap(lambda key: jax.random.fold_in(key, i))(KEYS))  # noqa: B023
    assert all(np.isfinite(value) for value in metrics.values())
  return task, state, metrics


def test_a_network_learns_more_than_interpolation():
  settings = {'model__width': 8, 'model__blocks': 1, 'superres__patch': 0, 'optim__lr': 1e-2, 'train__steps': 40}
  task, state, _ = _trained(40, **settings)
  batch = {'image': _squares(8), 'label': np.zeros(8, np.int32)}
  error = {
    name: float(((sampler.sample(state, batch, KEYS) - batch['image'] / 255) ** 2).mean())
    for name, sampler in task.samplers.items()
  }
  assert error['upscaled'] < 0.5 * error['bicubic']
  outputs = task.eval_step(state, batch, KEYS)
  assert (outputs['scale'] == 2).all()
  assert not outputs['blind'].any()


def test_l1_is_alone_first_and_then_the_discriminator_learns_too():
  settings = {'model__blocks': 1, 'superres__adversarial': 0.1, 'superres__l1_steps': 2, 'train__steps': 4}
  task = TASKS['superres'].build(tiny_config('superres', **UNAUGMENTED, **settings), SPEC)
  state = start = jax.jit(task.init)(jax.random.key(0))
  step = jax.jit(task.train_step)
  moved = lambda state, role: max(
    float(abs(a - b).max()) for a, b in zip(*(jax.tree.leaves(x.params[role]) for x in (state, start)), strict=True)
  )
  batch = {'image': _squares(8), 'label': np.zeros(8, np.int32)}
  losses = []
  for i in range(3):
    state, metrics = step(state, batch, KEYS, task.due(i))
    losses.append(float(metrics['d_loss']))
    assert moved(state, 'upscaler') > 0
    assert (moved(state, 'discriminator') > 0) == (i >= 2)
  assert losses[:2] == [0, 0]
  assert losses[2] > 0


@pytest.mark.slow
def test_the_step_itself_decides_alike_when_l1_is_alone():
  """Where several steps are one call."""
  settings = {'model__blocks': 1, 'superres__adversarial': 0.1, 'superres__l1_steps': 2, 'train__steps': 4}
  task = TASKS['superres'].build(tiny_config('superres', **UNAUGMENTED, **settings), SPEC)
  told = itself = task.init(jax.random.key(0))
  step, batch = jax.jit(task.train_step), {'image': _squares(8), 'label': np.zeros(8, np.int32)}
  for i in range(4):
    told, expected = step(told, batch, KEYS, task.due(i))
    itself, actual = step(itself, batch, KEYS)
    for name in expected.keys() - {'d_accuracy'}:  # a count; Adam makes roundings of two programs larger
      np.testing.assert_allclose(actual[name], expected[name], rtol=1e-2, atol=1e-4, err_msg=f'{name} {i}')
  counts = lambda state: [leaf for leaf in jax.tree.leaves(state.opt) if leaf.dtype == jnp.int32]
  assert counts(told) == counts(itself)


@pytest.mark.slow
def test_features_of_vgg_lead_as_well():
  settings = {'model__blocks': 1, 'superres__perceptual': 0.01, 'superres__l1': 0.0, 'optim__lr': 1e-2}
  first = float(_trained(1, **settings)[-1]['perceptual'])
  assert float(_trained(20, **settings)[-1]['perceptual']) < 0.8 * first


def test_tiles_equal_the_whole():
  config = tiny_config('superres', model__blocks=2, model__scale=3, superres__patch=12)
  task = TASKS['superres'].build(config, Spec((24, 24, 3), 0))
  state = jax.eval_shape(task.init, jax.random.key(0))
  rough = jax.tree.map(lambda x: 0.2 * jax.random.normal(jax.random.key(1), x.shape), state.params)  # the last is not 0
  state = state.replace(ema={'upscaler': rough['upscaler']})
  image = RNG.integers(0, 256, (41, 30, 4), np.uint8)
  made = {tile: Upscaler(config, Spec((24, 24, 3), 0), state, tile) for tile in (0, 16)}
  whole, tiled = (made[tile].upscaled(image[..., :3] / np.float32(255)) for tile in (0, 16))
  assert whole.shape == (123, 90, 3)
  np.testing.assert_allclose(tiled, whole, atol=1e-4 * np.abs(whole).max())
  assert receptive_radius(2) == 7
  far = np.asarray(image)
  far[:, 15 + receptive_radius(2) + 1 :] ^= 255
  changed = np.abs(made[0].upscaled(far[..., :3] / np.float32(255)) - whole).max((0, 2)) > 1e-4
  assert not changed[: 3 * 16].any()
  assert changed[3 * 17 : 3 * 18].any()  # tiles see no more than they need
  alpha = np.asarray(crops.resize(image[..., 3:], 123, 90, 'cubic', border='edge'))
  assert np.abs(made[16](image)[..., 3:].astype(int) - alpha).max() <= 1


REFUSED = {
  'an odd patch': ({'superres__patch': 15}, r'superres.patch = 15.*multiple of 2 from 8 on, or 0'),
  'a patch for no discriminator': (
    {'superres__patch': 12, 'superres__adversarial': 0.1},
    r'superres.patch = 12.*and a discriminator.*multiple of 8 from 8 on',
  ),
  'no loss': ({'superres__l1': 0.0}, r'superres.l1 = 0.0: nothing to learn from'),
  'a turned pair': ({'superres__blur': (2.0, 1.0)}, r'superres.blur = \(2.0, 1.0\).*\(0.2, 1.5\)'),
  'JPEG of 0': ({'superres__jpeg_quality': (0.0, 90.0)}, r'superres.jpeg_quality = \(0.0, 90.0\)'),
  'three numbers': ({'superres__blur': (1.0, 2.0, 3.0)}, r'superres.blur.*not two numbers'),
  'a network without upscaler': ({'model__network': 'dcgan'}, r'has no discriminator|has no upscaler.*one of edsr'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_is_refused_in_words(name):
  settings, message = REFUSED[name]
  with pytest.raises(InputError, match=f'(?s){message}'):
    checks.check_config(tiny_config('superres', **settings))


def test_images_that_do_not_fit_are_refused_in_words():
  with pytest.raises(InputError, match=r'images of 28 x 28 pixels: sides must be multiples of model.scale = 3'):
    checks.check_model(tiny_config('superres', model__scale=3, superres__patch=12), (28, 28, 1), 10)
  with pytest.raises(InputError, match=r'superres.patch = 32: larger than images of 24 x 24'):
    TASKS['superres'].build(tiny_config('superres', superres__patch=32), SPEC)


def test_a_run_is_scored_and_enlarges_files(data_dir, forked, tmp_path):
  flags = tiny_flags(
    data__name='mnist5k',
    data__train_split='train[:64]',
    data__test_split='test[:20]',
    model__blocks=1,
    superres__patch=16,
    train__steps=5,
    eval__every=5,
    eval__samples=20,
    eval__metrics="('super_resolution',)",
  )
  run, files = tmp_path / 'run', tmp_path / 'files'
  shared = ('--workdir', run, '--data_dir', data_dir)
  trained = forked('experiments.train', '--config=configs/superres_own_images.py:blind', *shared, *flags)
  assert trained.returncode == 0, trained.stderr[-3000:]
  assert 'super-resolution x2 of blindly degraded images: PSNR' in trained.stdout
  assert 'cubic interpolation' in trained.stdout
  assert '20 images of test[:20], 2 pixels of each border left out' in trained.stdout
  (files / 'sub').mkdir(parents=True)
  Image.fromarray(PHOTO[..., 0]).save(files / 'a.png')
  Image.fromarray(PHOTO[..., :2], 'LA').save(files / 'sub' / 'b.png')
  done = forked('experiments.upscale', *shared, '--input', files, '--output', tmp_path / 'out', '--tile', '16')
  assert done.returncode == 0, done.stderr[-3000:]
  assert np.asarray(Image.open(tmp_path / 'out' / 'a.png')).shape == (72, 120)
  assert np.asarray(Image.open(tmp_path / 'out' / 'sub' / 'b.png')).shape == (72, 120, 2)
  Image.fromarray(PHOTO).save(files / 'colours.png')
  Image.fromarray(PHOTO[..., 0].astype(np.uint16)).save(files / 'deep.png')
  refused = forked('experiments.upscale', *shared, '--input', files, '--output', tmp_path / 'again')
  assert refused.returncode == 2
  assert 'colours.png is not grey' in refused.stderr
  assert 'deep.png has more than 8 bits' in refused.stderr
  again = forked('experiments.upscale', *shared, '--input', files / 'a.png', '--output', tmp_path / 'out')
  assert again.returncode == 2
  assert 'is not an empty directory' in again.stderr


def test_photographs_are_taken_as_they_are_where_they_are_large_enough(tmp_path):
  for i in range(3):
    (tmp_path / 'photos' / 'any').mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (31, 40, 3), np.uint8)).save(tmp_path / 'photos' / 'any' / f'{i}.png')
  config = family.get_config().data
  config.update({'name': 'image_folder', 'folder': str(tmp_path / 'photos'), 'image_size': 24, 'resize': False})
  found = sources.load(config, tmp_path / 'data', log=lambda _: None)
  images = np.concatenate([split.arrays['image'] for split in (found.train, found.test)])
  files = [np.asarray(Image.open(path)) for path in sorted((tmp_path / 'photos' / 'any').iterdir())]
  assert {x.tobytes() for x in images} == {x[3:27, 8:32].tobytes() for x in files}
  config.image_size = 32
  with pytest.raises(InputError, match=r'(?s)3 of 3 files:.*has 40 x 31 pixels, fewer than 32 a side'):
    sources.load(config, tmp_path / 'data', log=lambda _: None)
