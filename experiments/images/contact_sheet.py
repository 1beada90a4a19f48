"""A sheet of pictures in rows: mask, boxes and keypoints drawn on, a caption beneath each."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Num, UInt8
from PIL import Image, ImageDraw, ImageFont

SIDE = 192  # pixels that the longer side of a picture gets, at most
MIN_COLUMN = 128  # pixels; captions of a narrower one would be all breaks
MARGIN, GAP, LINE, FONT = 16, 10, 15, 12
MAX_LINES = 16  # of a caption
INK, PALE, PAPER = (28, 28, 30), (120, 120, 125), (238, 238, 240)  # not white: pictures on white have an edge, too
BOX, POINT = (255, 204, 0), (255, 45, 120)
LABELS = np.array(
  [(0, 122, 255), (255, 149, 0), (52, 199, 89), (175, 82, 222), (0, 199, 190), (255, 59, 48), (162, 132, 94)]
)
TINT = 0.22  # share of the label's colour in what the mask covers


class Cell(NamedTuple):
  """A picture and what is written beneath it, entry by entry."""

  example: dict[str, np.ndarray]  # as in genaug.augment.pipeline, image of uint8
  caption: list[str]


def render(title: list[str], heads: list[str], rows: list[list[Cell]]) -> Image.Image:
  """The title, a head for every column, and the rows, all of as many cells as there are heads."""
  font = ImageFont.load_default(FONT)
  pictures = [[picture(cell.example) for cell in row] for row in rows]
  column = max(MIN_COLUMN, *(p.width for row in pictures for p in row))
  captions = [[_entries(cell.caption, column, font) for cell in row] for row in rows]
  width = 2 * MARGIN + len(heads) * (column + GAP) - GAP
  titles = [line for entry in title for line in wrap(entry, width - 2 * MARGIN, font)]
  depths = [max(p.height for p in row) for row in pictures]
  heights = [depth + 2 * GAP + LINE * max(map(len, texts)) for depth, texts in zip(depths, captions)]
  top = MARGIN + LINE * len(titles) + GAP + LINE

  sheet = Image.new('RGB', (width, top + sum(heights) + MARGIN - GAP), PAPER)
  draw = ImageDraw.Draw(sheet)
  _write(draw, (MARGIN, MARGIN), titles, font, INK)
  lefts = range(MARGIN, width, column + GAP)
  for left, head in zip(lefts, heads):
    _write(draw, (left, top - LINE - 2), [head], font, PALE)
  for row, texts, depth, height in zip(pictures, captions, depths, heights):
    for left, cell, lines in zip(lefts, row, texts):
      sheet.paste(cell, (left, top + depth - cell.height))
      _write(draw, (left, top + depth + 3), lines, font, INK)
    top += height
  return sheet


def picture(example: dict[str, np.ndarray]) -> Image.Image:
  """The example at a size to look at, with what belongs to it; small ones are enlarged without smoothing."""
  pixels = example['image']
  h, w, c = pixels.shape
  longer = max(h, w)
  zoom = SIDE // longer if longer <= SIDE else SIDE / longer
  size = max(1, round(w * zoom)), max(1, round(h * zoom))
  image = Image.fromarray(pixels[..., 0] if c == 1 else pixels).convert('RGB')
  image = image.resize(size, Image.Resampling.NEAREST if zoom >= 1 else Image.Resampling.LANCZOS)
  if 'mask' in example:
    image = _tinted(image, example['mask'][..., 0])
  draw, scale = ImageDraw.Draw(image), np.array(size) / (w, h)
  for box in _visible(example, 'boxes'):
    low, high = np.clip(box.reshape(2, 2), 0, (w, h)) * scale
    corners = (*np.minimum(low, high - 1), *(high - 1))
    draw.rectangle(corners, outline=INK, width=3)
    draw.rectangle(corners, outline=BOX, width=2)
  for x, y in _visible(example, 'keypoints') * scale:
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=POINT, outline=INK)
  return image


def _visible(example: dict[str, np.ndarray], name: str) -> Num[np.ndarray, 'n k']:
  values = np.asarray(example.get(name, np.zeros((0, 2))))
  return values[np.asarray(example.get(f'{name}_visible', np.ones(len(values), bool)))]


def _tinted(image: Image.Image, mask: Int[np.ndarray, 'h w']) -> Image.Image:
  """Every label but 0 in a colour of its own, outlined."""
  rows, columns = (np.arange(n) * m // n for n, m in zip(image.size[::-1], mask.shape))
  labels = mask[rows[:, None], columns].astype(np.int64)
  around = np.pad(labels, 1, mode='edge')
  neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
  edge = np.any([labels != other for other in neighbours], axis=0)
  share = np.where(edge, 1.0, TINT)[..., None] * (labels != 0)[..., None]
  tinted: UInt8[np.ndarray, 'h w 3'] = np.round(
    (1 - share) * np.asarray(image) + share * LABELS[(labels - 1) % len(LABELS)]
  ).astype(np.uint8)
  return Image.fromarray(tinted)


def wrap(text: str, width: float, font: ImageFont.FreeTypeFont) -> list[str]:
  """Lines no wider than that, broken at blanks, and inside words where one alone is too wide."""
  lines, line = [], ''
  for word in text.split():
    if font.getlength(f'{line} {word}') <= width:
      line = f'{line} {word}' if line else word
      continue
    if line:
      lines.append(line)
    while font.getlength(word) > width:
      end = next(n for n in range(len(word), 0, -1) if n == 1 or font.getlength(word[:n]) <= width)
      lines.append(word[:end])
      word = word[end:]
    line = word
  return [*lines, line] if line else lines


def _entries(caption: list[str], width: int, font: ImageFont.FreeTypeFont) -> list[str]:
  """Every entry begins a line; the lines that it goes on with are set in."""
  lines = []
  for entry in caption:
    first, *rest = wrap(entry, width - 8, font)
    lines += [first, *(f'  {line}' for line in rest)]
  return lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], f'… {len(lines) - MAX_LINES + 1} lines more']


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: list[str], font, colour: tuple) -> None:
  left, top = place
  for i, line in enumerate(lines):
    draw.text((left, top + i * LINE), line, colour, font)
