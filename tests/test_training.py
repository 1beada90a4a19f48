"""Whole runs: resumed ones equal uninterrupted ones, damage is survived, divergence is caught."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image

from configs.families import translation
from genaug.data.dataset import Dataset, Split
from genaug.errors import DivergedError, InputError
from genaug.training import checks, figures, loop, workdir
from genaug.training.checkpoint import Checkpoints
from genaug.training.experiment import best_metric, load_trained, prepare
from genaug.training.logs import Log, Window
from tests.conftest import (
  EXTRA,
  FEW,
  MODULES,
  ROOT,
  RUNS,
  VARIANTS,
  environment,
  own_data,
  slow_but,
  tiny_config,
  tiny_flags,
)

STEPS = 120


def _arguments(task: str, directory: pathlib.Path, data_dir: pathlib.Path, **overrides) -> list[str]:
  flags = tiny_flags(train__steps=STEPS, train__checkpoint_every=15, **overrides)
  flags += [f'--config.{key}={value}' for key, value in own_data(task).items()]
  config = MODULES[task].__name__.replace('.', '/') + '.py' + f':{task}' * (task in translation.METHODS)
  return [f'--config={config}', f'--workdir={directory}', f'--data_dir={data_dir}', *flags]


def _start(*arguments) -> subprocess.Popen:
  command = [sys.executable, '-m', 'experiments.train', *arguments]
  return subprocess.Popen(
    command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  )


def _checkpoints(directory: pathlib.Path) -> list[int]:
  path = directory / 'checkpoints'
  return [int(p.name) for p in path.iterdir() if p.name.isdigit()] if path.exists() else []


def _wait_until(condition, seconds=120):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'nothing happened'
    time.sleep(0.02)


def _leaves(directory: pathlib.Path, task: str, data_dir: pathlib.Path, **overrides):
  config = tiny_config(task, train__steps=STEPS, train__checkpoint_every=15, **overrides)
  experiment = prepare(config, data_dir, log=lambda _: None)
  saved = Checkpoints(directory, 1, None, 'min')
  state = saved.restore(experiment.init(), warn=pytest.fail)
  saved.close()
  assert int(state.step) == STEPS
  return jax.tree_util.tree_leaves_with_path(state)


def _metrics(directory: pathlib.Path) -> list[dict]:
  lines = [json.loads(line) for line in (directory / 'metrics.jsonl').read_text().splitlines()]
  return [{k: v for k, v in line.items() if k != 'train/images_per_second'} for line in lines]


@pytest.mark.parametrize('name', slow_but(('classify',), RUNS))
def test_a_run_killed_at_a_random_moment_ends_bit_identical(name, data_dir, tmp_path, forked):
  """SIGKILL, then a damaged newest checkpoint, then SIGTERM; against a run that nothing happened to."""
  whole, broken = tmp_path / 'whole', tmp_path / 'broken'
  task, extra = VARIANTS.get(name, name), EXTRA.get(name, {})
  arguments = _arguments(task, broken, data_dir, **extra)

  killed = _start(*arguments)
  _wait_until(lambda: len(_checkpoints(broken)) >= 2)
  time.sleep(random.uniform(0, 0.1))
  killed.send_signal(signal.SIGKILL)
  killed.communicate()
  newest = max(_checkpoints(broken))
  assert newest < STEPS

  largest = max((broken / 'checkpoints' / f'{newest}').rglob('*'), key=lambda p: p.stat().st_size)
  largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])

  stopped = _start(*arguments)
  output = ''
  while 'first step' not in output:
    output += stopped.stdout.readline()
    assert stopped.poll() is None, output
  stopped.send_signal(signal.SIGTERM)
  output += stopped.communicate()[0]
  assert stopped.returncode == 0, output
  assert f'checkpoint of step {newest} cannot be read' in output
  assert (broken / 'broken_checkpoints' / f'{newest}').is_dir()

  for directory in (broken, whole):
    done = forked('experiments.train', *_arguments(task, directory, data_dir, **extra))
    assert done.returncode == 0, done.stderr
  for (path, a), (_, b) in zip(*(_leaves(directory, task, data_dir, **extra) for directory in (whole, broken))):
    np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
  # A stop between two lines of the log adds a line of its own; those at the usual steps agree.
  at_stops = {line['step'] for line in _metrics(broken)} - {line['step'] for line in _metrics(whole)}
  regular = [line for line in _metrics(broken) if line['step'] not in at_stops]
  after_stop = {step + 5 - step % 5 for step in at_stops}
  for a, b in zip(_metrics(whole), regular, strict=True):
    assert a == b or a['step'] in after_stop


@pytest.mark.slow
@pytest.mark.parametrize('variant', ['', *(name for name, task in VARIANTS.items() if task == 'gan')])
def test_steps_per_call_changes_nothing(variant, data_dir):
  """Three steps scanned in one call, as on an accelerator, and three calls of one step."""
  experiment = prepare(tiny_config('gan', **(EXTRA[variant] if variant else {})), data_dir, log=lambda _: None)
  scanned = experiment._replace(steps_per_call=3)
  device_data, batch = loop.make_batches(experiment)
  _, batch3 = loop.make_batches(scanned)
  np.testing.assert_array_equal(batch3(6)['row'][:, 1], batch(7)['row'][:, 0])
  a, step = experiment.init(), loop.make_step(experiment)
  for i in range(3):
    a, metrics = step(a, device_data, batch(i))
  b, stacked = loop.make_step(scanned)(experiment.init(), device_data, batch3(0))
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    np.testing.assert_allclose(x, y, atol=1e-5, rtol=1e-5)
  np.testing.assert_allclose(stacked['d_loss'][-1], metrics['d_loss'], rtol=1e-4)


def test_a_short_run_writes_all_it_promises(data_dir, tmp_path):
  metrics = ('elbo', 'distances')
  config = tiny_config('vae', train__steps=10, eval__every=5, eval__metrics=metrics, eval__samples=40, **FEW)
  experiment = prepare(config, data_dir, log=lambda _: None)
  scores = loop.train(experiment, tmp_path, log=lambda _: None)
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert {line['step'] for line in lines} == {5, 10}
  assert {
    'eval/elbo_nats',
    'eval/fd',
    'eval/fd_baseline',
    'eval/reference_samples',
  } <= scores.keys()
  parts = scores['eval/log_likelihood_nats'] - scores['eval/kl_nats']
  assert scores['eval/elbo_nats'] == pytest.approx(parts, rel=1e-6)
  assert json.loads((tmp_path / 'environment.json').read_text())['packages']['jax'] == jax.__version__
  for name in ('samples', 'reconstructions'):
    with Image.open(tmp_path / 'figures' / f'{name}_000010.png') as image:
      assert image.size == (8 * 58 - 2, 8 * 58 - 2)
  assert list((tmp_path / 'tensorboard').iterdir())
  assert sorted(int(p.name) for p in (tmp_path / 'checkpoints').iterdir()) == [5, 10]

  # As if it had been killed behind its last checkpoint.
  (tmp_path / 'summary.json').unlink()
  (tmp_path / 'figures' / 'samples_000010.png').unlink()
  assert loop.train(experiment, tmp_path, log=lambda _: None) == scores
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert (summary['steps'], summary['resumed_at'], summary['eval/fd']) == (10, 10, scores['eval/fd'])
  assert (tmp_path / 'figures' / 'samples_000010.png').exists()


def test_the_best_checkpoint_outlives_newer_ones(tmp_path):
  for step, score in enumerate([5.0, 3.0, 4.0, None, None, 6.0]):
    saved = Checkpoints(tmp_path, 2, 'fd', 'min')  # a new one each time, as after a resume
    saved.save(step, {'x': np.full(3, step)}, {'fd': score} if score else {})
    saved.close()
  saved = Checkpoints(tmp_path, 2, 'fd', 'min')
  assert saved.best() == 1
  assert saved.restore({'x': np.zeros(3, int)}, pytest.fail, step=1)['x'][0] == 1
  assert saved.restore({'x': np.zeros(3, int)}, pytest.fail)['x'][0] == 5
  saved.close()
  assert sorted(p.name for p in (tmp_path / 'checkpoints').iterdir()) == ['1', '4', '5']


def test_when_no_checkpoint_can_be_read_none_is_touched(tmp_path):
  saved = Checkpoints(tmp_path, 2, None, 'min')
  saved.save(1, {'x': np.zeros(3)})
  saved.close()
  for path in (tmp_path / 'checkpoints').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  saved = Checkpoints(tmp_path, 2, None, 'min')
  with pytest.raises(InputError, match='step 1 cannot be read'):
    saved.restore({'x': np.zeros(3)}, pytest.fail)
  saved.close()
  assert (tmp_path / 'checkpoints' / '1').is_dir()


def test_divergence_names_step_and_metric_and_keeps_the_last_good_checkpoint(data_dir, tmp_path):
  experiment = prepare(tiny_config('vae', train__steps=20, train__log_every=20, **FEW), data_dir, log=lambda _: None)
  train_step = experiment.task.train_step

  def breaks(state, *inputs):
    new, metrics = train_step(state, *inputs)
    return new, metrics | {'loss': jax.numpy.where(state.step < 7, metrics['loss'], jax.numpy.nan)}

  experiment = experiment._replace(task=experiment.task._replace(train_step=breaks))
  with pytest.raises(DivergedError, match='loss = nan at step 8'):
    loop.train(experiment, tmp_path, log=lambda _: None)
  assert _checkpoints(tmp_path) == [5]


def test_a_run_is_read_at_its_best_its_latest_or_any_checkpoint(data_dir, tmp_path):
  experiment = prepare(tiny_config('vae', eval__metrics=('elbo',), **FEW), data_dir, log=lambda _: None)
  workdir.create(tmp_path)
  workdir.claim(tmp_path, experiment.config, experiment.dataset)
  zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), jax.eval_shape(experiment.init))
  saved = Checkpoints(tmp_path, 2, *best_metric(experiment.config))
  for step, elbo in ((5, -1.0), (10, -2.0)):
    saved.save(step, zeros.replace(step=np.int32(step)), {'eval/elbo_nats': elbo})
  saved.close()
  for which, step in (('best', 5), ('latest', 10), ('5', 5)):
    assert int(load_trained(tmp_path, data_dir, which, lambda _: None, images=False)[1].step) == step


def test_window_averages_and_finds_the_first_bad_step():
  window = Window(batch_size=4)
  window.add(1, {'loss': jax.numpy.array([1.0, 3.0])})
  window.add(3, {'loss': jax.numpy.array([5.0, 7.0])})
  assert window.mean()['train/loss'] == 4.0
  window.add(5, {'loss': jax.numpy.array([1.0, float('nan')])})
  with pytest.raises(DivergedError, match='loss = nan at step 6'):
    window.mean()


def test_log_drops_what_a_killed_run_wrote_after_its_checkpoint(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 5, "a": 1}\n{"step": 10, "a": 2}\n{"step": 15, "a"')
  log = Log(tmp_path, 5)
  log.write(10, {'a': 3})
  log.close()
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert lines == [{'step': 5, 'a': 1}, {'step': 10, 'a': 3}]


def _claim(directory: pathlib.Path, **overrides) -> None:
  split = Split({'image': np.zeros((2, 4, 4, 1), np.uint8), 'label': np.zeros(2, np.int32)})
  workdir.claim(directory, tiny_config('gan', **overrides), Dataset('two', split, split, ('all',)))


def test_a_workdir_of_another_config_is_refused_with_the_differing_keys(tmp_path):
  _claim(tmp_path)
  _claim(tmp_path)
  with pytest.raises(InputError, match=r'another config \(optim\.lr: 0\.0002 there, 0\.1 now\)'):
    _claim(tmp_path, optim__lr=0.1)


def test_a_workdir_may_move_to_another_kind_of_machine(tmp_path):
  _claim(tmp_path, train__steps_per_call=1, sweep__cpus_per_trial=1.0)
  _claim(tmp_path, train__steps_per_call=10, sweep__cpus_per_trial=2.0)


def test_a_run_may_become_longer_where_its_schedule_does_not(tmp_path):
  _claim(tmp_path / 'constant', train__steps=100)
  _claim(tmp_path / 'constant', train__steps=200)
  assert workdir.read_config(tmp_path / 'constant')['train']['steps'] == 200
  with pytest.raises(InputError, match=r'train\.steps: 200 there, 100 now'):
    _claim(tmp_path / 'constant', train__steps=100)

  _claim(tmp_path / 'cosine', train__steps=100, optim__schedule='cosine')
  with pytest.raises(InputError, match=r'planned for 100(?s:.*)cosine ends with it(?s:.*)schedule_steps=100'):
    _claim(tmp_path / 'cosine', train__steps=200, optim__schedule='cosine')
  _claim(tmp_path / 'cosine', train__steps=200, optim__schedule='cosine', optim__schedule_steps=100)
  _claim(tmp_path / 'cosine', train__steps=300, optim__schedule='cosine', optim__schedule_steps=100)
  with pytest.raises(InputError, match=r'optim\.schedule_steps: 100 there, 300 now'):
    _claim(tmp_path / 'cosine', train__steps=300, optim__schedule='cosine', optim__schedule_steps=300)


@pytest.mark.parametrize('task', slow_but(('classify',), ('classify', 'flow', 'style')))
def test_a_lengthened_run_is_bit_identical_to_a_long_one(task, data_dir, tmp_path):
  keys = {
    'optim__schedule': 'cosine',
    'optim__schedule_steps': 9,
    'optim__warmup_steps': 2,
    'train__snapshot_every': 99,
    **EXTRA.get(task, {}),
  }
  states = {}
  for name, lengths in {'long': (12,), 'lengthened': (4, 12)}.items():
    for steps in lengths:
      often = {'train__log_every': 3, 'train__checkpoint_every': 4} if steps == 12 else {}  # no state depends on them
      experiment = prepare(tiny_config(task, train__steps=steps, **keys, **often), data_dir, log=lambda _: None)
      loop.train(experiment, tmp_path / name, log=lambda _: None)
    saved = Checkpoints(tmp_path / name, 1, None, 'min')
    states[name] = saved.restore(experiment.init(), warn=pytest.fail)
    saved.close()
  assert int(states['long'].step) == 12
  jax.tree.map(np.testing.assert_array_equal, states['long'], states['lengthened'])


def test_resuming_between_two_calls_of_several_steps_is_refused(data_dir, tmp_path):
  config = tiny_config('vae', train__steps=15, train__checkpoint_every=5)
  experiment = prepare(config, data_dir, log=lambda _: None)
  saved = Checkpoints(tmp_path, 1, None, 'min')
  saved.save(5, experiment.init().replace(step=np.int32(5)))
  saved.close()
  with pytest.raises(InputError, match='does not divide step 5'):
    loop.train(experiment._replace(steps_per_call=3), tmp_path, log=lambda _: None)


def test_a_run_that_gets_no_better_ends_early_and_may_go_on(data_dir, tmp_path):
  def run(**settings):
    lines, keys = [], {'train__steps': 25, 'eval__every': 5, 'eval__metrics': ('elbo',), 'optim__lr': 1e-30}
    config = tiny_config('vae', **keys, **settings, **FEW)
    scores = loop.train(prepare(config, data_dir, log=lambda _: None), tmp_path, log=lines.append)
    return scores, '\n'.join(lines), json.loads((tmp_path / 'summary.json').read_text())['steps']

  scores, said, steps = run(train__patience=2)
  assert steps == 15
  assert 'step 15: ended early, after 2 evaluations without a better eval/elbo_nats' in said
  assert (tmp_path / 'figures' / 'samples_000015.png').exists()
  again, said, steps = run(train__patience=2)
  assert (again, steps) == (scores, 15)
  assert f'{tmp_path} ended early at step 15' in said
  assert run(train__patience=0)[2] == 25
  with pytest.raises(InputError, match='nothing is evaluated'):
    prepare(tiny_config('vae', train__patience=1), data_dir, log=lambda _: None)


def test_a_failing_evaluation_loses_no_step(data_dir, tmp_path):
  """Nor does the log lose one where several steps are one call."""
  config = tiny_config('vae', train__steps=10, eval__every=10, eval__metrics=('elbo',), **FEW)
  experiment = prepare(config, data_dir, log=lambda _: None)._replace(steps_per_call=5)
  eval_step = experiment.task.eval_step
  broken = lambda *arguments: jax.tree.map(lambda value: value * jax.numpy.nan, eval_step(*arguments))
  experiment = experiment._replace(task=experiment.task._replace(eval_step=broken))
  with pytest.raises(DivergedError, match='eval/elbo_nats = nan at step 10'):
    loop.train(experiment, tmp_path, log=lambda _: None)
  assert 10 in _checkpoints(tmp_path)
  assert [line['step'] for line in _metrics(tmp_path)] == [5, 10]


@pytest.mark.parametrize(
  'key', ['train.steps', 'train.log_every', 'train.snapshot_every', 'train.checkpoint_every', 'eval.every']
)
def test_intervals_are_whole_calls(key):
  every = {'train__log_every': 10, 'train__checkpoint_every': 10, 'train__snapshot_every': 20, 'eval__every': 20}
  config = tiny_config('vae', train__steps=20, eval__metrics=('elbo',), **every)
  checks.check_devices(config, 1, 10)
  config.update_from_flattened_dict({key: 15})
  with pytest.raises(InputError, match=rf'{key} = 15: not a multiple of train.steps_per_call = 10'):
    checks.check_devices(config, 1, 10)


def test_grid_places_every_image():
  images = np.linspace(0, 1, 10)[:, None, None, None] * np.ones((1, 28, 28, 1))
  picture = figures.grid(images, columns=4)
  assert picture.shape == (3 * 58 - 2, 4 * 58 - 2, 1)
  for i in range(10):
    assert picture[i // 4 * 58 + 20, i % 4 * 58 + 20, 0] == round(i / 9 * 255)
