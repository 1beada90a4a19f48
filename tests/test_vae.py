"""Variational autoencoders: levels of latents, priors, bounds of a whole model, and what a config may combine."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from sklearn.mixture import GaussianMixture

from genaug.errors import InputError
from genaug.losses.likelihood import kl_to_standard_normal, normal_log_density
from genaug.models import Spec, mixture
from genaug.tasks.registry import TASKS
from genaug.tasks.vae import model, standardised_posterior
from genaug.training import checks, dry_run, loop
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import prepare
from tests.conftest import FEW, UNAUGMENTED, tiny_config

SPEC = Spec((8, 8, 1), 0)
KEYS = jax.random.split(jax.random.key(0), 4)
BATCH = {
  'image': np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8),
  'label': np.zeros(4, np.int32),
}
LABEL = jnp.zeros(4, jnp.int32)
VARIANTS = {
  'conv_vae': {},
  'resnet_vae': {'model__network': 'resnet_vae'},
  'ladder_vae': {'model__network': 'ladder_vae', 'vae__free_bits': 0.1},
  'iwae': {'vae__samples': 3},
  'dreg': {'vae__samples': 3, 'vae__gradient': 'doubly_reparameterized'},
  'vamp': {'vae__prior': 'vamp', 'vae__pseudo_inputs': 3},
  'mixture': {'vae__likelihood': 'logistic_mixture', 'vae__kl_warmup_steps': 5, 'vae__beta': 0.5},
  'fixed': {'vae__likelihood': 'gaussian', 'vae__sigma': 0.1, 'model__conditional': True},
}


def _config(name: str, **overrides):
  return tiny_config('vae', model__z_dim=3, **VARIANTS.get(name, {}), **overrides)


def _moved(params):
  """Parameters anywhere but at their initialisation, where blocks are identities."""
  leaves, tree = jax.tree.flatten(params)
  noise = lambda i, leaf: 0.2 * jax.random.normal(jax.random.key(i), leaf.shape)
  return tree.unflatten([leaf + noise(i, leaf) for i, leaf in enumerate(leaves)])


def _noise(*shape, seed=5):
  return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize('name', VARIANTS)
def test_training_improves_the_bound_and_its_parts_are_finite(name):
  config = _config(name, optim__lr=1e-2, augment__rotate__p=0.0, augment__translate__p=0.0, augment__cutout__p=0.0)
  spec = SPEC._replace(num_classes=2 * config.model.conditional)
  task = TASKS[config.task].build(config, spec)
  state, step = task.init(jax.random.key(0)), jax.jit(task.train_step)
  losses, warm_up = [], config.vae.kl_warmup_steps
  for i in range(30):
    keys = jax.vmap(lambda key: jax.random.fold_in(key, i))(KEYS)  # noqa: B023
    state, metrics = step(state, BATCH, keys)
    losses.append(float(metrics['loss']))
    if 'elbo_nats' in metrics and not config.vae.free_bits:
      weight = config.vae.beta * min(1, (i + 1) / warm_up if warm_up else 1)
      expected = (weight - 1) * metrics['kl_nats'] - metrics['elbo_nats']
      np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-4, atol=1e-3)
  assert np.isfinite(losses).all()
  assert np.mean(losses[-5:]) < np.mean(losses[warm_up : warm_up + 5])
  outputs = jax.jit(task.eval_step)(state, BATCH, KEYS)
  assert all(np.isfinite(value).all() and len(value) == 4 for value in outputs.values())
  fitted = {name: {'fitted': sampler.fit(outputs)} if sampler.fit else {} for name, sampler in task.samplers.items()}
  sampled = jax.jit(lambda fitted: {n: s.sample(state, BATCH | fitted[n], KEYS) for n, s in task.samplers.items()})
  for name, images in sampled(fitted).items():
    assert images.shape == (4, 8, 8, 1), name
    assert 0 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize('name', ['conv_vae', 'ladder_vae'])
def test_kl_in_closed_form_is_the_mean_of_the_log_ratio(name):
  vae = model(_config(name), SPEC)
  params = _moved(vae.init(jax.random.key(0)))
  images = jnp.asarray(BATCH['image'][:1] / 255.0, jnp.float32)

  @jax.jit
  @jax.vmap
  def both(noise):
    levels = vae.decode(params, noise[None], LABEL[:1], vae.encode(params, images, LABEL[:1]))[-1]
    log_q = sum(normal_log_density(level.z, *level.posterior).sum() for level in levels)
    return kl_to_standard_normal(*standardised_posterior(levels)).sum(), log_q - vae.log_prior(params, levels)[0]

  closed, ratio = both(_noise(4000, vae.latents))
  error = (closed - ratio).std() / np.sqrt(len(ratio))
  assert abs(closed.mean() - ratio.mean()) < 4 * error + 1e-3
  assert closed.mean() > 5 * error, 'nothing to compare'


def test_finer_levels_depend_on_coarser_ones_and_generated_images_on_all():
  vae = model(_config('ladder_vae'), SPEC)
  params = _moved(vae.init(jax.random.key(0)))
  noise = _noise(1, vae.latents)
  outputs, _, levels = vae.decode(params, noise, LABEL[:1])
  assert [level.z.shape[1:] for level in levels] == [(3,), (4, 4, 4)]
  assert all(level.posterior is None for level in levels)
  for place in (0, vae.latents - 1):
    changed, _, other = vae.decode(params, noise.at[0, place].add(1.0), LABEL[:1])
    assert abs(changed - outputs).max() > 1e-4
    assert (abs(other[1].prior.mean - levels[1].prior.mean).max() > 1e-4) == (place == 0)


def test_a_vamp_prior_is_the_mixture_of_the_posteriors_of_its_inputs():
  vae = model(_config('vamp'), SPEC)
  params = _moved(vae.init(jax.random.key(0)))
  levels = vae.decode(params, _noise(4, 3), LABEL)[-1]
  mean, log_var = vae.encode(params, jax.nn.sigmoid(params['prior']['pseudo_inputs']), LABEL[:3])
  z = np.asarray(levels[0].z)
  expected = [
    np.log(np.mean([scipy.stats.norm(m, np.exp(v / 2)).pdf(one).prod() for m, v in zip(mean, log_var)])) for one in z
  ]
  np.testing.assert_allclose(vae.log_prior(params, levels), expected, rtol=1e-4)
  drawn = vae.from_prior(params, _noise(20_000, vae.noise))
  np.testing.assert_allclose(drawn.mean(0), mean.mean(0), atol=0.05)
  np.testing.assert_allclose(drawn.var(0), jnp.exp(log_var).mean(0) + mean.var(0), rtol=0.05)


def test_more_draws_give_a_tighter_bound():
  config = _config('', vae__eval_samples=500, vae__likelihood='bernoulli_static')
  task = TASKS['vae'].build(config, SPEC)
  state = task.init(jax.random.key(0))
  state = state.replace(params=_moved(state.params))
  evaluate, estimate = jax.jit(task.eval_step), jax.jit(task.on_demand['iwae'].compute)
  keys = [jax.vmap(lambda key: jax.random.fold_in(key, i))(KEYS) for i in range(20)]  # noqa: B023
  elbos = [evaluate(state, BATCH, one)['elbo_nats'] for one in keys]
  bounds = [estimate(state, BATCH, one)['nats'] for one in keys]
  assert (np.mean(bounds, axis=0) > np.mean(elbos, axis=0)).all()
  assert np.std(bounds, axis=0).max() < 1
  state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))  # posterior = prior, pixels are fair coins
  for nats in (estimate(state, BATCH, KEYS)['nats'], evaluate(state, BATCH, KEYS)['elbo_nats']):
    np.testing.assert_allclose(nats, -64 * np.log(2), rtol=1e-4)


@pytest.mark.parametrize('network', ['conv_vae', 'ladder_vae'])
def test_gradient_steps_on_the_posterior_of_each_image_raise_its_bound(network):
  config = _config('', model__network=network, vae__likelihood='bernoulli_static')
  task = TASKS['vae'].build(config, SPEC)
  state = task.init(jax.random.key(0))
  state = state.replace(params=_moved(state.params))
  estimate = jax.jit(task.on_demand['amortisation'].compute)
  found = estimate(state, BATCH, KEYS)
  assert (found['refined_nats'] > found['encoder_nats']).all()
  backwards = estimate(state, jax.tree.map(lambda x: x[::-1], BATCH), KEYS[::-1])
  np.testing.assert_allclose(backwards['refined_nats'][::-1], found['refined_nats'], rtol=1e-3)


def test_free_bits_are_those_of_latents_that_say_nothing():
  """Whose divergence is below them: no gradient pushes it further down."""
  config = _config('', vae__free_bits=1e3)
  task = TASKS['vae'].build(config, SPEC)
  _, metrics = jax.jit(task.train_step)(task.init(jax.random.key(0)), BATCH, KEYS)
  assert float(metrics['loss'] + metrics['elbo_nats'] + metrics['kl_nats']) == pytest.approx(3e3, rel=1e-5)


REFUSED = {
  'vae.beta': {'vae__samples': 2, 'vae__beta': 2.0},
  'vae.free_bits': {'vae__samples': 2, 'vae__free_bits': 0.1},
  'vae.gradient': {'vae__gradient': 'doubly_reparameterized'},
  'vae.prior': {'vae__prior': 'vamp', 'model__conditional': True},
  'vae.sigma': {'vae__sigma': 0.1},
}


@pytest.mark.parametrize('key', REFUSED)
def test_settings_that_exclude_each_other_are_refused(key):
  with pytest.raises(InputError, match=key):
    TASKS['vae'].check(tiny_config('vae', **REFUSED[key]))


def test_images_come_from_noise_unless_others_are_asked_for(data_dir):
  """So that a study which trains on samples is never given reconstructions, of other images and classes."""
  experiment = prepare(tiny_config('vae'), data_dir, lambda _: None)
  state, evaluator = experiment.init(), Evaluator(experiment)
  state = state.replace(params=_moved(state.params))
  made = {name: np.concatenate(list(evaluator.samples(state, 6, None, name))) for name in (None, 'samples')}
  np.testing.assert_array_equal(made[None], made['samples'])


def test_a_dry_run_describes_samplers_that_are_fitted_to_training_images(data_dir):
  described = dry_run.describe(prepare(tiny_config('vae', **FEW), data_dir, str))
  assert 'samples_mixture: float32[16, 28, 28, 1]' in described


@pytest.mark.parametrize('network', ['fsq', 'hyperprior', 'dcgan'])
def test_networks_of_other_tasks_are_refused(network):
  with pytest.raises(InputError, match=r'model\.network'):
    checks.check_config(tiny_config('vae', model__network=network))


def test_a_mixture_is_fitted_as_scikit_learn_fits_it():
  rng = np.random.default_rng(0)
  centres, which = np.array([[3, 0], [-3, 1], [0, 4]]), rng.choice(3, 2000, p=[0.5, 0.3, 0.2])
  z = (centres[which] + rng.normal(size=(2000, 2)) @ np.array([[1, 0.5], [0, 0.7]])).astype(np.float32)
  found = mixture.fit(jnp.asarray(z), 3)
  theirs = GaussianMixture(3, random_state=0, n_init=3).fit(z)
  mine = scipy.special.logsumexp(mixture.log_densities(found, z), axis=1).mean()
  assert mine == pytest.approx(theirs.score(z), abs=2e-3)
  np.testing.assert_allclose(np.sort(np.exp(found.log_weights)), np.sort(theirs.weights_), atol=0.01)
  drawn = mixture.draw(found, _noise(20_000, 3 + 2))
  np.testing.assert_allclose(drawn.mean(0), z.mean(0), atol=0.1)
  np.testing.assert_allclose(np.cov(drawn.T), np.cov(z.T), atol=0.2)


def test_samples_of_the_mixture_are_where_training_images_are(data_dir):
  """Latents that none of them has are never decoded: of a posterior far from the prior, as it is at first."""
  experiment = prepare(tiny_config('vae', model__z_dim=3), data_dir, lambda _: None)
  state = experiment.init()
  params = dict(state.params)
  params['encoder'] = jax.tree.map(jnp.copy, params['encoder'])
  params['encoder']['Dense_1']['bias'] = jnp.array([5.0, 5.0, 5.0, -9.0, -9.0, -9.0])
  state, sampler = state.replace(params=params), experiment.task.samplers['samples_mixture']
  split = experiment.dataset.train.take(np.arange(200))
  outputs = Evaluator(experiment).outputs(state, split)
  latents = mixture.draw(sampler.fit(outputs), _noise(1000, mixture.COMPONENTS + 3))
  np.testing.assert_allclose(latents.mean(0), outputs['latents'].mean(0), atol=0.2)
  assert latents.mean() > 3


@pytest.mark.slow
def test_a_collapse_is_called_so_and_what_is_advised_prevents_it(data_dir, tmp_path):
  """A high learning rate from the first step on: the KL term is cheapest to lower."""
  settings = {'optim__lr': 1e-2, 'train__steps': 200, 'train__checkpoint_every': 200, 'eval__metrics': ('latents',)}
  said = {}
  for warm_up in (0, 200):
    config = tiny_config('vae', model__z_dim=8, model__width=8, vae__kl_warmup_steps=warm_up, **settings, **UNAUGMENTED)
    lines = []
    loop.train(prepare(config, data_dir, lambda _: None), tmp_path / f'{warm_up}', lines.append)
    said[warm_up] = ' '.join(lines)
  assert '0 of 8 latents active' in said[0]
  assert 'the posterior has collapsed' in said[0]
  assert 'vae.kl_warmup_steps' in said[0]
  assert 'collapsed' not in said[200]
