"""OpenCV: functions of one image, written as a user would; no augmentation library, but what such are made of."""

import random
from random import uniform

import numpy as np

from experiments.benchmarks import draws

MODULE, PACKAGE = 'cv2', 'opencv-python-headless'
FROM_BYTES = ('equalize', 'clahe', 'jpeg')  # what it computes in uint8 only
LUMA = (0.299, 0.587, 0.114)


def _each(function):
  """An entry of OPS of `function(cv2, image)`."""
  return lambda cv2, n: lambda image: function(cv2, image)


def _within(image, like):
  """Clipped to what the type of `like` holds; OpenCV's own arithmetic does so for uint8."""
  return image if like.dtype == np.uint8 else np.clip(image, 0, 1, out=image)


def _mixed(cv2, image, other, factor):
  return _within(cv2.addWeighted(image, factor, other, 1 - factor, 0), image)


def _grey(cv2, image):
  return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _affine(**ranges):
  return lambda cv2, n: lambda image: cv2.warpAffine(image, draws.affine(n, **ranges), (n, n), flags=cv2.INTER_LINEAR)


def _perspective(cv2, n):
  frame = np.array(draws.frame(n), np.float32)

  def one(image):
    matrix = cv2.getPerspectiveTransform(frame, np.array(draws.corners(n), np.float32))
    return cv2.warpPerspective(image, matrix, (n, n), flags=cv2.INTER_LINEAR)

  return one


def _crop(cv2, n):
  def one(image):
    left, top, w, h = draws.crop(n)
    return cv2.resize(image[top : top + h, left : left + w], (n, n), interpolation=cv2.INTER_LINEAR)

  return one


def _rot90(cv2, image):
  k = random.randrange(4)
  turns = (cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
  return cv2.rotate(image, turns[k - 1]) if k else image.copy()


def _elastic(cv2, n):
  columns, rows = np.meshgrid(np.arange(n, dtype=np.float32), np.arange(n, dtype=np.float32))
  rng = np.random.default_rng()
  alpha, sigma = draws.simard(n)

  def one(image):
    noise = rng.uniform(-alpha, alpha, (n, n, 2)).astype(np.float32)
    dx, dy = cv2.split(cv2.GaussianBlur(noise, (0, 0), sigma))
    return cv2.remap(image, columns + dx, rows + dy, cv2.INTER_LINEAR)

  return one


def _lens(cv2, n):
  columns, rows = np.meshgrid(np.linspace(-1, 1, n, dtype=np.float32), np.linspace(-1, 1, n, dtype=np.float32))
  square, half = columns**2 + rows**2, (n - 1) / 2

  def one(image):
    stretch = 1 + uniform(-0.3, 0.3) * square
    return cv2.remap(image, (columns * stretch + 1) * half, (rows * stretch + 1) * half, cv2.INTER_LINEAR)

  return one


def _contrast(cv2, image):
  factor, mean = uniform(0.6, 1.4), float(np.dot(cv2.mean(image)[:3], LUMA))
  return _within(cv2.addWeighted(image, factor, image, 0, (1 - factor) * mean), image)


def _hue(cv2, image):
  hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
  turn = 180 if image.dtype == np.uint8 else 360
  hsv[..., 0] = (hsv[..., 0] + turn * (1 + uniform(-0.1, 0.1))) % turn
  return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _gamma(cv2, n):
  levels = np.arange(256, dtype=np.float32) / 255

  def one(image):
    gamma = uniform(0.67, 1.5)
    if image.dtype == np.uint8:
      return cv2.LUT(image, np.round(levels**gamma * 255).astype(np.uint8))
    return cv2.pow(image, gamma)

  return one


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


def _cutout(cv2, n):
  def one(image):
    left, top = (random.randrange(n) - n // 8 for _ in range(2))
    hidden = image.copy()
    hidden[max(top, 0) : top + n // 4, max(left, 0) : left + n // 4] = 0
    return hidden

  return one


def _mixup(cv2, n):
  def one(image, other):
    weight = random.betavariate(1, 1)
    return cv2.addWeighted(image, weight, other, 1 - weight, 0)

  return one


def _cutmix(cv2, n):
  def one(image, other):
    side = round(n * (1 - random.betavariate(1, 1)) ** 0.5)
    x, y = random.randrange(n) - side // 2, random.randrange(n) - side // 2
    rows, columns = slice(max(y, 0), max(y + side, 0)), slice(max(x, 0), max(x + side, 0))
    mixed = image.copy()
    mixed[rows, columns] = other[rows, columns]
    return mixed

  return one


OPS = {
  'hflip': _each(lambda cv2, image: cv2.flip(image, 1)),
  'vflip': _each(lambda cv2, image: cv2.flip(image, 0)),
  'rot90': _each(_rot90),
  'rotate': _affine(angle=30),
  'translate': _affine(shift=0.25),
  'scale': _affine(zoom=1.25),
  'shear': _affine(shear=15),
  'affine': _affine(angle=30, shift=0.1, zoom=1.25, shear=10),
  'perspective': _perspective,
  'random_resized_crop': _crop,
  'center_crop': lambda cv2, n: lambda image: image[n // 16 : -(n // 16), n // 16 : -(n // 16)].copy(),
  'pad': lambda cv2, n: lambda image: cv2.copyMakeBorder(image, *[n // 8] * 4, cv2.BORDER_CONSTANT),
  'resize': lambda cv2, n: lambda image: cv2.resize(image, (n * 3 // 2,) * 2, interpolation=cv2.INTER_LINEAR),
  'elastic': _elastic,
  'lens_distort': _lens,
  'brightness': _each(lambda cv2, image: _within(cv2.multiply(image, (uniform(0.6, 1.4),) * 4), image)),
  'contrast': _each(_contrast),
  'saturation': _each(lambda cv2, image: _mixed(cv2, image, _grey(cv2, image), uniform(0.6, 1.4))),
  'hue': _each(_hue),
  'gamma': _gamma,
  'invert': _each(lambda cv2, x: cv2.bitwise_not(x) if x.dtype == np.uint8 else cv2.subtract((1.0,) * 4, x)),
  'grayscale': _each(_grey),
  'equalize': _each(lambda cv2, image: cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])),
  'clahe': _each(_clahe),
  'channel_shuffle': _each(lambda cv2, image: cv2.merge(random.sample(cv2.split(image), 3))),
  'gaussian_blur': _each(lambda cv2, image: cv2.GaussianBlur(image, (7, 7), uniform(0.1, 1.5))),
  'box_blur': _each(lambda cv2, image: cv2.blur(image, (5, 5))),
  'median_blur': _each(lambda cv2, image: cv2.medianBlur(image, 3)),
  'unsharp_mask': _each(_unsharp),
  'gaussian_noise': _each(_noise),
  'jpeg': _each(_jpeg),
  'cutout': _cutout,
  'mixup': _mixup,
  'cutmix': _cutmix,
}
