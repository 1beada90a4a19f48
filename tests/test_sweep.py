"""Sweeps: what is refused before a trial, resuming, a cluster that loses a node, ports."""

import contextlib
import json
import math
import os
import pathlib
import shlex
import signal
import sys
import tempfile
import types

import numpy as np
import optuna
import pytest

from configs import classify_fashion_mnist, classify_mnist5k, vae_mnist5k
from configs.headline import sweep_confirmation
from genaug.data import sources
from genaug.errors import InputError
from genaug.study import cluster, sweep_figures, sweeps, tuning
from tests.conftest import UNAUGMENTED, environment, program, tiny_config
from tests.ray_cluster import started, two_nodes, wait

FOLDS = 2
SILENT = lambda _: None
CONFIG = """
from configs import classify_mnist5k

def get_config():
  c = classify_mnist5k.get_config()
  c.model.width = 4
  c.train.steps = 10
  c.train.batch_size = 16
  c.train.log_every = 5
  return c

def get_sweep(trial):
  trial.suggest_float('optim.lr', 1e-4, 1e-1, log=True)
  return {'augment.hflip.p': 0.5}
"""


@pytest.fixture
def quick(tmp_path):
  """A config file whose trials take seconds, and a directory for Ray: names of its sockets may not be long."""
  file = tmp_path / 'quick.py'
  file.write_text(CONFIG)
  with tempfile.TemporaryDirectory(prefix='ray-', ignore_cleanup_errors=True) as ray:
    yield file, ray


def _lr(trial):
  trial.suggest_float('optim.lr', 1e-4, 1e-1, log=True)


def _define(get_sweep, data_dir, config=None):
  return sweeps.define(
    config or tiny_config('classify', eval__metrics=('accuracy',)), FOLDS, get_sweep, data_dir, SILENT
  )


@pytest.mark.parametrize(
  ('get_sweep', 'message'),
  [
    (lambda trial: trial.suggest_float('augment.rotate.angle', 0, 1), 'no such config key'),
    (lambda trial: trial.suggest_categorical('data.test_split', ['test']), 'all trials see the same images'),
    (lambda trial: trial.suggest_float('optim.b1', 0.9, 1.5), 'optim.b1 = .*out of range'),
    (lambda trial: trial.suggest_float('augment.hflip.p', 0.0, 2.0), 'augment.hflip'),
    (lambda trial: trial.suggest_categorical('train.steps', ['many']), 'a int such as'),
    (lambda trial: {'optim.momentum': trial.suggest_float('optim.lr', 1e-3, 1e-2)}, "get_sweep = 'optim.momentum'"),
  ],
)
def test_a_space_that_does_not_fit_is_refused(get_sweep, message, data_dir):
  with pytest.raises(InputError, match=message):
    _define(lambda trial: out if isinstance(out := get_sweep(trial), dict) else None, data_dir)


def test_folds_that_do_not_fit_and_sweeps_without_a_score_are_refused(data_dir):
  with pytest.raises(InputError, match='too few to hold out 6 in fold 1'):
    _define(_lr, data_dir, tiny_config('classify', eval__metrics=('accuracy',), data__validation=6))
  with pytest.raises(InputError, match='a sweep needs a score'):
    _define(_lr, data_dir, tiny_config('classify'))


@pytest.mark.parametrize(
  'module', [classify_mnist5k, pytest.param(classify_fashion_mnist, marks=pytest.mark.slow), vae_mnist5k]
)
def test_every_space_fits_its_config(module, data_dir):
  config = module.get_config()
  config.data.name = 'mnist5k'
  sweep = sweeps.define(config, 5, module.get_sweep, data_dir, SILENT)
  assert sweep.space
  assert sweep.config.data.validation == (40 if config.task == 'vae' else 2)


def test_trials_see_the_few_only(data_dir):
  sweep = _define(_lr, data_dir)
  few = sources.load(classify_mnist5k.get_config().data, data_dir, log=SILENT).train.arrays['image']
  held_out = []
  for fold in range(FOLDS):
    config = sweeps.fold_config(sweep.config, {}, fold)
    assert config.data.test_split == ''
    dataset = sources.load(config.data, data_dir, log=SILENT)
    seen = np.concatenate([dataset.train.arrays['image'], dataset.test.arrays['image']])
    assert sorted(map(bytes, seen)) == sorted(map(bytes, few))
    held_out += map(bytes, dataset.test.arrays['image'])
  assert sorted(held_out) == sorted(map(bytes, few))


