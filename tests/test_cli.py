"""Wrong input ends in one message that names key, value and remedy, status 2, and before anything compiles."""

import errno
import pathlib
import statistics
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from experiments import cli
from genaug.errors import DivergedError, InputError
from tests.conftest import ROOT, environment, tiny_flags

GAN = '--config=configs/gan_mnist5k.py'


def _broken_config(tmp_path):
  (tmp_path / 'config.py').write_text('def get_config():\n  return nonsense\n')
  return tmp_path / 'config.py'


def _folder(tmp_path, side=40, count=4, classes=('cat', 'dog')):
  for name in classes:
    (tmp_path / 'images' / name).mkdir(parents=True)
    for i in range(count):
      pixels = np.random.default_rng(i).integers(0, 255, (side, side + 5, 3)).astype(np.uint8)
      Image.fromarray(pixels).save(tmp_path / 'images' / name / f'{i}.png')
  return tmp_path / 'images'


def _broken_folder(tmp_path):
  folder = _folder(tmp_path)
  (folder / 'cat' / '1.png').write_bytes((folder / 'cat' / '1.png').read_bytes()[:100])
  return folder


def _own(folder):
  return ['--config.data.name=image_folder', f'--config.data.folder={folder}']


CASES = {
  'unknown key': (
    lambda t: ['--config.optim.learning=1'],
    ['config.optim.learning', "'1'", 'config.optim.lr'],
  ),
  'moved key': (lambda t: ['--config.lr=1'], ['config.lr', 'did you mean --config.optim.lr']),
  'wrong type': (lambda t: ['--config.train.steps=many'], ['config.train.steps', "'many'", 'int such as 4000']),
  'no number': (lambda t: ['--config.optim.lr=fast'], ['optim.lr', "'fast'", 'not a number', 'at least 0']),
  'pair of a constant': (
    lambda t: ['--config.optim.schedule=constant', '--config.optim.b2=(0.9, 0.99)'],
    ['optim.b2', '(0.9, 0.99)', 'schedule=cosine'],
  ),
  'own optimiser': (lambda t: ['--config.optim.generator.b1=1.5'], ['optim.generator.b1', '1.5', 'out of range']),
  'no such stride': (lambda t: ['--config.model.stride=3'], ['model.stride = 3', 'a number from 1 to 2']),
  'no such network': (lambda t: ['--config.model.network=vgg'], ['model.network', "'vgg'", 'dcgan']),
  'LeCam of pairs': (
    lambda t: ['--config.gan.lecam=0.3', '--config.gan.loss=relativistic'],
    ['gan.lecam', '0.3', 'relativistic', '--config.gan.lecam=0'],
  ),
  'network of another task': (lambda t: ['--config.model.network=cnn'], ['model.network', "'cnn'", 'one of dcgan']),
  'no such choice': (lambda t: ['--config.gan.loss=wgan'], ['gan.loss', "'wgan'", 'least_squares']),
  'out of range': (lambda t: ['--config.optim.lr=-1.0'], ['optim.lr', '-1.0', 'at least 0']),
  'augmentation range': (lambda t: ['--config.augment.hflip.p=3.0'], ['augment', 'hflip', '3.0']),
  'augmentation strength': (
    lambda t: ['--config.augment.rotate.degrees=200.0'],
    ['augment.rotate', '200.0', '[0, 180]', 'configs/base.py'],
  ),
  'mixing without labels': (
    lambda t: ['--config.augment.mixup.p=0.5'],
    ['augment.mixup.p', '0.5', "'gan'", '--config.augment.mixup.p=0'],
  ),
  'no such augmentation': (
    lambda t: ['--config.gan.d_augment=aada'],
    ['gan.d_augment', "'aada'", 'none, diff_augment, ada'],
  ),
  'no such transform': (
    lambda t: ['--config.gan.ada_transforms=("blit", "blur")'],
    ['gan.ada_transforms', "'blur'", 'blit, geometry, color'],
  ),
  'no such variant': (
    lambda t: ['--config=configs/gan_mnist5k.py:aada'],
    ["'aada'", 'diffaug, ada', 'after the colon'],
  ),
  'config of tables': (lambda t: ['--config=configs/comparisons.py'], ['comparisons.py', 'is for experiments.compare']),
  'metrics without a tuple': (
    lambda t: ['--config.eval.metrics=distances,memorisation'],
    ['eval.metrics', "('distances',)", 'any of distances'],
  ),
  'unknown data set': (lambda t: ['--config.data.name=mnist5000'], ['data.name', 'mnist5000', 'mnist5k']),
  'empty folder': (lambda t: _own(t), ['data.folder']),
  'folder of digits': (
    lambda t: [f'--config.data.folder={_folder(t)}'],
    ['data.folder', 'data.name=mnist5k reads no files', 'own_images'],
  ),
  'missing folder': (lambda t: _own(t / 'none'), ['data.folder', 'none']),
  'broken image': (lambda t: _own(_broken_folder(t)), ['data.folder', '1.png']),
  'wrong image size': (
    lambda t: [*_own(_folder(t)), '--config.data.image_size=30'],
    ['data.image_size', '30', '--config.data.image_size=64'],
  ),
  'size before pixels': (
    lambda t: [*_own(_broken_folder(t)), '--config.data.image_size=30'],
    ['data.image_size', '30', '--config.data.image_size=64'],
  ),
  'wrong channels': (lambda t: [*_own(_folder(t)), '--config.data.channels=2'], ['data.channels', '2', '1']),
  'unwritable workdir': (lambda t: ['--workdir=/proc/genaug'], ['workdir', '/proc/genaug', '--workdir']),
  'infinite': (lambda t: ['--config.optim.lr=inf'], ['optim.lr', 'inf', 'at least 0']),
  'one class': (
    lambda t: [*_own(_folder(t, count=12, classes=('cat',))), '--config.model.conditional=True'],
    ['model.conditional', 'only one class'],
  ),
  'broken config file': (lambda t: [f'--config={_broken_config(t)}'], ['config.py', 'NameError', 'mend']),
  'half a cluster': (lambda t: ['--coordinator=localhost:1'], ['--num_processes and --process_id missing']),
  'missing config file': (
    lambda t: ['--config=configs/gan_mnist.py'],
    ['configs/gan_mnist.py', 'gan_mnist5k.py'],
  ),
  'unknown flag': (lambda t: ['--confg=1'], ['confg', '--help']),
  'not a flag': (lambda t: ['go'], ['go', '--help']),
}


