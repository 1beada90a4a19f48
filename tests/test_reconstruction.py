"""PSNR and SSIM against their definitions written out, and what metrics say of a VAE."""

import numpy as np
import pytest
import scipy.ndimage

from genaug.metrics import EvalContext
from genaug.metrics.reconstruction import mean_lpips, psnr, ssim
from genaug.metrics.registry import METRICS, describe

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 16, 20, 3), dtype=np.uint8)
CLOSE = np.clip(IMAGES + RNG.normal(0, 20, IMAGES.shape), 0, 255).astype(np.uint8)


def test_psnr_is_that_of_the_mean_squared_error():
  expected = [20 * np.log10(255) - 10 * np.log10(np.mean((a / 1.0 - b) ** 2)) for a, b in zip(IMAGES, CLOSE)]
  np.testing.assert_allclose(psnr(IMAGES, CLOSE), expected, rtol=1e-12)
  np.testing.assert_allclose(psnr(IMAGES, IMAGES), 10 * np.log10(12 * 255**2))


def test_ssim_is_the_papers():
  window = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
  blur = lambda x: scipy.ndimage.convolve(x, np.multiply.outer(window, window) / window.sum() ** 2)[5:-5, 5:-5]
  c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
  for a, b, actual in zip(IMAGES / 1.0, CLOSE / 1.0, ssim(IMAGES, CLOSE)):
    channels = []
    for x, y in zip(np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)):
      mean_x, mean_y = blur(x), blur(y)
      var_x, var_y, covariance = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
      top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
      channels.append((top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean())
    np.testing.assert_allclose(actual, np.mean(channels), rtol=1e-5)
  np.testing.assert_allclose(ssim(IMAGES, IMAGES), 1, rtol=1e-6)


def test_images_smaller_than_the_window_of_ssim_are_refused():
  with pytest.raises(ValueError, match='8 x 8'):
    ssim(np.zeros((1, 8, 8, 1), np.uint8), np.zeros((1, 8, 8, 1), np.uint8))


def test_lpips_of_the_same_images_is_nothing_and_grows_with_what_differs():
  assert mean_lpips(IMAGES, IMAGES) == 0
  assert 0 < mean_lpips(CLOSE, IMAGES) < mean_lpips(IMAGES[::-1], IMAGES)


def _run(**values):
  return EvalContext(**dict.fromkeys(EvalContext._fields) | values)


def test_the_elbo_of_training_images_stands_beside_that_of_test_images():
  names = ('elbo_nats', 'log_likelihood_nats', 'kl_nats', 'bits_per_dim')
  outputs = {name: np.array([-3.0, -1.0], np.float32) for name in names}
  train = {'elbo_nats': np.array([-1.0], np.float32)}
  scores = METRICS['elbo'].compute(_run(outputs=lambda: outputs, train_outputs=lambda: train, split='test'))
  assert '[2 images of test; 1 training images: -1.00 nats]' in describe(scores)


def test_bits_of_many_draws_are_less_by_what_the_bound_is_tighter():
  outputs = {'elbo_nats': np.full(4, -70.0), 'bits_per_dim': np.full(4, 70 / 64 / np.log(2))}
  found = {'nats': np.full(4, -64.0), 'draws': np.full(4, 5000)}
  run = _run(
    outputs=lambda: outputs, on_demand=lambda name: found, test={'image': np.zeros((4, 8, 8, 1))}, split='test'
  )
  scores = METRICS['iwae'].compute(run)
  assert scores['eval/iwae_bits_per_dim'] == pytest.approx(1 / np.log(2))
  assert (
    describe(scores)
    == 'log p(x) at least -64.00 nats, 1.4427 bits/dim [5,000 draws of 4 images of test; their ELBO -70.00]'
  )


def test_what_the_encoder_costs_is_said_of_test_and_training_images():
  of = lambda encoder, refined: {
    'encoder_nats': np.full(4, encoder),
    'refined_nats': np.full(4, refined),
    'steps': [50],
  }
  run = _run(on_demand=lambda name: of(-90.0, -80.0), train_on_demand=lambda name: of(-70.0, -69.5), split='test')
  assert describe(METRICS['amortisation'].compute(run)) == (
    'ELBO -90.00 nats, -80.00 refined (gap 10.00) [50 gradient steps on the posterior of each of 4 images of test;'
    ' of 4 training images -70.00 nats, -69.50 refined (gap 0.50)]'
  )


@pytest.mark.parametrize('active', [0, 2])
def test_active_units_are_those_whose_posterior_moves_and_none_is_a_collapse(active):
  means = np.concatenate([RNG.normal(size=(500, active)), 0.05 * RNG.normal(size=(500, 3))], axis=1)
  scores = METRICS['latents'].compute(_run(outputs=lambda: {'posterior_means': means}, split='test'))
  assert describe(scores).startswith(f'{active} of {active + 3} latents active')
  assert ('WARNING: the posterior has collapsed' in describe(scores)) == (active == 0)


def test_codes_rates_and_the_discriminators_verdict_are_means_over_images():
  compute = lambda name, **outputs: METRICS[name].compute(_run(outputs=lambda: outputs, split='test'))
  scores = compute('codes', codes=np.array([[0, 0], [1, 3]]))
  assert (scores['eval/codes_used'], scores['eval/codes_perplexity']) == (3, pytest.approx(2**1.5))
  scores = compute('discriminator', taken_for_real=np.array([1, 0, 0.5, 1]))
  assert describe(scores) == 'the discriminator takes 62.5% of 4 images of test for real'
  rates = {'bits_per_pixel': np.array([1.0, 3.0]), 'squared_error': np.array([10.0, 20.0])}
  scores = compute('rate_distortion', **rates, rate_distortion=np.array([2.0, 4.0]))
  assert describe(scores).startswith('2.000 bits a pixel')
