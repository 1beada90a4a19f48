"""Peers of the geometric operations; see experiments.against.peers for what the entries mean."""

import math
import random

import numpy as np


def _matrix(n, angle=0.0, shift=0.0, zoom=1.0, shear=0.0) -> np.ndarray:
  """Random affine 2x3 matrix about the centre, as a user of OpenCV or Pillow writes it."""
  turn, size = math.radians(random.uniform(-angle, angle)), zoom ** random.uniform(-1, 1)
  across, down = (math.tan(math.radians(random.uniform(-shear, shear))) for _ in range(2))
  cos, sin, centre = size * math.cos(turn), size * math.sin(turn), (n - 1) / 2
  a, b, c, d = cos + sin * down, cos * across + sin, cos * down - sin, cos - sin * across
  x = centre - (a + b) * centre + n * random.uniform(-shift, shift)
  y = centre - (c + d) * centre + n * random.uniform(-shift, shift)
  return np.array([[a, b, x], [c, d, y]])


def _cv2_affine(**ranges):
  return lambda cv2, n: lambda image: cv2.warpAffine(image, _matrix(n, **ranges), (n, n), flags=cv2.INTER_LINEAR)


def _pil_affine(**ranges):
  def make(pil, n):
    affine, bilinear = pil.Image.Transform.AFFINE, pil.Image.Resampling.BILINEAR
    return lambda image: image.transform((n, n), affine, _matrix(n, **ranges).ravel().tolist(), bilinear)

  return make


def _pix_affine(angle=0.0, shift=0.0, zoom=1.0, shear=0.0):
  def make(pix, n):
    import jax
    import jax.numpy as jnp

    limits = jnp.array([math.radians(angle), math.log(zoom), *[math.radians(shear)] * 2, shift * n, shift * n])
    centre = jnp.array([(n - 1) / 2, (n - 1) / 2, 0])

    def each(key, image):  # its matrix goes from output to input, and in (row, column, channel)
      turn, size, across, down, dx, dy = limits * jax.random.uniform(key, (6,), minval=-1)
      cos, sin, across, down = (
        jnp.exp(size) * jnp.cos(turn),
        jnp.exp(size) * jnp.sin(turn),
        jnp.tan(across),
        jnp.tan(down),
      )
      linear = jnp.array(
        [[cos - sin * across, cos * down - sin, 0], [cos * across + sin, cos + sin * down, 0], [0, 0, 1]]
      )
      return pix.affine_transform(
        image, linear, offset=centre - linear @ centre + jnp.array([dy, dx, 0]), mode='constant'
      )

    return each

  return make


def _pix_rotate(pix, n):
  import jax

  def each(key, image):
    return pix.rotate(image, jax.random.uniform(key, minval=-math.pi / 6, maxval=math.pi / 6), mode='constant')

  return each


def _augmax_translate(augmax, n):
  import jax

  def each(key, image):  # its class takes one shift for all; a traced one makes it a shift an image
    dx, dy = jax.random.uniform(key, (2,), minval=-n / 4, maxval=n / 4)
    return augmax.Translate(dx, dy)(key, image)

  return each


def _corners(n):
  """A quadrilateral whose corners lie up to 15 % of the side inside the frame."""
  move = lambda: random.uniform(0, 0.15 * n)
  last = n - 1
  return [(move(), move()), (last - move(), move()), (last - move(), last - move()), (move(), last - move())]


def _cv2_perspective(cv2, n):
  frame = np.array([(0, 0), (n - 1, 0), (n - 1, n - 1), (0, n - 1)], np.float32)

  def one(image):
    matrix = cv2.getPerspectiveTransform(frame, np.array(_corners(n), np.float32))
    return cv2.warpPerspective(image, matrix, (n, n), flags=cv2.INTER_LINEAR)

  return one


def _pil_perspective(pil, n):
  frame = [(0, 0), (n - 1, 0), (n - 1, n - 1), (0, n - 1)]

  def one(image):
    rows, values = [], []
    for (u, v), (x, y) in zip(frame, _corners(n)):
      rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
      values += [u, v]
    data = np.linalg.solve(np.array(rows), np.array(values)).tolist()
    return image.transform((n, n), pil.Image.Transform.PERSPECTIVE, data, pil.Image.Resampling.BILINEAR)

  return one


def _crop(n):
  """(left, top, width, height) of a crop of 8 to 100 % of the area and an aspect ratio of 3:4 to 4:3."""
  for _ in range(10):
    area = random.uniform(0.08, 1) * n * n
    aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
    w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    if 0 < w <= n and 0 < h <= n:
      return random.randint(0, n - w), random.randint(0, n - h), w, h
  return 0, 0, n, n


