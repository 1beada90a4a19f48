"""Data sets by name: prepared once on disk, then held in memory as uint8 arrays."""

import contextlib
import difflib
import errno
import fcntl
import io
import json
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import absl.logging
import ml_collections
import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import UInt8
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from genaug.data import builders, captioned, captions, image_folder, pairs, subsets
from genaug.data.dataset import Dataset, Split, with_unlabelled
from genaug.errors import InputError

BUILDERS: dict[str, Callable[[ml_collections.ConfigDict, pathlib.Path], tfds.core.DatasetBuilder]] = {
  'mnist5k': lambda config, data_dir: builders.Mnist5k(data_dir=data_dir),
  'stacked_mnist': lambda config, data_dir: builders.StackedMnist(data_dir=data_dir),
  'fashion_mnist': lambda config, data_dir: builders.FashionMnistFiles(data_dir=data_dir),
  'emoji64/google': lambda config, data_dir: builders.Emoji64(data_dir=data_dir, config='google'),
  'emoji64/twitter': lambda config, data_dir: builders.Emoji64(data_dir=data_dir, config='twitter'),
  'emoji64/google_to_twitter': lambda config, data_dir: builders.Emoji64(data_dir=data_dir, config='google_to_twitter'),
  'image_folder': lambda config, data_dir: image_folder.ImageFolder(
    data_dir=data_dir,
    config=image_folder.image_folder_config(
      config.folder, image_folder.Reading.from_config(config), config.skip_broken, config.get('resize', True)
    ),
  ),
  'emoji_captions/google': lambda config, data_dir: builders.EmojiCaptions(data_dir=data_dir, config='google'),
  'emoji_captions/twitter': lambda config, data_dir: builders.EmojiCaptions(data_dir=data_dir, config='twitter'),
  'image_captions': lambda config, data_dir: captioned.ImageCaptions(
    data_dir=data_dir,
    config=captioned.image_captions_config(
      config.folder, config.get('captions', ''), image_folder.Reading.from_config(config)
    ),
  ),
  'image_pairs': lambda config, data_dir: pairs.ImagePairs(
    data_dir=data_dir,
    config=pairs.image_pairs_config(
      config.folder,
      config.get('target_folder', ''),
      config.get('paired', True),
      image_folder.Reading.from_config(config),
    ),
  ),
}

USER_DATA_SETS = ('image_folder', 'image_pairs', 'image_captions')
"""Data sets that read your own files, in `data.folder`."""

RAW_BYTES = tfds.decode.DeserializeMethod.RAW_BYTES
MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}  # number of channels -> Pillow mode
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}
NOTES = 'notes.json'  # beside the records: what the user should know of their source files
CHUNK = 256  # records that a thread reads and decodes at a time; one by one they cost 80 us each


