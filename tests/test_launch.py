"""The launch recipes, with what they call replaced by programs that do the same on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, environment, free_port, tiny_flags

LAUNCH = ROOT / 'experiments' / 'launch'
# Runs the command line for a host in a terminal of its own.
SSH = """
import os, pty, sys
status = pty.spawn(['bash', '-c', sys.argv[-1]])
sys.exit(os.waitstatus_to_exitcode(status))
"""
# Two tasks of a job step on this node.
SRUN = """
import os, subprocess, sys
job = {'SLURM_STEP_NODELIST': '127.0.0.1', 'SLURM_NTASKS': '2', 'SLURM_STEP_NUM_NODES': '1'}
tasks = [
  subprocess.Popen(sys.argv[2:], env={**os.environ, **job, 'SLURM_PROCID': f'{i}', 'SLURM_LOCALID': f'{i}'})
  for i in (0, 1)
]
sys.exit(max(task.wait() for task in tasks))
"""
GCLOUD = "import os, sys; sys.exit(os.system(sys.argv[sys.argv.index('--command') + 1]))"
ECHO = 'import sys; print(sys.argv[1:])'


def _stub(directory, name, source):
  path = directory / name
  path.write_text(f'#!{sys.executable}\n{source}')
  path.chmod(0o755)
  return path


def _start(script, tmp_path, *arguments, **env):
  path = f'{tmp_path}:{os.environ["PATH"]}'
  return subprocess.Popen(
    ['bash', LAUNCH / script, *arguments],
    cwd=ROOT,
    env=environment(PATH=path, **{'PYTHON': sys.executable, **env}),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def _training(tmp_path, data_dir, steps):
  flags = tiny_flags(train__steps=steps, train__log_every=1)
  return ['--config=configs/vae_mnist5k.py', f'--data_dir={data_dir}', f'--workdir={tmp_path / "run"}', *flags]


def test_every_word_arrives_as_it_was_given(tmp_path):
  _stub(tmp_path, 'gcloud', GCLOUD)
  _stub(tmp_path, 'ssh', SSH)
  python = str(_stub(tmp_path, 'echo python', ECHO))
  word = f"""--config.data.folder=a 'b' "c" $(touch {tmp_path}/d); *"""
  tpu = _start('tpu_pod.sh', tmp_path, word, TPU='pod', ZONE='z', DIRECTORY=str(ROOT), PYTHON=python)
  assert repr(['-m', 'experiments.train', '--distributed', word]) in tpu.communicate(timeout=60)[0]
  ssh = _start('ssh.sh', tmp_path, word, HOSTS='one two', PORT='7', PYTHON=python)
  output = ssh.communicate(timeout=60)[0]
  for i in ('0', '1'):
    cluster = ['--coordinator', 'one:7', '--num_processes', '2', '--process_id', i]
    assert repr(['-m', 'experiments.train', word, *cluster]) in output
  assert (tpu.returncode, ssh.returncode) == (0, 0)
  assert not (tmp_path / 'd').exists()


@pytest.mark.parametrize(('script', 'missing'), [('ssh.sh', 'HOSTS'), ('tpu_pod.sh', 'TPU')])
def test_what_a_recipe_needs_is_said(script, missing, tmp_path):
  done = _start(script, tmp_path)
  assert f'{missing}: ' in done.communicate(timeout=60)[0]
  assert done.returncode != 0


@pytest.mark.slow
def test_ssh_trains_and_stops_on_every_host(data_dir, tmp_path):
  _stub(tmp_path, 'ssh', SSH)
  flags = _training(tmp_path, data_dir, 100_000)
  job = _start('ssh.sh', tmp_path, *flags, HOSTS='127.0.0.1 127.0.0.1', PORT=str(free_port()))
  log = tmp_path / 'run' / 'metrics.jsonl'
  end = time.monotonic() + 120
  while not (log.exists() and len(log.read_text().splitlines()) >= 3):
    assert time.monotonic() < end
    assert job.poll() is None, job.communicate()[0]
    time.sleep(0.1)
  job.send_signal(signal.SIGINT)
  output = job.communicate(timeout=60)[0]
  assert job.returncode == 0, output
  assert 'the same command goes on from there' in output
  assert any((tmp_path / 'run' / 'checkpoints').iterdir())


def _free_job_id() -> int:
  """JAX takes a port from the job's number."""
  for job in range(4096):
    with socket.socket() as probe:
      if probe.connect_ex(('127.0.0.1', job + 61440)):
        return job
  raise AssertionError('no free port')


@pytest.mark.slow
def test_slurm_trains_every_task(data_dir, tmp_path):
  _stub(tmp_path, 'srun', SRUN)
  flags = _training(tmp_path, data_dir, 3)
  job = _start('slurm.sbatch', tmp_path, *flags, SLURM_JOB_ID=str(_free_job_id()))
  output = job.communicate(timeout=200)[0]
  assert job.returncode == 0, output
  assert (tmp_path / 'run' / 'metrics.jsonl').read_text().count('train/images_per_second') == 3
  assert '"processes": 2' in (tmp_path / 'run' / 'environment.json').read_text()
