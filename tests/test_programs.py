"""The programs beside train, run as a user runs them on a finished run."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from genaug.errors import InputError
from genaug.tasks import from_noise
from genaug.training import evaluator, loop, workdir
from genaug.training.experiment import load_trained, prepare
from tests.conftest import FEW, ROOT, random_params, save_untrained_run, tiny_config


@pytest.fixture(scope='module')
def finished(data_dir, tmp_path_factory):
  """A tiny VAE with its scores."""
  directory = tmp_path_factory.mktemp('finished')
  config = tiny_config('vae', train__steps=10, eval__metrics=('elbo',), eval__every=10, **FEW)
  scores = loop.train(prepare(config, data_dir, log=lambda _: None), directory, log=lambda _: None)
  return directory, scores


def test_evaluate_finds_what_training_found(finished, data_dir, forked):
  directory, scores = finished
  done = forked('experiments.evaluate', f'--workdir={directory}', f'--data_dir={data_dir}')
  assert done.returncode == 0, done.stderr
  again = json.loads((directory / 'evaluation_000010.json').read_text())
  assert again['eval/elbo_nats'] == pytest.approx(scores['eval/elbo_nats'], rel=1e-6)
  assert f'ELBO {scores["eval/elbo_nats"]:.2f} nats' in done.stdout
  whole = (directory / 'evaluation_000010.json').read_bytes()
  arguments = [f'--workdir={directory}', f'--data_dir={data_dir}', '--metrics=latents', '--samples=40']
  done = forked('experiments.evaluate', *arguments)
  assert done.returncode == 0, done.stderr
  assert (directory / 'evaluation_000010_40_samples_latents.json').exists()
  assert (directory / 'evaluation_000010.json').read_bytes() == whole, 'a partial one replaces no whole one'


def test_sample_writes_images_and_overwrites_nothing(finished, data_dir, tmp_path, forked):
  directory, _ = finished
  arguments = [
    f'--workdir={directory}',
    f'--data_dir={data_dir}',
    f'--output={tmp_path / "out"}',
    '--count=5',
    '--nearest',
    '--traverse',
    '--map',
  ]
  done = forked('experiments.sample', *arguments)
  assert done.returncode == 0, done.stderr
  files = sorted(p.name for p in (tmp_path / 'out').iterdir())
  assert files == [*(f'{i:06d}.png' for i in range(5)), 'grid.png', 'latents.png', 'nearest.png', 'traversals.png']
  with Image.open(tmp_path / 'out' / 'traversals.png') as image:
    rows = np.asarray(image)[: 8 * 58].reshape(-1, image.width)
  middle = [rows[i * 58 : i * 58 + 56, 4 * 58 : 4 * 58 + 56] for i in range(8)]
  assert all((cell == middle[0]).all() for cell in middle), 'a latent of 0 is the same wherever it is'
  assert any((rows[i * 58 : i * 58 + 56, :56] != middle[0]).any() for i in range(8))
  with Image.open(tmp_path / 'out' / '000003.png') as image:
    assert image.size == (28, 28)
    assert np.ptp(np.asarray(image)) > 0
  again = forked('experiments.sample', *arguments)
  assert again.returncode == 2
  assert 'name a new --output' in again.stderr


@pytest.fixture(scope='module')
def flow(data_dir, tmp_path_factory):
  """A tiny flow that is told classes."""
  config = tiny_config('flow', flow__sample_steps=1)
  experiment = prepare(config, data_dir, log=lambda _: None)
  state = experiment.init()
  moved = {name: random_params(getattr(state, name), seed) for seed, name in enumerate(('params', 'ema'))}
  return save_untrained_run(tmp_path_factory.mktemp('flow'), experiment, state.replace(**moved))


def test_sample_interpolates_with_a_column_for_every_class(flow, tmp_path, forked):
  out = tmp_path / 'out'
  done = forked('experiments.sample', f'--workdir={flow}', f'--output={out}', '--count=70', '--interpolate')
  assert done.returncode == 0, done.stderr
  with Image.open(out / 'grid.png') as grid, Image.open(out / '000013.png') as image:
    assert grid.size == (10 * 58 - 2, 6 * 58 - 2)
    second = np.asarray(grid)[58 : 58 + 56, 3 * 58 : 3 * 58 + 56]
    np.testing.assert_array_equal(second[::2, ::2], np.asarray(image))  # the second of class 3
  with Image.open(out / 'interpolation.gif') as gif:
    assert (gif.n_frames, gif.size) == (64, (56, 56))
  with Image.open(out / 'interpolation.png') as walks:
    assert walks.size == (9 * 58 - 2, 8 * 58 - 2)


def test_samples_as_arrays_depend_on_guidance_truncation_and_classes(flow, tmp_path, forked):
  def samples(name, *flags):
    path = tmp_path / f'{name}.npz'
    done = forked('experiments.sample', f'--workdir={flow}', f'--output={path}', '--count=5', *flags)
    assert done.returncode == 0, done.stderr
    return np.load(path)

  default = samples('default')
  assert (default['samples'].shape, default['samples'].dtype) == ((5, 28, 28, 1), np.uint8)
  np.testing.assert_array_equal(default['label'], range(5))
  for flag in ('--guidance=3', '--sample_steps=2'):
    assert (samples(flag[2:7], flag)['samples'] != default['samples']).any(), flag
  np.testing.assert_array_equal(samples('again')['samples'], default['samples'])
  assert (samples('seed', '--seed=1')['samples'] != default['samples']).any()
  none = samples('none', '--truncation=0', '--classes=7,3')
  np.testing.assert_array_equal(none['label'], [7, 3, 7, 3, 7])
  np.testing.assert_array_equal(none['samples'], none['samples'][[0, 1, 0, 1, 0]])  # of no noise the same again


@pytest.mark.parametrize(
  ('flags', 'problem'),
  [
    (('--classes=eleven',), "classes = 'eleven': no such class"),
    (('--output=OUT.npz', '--nearest'), 'pictures need a directory'),
    (('--map',), 'has no latents of images'),
    (('--input=photos',), 'makes images from noise alone'),
    (('--text=cat',), 'reads no captions'),
    (('--sampler=nonsense',), 'has no such sampler'),
  ],
)
def test_sample_refuses_what_can_not_be(flow, tmp_path, flags, problem, forked):
  flags = [flag.replace('OUT', str(tmp_path / 'out')) for flag in (f'--output={tmp_path / "new"}', *flags)]
  done = forked('experiments.sample', f'--workdir={flow}', *flags)
  assert done.returncode == 2
  assert problem in done.stderr


@pytest.mark.parametrize(
  ('flags', 'problem'),
  [
    (('--guidance=2',), 'of task flow, and this run is of task vae'),
    (('--sampler=reconstructions', '--interpolate'), 'makes images from others'),
    (('--classes=3',), 'this run is not told classes'),
  ],
)
def test_sample_refuses_what_the_task_has_not(finished, data_dir, tmp_path, flags, problem, forked):
  flags = [f'--workdir={finished[0]}', f'--data_dir={data_dir}', f'--output={tmp_path / "new"}', *flags]
  done = forked('experiments.sample', *flags)
  assert done.returncode == 2
  assert problem in done.stderr
  assert not (tmp_path / 'new').exists()


def test_walks_begin_and_end_at_samples_and_keep_the_length_of_the_noise():
  a, b = np.random.default_rng(0).normal(size=(2, 500)).astype(np.float32)
  walk = evaluator._slerp(a, b, 5)
  np.testing.assert_allclose(walk[[0, -1]], [a, b], atol=1e-5)
  lengths = np.linalg.norm(walk, axis=1)
  assert (lengths > 0.95 * min(lengths[0], lengths[-1])).all()


@pytest.mark.parametrize(('truncation', 'deviation'), [(0.0, 0.0), (0.5, 0.5)])
def test_walks_are_of_truncated_noise(data_dir, truncation, deviation):
  experiment = prepare(tiny_config('vae'), data_dir, log=lambda _: None)
  normal = jax.vmap(lambda key: jax.random.normal(key, (28 * 28,)))
  as_image = from_noise(normal, lambda state, batch, noise: noise.reshape(-1, 28, 28, 1))
  shown = experiment._replace(task=experiment.task._replace(samplers={'samples': as_image}))
  walks = evaluator.Evaluator(shown, truncation).walks({}, jax.random.key(0), 'samples')
  np.testing.assert_allclose(walks.std(axis=(2, 3, 4)), deviation, rtol=0.1)


def test_a_run_without_metrics_is_told_which_there_are(flow, forked):
  done = forked('experiments.evaluate', f'--workdir={flow}')
  assert done.returncode == 2
  assert 'metrics' in done.stderr
  assert 'distances' in done.stderr


@pytest.mark.parametrize(
  ('flag', 'problem'), [('--checkpoint=7', 'its checkpoints are of steps 5, 10'), ('--metrics=distances,fid', 'fid')]
)
def test_evaluate_refuses_what_is_not_there(finished, data_dir, flag, problem, forked):
  done = forked('experiments.evaluate', f'--workdir={finished[0]}', f'--data_dir={data_dir}', flag)
  assert done.returncode == 2
  assert problem in done.stderr


def test_a_run_of_another_version_says_so(finished, data_dir, tmp_path):
  old = tmp_path / 'old'
  shutil.copytree(finished[0], old)
  config = json.loads((old / 'config.json').read_text())
  del config['data']['per_class']
  (old / 'config.json').write_text(json.dumps(config))
  with pytest.raises(InputError, match=r'data.per_class.*of another version'):
    load_trained(old, data_dir, 'latest')


def test_a_second_process_may_not_train_in_the_same_workdir(tmp_path):
  held = workdir.lock(tmp_path)
  with pytest.raises(InputError, match='another process is training here'):
    workdir.lock(tmp_path)
  held.close()
  workdir.lock(tmp_path).close()


def test_the_readme_shows_the_results_as_they_are(tmp_path, forked):
  done = forked('experiments.report', '--check')
  assert done.returncode == 0, done.stdout
  stale = tmp_path / 'README.md'
  shutil.copy(ROOT / 'README.md', stale)
  stale.write_text(stale.read_text().replace('<!-- configs -->', '<!-- configs --> '))
  assert forked('experiments.report', '--check', f'--readme={stale}').returncode == 1


STUDY = """
from ml_collections import ConfigDict
from tests.conftest import tiny_config
from tests.test_programs import FEW