def load(
  config: ml_collections.ConfigDict,
  data_dir: str | pathlib.Path,
  *,
  log: Callable[[str], None] = print,
  prepared: str = '',
) -> Dataset:
  """Loads the data set `config.name`, which is prepared under `data_dir` on first use.

  `prepared` is the `Dataset.prepared` of an earlier call: these records are read if your own files are gone.

  Keys of `config`: name (a key of BUILDERS or any TFDS name[/config]), train_split, test_split (TFDS split names, also
  slices such as 'train[:80%]'), per_class, subset_seed, validation and fold (see `subsets.choose`), unlabelled, paired;
  for those in USER_DATA_SETS also folder, image_size, channels, test_fraction, load_truncated, bits; for image_folder
  skip_broken and resize, for image_pairs target_folder, for image_captions captions. With `validation` the held-out
  images become the test split, with test_split '' the training images do: either way the real test split is not read.
  A data set without class labels gets label 0 and the one class name 'all'. Files that have to be fetched by hand are
  looked for in data_dir/downloads.

  Raises:
    InputError: unknown name or split, missing or damaged files, images that are absent, too few or of unequal sizes.
  """
  data_dir = pathlib.Path(data_dir).expanduser().absolute()
  builder = _prepare(config, data_dir, log, prepared)
  _hide_gpus_from_tensorflow()
  features = _check_features(config.name, builder)
  everything = _read_split(builder, features, config.name, 'data.train_split', config.train_split)
  try:
    rows, held_out = subsets.choose(
      everything.arrays['label'], config.per_class, config.subset_seed, config.validation, config.fold
    )
  except ValueError as e:
    key = 'validation' if config.validation else 'per_class'
    raise InputError(f'data.{key}', config[key], str(e), f'a smaller data.{key}') from e
  train = everything.take(rows)
  if config.validation:
    test = everything.take(held_out)
  elif config.test_split:
    test = _read_split(builder, features, config.name, 'data.test_split', config.test_split)
  else:
    test = train
  if ratio := config.get('unlabelled', 0):
    rest = np.setdiff1d(np.arange(len(everything.arrays['label'])), np.concatenate([rows, held_out]))
    if len(rest) < ratio:
      problem = f'{len(rest)} images are left unlabelled'
      raise InputError('data.unlabelled', ratio, problem, 'fewer labelled ones, such as --config.data.per_class=10')
    train = with_unlabelled(train, everything.take(rest).arrays['image'], ratio, config.subset_seed)
  paired = config.get('paired', True)
  if not paired and 'target' in train.arrays:
    shuffled = train.arrays['target'][pairs.unpaired(len(rows), config.subset_seed)]
    train = Split({**train.arrays, 'target': shuffled})
  vocabulary: tuple[str, ...] = ()
  if 'caption' in train.arrays:
    vocabulary = captions.vocabulary(train.arrays['caption'])
    train, test = (_encode_captions(split, vocabulary) for split in (train, test))
  if train.arrays['image'].shape[1:] != test.arrays['image'].shape[1:]:
    raise _unequal(config.name, train.arrays['image'][0], test.arrays['image'][0])
  where = builder.data_path.relative_to(data_dir) if builder.data_path.is_relative_to(data_dir) else ''
  paired_test = paired or config.name != 'image_pairs'  # data sets made of pairs keep their test pairs, for scores
  return Dataset(config.name, train, test, _class_names(features), str(where), paired_test, vocabulary)


def expected(
  config: ml_collections.ConfigDict, data_dir: str | pathlib.Path, prepared: str = ''
) -> tuple[tuple[int | None, ...], tuple[str, ...]]:
  """Returns the (image shape, class names) that `load` will find, before a pixel is read; a side may be None."""
  builder = _make_builder(config, pathlib.Path(data_dir).expanduser().absolute(), prepared)
  features = _check_features(config.name, builder)
  return features['image'].shape, _class_names(features)


def _encode_captions(split: Split, vocabulary: tuple[str, ...]) -> Split:
  return Split({**split.arrays, 'caption': captions.encode(split.arrays['caption'], vocabulary)})


def _class_names(features: dict[str, object]) -> tuple[str, ...]:
  label = features.get('label')
  return tuple(label.names) if label else ('all',)


def is_prepared(config: ml_collections.ConfigDict, data_dir: str | pathlib.Path) -> bool:
  """Whether the data set is already prepared on disk."""
  return _is_prepared(_make_builder(config, pathlib.Path(data_dir).expanduser().absolute()))


def remove(name: str, data_dir: pathlib.Path) -> str:
  """Deletes all prepared copies of a data set of BUILDERS; returns a message. Raises InputError if there are none."""
  directory = data_dir / name
  if name not in BUILDERS or not directory.is_dir():
    raise InputError('data.name', name, f'nothing of it is prepared in {data_dir}', f'one of {", ".join(BUILDERS)}')
  size = sum(path.stat().st_size for path in directory.rglob('*') if path.is_file())
  prepared = len(list(directory.rglob('dataset_info.json')))
  shutil.rmtree(directory)
  return f'{name}: {prepared} prepared copies removed, {size / 2**20:,.0f} MiB'