@pytest.mark.parametrize('case', CASES)
def test_bad_input(case, data_dir, tmp_path, forked):
  flags, expected = CASES[case]
  arguments = [
    GAN,
    f'--data_dir={data_dir}',
    f'--workdir={tmp_path / "run"}',
    *tiny_flags(),
    *flags(tmp_path),
  ]
  done = forked('experiments.train', *arguments)
  assert done.returncode == 2, done.stderr
  assert 'Traceback' not in done.stderr
  assert 'Finished XLA compilation' not in done.stderr
  assert not (tmp_path / 'run').exists()
  for part in ('remedy:', *expected):
    assert part in done.stderr


def test_batch_not_divisible_by_devices(data_dir, tmp_path, forked):
  arguments = [
    GAN,
    f'--data_dir={data_dir}',
    f'--workdir={tmp_path / "run"}',
    *tiny_flags(train__batch_size=15),
  ]
  done = forked('experiments.train', *arguments, env=environment(devices=2))
  assert done.returncode == 2, done.stderr
  assert 'train.batch_size = 15: not divisible by the 2 devices' in done.stderr
  assert 'Finished XLA compilation' not in done.stderr


@pytest.mark.parametrize(
  ('program', 'flags', 'expected'),
  [
    ('train', [], ['config = None: is missing', '--config=configs/']),
    ('compare', [GAN], ['gan_mnist5k.py', 'holds no tables', 'one of configs/comparisons.py']),
    ('compare', [], ['config = None: is missing', '--config=configs/comparisons.py']),
    ('upscale', ['--workdir=x', '--input=y'], ['output = None: is missing', '--output=...']),
  ],
)
def test_what_is_missing_is_named(program, flags, expected, forked):
  done = forked(f'experiments.{program}', *flags)
  assert done.returncode == 2
  for part in expected:
    assert part in done.stderr