@pytest.mark.slow
def test_a_trial_that_diverges_has_no_score(data_dir, tmp_path):
  sweep = _define(_lr, data_dir, tiny_config('classify', eval__metrics=('accuracy',), train__steps=5, **UNAUGMENTED))
  assert math.isnan(sweeps.score(sweep, {'optim.lr': 1e30}, 0, tmp_path, data_dir))


@pytest.fixture
def record(data_dir, tmp_path):
  """Trials whose score grows with lr; the three with the smallest were stopped."""
  sweep = _define(_lr, data_dir)
  record = sweeps.Record(tmp_path, sweep)
  for i, lr in enumerate([0.001, 0.0002, 0.03, 0.01, 0.0005, 0.0003]):
    stopped = i in (1, 4, 5)
    status = 'stopped' if stopped else 'finished'
    record.update({'optim.lr': lr}, status=status, scores=[lr] if stopped else [lr, 3 * lr])
  return record


def test_a_record_is_read_back_ranked_and_drawn(record, tmp_path):
  again = sweeps.Record(tmp_path, record.sweep)
  assert again.trials == record.trials
  assert [trial['mean'] for trial in again.ranked()] == [0.06, 0.02, 0.002, 0.0005, 0.0003, 0.0002]
  assert again.study().best_params == {'optim.lr': 0.03}
  assert '1         0.0600      2      0.03' in sweeps.table(again)
  sizes = [path.stat().st_size for path in sweep_figures.save(again, tmp_path / 'figures')]
  assert len(sizes) == 2
  assert min(sizes) > 5000
  with pytest.raises(InputError, match=r'folds: 2 there, 3 now'):
    sweeps.Record(tmp_path, record.sweep._replace(folds=3))


@pytest.mark.filterwarnings('ignore:Choices for a categorical distribution')
def test_choices_that_are_tuples_survive_the_record_and_the_shell(record, tmp_path):
  key, choices = 'augment.one_of', ((), ((0.5, ('rotate', 'shear')),))
  distribution = optuna.distributions.CategoricalDistribution(choices)
  sweep = record.sweep._replace(space={key: optuna.distributions.distribution_to_json(distribution)})
  first = sweeps.Record(tmp_path / 'tuples', sweep)
  for choice in choices:
    first.update({key: choice}, status='finished', scores=[float(len(choice))])
  again = sweeps.Record(tmp_path / 'tuples', sweep)
  assert again.trials == first.trials
  assert again.study().best_params == {key: choices[1]}
  flags = shlex.split(f'train {sweeps.flags(again.study().best_params)}')
  assert flags == ['train', f'--config.{key}={choices[1]}']
  sweeps.fold_config(sweep.config, again.study().best_params, 0)


def test_a_negative_share_of_a_machine_is_refused():
  with pytest.raises(InputError, match=r'sweep\.cpus_per_trial = -2\.0: out of range'):
    cluster.check_resources({'sweep.cpus_per_trial': -2.0, 'sweep.gpus_per_trial': -1.0})


def test_the_scheduler_remembers_trials_of_earlier_attempts(record):
  scheduler = tuning._scheduler(record)
  for mean, action in ((0.0004, 'STOP'), (0.02, 'CONTINUE')):
    trial = types.SimpleNamespace(trial_id=str(mean))
    scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, trial, {'training_iteration': 1, 'mean_score': mean}) == action


@pytest.mark.parametrize('address', ['127.0.0.1:1', 'nowhere'])
def test_an_address_that_does_not_answer_is_refused(address):
  with pytest.raises(InputError, match=f"address = '{address}'"):
    cluster.connect(address)


def _arguments(quick, data_dir, workdir, trials, *more):
  flags = {'config': quick[0], 'data_dir': data_dir, 'workdir': workdir, 'trials': trials, 'folds': FOLDS}
  return ['experiments.sweep', *(f'--{name}={value}' for name, value in flags.items()), *more]


def _trials(workdir, *statuses):
  path = workdir / 'sweep.json'
  trials = json.loads(path.read_text())['trials'] if path.exists() else []
  return [trial for trial in trials if trial['status'] in statuses]


def _listening(marker):
  """Local addresses, in hex, on which processes with this in their environment listen."""
  inodes = {}
  for name in ('tcp', 'tcp6'):
    for line in pathlib.Path('/proc/net', name).read_text().splitlines()[1:]:
      fields = line.split()
      if fields[3] == '0A':
        inodes[f'socket:[{fields[9]}]'] = fields[1].partition(':')[0]
  addresses = set()
  for process in pathlib.Path('/proc').glob('[0-9]*'):
    with contextlib.suppress(OSError):
      if marker.encode() in (process / 'environ').read_bytes():
        addresses |= {inodes[target] for fd in (process / 'fd').iterdir() if (target := os.readlink(fd)) in inodes}
  return addresses


