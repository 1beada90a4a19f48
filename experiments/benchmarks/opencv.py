"""OpenCV: operations as functions (cv2, image) or (cv2, image, other); augmentation libraries are built on it."""

import functools
import random
from random import uniform

import numpy as np

from experiments.benchmarks import draws

MODULE, PACKAGE = 'cv2', 'opencv-python-headless'
FROM_BYTES = ('equalize', 'clahe', 'jpeg')  # operations that it computes in uint8 only
LUMA, LEVELS = (0.299, 0.587, 0.114), np.arange(256, dtype=np.float32) / 255
RNG = np.random.default_rng()


@functools.lru_cache(1)
def _grid(n, low, high):
  """Returns x and y of the pixels of an image of side n, from low to high."""
  return np.meshgrid(*[np.linspace(low, high, n, dtype=np.float32)] * 2)


def _within(image, like):
  """Clips the image to the range of the dtype of `like`; OpenCV's own arithmetic does so for uint8."""
  return image if like.dtype == np.uint8 else np.clip(image, 0, 1, out=image)


def _mixed(cv2, image, other, factor):
  return _within(cv2.addWeighted(image, factor, other, 1 - factor, 0), image)


def _grey(cv2, image):
  return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _warped(cv2, image, matrix):
  return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR)


def _affine(**ranges):
  return lambda cv2, image: _warped(cv2, image, draws.affine(len(image), **ranges))


def _perspective(cv2, image):
  frame, corners = (np.array(draw(len(image)), np.float32) for draw in (draws.frame, draws.corners))
  matrix = cv2.getPerspectiveTransform(frame, corners)
  return cv2.warpPerspective(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR)


def _crop(cv2, image):
  left, top, w, h = draws.crop(len(image))
  return cv2.resize(image[top : top + h, left : left + w], image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _center_crop(cv2, image):
  margin = len(image) // 16
  return image[margin:-margin, margin:-margin].copy()


def _pad(cv2, image):
  return cv2.copyMakeBorder(image, *[len(image) // 8] * 4, cv2.BORDER_CONSTANT)


def _resize(cv2, image):
  return cv2.resize(image, (len(image) * 3 // 2,) * 2, interpolation=cv2.INTER_LINEAR)


def _rot90(cv2, image):
  k = random.randrange(4)
  turns = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
  return cv2.rotate(image, turns[k - 1]) if k else image.copy()


def _elastic(cv2, image):
  n = len(image)
  (alpha, sigma), (columns, rows) = draws.simard(n), _grid(n, 0, n - 1)
  noise = RNG.uniform(-alpha, alpha, (n, n, 2)).astype(np.float32)
  dx, dy = cv2.split(cv2.GaussianBlur(noise, (0, 0), sigma))
  return cv2.remap(image, columns + dx, rows + dy, cv2.INTER_LINEAR)


def _lens(cv2, image):
  (columns, rows), half = _grid(len(image), -1, 1), (len(image) - 1) / 2
  stretch = 1 + uniform(-0.3, 0.3) * (columns**2 + rows**2)
  return cv2.remap(image, (columns * stretch + 1) * half, (rows * stretch + 1) * half, cv2.INTER_LINEAR)


def _contrast(cv2, image):
  factor, mean = uniform(0.6, 1.4), float(np.dot(cv2.mean(image)[:3], LUMA))
  return _within(cv2.addWeighted(image, factor, image, 0, (1 - factor) * mean), image)


def _hue(cv2, image):
  hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
  turn = 180 if image.dtype == np.uint8 else 360
  hsv[..., 0] = (hsv[..., 0] + turn * (1 + uniform(-0.1, 0.1))) % turn
  return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _gamma(cv2, image):
  gamma = uniform(0.67, 1.5)
  if image.dtype == np.uint8:
    return cv2.LUT(image, np.round(LEVELS**gamma * 255).astype(np.uint8))
  return cv2.pow(image, gamma)


def _clahe(cv2, image):
  lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
  lab[..., 0] = cv2.createCLAHE(uniform(1, 4), (8, 8)).apply(lab[..., 0])
  return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def _unsharp(cv2, image):
  return _mixed(cv2, image, cv2.GaussianBlur(image, (11, 11), uniform(0.5, 2)), 1 + uniform(0, 1))


def _noise(cv2, image):
  white = 255.0 if image.dtype == np.uint8 else 1.0
  noise = cv2.randn(np.empty(image.shape, np.float32), 0, uniform(0, 0.1) * white)
  return _within(cv2.add(image, noise, dtype=cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_32F), image)


def _jpeg(cv2, image):
  _, data = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, random.randint(50, 95)))
  return cv2.imdecode(data, cv2.IMREAD_COLOR)


def _cutout(cv2, image):
  n, hidden = len(image), image.copy()
  left, top = (random.randrange(n) - n // 8 for _ in range(2))
  hidden[max(top, 0) : top + n // 4, max(left, 0) : left + n // 4] = 0
  return hidden


def _mixup(cv2, image, other):
  weight = random.betavariate(1, 1)
  return cv2.addWeighted(image, weight, other, 1 - weight, 0)


def _cutmix(cv2, image, other):
  n, mixed = len(image), image.copy()
  side = round(n * (1 - random.betavariate(1, 1)) ** 0.5)
  x, y = random.randrange(n) - side // 2, random.randrange(n) - side // 2
  rows, columns = slice(max(y, 0), max(y + side, 0)), slice(max(x, 0), max(x + side, 0))
  mixed[rows, columns] = other[rows, columns]
  return mixed


OPS = {
  'hflip': lambda cv2, image: cv2.flip(image, 1),
  'vflip': lambda cv2, image: cv2.flip(image, 0),
  'rot90': _rot90,
  **{op: _affine(**ranges) for op, ranges in draws.AFFINES.items()},
  'perspective': _perspective,
  'random_resized_crop': _crop,
  'center_crop': _center_crop,
  'pad': _pad,
  'resize': _resize,
  'elastic': _elastic,
  'lens_distort': _lens,
  'brightness': lambda cv2, image: _within(cv2.multiply(image, (uniform(0.6, 1.4),) * 4), image),
  'contrast': _contrast,
  'saturation': lambda cv2, image: _mixed(cv2, image, _grey(cv2, image), uniform(0.6, 1.4)),
  'hue': _hue,
  'gamma': _gamma,
  'invert': lambda cv2, x: cv2.bitwise_not(x) if x.dtype == np.uint8 else cv2.subtract((1.0,) * 4, x),
  'grayscale': _grey,
  'equalize': lambda cv2, image: cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)]),
  'clahe': _clahe,
  'channel_shuffle': lambda cv2, image: cv2.merge(random.sample(cv2.split(image), 3)),
  'gaussian_blur': lambda cv2, image: cv2.GaussianBlur(image, (7, 7), uniform(0.1, 1.5)),
  'box_blur': lambda cv2, image: cv2.blur(image, (5, 5)),
  'median_blur': lambda cv2, image: cv2.medianBlur(image, 3),
  'unsharp_mask': _unsharp,
  'gaussian_noise': _noise,
  'jpeg': _jpeg,
  'cutout': _cutout,
  'mixup': _mixup,
  'cutmix': _cutmix,
}
