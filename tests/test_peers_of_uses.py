"""What restoration and compression are compared with does what it is taken for."""

import json

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from experiments.benchmarks import coders, restorers, upscalers
from genaug.errors import InputError
from genaug.models import Spec
from genaug.offline.restoration import damage
from genaug.training import loop
from genaug.training.experiment import prepare
from tests.conftest import noise, program, tiny_config


def test_bd_rate_is_the_mean_difference_of_bytes_at_the_same_quality():
  curve = [(1000, 28.0), (2000, 31.0), (4000, 35.0), (8000, 40.0)]
  half = [(size / 2, quality) for size, quality in curve]
  assert coders.bd_rate(half, curve) == pytest.approx(-50)
  assert coders.bd_rate(curve, half) == pytest.approx(100)
  assert coders.bd_rate(curve, [(size, quality + 20) for size, quality in curve]) is None
  # Lines in log bytes: the area between them by hand, over the PSNR that both reach.
  line, other = [(10.0**q, q) for q in (2, 3, 4)], [(10 ** (2 * q - 3), q) for q in (3, 4, 5)]
  assert coders.bd_rate(line, other) == pytest.approx(100 * (10**-0.5 - 1))


@pytest.mark.parametrize(
  ('table', 'runs', 'problem'),
  [
    *((table, [], 'workdir = []: missing: table') for table in ('restore', 'compress', 'stylize', 'upscale')),
    *((table, ['--workdir=a,b'], 'is of one run') for table in ('restore', 'stylize')),
  ],
)
def test_tables_of_runs_say_which_runs_they_are_of(table, runs, problem, forked):
  done = forked('experiments.bench', table, *runs)
  assert done.returncode == 2
  assert problem in done.stderr


def test_tiles_of_a_mosaic_are_its_images():
  images = [noise(4, 5, 3) for _ in range(7)]
  tiles = coders._tiles(coders._mosaic(images), (4, 5, 3))
  np.testing.assert_array_equal(tiles[:7], images)


def test_a_mosaic_holds_every_image_once():
  images = [noise(4, 5, 3) for _ in range(7)]
  mosaic = coders._mosaic(images)
  cells = {mosaic[i : i + 4, j : j + 5].tobytes() for i in (0, 4, 8) for j in (0, 5, 10)}
  assert mosaic.shape == (12, 15, 3)
  assert {image.tobytes() for image in images} < cells


def test_files_of_others_hold_the_images():
  image = noise(16, 16, 3)
  for options in coders._LOSSLESS.values():
    np.testing.assert_array_equal(coders._decoded(coders._file(image, **options), 3), image)


@pytest.mark.parametrize('name', restorers.PROBLEMS)
def test_classical_methods_restore_smooth_images(name):
  kind, settings = restorers.PROBLEMS[name]
  rng = np.random.default_rng(0)
  images = scipy.ndimage.gaussian_filter(rng.random((2, 32, 32, 1)), (0, 2, 2, 0)) * 3 - 1
  images = np.clip(images, 0, 1).astype(np.float32)
  change = damage(kind, Spec((32, 32, 1), 0), **settings)
  observed, seen = restorers._damaged(name, change, images, rng)
  error = lambda found: ((found - images) ** 2).mean()
  for title, method in restorers.methods(kind, **settings).items():
    errors = [error(restorers._run(method, observed, seen, parameter)) for parameter in method.parameters]
    assert min(errors) < error(observed), title
    if kind == 'missing':
      found = restorers._run(method, observed, seen, method.parameters[0])
      np.testing.assert_allclose(found[seen > 0], images[seen > 0], atol=1e-6)


@pytest.mark.parametrize('channels', [1, 3])
def test_resizers_agree_on_smooth_images(channels):
  smooth = scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((24, 36, channels)), (3, 3, 0), mode='wrap')
  image = np.round(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
  made = {name: resize(image, 2) for name, resize in upscalers.RESIZERS.items()}
  for name, found in made.items():
    assert found.shape == (48, 72, channels)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - made['PIL BICUBIC']).max() <= 4, name  # half a pixel of shift is 12
  assert np.abs(made['bicubic, as MATLAB'].astype(int) - made['PIL BICUBIC']).max() <= 1  # both have a = -0.5