def get_config():
  config = tiny_config('vae', train__steps=2, eval__metrics=('elbo',), eval__every=1, **FEW)
  rows = {name: {'title': name.upper(), 'config': config.copy_and_resolve_references()} for name in ('b', 'a')}
  rows['a']['config'].optim.lr = 1e-4
  table = {'title': 'a table', 'seeds': 1, 'order': ('b', 'a'), 'rows': rows}
  return ConfigDict({'order': ('table',), 'tables': {'table': table}}).lock()
"""


def test_a_table_is_trained_row_by_row_and_never_twice(data_dir, tmp_path, forked):
  (tmp_path / 'study.py').write_text(STUDY)
  arguments = [f'--config={tmp_path / "study.py"}', f'--workdir={tmp_path / "runs"}', f'--data_dir={data_dir}']
  first = forked('experiments.compare', *arguments, '--rows=a')
  assert first.returncode == 0, first.stderr
  whole = forked('experiments.compare', *arguments)
  assert whole.returncode == 0, whole.stderr
  content = json.loads((tmp_path / 'runs' / 'generators_table.json').read_text())
  assert content['order'] == ['b', 'a']
  for name, row in content['rows'].items():
    assert row['title'] == name.upper()
    assert (row['config']['optim']['lr'] == 1e-4) == (name == 'a')
    (run,) = row['runs']
    assert (run['seed'], [line['step'] for line in run['curve']]) == (0, [1])
    assert row['summary']['eval/elbo_nats']['mean'] == run['eval/elbo_nats']
    assert (tmp_path / 'runs' / f'generators_table_{name}.png').exists()
  said = [line for line in whole.stdout.splitlines() if line.startswith('table, ')]
  assert said == ['table, b, seed 0']

  other = forked('experiments.compare', *arguments, '--config.tables.table.rows.b.config.optim.lr=0.1')
  assert other.returncode == 2
  assert 'was made with another config (optim.lr: ' in other.stderr
  assert forked('experiments.report', tmp_path / 'runs', f'--output={tmp_path / "report.html"}').returncode == 0
  page = (tmp_path / 'report.html').read_text()
  assert all(f'generators_table.json, {row}' in page for row in content['rows'])
  (tmp_path / 'runs' / 'generators_table.json').write_text('[]')
  damaged = forked('experiments.compare', *arguments)
  assert damaged.returncode == 2
  assert 'is no table of this program' in damaged.stderr
  unknown = forked('experiments.compare', *arguments, '--rows=c')
  assert unknown.returncode == 2
  assert 'any of b, a' in unknown.stderr


def test_seeds_of_one_config_are_averaged(data_dir, tmp_path, forked):
  (tmp_path / 'tiny.py').write_text(
    'from tests.conftest import tiny_config\nfrom tests.test_programs import FEW\n\ndef get_config():\n'
    "  return tiny_config('vae', train__steps=2, eval__metrics=('elbo',), **FEW)\n"
  )
  arguments = [f'--config={tmp_path / "tiny.py"}', f'--workdir={tmp_path / "runs"}', f'--data_dir={data_dir}']
  none = forked('experiments.seeds', *arguments, '--seeds=', f'--output={tmp_path / "tiny.json"}')
  assert 'must be different whole numbers' in none.stderr
  done = forked('experiments.seeds', *arguments, '--seeds=3,5', f'--output={tmp_path / "tiny.json"}')
  assert done.returncode == 0, done.stderr
  content = json.loads((tmp_path / 'tiny.json').read_text())
  assert [run['seed'] for run in content['runs']] == [3, 5]
  assert content['runs'][0]['eval/elbo_nats'] != content['runs'][1]['eval/elbo_nats']
  assert 'eval/elbo_nats: ' in done.stdout
  with Image.open(tmp_path / 'tiny.png') as picture:
    assert picture.size[0] > 28
