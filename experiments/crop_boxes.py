"""Crops objects out of photographs: a square around each annotated box, saved as OUTPUT/CLASS/PHOTO_NUMBER.png.

git clone https://github.com/datitran/raccoon_dataset    # MIT; 200 photographs with boxes in Pascal VOC's XML
python -m experiments.crop_boxes --images raccoon_dataset/images --annotations raccoon_dataset/annotations \\
  --output photos/raccoons

A square is as wide as the longer side of its box, at most as the shorter side of the photograph, and is shifted to lie
inside it. OUTPUT can be used as data.folder.
"""

import pathlib
import xml.etree.ElementTree as ET

from absl import flags

from experiments import cli

_IMAGES = flags.DEFINE_string('images', None, 'Directory of the photographs.', required=True)
_ANNOTATIONS = flags.DEFINE_string('annotations', None, 'Directory of .xml files, one per photograph.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Directory to write to; must be new or empty.', required=True)
flags.adopt_module_key_flags(cli)


def square(box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
  """Returns the square (left, top, right, bottom) around a box (x_min, y_min, x_max, y_max), inside the image."""
  side = min(max(box[2] - box[0], box[3] - box[1]), width, height)
  left, top = (round((low + high - side) / 2) for low, high in (box[::2], box[1::2]))
  left, top = min(max(left, 0), width - side), min(max(top, 0), height - side)
  return left, top, left + side, top + side


def main() -> None:
  from PIL import Image

  from genaug.errors import InputError

  images, annotations = pathlib.Path(_IMAGES.value), pathlib.Path(_ANNOTATIONS.value)
  output = cli.new_directory(_OUTPUT.value)
  files, count = sorted(annotations.glob('*.xml')), 0
  if not files:
    raise InputError('annotations', str(annotations), 'holds no .xml file', '--annotations=DIRECTORY of .xml files')
  for file in files:
    try:
      root = ET.parse(file).getroot()
      with Image.open(images / pathlib.PurePath(root.findtext('filename')).name) as image:
        photo = image.convert('RGB')
      for number, element in enumerate(root.iter('object')):
        box = tuple(int(float(element.findtext(f'bndbox/{name}'))) for name in ('xmin', 'ymin', 'xmax', 'ymax'))
        target = output / pathlib.PurePath(element.findtext('name')).name / f'{file.stem}_{number}.png'
        target.parent.mkdir(parents=True, exist_ok=True)
        photo.crop(square(box, *photo.size)).save(target)
        count += 1
    except (ET.ParseError, OSError, TypeError, ValueError) as error:
      problem = f'{type(error).__name__}: {error}'
      remedy = 'fix or remove it: Pascal VOC has filename, object/name, object/bndbox'
      raise InputError('annotations', str(file), problem, remedy) from None
  print(f'{count:,} square crops from {len(files):,} photographs written to {output}')


if __name__ == '__main__':
  cli.run(main)
