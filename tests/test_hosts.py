"""Jobs of several processes: when one dies the others say so and end, and the same command goes on."""

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, environment, free_port, tiny_flags


def _start(directory, data_dir, *extra: str) -> list[subprocess.Popen]:
  """A job of two processes, the second of which gets the extra flags."""
  flags = tiny_flags(train__steps=100_000, train__checkpoint_every=50)
  common = ['--config=configs/classify_mnist5k.py', f'--workdir={directory}', f'--data_dir={data_dir}', *flags]
  common += [f'--coordinator=127.0.0.1:{free_port()}', '--num_processes=2']
  return [
    subprocess.Popen(
      [sys.executable, '-m', 'experiments.train', *common, f'--process_id={i}', *more],
      cwd=ROOT,
      env=environment(),
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for i, more in enumerate([(), extra])
  ]


def _newest(directory) -> int:
  return max((int(path.name) for path in (directory / 'checkpoints').glob('[0-9]*') if path.name.isdigit()), default=0)


def _survivor(directory, data_dir, victim, how, seconds) -> str:
  """What the other one of two processes says when the victim gets a signal after a checkpoint; its status must be 1."""
  before = _newest(directory)
  processes = _start(directory, data_dir)
  try:
    end = time.monotonic() + 120
    while _newest(directory) == before:
      assert time.monotonic() < end
      assert [p.poll() for p in processes] == [None, None], [p.communicate()[0] for p in processes]
      time.sleep(0.1)
    processes[victim].send_signal(how)
    output = processes[1 - victim].communicate(timeout=seconds)[0]
  finally:
    for process in processes:
      process.kill()
      process.communicate()
  assert processes[1 - victim].returncode == 1, output
  assert 'the same command on every host goes on from the last checkpoint' in output.splitlines()[-1]
  return output


@pytest.mark.slow
def test_a_dead_process_ends_the_job_which_then_goes_on(data_dir, tmp_path):
  """The one that coordinates, then, in the resumed job, the other one."""
  _survivor(tmp_path, data_dir, 0, signal.SIGKILL, seconds=30)
  saved = _newest(tmp_path)
  output = _survivor(tmp_path, data_dir, 1, signal.SIGKILL, seconds=30)
  assert f'resuming at step {saved:,}' in output


@pytest.mark.slow
def test_a_process_that_falls_silent_ends_the_job(data_dir, tmp_path):
  """As on a host that cannot be reached: its connections stay open, and nothing comes."""
  assert 'XLA has aborted this process' in _survivor(tmp_path, data_dir, 1, signal.SIGSTOP, seconds=120)


def test_input_that_one_process_refuses_ends_all(data_dir, tmp_path):
  processes = _start(tmp_path / 'run', data_dir, '--config.train.batch_size=15')
  outputs = [process.communicate(timeout=120)[0] for process in processes]
  assert [process.returncode for process in processes] == [2, 2], outputs
  assert 'another process has refused its input' in outputs[0]
  assert 'train.batch_size = 15' in outputs[1]
  assert not (tmp_path / 'run').exists()


def test_distributed_without_a_cluster_is_refused(data_dir, forked):
  flags = ['--config=configs/vae_mnist5k.py', f'--data_dir={data_dir}', '--distributed']
  done = forked('experiments.train', *flags)
  assert done.returncode == 2, done.stderr
  assert 'no cluster was found' in done.stderr
  assert '--coordinator HOST:PORT' in done.stderr
