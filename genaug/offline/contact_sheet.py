"""Contact sheets: rows of pictures with mask, boxes and keypoints drawn on them, and a caption beneath each."""

import textwrap
from typing import NamedTuple

import numpy as np
from jaxtyping import Num, UInt8
from matplotlib import patches, patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

COLUMN, GAP, LINE, MARGIN = 1.75, 0.1, 0.125, 0.15  # inches: a picture's longer side, gap, text line, margin
DPI, FONT, WIDTH = 110, 7, 30  # WIDTH: characters in a line of a caption
MAX_LINES = 16  # per caption
INK, PALE, PAPER = '#1c1c1e', '#78787d', '#eeeef0'  # not white, so that pictures on white show their edge
BOX, POINT = '#ffcc00', '#ff2d78'
LABELS = ['#007aff', '#ff9500', '#34c759', '#af52de', '#00c7be', '#ff3b30', '#a2845e']
TINT = 0.22  # opacity of a label's colour over what the mask covers
LARGEST = 512  # pixels a side, of images that are read for a sheet
MANY_LABELS = 64  # masks of more values than this are taken for coverage (soft masks), not for labels

Example = dict[str, np.ndarray]  # as in genaug.augment.targets, image of uint8


class Cell(NamedTuple):
  """A picture and the entries of the caption beneath it."""

  example: dict[str, np.ndarray]  # as in genaug.augment.targets, image of uint8
  caption: list[str]


def render(title: list[str], heads: list[str], rows: list[list[Cell]]) -> UInt8[np.ndarray, 'h w 3']:
  """Renders the title, one head per column, and the rows, each with as many cells as there are heads."""
  titles = [line for entry in title for line in textwrap.wrap(entry, int(len(heads) * WIDTH * 1.1))]
  captions = [[_lines(cell.caption) for cell in row] for row in rows]
  pictures = [COLUMN * max(min(1, h / w) for h, w in (cell.example['image'].shape[:2] for cell in row)) for row in rows]
  heights = [picture + 2 * GAP + LINE * max(map(len, texts)) for picture, texts in zip(pictures, captions)]
  top = MARGIN + LINE * (len(titles) + 2)
  width, height = 2 * MARGIN + len(heads) * (COLUMN + GAP) - GAP, top + sum(heights)
  figure = Figure((width, height), DPI, facecolor=PAPER)
  write = lambda x, y, text, color: figure.text(
    x / width, 1 - y / height, text, color=color, fontsize=FONT, va='top', linespacing=1.2
  )
  write(MARGIN, MARGIN, '\n'.join(titles), INK)
  lefts = [MARGIN + i * (COLUMN + GAP) for i in range(len(heads))]
  for left, head in zip(lefts, heads):
    write(left, top - 1.3 * LINE, head, PALE)
  for row, texts, picture, rise in zip(rows, captions, pictures, heights):
    for left, cell, lines in zip(lefts, row, texts):
      frame = left / width, 1 - (top + picture) / height, COLUMN / width, picture / height
      draw(figure.add_axes(frame, anchor='SW'), cell.example)
      write(left, top + picture + 0.04, '\n'.join(lines), INK)
    top += rise
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.array(canvas.buffer_rgba())[..., :3]


def draw(axes: Axes, example: dict[str, np.ndarray]) -> None:
  """Draws an image with its mask, boxes and keypoints; small images are enlarged without smoothing."""
  pixels = example['image']
  h, w, c = pixels.shape
  place = {'extent': (0, w, h, 0), 'interpolation': 'nearest' if max(h, w) < COLUMN * DPI else 'antialiased'}
  axes.imshow(pixels if c == 3 else np.repeat(pixels, 3, axis=-1), **place)
  axes.set_axis_off()
  if 'mask' in example:
    mask, tint = example['mask'][..., 0], np.zeros((h, w, 4))
    for label in np.unique(mask[mask != 0]):
      covered, color = mask == label, LABELS[(int(label) - 1) % len(LABELS)]
      tint[covered] = to_rgba(color, TINT)
      outline = np.arange(-0.5, w + 1), np.arange(-0.5, h + 1), np.pad(covered, 1)
      axes.contour(*outline, [0.5], colors=color, linewidths=1.5)
    axes.imshow(tint, **place)
  edge = [patheffects.withStroke(linewidth=3.5, foreground=INK)]
  for x0, y0, x1, y1 in np.clip(_visible(example, 'boxes', 4), 0, (w, h, w, h)):
    axes.add_patch(patches.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=BOX, lw=2, path_effects=edge))
  axes.scatter(*_visible(example, 'keypoints', 2).T, s=25, c=POINT, edgecolors=INK, zorder=3)
  axes.set(xlim=(0, w), ylim=(h, 0))  # the image only, though an outline or a point at the edge would need more


def _visible(example: dict[str, np.ndarray], name: str, size: int) -> Num[np.ndarray, 'n size']:
  values = np.asarray(example.get(name, np.zeros((0, size))))
  return values[np.asarray(example.get(f'{name}_visible', np.ones(len(values), bool)))]


def _lines(caption: list[str]) -> list[str]:
  """Wraps a caption to at most MAX_LINES lines; every entry begins a line, and its further lines are indented."""
  lines = [line for entry in caption for line in textwrap.wrap(entry, WIDTH, subsequent_indent='  ')]
  return lines if len(lines) <= MAX_LINES else [*lines[: MAX_LINES - 1], f'… {len(lines) - MAX_LINES + 1} more lines']


def reduced(example: Example) -> Example:
  """Returns the example; if wider or higher than LARGEST pixels, its image and mask alone, made smaller."""
  h, w, c = example['image'].shape
  scale = LARGEST / max(h, w)
  if scale >= 1:
    return example
  size = max(1, round(w * scale)), max(1, round(h * scale))
  image = Image.fromarray(example['image'].squeeze(-1) if c == 1 else example['image'])
  pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS)).reshape(*size[::-1], c)
  rows, columns = (np.arange(n) * m // n for n, m in zip(size[::-1], (h, w)))
  return {'image': pixels} | ({'mask': example['mask'][rows[:, None], columns]} if 'mask' in example else {})


def annotated(examples: list[Example], boxes: bool) -> list[Example]:
  """Returns examples with masks of coverage thresholded to one label.

  With `boxes`, each mask that has no box gets its bounding box; without, boxes and keypoints are removed.
  """
  masks = [example['mask'] for example in examples if 'mask' in example]
  coverage = masks and len(np.unique(np.concatenate([mask.ravel() for mask in masks]))) > MANY_LABELS
  annotated = []
  for example in examples:
    example = {name: value for name, value in example.items() if boxes or name not in ('boxes', 'keypoints')}
    if 'mask' in example:
      mask = example['mask']
      example['mask'] = (mask > mask.max() // 2 if coverage else mask).astype(np.int32)
      y, x = np.nonzero(example['mask'][..., 0])
      if boxes and 'boxes' not in example and len(x):
        example['boxes'] = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32)
    annotated.append(example)
  return annotated
