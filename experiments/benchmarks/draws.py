"""Random parameters that a user of OpenCV or Pillow draws by hand, with Python's `random`; n is the image's side."""

import math
import random

import numpy as np

AFFINES = {  # operation: arguments of `affine`
  'rotate': {'angle': 30},
  'translate': {'shift': 0.25},
  'scale': {'zoom': 1.25},
  'shear': {'shear': 15},
  'affine': {'angle': 30, 'shift': 0.1, 'zoom': 1.25, 'shear': 10},
}


def affine(n, angle=0.0, shift=0.0, zoom=1.0, shear=0.0) -> np.ndarray:
  """Draws an affine 2x3 matrix about the centre, with angle and shear in degrees, shift in shares of n."""
  turn, size = math.radians(random.uniform(-angle, angle)), zoom ** random.uniform(-1, 1)
  across, down = (math.tan(math.radians(random.uniform(-shear, shear))) for _ in range(2))
  cos, sin, centre = size * math.cos(turn), size * math.sin(turn), (n - 1) / 2
  a, b, c, d = cos + sin * down, cos * across + sin, cos * down - sin, cos - sin * across
  x = centre - (a + b) * centre + n * random.uniform(-shift, shift)
  y = centre - (c + d) * centre + n * random.uniform(-shift, shift)
  return np.array([[a, b, x], [c, d, y]])


def frame(n) -> list[tuple[float, float]]:
  """Returns the corners (x, y) of the image, clockwise from the top left."""
  return [(0, 0), (n - 1, 0), (n - 1, n - 1), (0, n - 1)]


def corners(n) -> list[tuple[float, float]]:
  """Draws a quadrilateral whose corners lie up to 15 % of the side inside the frame."""
  move = lambda place: abs(place - random.uniform(0, 0.15 * n))
  return [(move(x), move(y)) for x, y in frame(n)]


def crop(n) -> tuple[int, int, int, int]:
  """Draws (left, top, width, height) of a crop of 8 to 100 % of the area and an aspect ratio of 3:4 to 4:3."""
  for _ in range(10):
    area = random.uniform(0.08, 1) * n * n
    aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
    w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < w <= n and 0 < h <= n:
      return random.randint(0, n - w), random.randint(0, n - h), w, h
  return 0, 0, n, n


def simard(n) -> tuple[float, float]:
  """Returns alpha and sigma of Simard et al. 2003, in pixels, for the displacements of our defaults of `elastic`."""
  return 1.7 * (0.05 * n) * (0.05 * n), 0.05 * n