def _cv2_crop(cv2, n):
  def one(image):
    left, top, w, h = _crop(n)
    return cv2.resize(image[top : top + h, left : left + w], (n, n), interpolation=cv2.INTER_LINEAR)

  return one


def _pil_crop(pil, n):
  def one(image):
    left, top, w, h = _crop(n)
    return image.resize((n, n), pil.Image.Resampling.BILINEAR, (left, top, left + w, top + h))

  return one


def _cv2_rot90(cv2, n):
  turns = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)

  def one(image):
    k = random.randrange(4)
    return cv2.rotate(image, turns[k - 1]) if k else image.copy()

  return one


def _pil_rot90(pil, n):
  turns = (pil.Image.Transpose.ROTATE_90, pil.Image.Transpose.ROTATE_180, pil.Image.Transpose.ROTATE_270)

  def one(image):
    k = random.randrange(4)
    return image.transpose(turns[k - 1]) if k else image.copy()

  return one


def _elastic(n):
  """(alpha, sigma) of Simard et al. 2003 in pixels for the displacements that our defaults give."""
  return 1.7 * (0.05 * n) * (0.05 * n), 0.05 * n


def _cv2_elastic(cv2, n):
  columns, rows = np.meshgrid(np.arange(n, dtype=np.float32), np.arange(n, dtype=np.float32))
  rng = np.random.default_rng()
  alpha, sigma = _elastic(n)

  def one(image):
    noise = rng.uniform(-alpha, alpha, (n, n, 2)).astype(np.float32)
    dx, dy = cv2.split(cv2.GaussianBlur(noise, (0, 0), sigma))
    return cv2.remap(image, columns + dx, rows + dy, cv2.INTER_LINEAR)

  return one


def _pix_elastic(pix, n):
  return lambda key, image: pix.elastic_deformation(key, image, *_elastic(n), mode='constant')


def _albumentations_elastic(A, n):
  return A.ElasticTransform(*_elastic(n), noise_distribution='uniform', p=1)


def _kornia_elastic(K, n):
  alpha, sigma = _elastic(n)
  taps, alpha = 2 * round(3 * sigma) + 1, 2 * alpha / n
  return K.RandomElasticTransform((taps, taps), (sigma, sigma), (alpha, alpha), p=1.0)


def _cv2_lens(cv2, n):
  columns, rows = np.meshgrid(np.linspace(-1, 1, n, dtype=np.float32), np.linspace(-1, 1, n, dtype=np.float32))
  square, half = columns**2 + rows**2, (n - 1) / 2

  def one(image):
    stretch = 1 + random.uniform(-0.3, 0.3) * square
    return cv2.remap(image, (columns * stretch + 1) * half, (rows * stretch + 1) * half, cv2.INTER_LINEAR)

  return one


def _kornia_fisheye(K, n):
  import torch

  return K.RandomFisheye(torch.tensor([-0.1, 0.1]), torch.tensor([-0.1, 0.1]), torch.tensor([0.7, 1.3]), p=1.0)


