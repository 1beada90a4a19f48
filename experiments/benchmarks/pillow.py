"""Pillow: operations as functions (PIL, image), as a user would write them; augmentation libraries are built on it."""

import functools
import io
import random
from random import uniform

import numpy as np

from experiments.benchmarks import draws

MODULE, PACKAGE = 'PIL', 'pillow'
PARTS = ('Image', 'ImageEnhance', 'ImageFilter', 'ImageOps')  # submodules, which PIL does not import by itself
LEVELS = np.arange(256) / 255


def _affine(**ranges):
  def one(pil, image):
    matrix = draws.affine(image.width, **ranges).ravel().tolist()
    return image.transform(image.size, pil.Image.Transform.AFFINE, matrix, pil.Image.Resampling.BILINEAR)

  return one


def _perspective(pil, image):
  rows, values = [], []
  for (u, v), (x, y) in zip(draws.frame(image.width), draws.corners(image.width)):
    rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    values += [u, v]
  data = np.linalg.solve(np.array(rows), np.array(values)).tolist()
  return image.transform(image.size, pil.Image.Transform.PERSPECTIVE, data, pil.Image.Resampling.BILINEAR)


def _crop(pil, image):
  left, top, w, h = draws.crop(image.width)
  return image.resize(image.size, pil.Image.Resampling.BILINEAR, (left, top, left + w, top + h))


def _center_crop(pil, image):
  margin, end = image.width // 16, image.width - image.width // 16
  return image.crop((margin, margin, end, end))


def _rot90(pil, image):
  k = random.randrange(4)
  turns = (pil.Image.Transpose.ROTATE_90, pil.Image.Transpose.ROTATE_180, pil.Image.Transpose.ROTATE_270)
  return image.transpose(turns[k - 1]) if k else image.copy()


def _hue(pil, image):
  hue, saturation, value = image.convert('HSV').split()
  shift = random.randint(-25, 25)
  return pil.Image.merge('HSV', (hue.point(lambda h: (h + shift) % 256), saturation, value)).convert('RGB')


def _gamma(pil, image):
  return image.point(np.round(255 * LEVELS ** uniform(0.67, 1.5)).astype(int).tolist() * 3)


def _jpeg(pil, image):
  data = io.BytesIO()
  image.save(data, 'JPEG', quality=random.randint(50, 95))
  return pil.Image.open(data).convert('RGB')


def _enhance(name, low, high):
  return lambda pil, image: getattr(pil.ImageEnhance, name)(image).enhance(uniform(low, high))


def _filter(make):
  return lambda pil, image: image.filter(make(pil.ImageFilter))


@functools.lru_cache(31)
def _operations(level, shear, shift, degrees, factor, bits):
  """Returns RandAugment's fourteen operations as torchvision applies them at a level: (PIL image, sign) -> image."""
  from PIL import Image, ImageEnhance, ImageOps

  def affine(*data):
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.NEAREST)

  def enhance(which):
    return lambda image, sign: which(image).enhance(1 + sign * level * factor)

  return [
    lambda image, sign: image,
    lambda image, sign: affine(1, sign * level * shear, 0, 0, 1, 0)(image),
    lambda image, sign: affine(1, 0, 0, sign * level * shear, 1, 0)(image),
    lambda image, sign: affine(1, 0, sign * int(level * shift), 0, 1, 0)(image),
    lambda image, sign: affine(1, 0, 0, 0, 1, sign * int(level * shift))(image),
    lambda image, sign: image.rotate(sign * level * degrees, Image.Resampling.NEAREST),
    *(enhance(getattr(ImageEnhance, name)) for name in ('Brightness', 'Color', 'Contrast', 'Sharpness')),
    lambda image, sign: ImageOps.posterize(image, 8 - round(level * bits)),
    lambda image, sign: ImageOps.solarize(image, round(255 * (1 - level))),
    lambda image, sign: ImageOps.autocontrast(image),
    lambda image, sign: ImageOps.equalize(image),
  ]


def _rand_augment(pil, image):
  operations = _operations(9 / 30, 0.3, 150 / 331 * image.width, 30, 0.9, 4)
  for _ in range(2):
    image = random.choice(operations)(image, random.choice((-1, 1)))
  return image


def _trivial_augment(pil, image):
  return random.choice(_operations(random.randrange(31) / 30, 0.99, 32, 135, 0.99, 6))(image, random.choice((-1, 1)))


OPS = {
  'hflip': lambda pil, image: image.transpose(pil.Image.Transpose.FLIP_LEFT_RIGHT),
  'vflip': lambda pil, image: image.transpose(pil.Image.Transpose.FLIP_TOP_BOTTOM),
  'rot90': _rot90,
  **{op: _affine(**ranges) for op, ranges in draws.AFFINES.items()},
  'perspective': _perspective,
  'random_resized_crop': _crop,
  'center_crop': _center_crop,
  'pad': lambda pil, image: pil.ImageOps.expand(image, image.width // 8),
  'resize': lambda pil, image: image.resize((image.width * 3 // 2,) * 2, pil.Image.Resampling.BILINEAR),
  'brightness': _enhance('Brightness', 0.6, 1.4),
  'contrast': _enhance('Contrast', 0.6, 1.4),
  'saturation': _enhance('Color', 0.6, 1.4),
  'hue': _hue,
  'gamma': _gamma,
  'invert': lambda pil, image: pil.ImageOps.invert(image),
  'grayscale': lambda pil, image: image.convert('L').convert('RGB'),
  'posterize': lambda pil, image: pil.ImageOps.posterize(image, random.randint(4, 7)),
  'solarize': lambda pil, image: pil.ImageOps.solarize(image, random.randint(128, 255)),
  'autocontrast': lambda pil, image: pil.ImageOps.autocontrast(image),
  'equalize': lambda pil, image: pil.ImageOps.equalize(image),
  'channel_shuffle': lambda pil, image: pil.Image.merge('RGB', random.sample(image.split(), 3)),
  'gaussian_blur': _filter(lambda filters: filters.GaussianBlur(uniform(0.1, 1.5))),
  'box_blur': _filter(lambda filters: filters.BoxBlur(2)),
  'median_blur': _filter(lambda filters: filters.MedianFilter(3)),
  'sharpen': _enhance('Sharpness', 1, 2),
  'unsharp_mask': _filter(lambda filters: filters.UnsharpMask(uniform(0.5, 2), random.randint(0, 100), 0)),
  'jpeg': _jpeg,
  'rand_augment': _rand_augment,
  'trivial_augment_wide': _trivial_augment,
}
