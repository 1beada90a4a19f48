"""Fixtures and helpers for tests: prepared digits, tiny configs, and programs run as a user runs them."""

import atexit
import functools
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterable, Mapping

import jax
import numpy as np
import pytest
from PIL import Image

from configs import (
  base,
  classify_mnist5k,
  fixmatch_mnist5k,
  flow_mnist5k,
  fsq_mnist5k,
  gan_mnist5k,
  hyperprior_own_images,
  style_own_images,
  superres_own_images,
  text_to_image_own_images,
  translate_own_images,
  vae_mnist5k,
  variations_own_images,
)
from configs.families import translation
from genaug.data import sources
from genaug.data.dataset import Split
from genaug.training import workdir
from genaug.training.checkpoint import Checkpoints
from genaug.training.experiment import Experiment

ROOT = pathlib.Path(__file__).parents[1]
_RNG = np.random.default_rng(0)
# Tests spend most of their time compiling. Compiled programs are cached for the next session, for the workers of
# pytest-xdist and for the programs under test. LLVM does not optimise, and XLA's older emitters give it less code:
# together they take a fifth of the time. `make test-all` compiles as for a user.
os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false')
COMPILED = os.environ.get('JAX_COMPILATION_CACHE_DIR') or str(ROOT / '.pytest_cache' / 'compiled')
jax.config.update('jax_compilation_cache_dir', COMPILED)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
TINY = {
  'model.width': 4,
  'optim.warmup_steps': 0,
  'train.batch_size': 16,
  'train.log_every': 5,
  'train.checkpoint_every': 5,
  'train.snapshot_every': 1000,
  'eval.every': 1000,
  'eval.metrics': (),
  'augment.rotate.p': 1.0,
  'augment.rotate.degrees': 10.0,
  'augment.translate.p': 1.0,
  'augment.cutout.p': 0.5,
  'augment.cutout.size': 0.2,
}
UNAUGMENTED = {key.replace('.', '__'): 0.0 for key in TINY if key.startswith('augment.') and key.endswith('.p')}
FEW = {  # few images, no augmentation, a constant learning rate: the compiled step does not depend on train.steps
  'data__train_split': 'train[:200]',
  'data__test_split': 'test[:200]',
  'optim__schedule': 'constant',
  **UNAUGMENTED,
}
MODULES = {
  'gan': gan_mnist5k,
  'vae': vae_mnist5k,
  'fsq': fsq_mnist5k,
  'flow': flow_mnist5k,
  'hyperprior': hyperprior_own_images,
  'text_to_image': text_to_image_own_images,
  'image_variations': variations_own_images,
  **dict.fromkeys(translation.METHODS, translate_own_images),
  'superres': superres_own_images,
  'style': style_own_images,
  'classify': classify_mnist5k,
  'fixmatch': fixmatch_mnist5k,
}
STYLES = tuple(str(ROOT / 'tests' / f'{name}.png') for name in ('stripes', 'dots'))
PLAIN = {'model.conditional': False, 'optim.lr': 2e-4, 'optim.schedule': 'constant'}  # of GANs, unless overridden
ADA = {'gan__d_augment': 'ada', 'gan__ada_p': 0.5, 'gan__ada_kimg': 1.0}  # p changes within a few steps
SMALL = {  # makes gradients of style transfer as small as those of other tasks, because tolerances are absolute
  'style__content_weight': 1e-3,
  'style__style_weight': 1e-4,
  'style__tv_weight': 1e-3,
  'optim__lr': 2e-4,
}
EXTRA = {  # settings for tests that resume runs and compare numbers of devices, by task or variant
  'gan': ADA,
  'flow': {
    'flow__augment': ('hflip', 'translate'),
    'flow__augment_p': 0.5,
    'flow__label_dropout': 0.5,
    'model__dropout': 0.3,
  },
  'style': SMALL,
  'r3': {
    'model__network': 'r3',
    'model__conditional': True,
    'model__blocks': 1,
    'model__stride': 2,
    'gan__loss': 'relativistic',
    'gan__r1': 0.5,
    'gan__r2': 0.5,
    'gan__penalty_every': 2,
    **ADA,
    'gan__ada_transforms': ('blit',),  # more transforms take long to compile
  },
  'resnet': {
    'model__network': 'resnet',
    'model__conditional': True,
    'model__d_norm': 'spectral',
    'model__minibatch_stddev': True,
    'gan__loss': 'hinge',
    'gan__lecam': 0.1,
    'gan__d_steps': 2,
  },
  'superres': {
    'data__name': 'mnist5k',
    'model__blocks': 1,
    'superres__patch': 16,
    'superres__degradation': 'blind',
    'superres__adversarial': 0.01,
    'superres__l1_steps': 2,
  },
  'ladder': {'model__network': 'ladder_vae', 'vae__free_bits': 0.1, 'vae__kl_warmup_steps': 4},
  'vamp': {'vae__prior': 'vamp', 'vae__pseudo_inputs': 3, 'vae__samples': 3, 'vae__likelihood': 'logistic_mixture'},
}
# Variant -> task: tests of whole runs cover these variants as well as all tasks.
VARIANTS = {'r3': 'gan', 'resnet': 'gan', 'ladder': 'vae', 'vamp': 'vae'}
RUNS = (*MODULES, *VARIANTS)