OPS = {
  'hflip': {
    'genaug': ('hflip', {}),
    'albumentations': lambda A, n: A.HorizontalFlip(p=1),
    'opencv': lambda cv2, n: lambda image: cv2.flip(image, 1),
    'pillow': lambda pil, n: lambda image: image.transpose(pil.Image.Transpose.FLIP_LEFT_RIGHT),
    'kornia': lambda K, n: K.RandomHorizontalFlip(p=1.0),
    'augmax': lambda augmax, n: augmax.HorizontalFlip(p=1.0),
    'dm_pix': lambda pix, n: lambda key, image: pix.flip_left_right(image),
    'torchvision': lambda v2, n: v2.RandomHorizontalFlip(1.0),
  },
  'vflip': {
    'genaug': ('vflip', {}),
    'albumentations': lambda A, n: A.VerticalFlip(p=1),
    'opencv': lambda cv2, n: lambda image: cv2.flip(image, 0),
    'pillow': lambda pil, n: lambda image: image.transpose(pil.Image.Transpose.FLIP_TOP_BOTTOM),
    'kornia': lambda K, n: K.RandomVerticalFlip(p=1.0),
    'augmax': lambda augmax, n: augmax.VerticalFlip(p=1.0),
    'dm_pix': lambda pix, n: lambda key, image: pix.flip_up_down(image),
    'torchvision': lambda v2, n: v2.RandomVerticalFlip(1.0),
  },
  'rot90': {
    'genaug': ('random_rot90', {}),
    'albumentations': lambda A, n: A.RandomRotate90(p=1),
    'opencv': _cv2_rot90,
    'pillow': _pil_rot90,
    'kornia': lambda K, n: K.RandomRotation90((0, 3), p=1.0),
    'augmax': lambda augmax, n: augmax.Rotate90(),
  },
  'rotate': {
    'genaug': ('random_rotate', {'degrees': 30}),
    'albumentations': lambda A, n: A.Rotate((-30, 30), p=1),
    'opencv': _cv2_affine(angle=30),
    'pillow': _pil_affine(angle=30),
    'kornia': lambda K, n: K.RandomRotation(30.0, p=1.0),
    'augmax': lambda augmax, n: augmax.Rotate((-30, 30)),
    'dm_pix': _pix_rotate,
    'torchvision': lambda v2, n: v2.RandomRotation(30, v2.InterpolationMode.BILINEAR),
  },
  'translate': {
    'genaug': ('random_translate', {'fraction': 0.25}),
    'albumentations': lambda A, n: A.Affine(translate_percent={'x': (-0.25, 0.25), 'y': (-0.25, 0.25)}, p=1),
    'opencv': _cv2_affine(shift=0.25),
    'pillow': _pil_affine(shift=0.25),
    'kornia': lambda K, n: K.RandomTranslate((-0.25, 0.25), (-0.25, 0.25), p=1.0),
    'augmax': _augmax_translate,
    'dm_pix': _pix_affine(shift=0.25),
    'torchvision': lambda v2, n: v2.RandomAffine(
      0, translate=(0.25, 0.25), interpolation=v2.InterpolationMode.BILINEAR
    ),
  },
  'scale': {
    'genaug': ('random_scale', {'limit': 0.25}),
    'albumentations': lambda A, n: A.Affine(scale=(0.8, 1.25), p=1),
    'opencv': _cv2_affine(zoom=1.25),
    'pillow': _pil_affine(zoom=1.25),
    'kornia': lambda K, n: K.RandomAffine(0.0, scale=(0.8, 1.25, 0.8, 1.25), p=1.0),
    'dm_pix': _pix_affine(zoom=1.25),
    'torchvision': lambda v2, n: v2.RandomAffine(0, scale=(0.8, 1.25), interpolation=v2.InterpolationMode.BILINEAR),
  },
  'shear': {
    'genaug': ('random_shear', {'degrees': 15}),
    'albumentations': lambda A, n: A.Affine(shear=(-15, 15), p=1),
    'opencv': _cv2_affine(shear=15),
    'pillow': _pil_affine(shear=15),
    'kornia': lambda K, n: K.RandomShear((-15.0, 15.0, -15.0, 15.0), p=1.0),
    'dm_pix': _pix_affine(shear=15),
    'torchvision': lambda v2, n: v2.RandomAffine(
      0, shear=(-15, 15, -15, 15), interpolation=v2.InterpolationMode.BILINEAR
    ),
  },
  'affine': {
    'genaug': ('random_affine', {'degrees': 30, 'fraction': 0.1, 'limit': 0.25, 'shear': 10}),
    'albumentations': lambda A, n: A.Affine(
      scale=(0.8, 1.25), translate_percent=(-0.1, 0.1), rotate=(-30, 30), shear=(-10, 10), p=1
    ),
    'opencv': _cv2_affine(angle=30, shift=0.1, zoom=1.25, shear=10),
    'pillow': _pil_affine(angle=30, shift=0.1, zoom=1.25, shear=10),
    'kornia': lambda K, n: K.RandomAffine(30.0, (0.1, 0.1), (0.8, 1.25), (-10.0, 10.0, -10.0, 10.0), p=1.0),
    'dm_pix': _pix_affine(angle=30, shift=0.1, zoom=1.25, shear=10),
    'torchvision': lambda v2, n: v2.RandomAffine(
      30, (0.1, 0.1), (0.8, 1.25), (-10, 10, -10, 10), v2.InterpolationMode.BILINEAR
    ),
  },
  'perspective': {
    'genaug': ('random_perspective', {'distortion': 0.3}),
    'albumentations': lambda A, n: A.Perspective(scale=(0.05, 0.1), p=1),
    'opencv': _cv2_perspective,
    'pillow': _pil_perspective,
    'kornia': lambda K, n: K.RandomPerspective(0.3, p=1.0),
    'torchvision': lambda v2, n: v2.RandomPerspective(0.3, 1.0),
  },
  'random_resized_crop': {
    'genaug': ('random_resized_crop', {}),
    'albumentations': lambda A, n: A.RandomResizedCrop((n, n), p=1),
    'opencv': _cv2_crop,
    'pillow': _pil_crop,
    'kornia': lambda K, n: K.RandomResizedCrop((n, n)),
    'augmax': lambda augmax, n: augmax.RandomSizedCrop(n, n, zoom_range=(1.0, 3.5)),
    'torchvision': lambda v2, n: v2.RandomResizedCrop(n, antialias=False),
  },
  'center_crop': {
    'genaug': ('center_crop', lambda n: {'height': n * 7 // 8, 'width': n * 7 // 8}),
    'albumentations': lambda A, n: A.CenterCrop(n * 7 // 8, n * 7 // 8),
    'opencv': lambda cv2, n: lambda image: image[n // 16 : -(n // 16), n // 16 : -(n // 16)].copy(),
    'pillow': lambda pil, n: lambda image: image.crop((n // 16, n // 16, n - n // 16, n - n // 16)),
    'kornia': lambda K, n: K.CenterCrop(n * 7 // 8),
    'augmax': lambda augmax, n: augmax.CenterCrop(n * 7 // 8),
    'dm_pix': lambda pix, n: lambda key, image: pix.center_crop(image, n * 7 // 8, n * 7 // 8),
    'torchvision': lambda v2, n: v2.CenterCrop(n * 7 // 8),
  },
  'pad': {
    'genaug': ('pad', lambda n: dict.fromkeys(('top', 'bottom', 'left', 'right'), n // 8)),
    'albumentations': lambda A, n: A.Pad(n // 8),
    'opencv': lambda cv2, n: lambda image: cv2.copyMakeBorder(image, *[n // 8] * 4, cv2.BORDER_CONSTANT),
    'pillow': lambda pil, n: lambda image: pil.ImageOps.expand(image, n // 8),
    'kornia': lambda K, n: K.PadTo((n * 5 // 4, n * 5 // 4)),
    'dm_pix': lambda pix, n: lambda key, image: pix.pad_to_size(image, n * 5 // 4, n * 5 // 4),
    'torchvision': lambda v2, n: v2.Pad(n // 8),
  },
  'resize': {  # enlarged, so that nobody's way of avoiding aliases matters
    'genaug': ('resize', lambda n: {'height': n * 3 // 2, 'width': n * 3 // 2}),
    'albumentations': lambda A, n: A.Resize(n * 3 // 2, n * 3 // 2),
    'opencv': lambda cv2, n: lambda image: cv2.resize(image, (n * 3 // 2,) * 2, interpolation=cv2.INTER_LINEAR),
    'pillow': lambda pil, n: lambda image: image.resize((n * 3 // 2,) * 2, pil.Image.Resampling.BILINEAR),
    'kornia': lambda K, n: K.Resize((n * 3 // 2, n * 3 // 2), align_corners=False),
    'augmax': lambda augmax, n: augmax.Resize(n * 3 // 2),
    'torchvision': lambda v2, n: v2.Resize((n * 3 // 2, n * 3 // 2), antialias=False),
  },
  'elastic': {
    'genaug': ('random_elastic', {'alpha': 0.05, 'sigma': 0.05}),
    'albumentations': _albumentations_elastic,
    'opencv': _cv2_elastic,
    'kornia': _kornia_elastic,
    'augmax': lambda augmax, n: augmax.Warp(0.014 * n, n // 16),  # a grid of displacements, like ours
    'dm_pix': _pix_elastic,
    'torchvision': lambda v2, n: v2.ElasticTransform(*_elastic(n)),
  },
  'grid_distort': {
    'genaug': ('random_grid_distort', {'limit': 0.3}),
    'albumentations': lambda A, n: A.GridDistortion(5, (-0.3, 0.3), p=1),
  },
  'thin_plate_spline': {
    'genaug': ('random_thin_plate_spline', {'limit': 0.1}),
    'albumentations': lambda A, n: A.ThinPlateSpline((0.05, 0.1), 3, p=1),
    'kornia': lambda K, n: K.RandomThinPlateSpline(0.1, p=1.0),
  },
  'lens_distort': {
    'genaug': ('random_lens_distort', {'limit': 0.3}),
    'albumentations': lambda A, n: A.OpticalDistortion((-0.3, 0.3), p=1),
    'opencv': _cv2_lens,
    'kornia': _kornia_fisheye,
  },
}
