"""A new task, network, loss, penalty, metric and operation: one entry each, and every shared part works with it."""

import importlib
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base, comparisons, gan_mnist5k, superres_own_images, vae_mnist5k
from configs.families import gan, superres, vae
from genaug.augment import OPS, Op, registry
from genaug.augment.image import Parameter, validated
from genaug.errors import InputError
from genaug.losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from genaug.losses.penalties import PENALTIES
from genaug.metrics import Metric
from genaug.metrics.registry import METRICS, describe
from genaug.models import Network
from genaug.models.registry import NETWORKS
from genaug.ranges import Number
from genaug.tasks import Definition, Sampler, Task, TrainState
from genaug.tasks.registry import TASKS
from genaug.tasks.updates import apply_gradients, gradients, optimizers, ranges_of
from genaug.training import checks, dry_run, loop
from genaug.training.experiment import prepare
from tests.conftest import EXTRA, ROOT, VARIANTS, tiny_config

quiet = lambda _: None


class _Blur(nn.Module):
  """One convolution of an image of any shape."""

  @nn.compact
  def __call__(self, x):
    return nn.sigmoid(nn.Conv(x.shape[-1], (3, 3))(x))


def _build(config, spec, axis_name=None):
  """Learns to brighten images by `toy.gain`."""
  network = NETWORKS[config.model.network].build(config, spec, axis_name)['filter']
  optimizer = optimizers(config, ('filter',))
  apply = lambda params, image: network.apply({'params': params}, image.astype(jnp.float32) / 255)

  def init(key):
    params = {'filter': network.init(key, jnp.zeros((1, *spec.image_shape)))['params']}
    return TrainState(
      jnp.zeros((), jnp.int32), params, {}, {}, {'filter': optimizer['filter'].init(params['filter'])}, {}
    )

  def errors(params, image):
    return ((apply(params, image) - jnp.clip(config.toy.gain * image / 255, 0, 1)) ** 2).mean((1, 2, 3))

  def train_step(state, batch, keys):
    def objective(params, part):
      loss = errors(params, part['image']).mean()
      return loss, {'toy_loss': loss}

    grads, metrics = gradients(objective, state.params['filter'], {'image': batch['image']}, 1, axis_name)
    params, opt = apply_gradients(optimizer, {'filter': grads}, state.opt, state.params)
    return state.replace(step=state.step + 1, params=params, opt=opt), metrics

  eval_step = lambda state, batch, keys: {'toy_error': errors(state.params['filter'], batch['image'])}
  filtered = Sampler(lambda state, batch, keys: apply(state.params['filter'], batch['image']), source='image')
  return Task(init, train_step, eval_step, {'filtered': filtered})


@pytest.fixture
def toy(monkeypatch):
  """The registries with an entry more each, and the config of the toy task."""
  ranges = {'toy.gain': Number(0, 4), **ranges_of(('filter',))}
  trained = lambda history: (
    {'trained': 'try more; try less'} if any('train/toy_loss' in line for line in history) else {}
  )
  definition = Definition(
    _build, ('filter',), ('image',), ('filtered', 'toy_error'), ranges, ('toy_loss',), 1, diagnose=trained
  )
  monkeypatch.setitem(TASKS, 'toy', definition)
  monkeypatch.setitem(NETWORKS, 'blur', Network(('filter',), lambda config, spec, axis_name: {'filter': _Blur()}))
  metric = Metric(
    compute=lambda run: {'eval/toy_error': float(run.outputs()['toy_error'].mean()), 'eval/toy_split': run.split},
    key='eval/toy_error',
    better='min',
    needs='toy_error',
    text=lambda scores: f'toy error {scores["eval/toy_error"]:.4f} [{scores["eval/toy_split"]}]',
  )
  monkeypatch.setitem(METRICS, 'toy_error', metric)
  c = base.get_config().unlock()
  c.task, c.model.network, c.toy = 'toy', 'blur', ConfigDict({'gain': 1.5})
  c.optim.update(base.optimizer_overrides('filter'))
  c.eval.update({'metrics': ('toy_error',), 'every': 10})
  c.train.update({'steps': 10, 'batch_size': 16, 'log_every': 5, 'checkpoint_every': 5, 'snapshot_every': 10})
  c.optim.lr = 1e-2
  return c.lock()


def test_a_new_task_network_and_metric_train_report_resume_and_are_checked(toy, data_dir, tmp_path):
  experiment = prepare(toy, data_dir, quiet)
  said = []
  scores = loop.train(experiment, tmp_path, said.append)
  assert describe(scores) in '\n'.join(said)
  assert [line for line in said if 'warning' in line] == ['step 5: warning: try more; try less']
  assert 0 < scores['eval/toy_error'] < 0.25
  assert (tmp_path / 'figures' / 'filtered_000010.png').exists()
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert [line['step'] for line in lines if 'train/toy_loss' in line] == [5, 10]
  said.clear()
  loop.train(experiment, tmp_path, said.append)
  assert 'is trained to step 10 already' in said[0]
  assert not any('warning' in line for line in said)
  described = dry_run.describe(experiment)
  assert 'filter: 10 parameters' in described
  assert 'filtered: float32[16, 28, 28, 1]' in described
  for key, value, problem in [
    ('toy.gain', 5.0, 'toy.gain = 5.0: out of range'),
    ('model.network', 'dcgan', "has no filter, which task 'toy' trains.*one of blur"),
    ('eval.metrics', ('elbo',), "task 'toy' has no such metric"),
    ('augment.mixup.p', 0.5, "task 'toy' has no use for mixed images"),
  ]:
    config = toy.copy_and_resolve_references()
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=f'(?s){problem}'):
      checks.check_config(config)


