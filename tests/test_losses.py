"""Losses against the formulas of the papers, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from genaug.losses import likelihood as losses
from genaug.losses.adversarial import ADVERSARIAL_LOSSES, lecam, two_players
from genaug.losses.penalties import PENALTIES
from genaug.losses.perceptual import gram, style_distance

REAL, FAKE = np.array([-2.0, 0.0, 3.0, 40.0]), np.array([1.5, -0.5, 0.0, -40.0])
D_REAL, D_FAKE = scipy.special.expit(REAL), scipy.special.expit(FAKE)

EXPECTED = {
  'minimax': (
    -scipy.special.log_expit(REAL) - scipy.special.log_expit(-FAKE),
    scipy.special.log_expit(-FAKE),
  ),
  'non_saturating': (
    -scipy.special.log_expit(REAL) - scipy.special.log_expit(-FAKE),
    -scipy.special.log_expit(FAKE),
  ),
  'least_squares': ((REAL - 1) ** 2 / 2 + FAKE**2 / 2, (FAKE - 1) ** 2 / 2),
  'hinge': (np.maximum(0, 1 - REAL) + np.maximum(0, 1 + FAKE), -FAKE),
  'wasserstein': (FAKE - REAL, -FAKE),
  'relativistic': (-scipy.special.log_expit(REAL - FAKE), -scipy.special.log_expit(FAKE - REAL)),
}


@pytest.mark.parametrize('name', ADVERSARIAL_LOSSES)
def test_adversarial_losses_are_the_papers(name):
  actual = ADVERSARIAL_LOSSES[name](jnp.array(REAL), jnp.array(FAKE))
  for loss, expected in zip(actual, EXPECTED[name]):
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize('name', ADVERSARIAL_LOSSES)
def test_the_sign_is_about_the_logit_at_which_the_discriminator_can_not_tell(name):
  """There, by symmetry of real and generated images, the loss of one logit for all of them is the least.

  Where a range of logits has the least loss, in its middle.
  """
  loss = ADVERSARIAL_LOSSES[name]
  logits = jnp.linspace(-2, 2, 401)
  losses_of_one = loss(logits, logits)[0]
  undecided = jnp.round(logits[losses_of_one < losses_of_one.min() + 1e-6].mean(), 2)
  assert loss.real_sign(jnp.full(8, undecided), jnp.full(8, undecided)).mean() == 0
  np.testing.assert_array_equal(loss.real_sign(undecided + jnp.array([-0.1, 0.1]), jnp.full(2, undecided)), [-1, 1])


@pytest.mark.parametrize('name', ADVERSARIAL_LOSSES)
def test_accuracy_is_that_of_two_classes_or_of_pairs(name):
  loss = ADVERSARIAL_LOSSES[name]
  real, fake = jnp.array([2.0, -1.0, 2.0, -2.0]), jnp.array([-1.0, -2.0, 3.0, 2.0])
  expected = [1, 1, 0, 0] if loss.boundary is None else [1, 0.5, 0.5, 0]
  np.testing.assert_array_equal(loss.accuracy(real, fake), expected)


def test_lecam_is_the_papers():
  expected = (REAL - 0.5) ** 2 + (FAKE + 2.0) ** 2
  actual = lecam(jnp.array(REAL), jnp.array(FAKE), average_real=-2.0, average_fake=0.5)
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize('name', ADVERSARIAL_LOSSES)
def test_the_two_players_pull_fake_logits_apart(name):
  slopes = jax.jacobian(lambda fake: jnp.stack(ADVERSARIAL_LOSSES[name](jnp.zeros(1), fake)).sum(-1))(jnp.full(1, 0.3))
  assert slopes[0, 0] > 0 > slopes[1, 0]


@pytest.mark.parametrize('name', ADVERSARIAL_LOSSES)
def test_gradients_stay_finite_at_extreme_logits(name):
  extreme = jnp.array([-1e4, 1e4])
  grads = jax.grad(lambda r, f: sum(loss.sum() for loss in ADVERSARIAL_LOSSES[name](r, f)), argnums=(0, 1))(
    extreme, extreme[::-1]
  )
  assert all(bool(jnp.isfinite(g).all()) for g in grads)


def test_penalties_are_gradient_norms_of_a_critic_with_known_gradients():
  """critic(x) = w . x^2 / 2 has the gradient w x."""
  rng = np.random.default_rng(0)
  real, fake, w = rng.normal(size=(5, 4, 4, 2)), rng.normal(size=(5, 4, 4, 2)), rng.normal(size=(4, 4, 2))
  keys = jax.random.split(jax.random.key(0), 5)
  critic = lambda images, keys: (0.5 * w * images**2).sum((1, 2, 3))
  penalty = {name: np.asarray(p(critic, jnp.array(real), jnp.array(fake), keys)) for name, p in PENALTIES.items()}
  np.testing.assert_allclose(penalty['r1'], 0.5 * ((w * real) ** 2).sum((1, 2, 3)), rtol=1e-5)
  np.testing.assert_allclose(penalty['r2'], 0.5 * ((w * fake) ** 2).sum((1, 2, 3)), rtol=1e-5)
  # Somewhere on the line between the two ...
  shares = np.linspace(0, 1, 100_001)
  for value, r, f in zip(penalty['gradient_penalty'], real, fake):
    on_line = np.sqrt(sum((wi * (ri + shares * (fi - ri))) ** 2 for wi, ri, fi in zip(w.ravel(), r.ravel(), f.ravel())))
    assert np.abs((on_line - 1) ** 2 - value).min() < 1e-2
  # ... uniformly: between zeros and ones the norm of this critic's gradient is the share.
  zeros, keys = jnp.zeros((500, 2, 2, 1)), jax.random.split(jax.random.key(0), 500)
  critic = lambda images, keys: (images**2).sum((1, 2, 3)) / 4
  drawn = 1 - np.sqrt(PENALTIES['gradient_penalty'](critic, zeros, zeros + 1, keys))
  assert scipy.stats.kstest(drawn, 'uniform').pvalue > 1e-3


def test_kl_is_the_integral():
  mean, log_var = np.array([[0.3, -1.0]]), np.array([[0.5, -0.7]])
  grid = np.linspace(-12, 12, 200_001)
  expected = 0.0
  for m, v in zip(mean[0], log_var[0]):
    q, log_p = scipy.stats.norm(m, np.exp(v / 2)), scipy.stats.norm().logpdf(grid)
    expected += np.trapezoid(q.pdf(grid) * (q.logpdf(grid) - log_p), grid)
  actual = losses.kl_to_standard_normal(jnp.array(mean), jnp.array(log_var)).sum(-1)
  np.testing.assert_allclose(actual, [expected], rtol=1e-5)


def test_kl_is_its_monte_carlo_estimate():
  mean, log_var = jnp.array([[0.3, -1.0]]), jnp.array([[0.5, -0.7]])
  z = mean + jnp.exp(log_var / 2) * jax.random.normal(jax.random.key(0), (200_000, 2))
  ratio = losses.normal_log_density(z, mean, log_var) - losses.normal_log_density(z, 0 * mean, 0 * log_var)
  np.testing.assert_allclose(ratio.mean(0), losses.kl_to_standard_normal(mean, log_var)[0], atol=0.01)


def test_bernoulli_is_scipys():
  x = np.array([0.0, 1.0, 1.0, 0.0]).reshape(1, 2, 2, 1)
  logits = np.array([-3.0, 2.0, -1.0, 0.5]).reshape(1, 2, 2, 1)
  expected = scipy.stats.bernoulli(scipy.special.expit(logits)).logpmf(x).sum()
  np.testing.assert_allclose(losses.bernoulli(jnp.array(x), jnp.array(logits)), [expected], rtol=1e-5)


def test_gaussian_is_scipys():
  rng = np.random.default_rng(0)
  x, logits, log_scale = rng.random((2, 3, 3, 2)), rng.normal(size=(2, 3, 3, 2)), np.array([-1.0, 0.5])
  expected = scipy.stats.norm(scipy.special.expit(logits), np.exp(log_scale)).logpdf(x).sum((1, 2, 3))
  actual = losses.gaussian(jnp.array(x), jnp.array(logits), jnp.array(log_scale))
  np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize('log_scale', [-5.0, -2.0, 0.0])
@pytest.mark.parametrize('logit', [-4.0, 0.0, 1.3])
def test_discretized_logistic_is_a_distribution_over_256_levels(log_scale, logit):
  with jax.enable_x64():
    levels = jnp.arange(256.0).reshape(256, 1, 1, 1) / 255
    log_mass = losses.discretized_logistic(levels, jnp.full((256, 1, 1, 1), logit), jnp.array([log_scale]))
    assert abs(float(jnp.exp(log_mass).sum()) - 1) < 1e-6
  logistic = scipy.stats.logistic(scipy.special.expit(logit), np.exp(log_scale))
  middle = np.arange(1, 255) / 255
  expected = logistic.cdf(middle + 0.5 / 255) - logistic.cdf(middle - 0.5 / 255)
  np.testing.assert_allclose(jnp.exp(log_mass[1:255]), expected, rtol=1e-3, atol=1e-9)


def test_a_mixture_of_logistics_is_a_distribution_over_256_levels():
  """Of grey images; of colours the levels of each channel are, given those before it, as the next test sees."""
  mixture = losses.LIKELIHOODS['logistic_mixture']
  with jax.enable_x64():
    outputs = 3 * jax.random.normal(jax.random.key(1), (1, 1, 1, mixture.outputs(1)), jnp.float64)
    levels = (jnp.arange(256.0) / 255).reshape(256, 1, 1, 1)
    log_mass = jax.jit(mixture.log_prob)(levels, outputs.repeat(256, 0), None)
    assert abs(float(jnp.exp(log_mass).sum()) - 1) < 1e-6


@pytest.mark.parametrize('name', [name for name, found in losses.LIKELIHOODS.items() if found.levels])
def test_probabilities_of_levels_are_those_of_the_pixels(name):
  likelihood, rng = losses.LIKELIHOODS[name], np.random.default_rng(0)
  x = jnp.asarray(rng.integers(0, 256, (2, 4, 4, 3)) / 255, jnp.float32)
  outputs = 2 * jax.random.normal(jax.random.key(0), (2, 4, 4, likelihood.outputs(3)))
  log_scale = jnp.array([-2.0, -3.0, -1.0])
  of_channel, total = jax.jit(likelihood.levels, static_argnums=3), 0
  for channel in range(3):
    levels = of_channel(x, outputs, log_scale, channel)
    np.testing.assert_allclose(np.exp(np.asarray(levels, np.float64)).sum(-1), 1, rtol=2e-6)
    chosen = jnp.round(255 * x[..., channel, None]).astype(jnp.int32)
    total += jnp.take_along_axis(levels, chosen, axis=-1).sum((1, 2, 3))
    known = x.at[..., channel:].set(0.3)  # later channels must not matter
    np.testing.assert_allclose(of_channel(known, outputs, log_scale, channel), levels, atol=1e-5)
  np.testing.assert_allclose(total, jax.jit(likelihood.log_prob)(x, outputs, log_scale), rtol=1e-4)


def test_the_mean_of_a_mixture_of_logistics_is_that_of_its_values():
  """Within what the tails beyond black and white move it."""
  mixture = losses.LIKELIHOODS['logistic_mixture']
  outputs = jax.random.normal(jax.random.key(3), (1, 1, 1, mixture.outputs(1))).at[..., -5:].set(-3.0)
  levels = jnp.arange(256.0) / 255
  mass = jnp.exp(jax.jit(mixture.log_prob)(levels.reshape(-1, 1, 1, 1), outputs.repeat(256, 0), None))
  np.testing.assert_allclose(jax.jit(mixture.mean)(outputs)[0, 0, 0, 0], (mass * levels).sum(), atol=2e-3)


def test_a_component_of_green_moves_with_red():
  """All else equal: 0.2 up where red is, for a slope of 0.2."""
  mixture = losses.LIKELIHOODS['logistic_mixture']
  k = losses.COMPONENTS
  parts = np.zeros((1 + 3 + 3 + 3, k), np.float32)
  parts[7] = np.arctanh(0.2)  # green by red
  mean = lambda red: jax.jit(mixture.mean)(jnp.array(parts_with(parts, red)).reshape(1, 1, 1, -1))[0, 0, 0]

  def parts_with(parts, red):
    found = parts.copy()
    found[1] = red
    return found

  dark, bright = mean(-20.0), mean(20.0)
  np.testing.assert_allclose(bright - dark, [1, 0.2, 0], atol=1e-5)


def test_binarisation_has_the_grey_values_as_its_means_and_is_the_same_once_or_another_every_time():
  grey = jnp.arange(16.0).reshape(1, 4, 4, 1) / 15 * jnp.ones((4000, 1, 1, 1))
  keys = jax.random.split(jax.random.key(0), 8000).reshape(2, 4000)
  dynamic = [losses.binarised(part, grey) for part in keys]
  np.testing.assert_allclose(dynamic[0].mean(0), grey[0], atol=0.04)
  assert (dynamic[0] != dynamic[1]).any()
  images = jnp.round(jax.random.uniform(jax.random.key(1), (4000, 4, 4, 1)) * 255) / 255
  static = [losses.binarised_once(part, images) for part in keys]
  np.testing.assert_array_equal(*static)
  np.testing.assert_allclose(static[0].mean(0), images.mean(0), atol=0.04)
  assert abs(np.corrcoef((static[0] - images)[:, 0, 0, 0], (static[0] - images)[:, 1, 1, 0])[0, 1]) < 0.06


def test_discretized_logistic_gradients_are_finite_for_far_misses():
  x = jnp.array([0.0, 1.0, 0.5]).reshape(3, 1, 1, 1)
  grads = jax.grad(lambda logits, s: losses.discretized_logistic(x, logits, s).sum(), argnums=(0, 1))(
    jnp.array([30.0, -30.0, 30.0]).reshape(3, 1, 1, 1), jnp.array([-7.0])
  )
  assert all(bool(jnp.isfinite(g).all()) for g in grads)


def test_bits_per_dim_of_the_uniform_distribution_is_eight():
  dims = 12
  discrete = losses.bits_per_dim(jnp.array(dims * np.log(256)), dims, 'discretized_logistic')
  density = losses.bits_per_dim(jnp.array(0.0), dims, 'gaussian')  # density 1 on [0, 1]
  binary = losses.bits_per_dim(jnp.array(dims * np.log(2)), dims, 'bernoulli')
  np.testing.assert_allclose([discrete, density, binary], [8, 8, 1], rtol=1e-6)


@pytest.mark.parametrize('name', ['least_squares', 'relativistic'])
def test_each_player_moves_itself_alone(name):
  """The gradients of the sum are those of either loss with the other player fixed."""
  loss = ADVERSARIAL_LOSSES[name]
  rng = np.random.default_rng(0)
  real, fake, w = (jnp.array(rng.normal(size=shape), jnp.float32) for shape in ((3, 2, 2), (3, 2, 2), (2,)))
  critic = lambda w, x: jnp.tanh(x * w[0] + w[1])

  def both(w, fake):
    d_loss, g_loss, _ = two_players(loss, critic, w, real, fake)
    return (d_loss + g_loss).sum()

  actual = jax.grad(both, (0, 1))(w, fake)
  mean = lambda x: x.mean((1, 2)).sum()
  np.testing.assert_allclose(
    actual[0], jax.grad(lambda w: mean(loss(critic(w, real), critic(w, fake))[0]))(w), rtol=1e-5
  )
  np.testing.assert_allclose(
    actual[1], jax.grad(lambda fake: mean(loss(critic(w, real), critic(w, fake))[1]))(fake), rtol=1e-5
  )


def test_style_is_what_channels_have_in_common_wherever_they_are():
  rng = np.random.default_rng(0)
  x, y = rng.normal(size=(2, 2, 4, 3, 5)).astype(np.float32)
  expected = np.stack([image.reshape(12, 5).T @ image.reshape(12, 5) / 60 for image in x])
  np.testing.assert_allclose(gram(x), expected, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(gram(x[:, ::-1, ::-1]), gram(x), rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(
    style_distance([x, y], [gram(y), gram(y)]), ((gram(x) - gram(y)) ** 2).sum((1, 2)), rtol=1e-4
  )
