"""What restoration and compression are compared with does what it is taken for."""

import json

import numpy as np
import pytest
import scipy.ndimage

from experiments.benchmarks import coders, restorers
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
  assert 'workdir = []' in program('experiments.bench', table).stderr