def _prepare(
  config: ml_collections.ConfigDict, data_dir: pathlib.Path, log: Callable[[str], None], prepared: str = ''
) -> tfds.core.DatasetBuilder:
  builder = _make_builder(config, data_dir, prepared)
  if _is_prepared(builder):
    _say_notes(builder, log)
    return builder
  downloads = data_dir / 'downloads'
  downloads.mkdir(parents=True, exist_ok=True)
  # TFDS writes beside its target and renames at the end, so that a killed run leaves nothing that looks complete. The
  # lock (freed by the system however its holder ends) keeps two processes of one job from preparing it twice.
  with open(data_dir / f'.{config.name.replace("/", "-")}.lock', 'w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if builder.data_path.exists():  # another process was faster
      builder = _make_builder(config, data_dir)
    if not _is_prepared(builder):
      if builder.data_path.exists():  # not by TFDS, which renames only finished folders to this name
        problem, remedy = 'holds an incomplete copy of a data set', 'delete that folder'
        raise InputError('data_dir', str(builder.data_path), problem, remedy)
      log(f'preparing {config.name} in {data_dir}')
      _download_and_prepare(config.name, builder, downloads)
      if notes := getattr(builder, 'notes', ()):
        (builder.data_path / NOTES).write_text(json.dumps(notes))
  _say_notes(builder, log)
  return builder


def _say_notes(builder: tfds.core.DatasetBuilder, log: Callable[[str], None]) -> None:
  path = builder.data_path / NOTES
  for note in json.loads(path.read_text()) if path.exists() else ():
    log(note)


def _is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
  return bool(builder.info.splits)  # read from disk when the builder was made, empty otherwise


def _download_and_prepare(name: str, builder: tfds.core.DatasetBuilder, downloads: pathlib.Path) -> None:
  download_config = tfds.download.DownloadConfig(manual_dir=downloads, try_download_gcs=False)
  try:
    with _quiet(bars=name not in BUILDERS and sys.stderr.isatty()):
      builder.download_and_prepare(download_dir=downloads, download_config=download_config, file_format='array_record')
  except ImportError as e:
    raise _cannot_prepare(name, e) from e
  except (AssertionError, OSError, tfds.download.DownloadError) as e:
    if (cause := e.__cause__ or e) and getattr(cause, 'errno', None) in _UNWRITABLE:
      remedy = 'make room, or name another --data_dir, then run the command again'
      raise InputError('data_dir', str(builder.data_path), f'cannot be written: {cause.strerror}', remedy) from e
    remedy = f'check the network; files that TFDS cannot fetch itself go into {downloads}'
    raise InputError('data.name', name, f'TFDS cannot prepare it: {e}', remedy) from e


def _make_builder(
  config: ml_collections.ConfigDict, data_dir: pathlib.Path, prepared: str = ''
) -> tfds.core.DatasetBuilder:
  try:
    with _quiet():
      keys = ('folder', 'target_folder', 'captions') if config.name in USER_DATA_SETS else ()
      places = [config.get(key, '') for key in keys]
      gone = not all(pathlib.Path(place).expanduser().exists() for place in places if place)
      if gone and prepared and (data_dir / prepared / 'dataset_info.json').is_file():
        return tfds.builder_from_directory(data_dir / prepared)
      if config.name in BUILDERS:
        return BUILDERS[config.name](config, data_dir)
      return tfds.builder(config.name, data_dir=data_dir)
  except InputError:
    raise
  except ImportError as e:
    raise _cannot_prepare(config.name, e) from e
  except (tfds.core.registered.DatasetNotFoundError, ValueError) as e:
    known = [*BUILDERS, *tfds.list_builders(with_community_datasets=False)]
    close = difflib.get_close_matches(config.name, known, n=3)
    hint = f'did you mean {" or ".join(close)}? ' if close else ''
    remedy = f'{hint}one of {", ".join(BUILDERS)}, or any name that tfds.list_builders() gives'
    raise InputError('data.name', config.name, 'no such data set', remedy) from e


def _cannot_prepare(name: str, error: ImportError) -> InputError:
  if 'tensorflow' in str(error).lower():
    remedy = 'pip install tensorflow, once, to prepare it; reading it afterwards does not need it'
    return InputError('data.name', name, 'TFDS needs TensorFlow to prepare this data set', remedy)
  return InputError('data.name', name, f'TFDS cannot prepare it: {error}', 'install what it asks for')


def _check_features(name: str, builder: tfds.core.DatasetBuilder) -> dict[str, object]:
  features = {k: v for k, v in builder.info.features.items() if k in ('image', 'label', 'mask', 'target', 'caption')}
  if not _is_8_bit(features.get('image')):
    problem = f"has no 8-bit feature 'image', only {', '.join(sorted(builder.info.features))}"
    raise InputError('data.name', name, problem, 'choose an image data set')
  if not isinstance(features.get('label'), tfds.features.ClassLabel):
    features.pop('label', None)
  if not _is_8_bit(features.get('mask')):
    features.pop('mask', None)
  return features


def _is_8_bit(feature: object) -> bool:
  image = isinstance(feature, tfds.features.Image)
  return image and feature.np_dtype == np.uint8 and feature.shape[-1] in MODES


def _read_split(
  builder: tfds.core.DatasetBuilder, features: dict[str, object], name: str, key: str, split: str
) -> Split:
  try:
    size = builder.info.splits[split].num_examples
  except (KeyError, ValueError) as e:
    raise _no_split(builder, key, split) from e
  if size < 1:
    raise _no_split(builder, key, split)
  try:
    source = builder.as_data_source(split, deserialize_method=RAW_BYTES, file_format='array_record')
  except (NotImplementedError, ValueError) as e:
    remedy = f'delete {builder.data_dir}, or name another --data_dir; the data set is then prepared again'
    raise InputError('data.name', name, 'is prepared in another format than array_record', remedy) from e

  images = [k for k in ('image', 'mask', 'target') if k in features]
  first = _parse(source[0], features)
  arrays = {k: np.empty((size, *first[k].shape), np.uint8) for k in images}
  arrays['label'] = np.zeros(size, np.int32)
  if 'caption' in features:
    arrays['caption'] = np.empty(size, object)

  def fill(start: int) -> int:
    rows = range(start, min(start + CHUNK, size))
    for i, record in zip(rows, source.__getitems__(list(rows))):
      example = _parse(record, features)
      for k in images:
        if example[k].shape != first[k].shape:
          raise _unequal(name, first[k], example[k])
      for k, x in example.items():
        arrays[k][i] = x
    return len(rows)

  # Small images lose more to the interpreter lock than threads gain (70,000 of 28x28: 7 s against 4.7 s).
  workers = 1 if first['image'].size < 2**16 else None
  with ThreadPoolExecutor(workers) as pool, builders.progress(total=size, desc=f'reading {split}') as bar:
    for n in pool.map(fill, range(0, size, CHUNK)):
      bar.update(n)
  return Split(arrays)


def _parse(record: bytes, features: dict[str, object]) -> dict[str, np.ndarray | int]:
  # TFDS's own path (deserialize_example_np) takes three times as long as this for small images.
  values = tf_example_pb2.Example.FromString(record).features.feature
  example = {}
  for key, feature in features.items():
    if key == 'label':
      example[key] = values[key].int64_list.value[0]
    elif key == 'caption':
      example[key] = values[key].bytes_list.value[0].decode()
    else:
      example[key] = _decode(values[key].bytes_list.value[0], feature.shape[-1])
  return example


def _decode(encoded: bytes, channels: int) -> UInt8[np.ndarray, 'h w c']:
  with Image.open(io.BytesIO(encoded)) as image:
    # A JPEG may be grey in a colour data set.
    pixels = np.asarray(image.convert(MODES[channels]))
  return pixels.reshape(*pixels.shape[:2], channels)


def _no_split(builder: tfds.core.DatasetBuilder, key: str, split: str) -> InputError:
  sizes = ', '.join(f'{name} ({info.num_examples} images)' for name, info in builder.info.splits.items())
  return InputError(key, split, 'no such split, or an empty one', f'one of {sizes}, or a slice such as train[:100]')


def _unequal(name: str, a: np.ndarray, b: np.ndarray) -> InputError:
  problem = f'its images differ in shape: {a.shape} and {b.shape}'
  return InputError('data.name', name, problem, "save them as files and use 'image_folder', which resizes")


@contextlib.contextmanager
def _quiet(bars: bool = False) -> Iterator[None]:
  # TFDS prints a banner, warns of custom configs and draws three bars; we have one line and one bar.
  logger = absl.logging.get_absl_logger()
  level = logger.level
  logger.setLevel('ERROR')
  if not bars:
    tfds.disable_progress_bar()
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    tfds.enable_progress_bar()
    logger.setLevel(level)


def _hide_gpus_from_tensorflow() -> None:
  # If TFDS has imported TensorFlow, it would reserve the GPU memory that JAX needs.
  if tensorflow := sys.modules.get('tensorflow'):
    with contextlib.suppress(RuntimeError):  # already initialised by the caller
      tensorflow.config.set_visible_devices([], 'GPU')
