"""Your own images with captions as a data set: a folder, and a text file with one line per image."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from genaug.data import folder, image_folder, pairs, subsets
from genaug.data.builders import Examples, dataset_info, encode
from genaug.errors import InputError

Path = pathlib.Path


@dataclasses.dataclass(eq=False, kw_only=True)
class ImageCaptionsConfig(tfds.core.BuilderConfig):
  """TFDS builder config: images, captions and how to read them. `image_captions_config` creates and names it."""

  captions: dict[Path, str]
  reading: image_folder.Reading


class ImageCaptions(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Your own images with captions, cropped to the central square and resized; their content decides the test split."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self) -> tfds.core.DatasetInfo:
    shape = self.builder_config.reading.shape
    return dataset_info(self, shape, tfds.features.ClassLabel(names=('all',)), caption=tfds.features.Text())

  def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Examples]:
    c = self.builder_config
    pixels = pairs.decode(c.captions, c.reading)
    test = subsets.test_rows(list(pixels.values()), c.reading.test_fraction)
    rows = [(pixels[path], c.captions[path]) for path in pixels]
    sides = {'train': ~test, 'test': test}
    return {
      split: self._generate_examples([row for row, one in zip(rows, side) if one]) for split, side in sides.items()
    }

  def _generate_examples(self, captioned: list[tuple[np.ndarray, str]]) -> Examples:
    for i, (image, caption) in enumerate(captioned):
      yield i, {'image': encode(image), 'label': 0, 'caption': caption}


def image_captions_config(root: str, captions: str, reading: image_folder.Reading) -> ImageCaptionsConfig:
  """Returns a config whose name hashes the settings, all captions, and every file's path, size and modification time.

  Raises InputError for a malformed caption file, such as a line without a caption, and unless every image has exactly
  one caption and every caption its image.
  """
  caption_of = _read(image_folder.folder_of(root), Path(captions).expanduser())
  files = [(*pairs.stat(image), caption) for image, caption in caption_of.items()]
  digest = hashlib.sha256(json.dumps([pairs.settings_of(reading), files]).encode()).hexdigest()[:12]
  return ImageCaptionsConfig(name=f'captions-{digest}', captions=caption_of, reading=reading)


def _read(root: Path, file: Path) -> dict[Path, str]:
  if not file.is_file():
    problem, remedy = 'is not a file', '--config.data.captions=FILE, a text file of lines NAME<tab>CAPTION'
    raise InputError('data.captions', str(file), problem, remedy)
  layout, captions = 'write lines NAME<tab>CAPTION in UTF-8, with names relative to data.folder', {}
  try:
    text = file.read_text('utf-8-sig')
  except UnicodeDecodeError as error:
    raise InputError('data.captions', str(file), f'is no UTF-8 text ({error.reason})', layout) from None
  for number, line in enumerate(text.split('\n'), 1):
    name, tab, caption = line.partition('\t')
    if line.strip() and not (tab and caption.strip()):
      problem = f'line {number} has no tab with a caption behind it: {line[:60]!r}'
      raise InputError('data.captions', str(file), problem, layout)
    if line.strip() and name.strip() in captions:
      problem = f'line {number} has a second caption for {name.strip()!r}'
      raise InputError('data.captions', str(file), problem, 'keep one line per image')
    if line.strip():
      captions[name.strip()] = caption.strip()
  images = {item.name: item.image for item in folder.contents(root, key='config.data.folder').items}
  for names, others, problem in (
    (images, captions, 'without a caption'),
    (captions, images, 'with a caption and no such file'),
  ):
    if alone := sorted(names.keys() - others.keys()):
      remedy = 'write one line NAME<tab>CAPTION for every image in data.folder'
      raise InputError('data.captions', str(file), f'{len(alone)} images {problem}: {folder.abbreviate(alone)}', remedy)
  return {images[name]: captions[name] for name in sorted(images)}
