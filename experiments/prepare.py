"""Fetches and prepares data sets, so that training needs no network.

  python -m experiments.prepare --dataset mnist5k
  python -m experiments.prepare --dataset fashion_mnist,emoji64/google --data_dir .data
  python -m experiments.prepare --dataset all
  python -m experiments.prepare --dataset image_folder --remove

Files are fetched with apt-get, npm or TFDS into DATA_DIR/downloads; nothing is installed. Any other name of
tfds.list_builders() works too, if TFDS can prepare it. A folder of images is prepared by the run that reads it, anew
after every change; --remove deletes all prepared copies, old ones included.
"""

import hashlib
import pathlib
import subprocess
import tempfile
import time

from absl import flags

from configs import base
from experiments import cli
from genaug.data import builders, sources
from genaug.errors import InputError

KNOWN = tuple(name for name in sources.BUILDERS if not name.startswith('image_'))
EMOJI_SHA256 = {
  'google': 'fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438',
  'twitter': 'f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877',
}

DATASET = flags.DEFINE_multi_string(
  'dataset', None, f"Data sets to prepare, comma-separated or one per flag; 'all' is {', '.join(KNOWN)}", required=True
)
REMOVE = flags.DEFINE_bool(
  'remove', False, 'Delete prepared copies; for image_folder, those of all folders and settings.'
)
DATA_DIR = cli.define_data_dir()
flags.adopt_module_key_flags(cli)


def fetch_fashion_mnist(downloads: pathlib.Path) -> None:
  """Downloads Debian's package and unpacks it into downloads/fashion_mnist; if that fails, TFDS has its own address."""
  target = downloads / 'fashion_mnist'
  if target.is_dir() or builders.FashionMnistFiles.DEBIAN_DIR.is_dir():
    return
  print('fashion_mnist: downloading with apt-get (31 MB)', flush=True)
  download = ['apt-get', 'download', '-q', 'dataset-fashion-mnist']
  with tempfile.TemporaryDirectory(dir=downloads) as tmp:
    try:
      if subprocess.run(download, cwd=tmp, capture_output=True, check=False).returncode:
        subprocess.run(['apt-get', 'update', '-qq'], capture_output=True, check=False)  # package lists may be missing
        subprocess.run(download, cwd=tmp, capture_output=True, check=True)
      (package,) = pathlib.Path(tmp).glob('dataset-fashion-mnist_*.deb')
      subprocess.run(['dpkg', '-x', package.name, 'unpacked'], cwd=tmp, capture_output=True, check=True)
      (pathlib.Path(tmp) / 'unpacked/usr/share/datasets/fashion-mnist').rename(target)
    except (OSError, ValueError, subprocess.CalledProcessError) as e:
      print(f'fashion_mnist: apt-get could not download it ({e}); TFDS will download it instead')


def fetch_emoji(vendor: str, downloads: pathlib.Path) -> None:
  """Downloads the npm tarball of a vendor's emoji into `downloads`, unless it is there.

  Raises:
    InputError: npm is absent or fails, or the tarball is not the one with the known SHA-256.
  """
  target = downloads / f'emoji-datasource-{vendor}-16.0.0.tgz'
  if target.is_file():
    check_sha256(target, EMOJI_SHA256[vendor])
    return
  package = f'emoji-datasource-{vendor}@16.0.0'
  print(f'emoji64/{vendor}: downloading with npm pack {package} (about 70 MB)', flush=True)
  with tempfile.TemporaryDirectory(dir=downloads) as tmp:
    try:
      npm = ['npm', 'pack', '--silent', package]
      subprocess.run(npm, cwd=tmp, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError) as e:
      problem = f'npm could not download {package} ({e})'
      remedy = f'install npm, or put the tarball at {target}'
      raise InputError('--dataset', f'emoji64/{vendor}', problem, remedy) from e
    check_sha256(pathlib.Path(tmp) / target.name, EMOJI_SHA256[vendor])
    (pathlib.Path(tmp) / target.name).rename(target)


def check_sha256(path: pathlib.Path, expected: str) -> None:
  """Raises InputError unless the file has this SHA-256."""
  with open(path, 'rb') as f:
    found = hashlib.file_digest(f, 'sha256').hexdigest()
  if found != expected:
    raise InputError(str(path), found, f'SHA-256 should be {expected}', 'delete the file and try again')


def prepare(name: str, data_dir: pathlib.Path) -> str:
  """Fetches and prepares a data set unless that is done; returns a line about it. Raises InputError for own images."""
  start = time.monotonic()
  config = base.get_config().data
  config.name = name
  if name.startswith('image_'):
    problem = 'is prepared by the run that reads the folder (data.folder)'
    remedy = 'train with --config.data.folder=FOLDER, or add --remove to delete prepared copies'
    raise InputError('--dataset', name, problem, remedy)
  if sources.is_prepared(config, data_dir):
    print(f'{name}: already prepared in {data_dir}')
  else:
    downloads = data_dir / 'downloads'
    downloads.mkdir(parents=True, exist_ok=True)
    if name == 'fashion_mnist':
      fetch_fashion_mnist(downloads)
    elif name.startswith('emoji') and name in sources.BUILDERS:
      for vendor in name.partition('/')[2].split('_to_'):
        fetch_emoji(vendor, downloads)
  dataset = sources.load(config, data_dir)
  train, test = (len(split.arrays['label']) for split in (dataset.train, dataset.test))
  seconds = time.monotonic() - start
  return f'{name}: train {train}, test {test}, {dataset.num_classes} classes, {seconds:.1f} s'


def main() -> None:
  named = [name.strip() for value in DATASET.value for name in value.split(',') if name.strip()]
  names = [known for name in named for known in (KNOWN if name == 'all' else (name,))]
  for name in dict.fromkeys(names):
    print((sources.remove if REMOVE.value else prepare)(name, pathlib.Path(DATA_DIR.value)))


if __name__ == '__main__':
  cli.run(main)