def test_greyscale_images_are_scored_for_runs_of_colour_and_others_are_refused(tmp_path):
  Image.fromarray(grey := noise(12, 10)).save(tmp_path / 'grey.png')
  Image.fromarray(colour := noise(12, 10, 3)).save(tmp_path / 'colour.png')
  (first, second), greyscale = upscalers._read(tmp_path, 3)
  assert greyscale == [False, True]
  np.testing.assert_array_equal(first, colour)
  np.testing.assert_array_equal(second, grey[..., None].repeat(3, -1))
  with pytest.raises(InputError, match=r'colour\.png: not greyscale'):
    upscalers._read(tmp_path, 1)
  Image.fromarray(noise(12, 10, 4)).save(tmp_path / 'with_opacity.png')
  with pytest.raises(InputError, match=r'with_opacity\.png: not RGB'):
    upscalers._read(tmp_path, 3)


def test_luma_of_a_greyscale_file_is_the_image_itself():
  grey, colour = noise(40, 40, 1).repeat(3, -1), noise(40, 40, 3)
  made = [np.clip(image.astype(int) + 5, 0, 255).astype(np.uint8) for image in (grey, colour)]
  of_grey, of_colour = upscalers._scores(made, [grey, colour], [True, False], 2)
  inside = [x[2:-2, 2:-2].astype(float) for x in (made[0], grey)]
  expected = 10 * np.log10(255**2 / np.mean((inside[0] - inside[1]) ** 2))
  assert of_grey['psnr_y'] == pytest.approx(expected, rel=1e-6)
  assert of_grey['psnr'] == pytest.approx(expected, rel=1e-6)
  assert of_colour['psnr_y'] - of_colour['psnr'] > 1  # 16 to 235: errors are 219 / 255 as large


@pytest.mark.slow
def test_runs_of_super_resolution_are_compared_on_a_folder(data_dir, tmp_path):
  runs = {'plain': {}, 'blind': {'superres__degradation': 'blind'}, 'fourfold': {'model__scale': 4}}
  for name, settings in runs.items():
    config = tiny_config('superres', superres__patch=16, train__steps=5, **settings)
    loop.train(prepare(config, data_dir, lambda _: None), tmp_path / name, lambda _: None)
  (tmp_path / 'images').mkdir()
  for i, size in enumerate([(70, 81), (64, 64)]):
    Image.fromarray(noise(*size)).save(tmp_path / 'images' / f'{i}.png')
  output = tmp_path / 'result.json'

  def run(names, *flags):
    workdirs = ','.join(str(tmp_path / name) for name in names)
    return program('experiments.bench', 'upscale', f'--workdir={workdirs}', f'--data_dir={data_dir}', *flags)

  done = run(('plain', 'blind'), f'--folder={tmp_path / "images"}', f'--output={output}')
  assert done.returncode == 0, done.stderr
  result = json.loads(output.read_text())
  assert len(result['inputs']) == 2
  for found in result['inputs'].values():
    assert {'plain', 'blind', *upscalers.RESIZERS} == set(found['methods'])
    assert set(found['more_than_bicubic']) == {'plain', 'blind'}
  with Image.open(tmp_path / 'result_bicubic.png') as image:
    assert image.size == (4 * 98 - 2, 2 * 98 - 2)  # a row each: original, bicubic, plain, blind
  assert 'runs of several scales' in run(('plain', 'fourfold'), f'--folder={tmp_path / "images"}').stderr
  assert 'folder = None: what table upscale is of' in run(('plain',)).stderr


@pytest.mark.slow
@pytest.mark.parametrize(('table', 'likelihood'), [('restore', 'gaussian'), ('compress', 'discretized_logistic')])
def test_a_trained_run_is_compared(table, likelihood, data_dir, tmp_path):
  config = tiny_config('vae', vae__likelihood=likelihood, train__steps=20, train__checkpoint_every=20)
  loop.train(prepare(config, data_dir, lambda _: None), tmp_path / 'run', lambda _: None)
  output, flags = tmp_path / 'result.json', (f'--data_dir={data_dir}', '--images=20')
  done = program('experiments.bench', table, f'--workdir={tmp_path / "run"}', f'--output={output}', *flags)
  assert done.returncode == 0, done.stderr
  result = json.loads(output.read_text())
  assert '20' in result['what']
  if table == 'restore':
    assert len(list(tmp_path.glob('result_*.png'))) == len(result['problems']) == len(restorers.PROBLEMS)
    assert all(found['methods']['VAE']['psnr'] > 0 for found in result['problems'].values())
  else:
    assert result['bytes']['genaug'] <= 1.05 * (
      result['bound_bytes'] + result['initial_bytes'] + result['header_bytes']
    )