@pytest.mark.parametrize(
  ('name', 'problem'), [('file/new', 'file is not a folder'), ('big.png', 'names a file'), ('full', 'not an empty')]
)
def test_a_folder_that_can_not_be_written_is_refused_at_once(name, problem, tmp_path):
  (tmp_path / 'file').touch()
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'x').touch()
  with pytest.raises(InputError, match=problem):
    cli.new_directory(str(tmp_path / name))
  assert cli.new_directory(str(tmp_path / 'new' / 'v1.0')) == tmp_path / 'new' / 'v1.0'


def test_what_is_there_must_be_writable_itself(tmp_path, monkeypatch):
  monkeypatch.setattr(cli.os, 'access', lambda path, mode: path == tmp_path / 'mine')
  (tmp_path / 'mine').mkdir()
  assert cli.new_directory(str(tmp_path / 'mine')) == tmp_path / 'mine'
  with pytest.raises(InputError, match='is read-only'):
    cli.new_directory(str(tmp_path / 'theirs'))


@pytest.mark.parametrize(
  ('error', 'status'),
  [
    (InputError('key', 1, 'problem', 'remedy'), 2),
    (DivergedError(3, 'loss', float('nan')), 1),
    (OSError(errno.ENOSPC, 'No space left on device', '/x'), 1),
    (KeyboardInterrupt(), 130),
  ],
)
def test_the_status_says_how_a_program_ended(error, status, monkeypatch):
  def main():
    raise error

  found = []
  monkeypatch.setattr(cli, 'keep_freed_memory', lambda: None)
  monkeypatch.setattr(cli.app, 'run', lambda guarded, flags_parser: found.append(guarded(['program'])))
  cli.run(main)
  assert found == [status]


def test_a_path_behind_an_equals_sign_may_begin_at_home(forked):
  done = forked('experiments.evaluate', '--workdir=~/missing')
  assert done.returncode == 2
  assert f"workdir = '{pathlib.Path.home() / 'missing'}'" in done.stderr


def test_dry_run_says_what_would_happen_and_trains_nothing(data_dir, tmp_path, forked):
  arguments = [GAN, f'--data_dir={data_dir}', f'--workdir={tmp_path / "run"}', *tiny_flags(), '--dry-run']
  done = forked('experiments.train', *arguments)
  assert done.returncode == 0, done.stderr
  assert 'Finished XLA compilation' in done.stderr
  assert not (tmp_path / 'run').exists()
  for part in ('optim.lr = 0.0008', 'generator: ', 'float32[16, 28, 28, 1]', 'temporary', 'GFLOP'):
    assert part in done.stdout


FAULTS = """
import resource

from experiments import cli


def main():
  import jax
  import jax.numpy as jnp

  lines = jnp.ones((2**20, 16))
  transform = jax.jit(lambda lines: jnp.fft.irfft(2 * jnp.fft.rfft(lines)).max())
  for _ in range(24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(transform(lines))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


cli.run(main)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='the allocator is glibc')
def test_a_program_keeps_the_memory_of_its_temporaries():
  """Temporaries of 136 MiB; returned to the system, every call faults in more than 30,000 pages.

  Kept, the first few calls may too: how many depends on which of a call's blocks threads ask for first.
  """
  ran = subprocess.run(
    [sys.executable, '-c', FAULTS], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=240, check=True
  )
  assert statistics.median(map(int, ran.stdout.split())) < 1000
