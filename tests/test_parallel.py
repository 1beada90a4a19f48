"""The number of devices and processes changes nothing: batch norm, gradients, augmentation, latents, data order."""

import concurrent.futures

import numpy as np
import pytest

from tests.conftest import environment, free_port, program


def _three_steps(task, data_dir, output, devices=1, *distributed):
  done = program('tests.three_steps', task, data_dir, output, *distributed, env=environment(devices))
  assert done.returncode == 0, done.stderr[-3000:]
  with np.load(output) as arrays:
    return dict(arrays)


def _assert_close(a, b):
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_allclose(a[name], b[name], atol=1e-5, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize('task', ['gan', 'classify', pytest.param('vae', marks=pytest.mark.slow)])
def test_one_device_two_devices_and_two_processes_agree(task, data_dir, tmp_path):
  one = _three_steps(task, data_dir, tmp_path / 'one.npz')
  two = _three_steps(task, data_dir, tmp_path / 'two.npz', 2)
  _assert_close(one, two)

  address = f'127.0.0.1:{free_port()}'
  with concurrent.futures.ThreadPoolExecutor() as pool:
    processes = [
      pool.submit(_three_steps, task, data_dir, tmp_path / f'process{i}.npz', 1, address, '2', str(i)) for i in (0, 1)
    ]
    first, second = (p.result() for p in processes)
  _assert_close(two, first)
  for name in first:
    np.testing.assert_array_equal(first[name], second[name], err_msg=name)
  moved = [name for name in one if 'kernel' in name]
  assert moved
  assert all(np.abs(one[name]).max() > 0 for name in moved)