@pytest.mark.slow
def test_a_sweep_runs_on_this_machine_and_is_not_run_twice(quick, data_dir, tmp_path):
  workdir = tmp_path / 'sweep'
  arguments = _arguments(quick, data_dir, workdir, 2)
  with started([sys.executable, '-m', *arguments], quick[1], SWEEP_TEST=str(tmp_path)) as process:
    wait(lambda: _trials(workdir, 'running'), process)
    addresses = _listening(f'SWEEP_TEST={tmp_path}')
    assert process.wait(timeout=200) == 0
  loopback = {'0100007F', '0000000000000000FFFF00000100007F', '00000000000000000000000001000000'}
  assert addresses
  assert addresses <= loopback
  trials = _trials(workdir, 'finished', 'stopped')
  assert len(trials) == 2
  assert all(trial['overrides']['augment.hflip.p'] == 0.5 for trial in trials)
  for trial in trials:
    for fold, score in enumerate(trial['scores']):
      directory = workdir / 'trials' / trial['id'] / f'fold{fold}'
      config = json.loads((directory / 'config.json').read_text())
      assert config['optim']['lr'] == trial['overrides']['optim.lr']
      assert (config['data']['fold'], config['data']['test_split']) == (fold, '')
      assert json.loads((directory / 'summary.json').read_text())['eval/accuracy'] == score

  before = (workdir / 'sweep.json').read_text()
  again = program(*arguments, env=environment(RAY_TMPDIR=quick[1]))
  assert again.returncode == 0, again.stderr
  assert (workdir / 'sweep.json').read_text() == before
  assert f'best, trial {json.loads(before)["best"]}: --config.augment.hflip.p=0.5 --config.optim.lr=' in again.stdout


def _times(workdir):
  return {path: path.stat().st_mtime_ns for path in workdir.glob('trials/*/*/summary.json')}


@pytest.mark.slow
def test_a_killed_sweep_goes_on_without_running_again_what_had_ended(quick, data_dir, tmp_path):
  arguments = _arguments(quick, data_dir, tmp_path / 'sweep', 4)
  with started([sys.executable, '-m', *arguments], quick[1]) as process:
    wait(lambda: len(_trials(tmp_path / 'sweep', 'finished', 'stopped')) >= 2, process)
    process.kill()
  ended, times = _trials(tmp_path / 'sweep', 'finished', 'stopped'), _times(tmp_path / 'sweep')
  assert len(ended) < 4
  done = program(*arguments, env=environment(RAY_TMPDIR=quick[1]))
  assert done.returncode == 0, done.stderr
  after = _trials(tmp_path / 'sweep', 'finished', 'stopped')
  assert len(after) == 4
  assert after[: len(ended)] == ended
  assert times.items() <= _times(tmp_path / 'sweep').items()


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_finishes_the_sweep(quick, data_dir, tmp_path):
  workdir = tmp_path / 'sweep'
  with two_nodes(quick[1]) as nodes:
    arguments = _arguments(quick, data_dir, workdir, 8, f'--address={nodes.address}', '--config.sweep.cpus_per_trial=1')
    sweep = nodes.run(sys.executable, '-m', *arguments)
    wait(lambda: len(_trials(workdir, 'running')) == 2 and _trials(workdir, 'finished', 'stopped'), sweep)
    os.killpg(nodes.other.pid, signal.SIGKILL)
    ended, times = _trials(workdir, 'finished', 'stopped'), _times(workdir)
    assert sweep.wait(timeout=200) == 0
  after = _trials(workdir, 'finished', 'stopped')
  assert len(after) == 8
  assert all(trial in after for trial in ended)
  assert times.items() <= _times(workdir).items()


def test_the_best_trial_is_confirmed_on_the_test_images(tmp_path):
  searched = tiny_config('classify', data__per_class=10, data__validation=2, data__fold=1, data__test_split='')
  trial = {'id': 'b', 'overrides': {'augment.rotate.p': 1.0, 'augment.rotate.degrees': 12.0}}
  config, data = sweep_confirmation({'config': json.loads(searched.to_json()), 'trials': [trial], 'best': 'b'})
  assert (data.test_split, data.validation, data.fold) == ('test', 0, 0)
  assert (config.order, config.first_seed, config.per_class) == (('none', 'classic', 'found'), 100, (10,))
  assert config.rows.found.augment.rotate.degrees == 12.0
  (tmp_path / 'sweep.json').write_text('{"best": null}')
  with pytest.raises(InputError, match='no trial has ended with a score'):
    sweeps.read(tmp_path / 'sweep.json')