@pytest.mark.slow
def test_a_new_loss_and_a_new_penalty_train_a_gan(data_dir, monkeypatch):
  monkeypatch.setitem(ADVERSARIAL_LOSSES, 'toy', AdversarialLoss(lambda real, fake: (fake - real, -fake)))
  monkeypatch.setitem(PENALTIES, 'toy', lambda critic, real, fake, keys: critic(real, keys) ** 2)
  monkeypatch.setitem(TASKS['gan'].ranges, 'gan.toy', Number())
  config = tiny_config('gan').unlock()
  config.gan.toy = 0.5
  config.gan.loss = 'toy'
  experiment = prepare(config, data_dir, quiet)
  step, state = loop.make_step(experiment), experiment.init()
  device_data, batch = loop.make_batches(experiment)
  state, metrics = step(state, device_data, batch(0))
  assert float(metrics['toy']) > 0
  expected = metrics['d_fake'] - metrics['d_real'] + 0.5 * metrics['toy']
  np.testing.assert_allclose(metrics['d_loss'], expected, rtol=1e-5)
  assert isinstance(gan.get_config().gan.loss, str)


def _halve(image, factor):
  return image * factor


@validated(limit=Parameter(0, 1, '', 'The factor is uniform in [limit, 1].'))
def sample_toy(key, shape, limit=0.5):
  del shape
  return {'factor': jax.random.uniform(key, minval=limit)}


def test_a_new_operation_is_in_configs_in_their_table_and_in_training(data_dir, monkeypatch):
  monkeypatch.setitem(OPS, 'toy', Op('filter', sample_toy, _halve, doc='Made darker.'))
  assert (
    '| `toy` | filter | Made darker. | `limit=0.5` [0, 1]: The factor is uniform in [limit, 1]. |' in registry.table()
  )
  config = tiny_config('classify')
  assert config.augment.toy.to_dict() == {'p': 0.0, 'limit': 0.5}
  for name in ('rotate', 'translate', 'cutout'):
    config.augment[name].p = 0.0
  config.augment.toy.p = 1.0
  experiment = prepare(config, data_dir, quiet)
  batch = {name: array[:8] for name, array in experiment.dataset.train.arrays.items()}
  keys = jax.random.split(jax.random.key(0), 8)
  augmented = np.asarray(experiment.task.samplers['inputs'].sample(experiment.init(), batch, keys))
  factors = augmented.sum((1, 2, 3)) / (batch['image'] / 255).sum((1, 2, 3))
  assert ((factors >= 0.5) & (factors <= 1)).all()
  assert len(set(factors)) == 8
  config.augment.toy.limit = 2.0
  with pytest.raises(InputError, match=r'(?s)augment.toy.*limit = 2.0.*\[0, 1\]'):
    checks.check_config(config)


@pytest.mark.parametrize(
  ('task', 'variant'), [*((task, '') for task in TASKS), *((VARIANTS[name], name) for name in VARIANTS)]
)
def test_a_task_provides_what_it_declares(task, variant, data_dir):
  """And its train step runs under plain jit, without a mapped axis."""
  experiment = prepare(tiny_config(task, **(EXTRA[variant] if variant else {})), data_dir, quiet)
  built = TASKS[task].build(experiment.config, experiment.spec)
  batch = {name: array[:8] for name, array in experiment.dataset.train.arrays.items()}
  keys = jax.random.split(jax.random.key(0), 8)
  state = jax.eval_shape(built.init, jax.random.key(0))
  dues = [built.due(step) for step in (0, 1)] if built.due else []
  for due in [(), *((due,) for due in dues)]:  # decided while it runs, and before it is traced
    new_state, metrics = jax.eval_shape(built.train_step, state, batch, keys, *due)
    assert jax.tree.structure(new_state) == jax.tree.structure(state)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(new_state)] == [
      (x.shape, x.dtype) for x in jax.tree.leaves(state)
    ]
  assert set(TASKS[task].progress) <= metrics.keys()
  eval_step = experiment.task.eval_step  # never mapped, whatever axis the task was built with
  outputs = jax.eval_shape(eval_step, state, batch, keys) if eval_step else {}
  assert {*built.samplers, *outputs, *built.on_demand} == set(TASKS[task].provides)
  for on_demand in built.on_demand.values():
    assert all(value.shape[0] == 8 for value in jax.eval_shape(on_demand.compute, state, batch, keys).values())
  for sampler in built.samplers.values():
    fitted = {'fitted': jax.eval_shape(sampler.fit, outputs)} if sampler.fit else {}
    assert jax.eval_shape(sampler.sample, state, batch | fitted, keys).shape == batch['image'].shape


@pytest.mark.parametrize('path', sorted((ROOT / 'configs').glob('[a-z]*_*.py')), ids=lambda path: path.stem)
def test_every_config_passes_its_checks_and_is_short(path):
  config = importlib.import_module(f'configs.{path.stem}').get_config()
  checks.check_config(config)
  checks.check_model(config, (64, 64, 3), 10)
  assert len(path.read_text().splitlines()) <= 20


@pytest.mark.parametrize('study', comparisons.STUDIES)
def test_every_row_of_every_table_passes_its_checks(study):
  for table in comparisons.get_config(study).tables.values():
    for row in table.rows.values():
      checks.check_config(row.config)


@pytest.mark.parametrize(
  ('config', 'variants'), [(vae_mnist5k, vae), (gan_mnist5k, gan), (superres_own_images, superres)]
)
def test_every_variant_passes_its_checks(config, variants):
  for variant in variants.VARIANTS:
    checks.check_config(config.get_config(variant))
