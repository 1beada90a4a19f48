"""The number of devices and processes changes nothing: batch norm, gradients, augmentation, latents, data order."""

import concurrent.futures
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import ROOT, RUNS, environment, free_port, program, slow_but, tiny_flags


def _three_steps(run, task, data_dir, output, devices=1, *distributed):
  done = run('tests.three_steps', task, data_dir, output, *distributed, env=environment(devices))
  assert done.returncode == 0, done.stderr[-3000:]
  with np.load(output) as arrays:
    return dict(arrays)


def _assert_close(a, b, of_moments: float = 1e-5):
  """Also what Adam keeps of gradients, which may be told to be large."""
  assert a.keys() == b.keys()
  for name in a:
    atol = of_moments if name.startswith('.opt') else 1e-5
    np.testing.assert_allclose(a[name], b[name], atol=atol, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize('task', slow_but(('vae',), RUNS))
def test_one_device_and_two_agree(task, data_dir, tmp_path, forked):
  one = _three_steps(forked, task, data_dir, tmp_path / 'one.npz')
  two = _three_steps(forked, task, data_dir, tmp_path / 'two.npz', 2)
  # Similarities of patches are divided by a temperature of 0.07: their gradients are about 1 at first, not 0.01.
  _assert_close(one, two, of_moments=1e-3 if task == 'cut' else 1e-5)
  # Fused with crops, the warp is compiled into other roundings for other batches.
  np.testing.assert_allclose(one['inputs'], two['inputs'], rtol=0, atol=1e-5 if task == 'superres' else 0)
  moved = [name for name in one if 'kernel' in name]
  assert moved
  assert all(np.abs(one[name]).max() > 0 for name in moved)


@pytest.mark.slow
@pytest.mark.parametrize('task', ['vae', 'gan', 'flow', 'classify'])
def test_two_devices_and_two_processes_agree(task, data_dir, tmp_path):
  two = _three_steps(program, task, data_dir, tmp_path / 'two.npz', 2)
  address = f'127.0.0.1:{free_port()}'
  with concurrent.futures.ThreadPoolExecutor() as pool:
    processes = [
      pool.submit(_three_steps, program, task, data_dir, tmp_path / f'process{i}.npz', 1, address, '2', str(i))
      for i in (0, 1)
    ]
    first, second = (p.result() for p in processes)
  _assert_close(two, first)
  for name in first:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)
  np.testing.assert_array_equal(two['inputs'], first['inputs'])


def _losses(directory) -> dict[int, float]:
  lines = [json.loads(line) for line in (directory / 'metrics.jsonl').read_text().splitlines()]
  names = ('train/loss', 'train/d_loss')
  return {line['step']: line[name] for line in lines for name in names if name in line}


@pytest.mark.slow
@pytest.mark.parametrize('task', ['classify', 'gan'])
def test_a_run_killed_on_two_devices_goes_on_with_one(task, data_dir, tmp_path):
  """Half the devices, each with twice the share of the same batches: the losses are those of a run left alone."""
  flags = tiny_flags(train__steps=60, optim__lr=1e-4)
  common = [f'--config=configs/{task}_mnist5k.py', f'--data_dir={data_dir}', *flags]
  command = [sys.executable, '-m', 'experiments.train', *common, f'--workdir={tmp_path / "moved"}']
  first = subprocess.Popen(command, cwd=ROOT, env=environment(devices=2), stderr=subprocess.DEVNULL)
  while not (tmp_path / 'moved' / 'checkpoints' / '15').exists():
    assert first.poll() is None
    time.sleep(0.01)
  first.send_signal(signal.SIGKILL)
  first.wait()
  for name in ('moved', 'alone'):
    done = program('experiments.train', *common, f'--workdir={tmp_path / name}')
    assert done.returncode == 0, done.stderr
    assert ('resuming at step' in done.stdout) == (name == 'moved')
  moved, alone = _losses(tmp_path / 'moved'), _losses(tmp_path / 'alone')
  assert list(moved) == list(alone) == list(range(5, 65, 5))
  np.testing.assert_allclose(list(moved.values()), list(alone.values()), rtol=1e-3)