@pytest.fixture(scope='module', autouse=True)
def _room_for_programs():
  """Clears JAX's caches when compiled programs take many memory maps, of which Linux allows a process 65,530."""
  yield
  maps = pathlib.Path('/proc/self/maps')
  if maps.exists() and maps.read_text().count('\n') > 25_000:
    jax.clear_caches()


@pytest.fixture(scope='session')
def data_dir(tmp_path_factory) -> pathlib.Path:
  """MNIST-5k, prepared once for the whole session."""
  directory = tmp_path_factory.mktemp('data')
  sources.load(gan_mnist5k.get_config().data, directory, log=lambda _: None)
  return directory


def data_config(name: str, **overrides):
  """Returns `c.data` for small colour images."""
  data = base.get_config().data
  data.update({'name': name, 'image_size': 8, 'channels': 3, 'test_fraction': 0.25, **overrides})
  return data


def noise(*shape: int) -> np.ndarray:
  return _RNG.integers(0, 256, shape, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(pixels).save(buffer, format='PNG')
  return buffer.getvalue()


def write_emoji_tarball(path, vendor, count, tones=('1F3FB',)):
  """Writes `count` base emoji, each also with these skin tones, and one that the vendor does not draw."""
  emoji, images = [], {}
  for k in range(count):
    base, toned = f'{k:04x}.png', {tone: f'{k:04x}-{tone.lower()}.png' for tone in tones}
    for name in (base, *toned.values()):
      images[name] = noise(64, 64, 4)
      images[name][..., 0] = k  # the red channel encodes the base emoji ...
      images[name][:32, :, 3] = 255  # ... where the image is opaque
    emoji.append({
      'unified': f'{k:04X}', 'image': base, 'short_name': f'e{k}', 'category': 'Objects', 'subcategory': 's',
      'skin_variations': {tone: {'image': image} for tone, image in toned.items()},
    })  # fmt: skip
  undrawn = {'image': 'ffff.png', 'short_name': 'x', 'category': 'Flags', 'subcategory': 's'}
  emoji.append({'unified': 'FFFF', **undrawn})
  with tarfile.open(path, 'w:gz') as tar:
    files = {f'package/img/{vendor}/64/{name}': png(x) for name, x in images.items()}
    for name, content in {'package/emoji.json': json.dumps(emoji[::-1]).encode(), **files}.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      tar.addfile(info, io.BytesIO(content))
  return images


def rows(split: Split) -> set[bytes]:
  """Returns the images as a set, because TFDS shuffles the records."""
  return {image.tobytes() for image in split.arrays['image']}


def save_untrained_run(directory: pathlib.Path, experiment: Experiment, state) -> pathlib.Path:
  """Writes a workdir whose one checkpoint, of step 0, holds this state; returns it."""
  workdir.create(directory)
  workdir.claim(directory, experiment.config, experiment.dataset)
  checkpoints = Checkpoints(directory, 1, None, 'min')
  checkpoints.save(0, state)
  checkpoints.close()
  return directory


def random_params(tree, seed: int = 0):
  """Returns random parameters and batch statistics of the same shapes; unlike `init`, compiles nothing."""
  rng = np.random.default_rng(seed)

  def drawn(path, leaf):
    noise = rng.normal(size=leaf.shape).astype(leaf.dtype)
    if leaf.ndim > 1:
      return noise / np.sqrt(leaf.size / leaf.shape[-1])
    return (path[-1].key in ('scale', 'var')) + 0.1 * noise

  return jax.tree_util.tree_map_with_path(drawn, tree)


def slow_but(fast: Collection[str], names: Iterable[str]) -> list:
  """Returns names to parametrize a test with; all but `fast` are marked slow, because they take long to compile."""
  return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def tiny_config(task: str, **overrides):
  """Returns a config that trains in milliseconds; names of overrides have double underscores in place of dots."""
  config = MODULES[task].get_config(*([task] if task in translation.METHODS else []))
  if task == 'gan':
    config.update_from_flattened_dict(PLAIN)
  config.update_from_flattened_dict(own_data(task))
  config.update_from_flattened_dict(_tiny(overrides))
  return config


def own_data(task: str) -> dict[str, object]:
  """Returns overrides with small test data for tasks whose configs read image folders."""
  digits = {
    'hyperprior': {},
    'image_variations': {},
    'fixmatch': {'data.unlabelled': 2, 'strong.rand_augment.p': 0.0},  # RandAugment takes long to compile
    'superres': {'superres.patch': 16, 'model.blocks': 1},
    'style': {'style.images': STYLES, 'model.blocks': 1},
  }
  if task in digits:
    return {'data.name': 'mnist5k'} | digits[task]
  small = {'data.folder': str(_folder_of_pairs()), 'data.image_size': 16}
  if task == 'text_to_image':
    return small | {'data.captions': f'{small["data.folder"]}/captions.txt'}
  return small | {'model.d_width': 4, 'model.blocks': 1} if task in translation.METHODS else {}


@functools.cache
def _folder_of_pairs() -> pathlib.Path:
  """Writes images of 16x16 pixels, targets (copies with red and blue exchanged) and captions of both."""
  root, rng = pathlib.Path(tempfile.mkdtemp()), np.random.default_rng(0)
  atexit.register(shutil.rmtree, root)
  for split, count in (('train', 24), ('test', 12)):
    for side in 'AB':
      (root / f'{split}{side}').mkdir()
    for i in range(count):
      pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
      for side, shown in (('A', pixels), ('B', pixels[..., ::-1])):
        (root / f'{split}{side}' / f'{i:02d}.png').write_bytes(png(np.ascontiguousarray(shown)))
  names = sorted(path.relative_to(root).as_posix() for path in root.rglob('*.png'))
  (root / 'captions.txt').write_text(''.join(f'{name}\tnumber {name[-6:-4]} in {name[:6]}\n' for name in names))
  return root


def tiny_flags(**overrides) -> list[str]:
  return [f'--config.{key}={value}' for key, value in _tiny(overrides).items()]


def _tiny(overrides: dict) -> dict:
  return TINY | {k.replace('__', '.'): v for k, v in overrides.items()}


def environment(devices: int = 1, **extra: str) -> dict[str, str]:
  """Returns the environment of a program with that many simulated devices; all programs share one compilation cache."""
  shared = {
    'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count={devices}',
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': COMPILED,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
  }
  return {**os.environ, **shared, **extra}


@pytest.fixture(scope='session')
def forked():
  """Like `program`, but starts at once, as everything is already imported, and logs every compilation."""
  server = subprocess.Popen(
    [sys.executable, '-m', 'tests.forked'],
    cwd=ROOT,
    env=environment(JAX_LOG_COMPILES='1'),
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )

  def run(name: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess:
    command = [name, *map(str, arguments)]
    print(json.dumps([dict(env or {}), *command]), file=server.stdin, flush=True)
    return subprocess.CompletedProcess(command, *json.loads(server.stdout.readline()))

  with server:
    yield run
    server.stdin.close()


def program(name: str, *arguments: str, env=None, timeout: int = 240) -> subprocess.CompletedProcess:
  """Runs `python -m NAME ARGUMENTS` from the root of the repository."""
  command = [sys.executable, '-m', name, *map(str, arguments)]
  return subprocess.run(
    command, cwd=ROOT, env=env or environment(), capture_output=True, text=True, timeout=timeout, check=False
  )


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]
