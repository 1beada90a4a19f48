"""Peers of the operations on colour, sharpness and noise; see experiments.against.peers for what the entries mean."""

import io
import random
from random import uniform

import numpy as np

_LUMA = (0.299, 0.587, 0.114)


def _white(image) -> float:
  return 255.0 if image.dtype == np.uint8 else 1.0


def _within(image, like):
  """Clipped to what the type of `like` holds; OpenCV's own arithmetic does so for uint8."""
  return image if like.dtype == np.uint8 else np.clip(image, 0, 1, out=image)


def _mixed(cv2, image, other, factor):
  return _within(cv2.addWeighted(image, factor, other, 1 - factor, 0), image)


def _grey(cv2, image):
  return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _cv2_brightness(cv2, n):
  return lambda image: _within(cv2.multiply(image, (uniform(0.6, 1.4),) * 4), image)


def _cv2_contrast(cv2, n):
  def one(image):
    factor = uniform(0.6, 1.4)
    mean = float(np.dot(cv2.mean(image)[:3], _LUMA))
    return _within(cv2.addWeighted(image, factor, image, 0, (1 - factor) * mean), image)

  return one


def _cv2_saturation(cv2, n):
  return lambda image: _mixed(cv2, image, _grey(cv2, image), uniform(0.6, 1.4))


def _cv2_hue(cv2, n):
  def one(image):
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    turn = 180 if image.dtype == np.uint8 else 360
    hsv[..., 0] = (hsv[..., 0] + turn * (1 + uniform(-0.1, 0.1))) % turn
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

  return one


def _cv2_gamma(cv2, n):
  levels = np.arange(256, dtype=np.float32) / 255

  def one(image):
    gamma = uniform(0.67, 1.5)
    if image.dtype == np.uint8:
      return cv2.LUT(image, np.round(levels**gamma * 255).astype(np.uint8))
    return cv2.pow(image, gamma)

  return one


def _cv2_invert(cv2, n):
  return lambda image: cv2.bitwise_not(image) if image.dtype == np.uint8 else cv2.subtract((1.0,) * 4, image)


def _cv2_equalize(cv2, n):
  return lambda image: cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])


def _cv2_clahe(cv2, n):
  def one(image):
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(uniform(1, 4), (8, 8)).apply(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)

  return one


def _cv2_unsharp(cv2, n):
  def one(image):
    return _mixed(cv2, image, cv2.GaussianBlur(image, (11, 11), uniform(0.5, 2)), 1 + uniform(0, 1))

  return one


def _cv2_noise(cv2, n):
  def one(image):
    std = uniform(0, 0.1) * _white(image)
    noise = cv2.randn(np.empty(image.shape, np.float32), 0, std)
    return _within(cv2.add(image, noise, dtype=cv2.CV_8U if image.dtype == np.uint8 else cv2.CV_32F), image)

  return one


def _cv2_jpeg(cv2, n):
  def one(image):
    _, data = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, random.randint(50, 95)))
    return cv2.imdecode(data, cv2.IMREAD_COLOR)

  return one


def _pil_hue(pil, n):
  def one(image):
    hue, saturation, value = image.convert('HSV').split()
    shift = random.randint(-25, 25)
    return pil.Image.merge('HSV', (hue.point(lambda h: (h + shift) % 256), saturation, value)).convert('RGB')

  return one


def _pil_gamma(pil, n):
  levels = np.arange(256) / 255
  return lambda image: image.point(np.round(255 * levels ** uniform(0.67, 1.5)).astype(int).tolist() * 3)


def _pil_jpeg(pil, n):
  def one(image):
    data = io.BytesIO()
    image.save(data, 'JPEG', quality=random.randint(50, 95))
    return pil.Image.open(data).convert('RGB')

  return one


def _pil_enhance(name, low, high):
  return lambda pil, n: lambda image: getattr(pil.ImageEnhance, name)(image).enhance(uniform(low, high))


def _traced(draw):
  """A JAX peer's operation that takes its value as an argument: draw(lib, image, value in [0, 1]) -> image."""

  def make(lib, n):
    import jax

    return lambda key, image: draw(lib, image, jax.random.uniform(key))

  return make


def _augmax_solarize(augmax, n):
  import jax

  def each(key, image):  # its class takes one threshold for all; a traced one makes it a threshold an image
    return augmax.Solarization(jax.random.uniform(key, minval=0.5), p=1.0)(key, image)

  return each


def _pix_grey(pix, n):
  import jax.numpy as jnp

  return lambda key, image: jnp.broadcast_to(pix.rgb_to_grayscale(image, keep_dims=True), image.shape)


def _kornia_unsharp(K, n):
  import torch
  from kornia.filters import unsharp_mask

  return lambda batch: unsharp_mask(batch, (11, 11), 0.5 + 1.5 * torch.rand(len(batch), 1).expand(-1, 2))


OPS = {
  'brightness': {
    'genaug': ('random_brightness', {'limit': 0.4}),
    'albumentations': lambda A, n: A.RandomBrightnessContrast((-0.4, 0.4), (0, 0), p=1),
    'opencv': _cv2_brightness,
    'pillow': _pil_enhance('Brightness', 0.6, 1.4),
    'kornia': lambda K, n: K.RandomBrightness((0.6, 1.4)),
    'augmax': lambda augmax, n: augmax.RandomBrightness((-0.8, 0.8), p=1.0),
    'dm_pix': lambda pix, n: lambda key, image: pix.random_brightness(key, image, 0.4),
    'torchvision': lambda v2, n: v2.ColorJitter(brightness=0.4),
  },
  'contrast': {
    'genaug': ('random_contrast', {'limit': 0.4}),
    'albumentations': lambda A, n: A.RandomBrightnessContrast((0, 0), (-0.4, 0.4), p=1),
    'opencv': _cv2_contrast,
    'pillow': _pil_enhance('Contrast', 0.6, 1.4),
    'kornia': lambda K, n: K.RandomContrast((0.6, 1.4)),
    'augmax': lambda augmax, n: augmax.RandomContrast((-0.4, 0.4), p=1.0),
    'dm_pix': lambda pix, n: lambda key, image: pix.random_contrast(key, image, 0.6, 1.4),
    'torchvision': lambda v2, n: v2.ColorJitter(contrast=0.4),
  },
  'saturation': {
    'genaug': ('random_saturation', {'limit': 0.4}),
    'albumentations': lambda A, n: A.ColorJitter((1, 1), (1, 1), (0.6, 1.4), (0, 0), p=1),
    'opencv': _cv2_saturation,
    'pillow': _pil_enhance('Color', 0.6, 1.4),
    'kornia': lambda K, n: K.RandomSaturation((0.6, 1.4)),
    'dm_pix': lambda pix, n: lambda key, image: pix.random_saturation(key, image, 0.6, 1.4),
    'torchvision': lambda v2, n: v2.ColorJitter(saturation=0.4),
  },
  'hue': {
    'genaug': ('random_hue', {'degrees': 36}),
    'albumentations': lambda A, n: A.ColorJitter((1, 1), (1, 1), (1, 1), (-0.1, 0.1), p=1),
    'opencv': _cv2_hue,
    'pillow': _pil_hue,
    'kornia': lambda K, n: K.RandomHue((-0.1, 0.1)),
    'dm_pix': lambda pix, n: lambda key, image: pix.random_hue(key, image, 0.1),
    'torchvision': lambda v2, n: v2.ColorJitter(hue=0.1),
  },
  'gamma': {
    'genaug': ('random_gamma', {'limit': 0.5}),
    'albumentations': lambda A, n: A.RandomGamma((67, 150), p=1),
    'opencv': _cv2_gamma,
    'pillow': _pil_gamma,
    'kornia': lambda K, n: K.RandomGamma((0.67, 1.5)),
    'augmax': lambda augmax, n: augmax.RandomGamma((0.67, 1.5), p=1.0),
    'dm_pix': lambda pix, n: lambda key, image: pix.random_gamma(key, image, 0.67, 1.5),
  },
  'invert': {
    'genaug': ('invert', {'amount': 1.0}),
    'albumentations': lambda A, n: A.InvertImg(p=1),
    'opencv': _cv2_invert,
    'pillow': lambda pil, n: pil.ImageOps.invert,
    'kornia': lambda K, n: K.RandomInvert(p=1.0),
    'torchvision': lambda v2, n: v2.RandomInvert(1.0),
  },
  'grayscale': {
    'genaug': ('grayscale', {'amount': 1.0}),
    'albumentations': lambda A, n: A.ToGray(p=1),
    'opencv': lambda cv2, n: lambda image: _grey(cv2, image),
    'pillow': lambda pil, n: lambda image: image.convert('L').convert('RGB'),
    'kornia': lambda K, n: K.RandomGrayscale(p=1.0),
    'augmax': lambda augmax, n: augmax.RandomGrayscale(p=1.0),
    'dm_pix': _pix_grey,
    'torchvision': lambda v2, n: v2.Grayscale(3),
  },
  'posterize': {
    'genaug': ('random_posterize', {'bits': 4}),
    'albumentations': lambda A, n: A.Posterize((4, 7), p=1),
    'pillow': lambda pil, n: lambda image: pil.ImageOps.posterize(image, random.randint(4, 7)),
    'kornia': lambda K, n: K.RandomPosterize((4.0, 8.0), p=1.0),
    'torchvision': lambda v2, n: v2.RandomPosterize(4, 1.0),
  },
  'solarize': {
    'genaug': ('random_solarize', {'threshold': 0.5}),
    'albumentations': lambda A, n: A.Solarize((0.5, 1), p=1),
    'pillow': lambda pil, n: lambda image: pil.ImageOps.solarize(image, random.randint(128, 255)),
    'kornia': lambda K, n: K.RandomSolarize((0.5, 1.0), (0.0, 0.0), p=1.0),
    'augmax': _augmax_solarize,
    'dm_pix': _traced(lambda pix, image, value: pix.solarize(image, 0.5 + 0.5 * value)),
    'torchvision': lambda v2, n: v2.RandomSolarize(0.5, 1.0),
  },
  'autocontrast': {
    'genaug': ('autocontrast', {}),
    'albumentations': lambda A, n: A.AutoContrast(method='pil', p=1),
    'pillow': lambda pil, n: pil.ImageOps.autocontrast,
    'kornia': lambda K, n: K.RandomAutoContrast(),
    'torchvision': lambda v2, n: v2.RandomAutocontrast(1.0),
  },
  'equalize': {
    'genaug': ('equalize', {}),
    'albumentations': lambda A, n: A.Equalize(mode='pil', p=1),
    'opencv': _cv2_equalize,
    'pillow': lambda pil, n: pil.ImageOps.equalize,
    'kornia': lambda K, n: K.RandomEqualize(p=1.0),
    'torchvision': lambda v2, n: v2.RandomEqualize(1.0),
  },
  'clahe': {
    'genaug': ('random_clahe', {}),
    'albumentations': lambda A, n: A.CLAHE((1, 4), (8, 8), p=1),
    'opencv': _cv2_clahe,
    'kornia': lambda K, n: K.RandomClahe((1.0, 4.0), (8, 8), p=1.0),
  },
  'color_jitter': {
    'genaug': ('random_color_jitter', {'brightness': 0.4, 'contrast': 0.4, 'saturation': 0.4, 'hue': 36}),
    'albumentations': lambda A, n: A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=1),
    'kornia': lambda K, n: K.ColorJitter(0.4, 0.4, 0.4, 0.1),
    'augmax': lambda augmax, n: augmax.ColorJitter(0.4, 0.4, 0.4, 0.1, p=1.0),
    'torchvision': lambda v2, n: v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
  },
  'pca_lighting': {
    'genaug': ('random_pca_lighting', {}),
    'albumentations': lambda A, n: A.FancyPCA(0.1, p=1),
  },
  'channel_shuffle': {
    'genaug': ('random_channel_shuffle', {}),
    'albumentations': lambda A, n: A.ChannelShuffle(p=1),
    'opencv': lambda cv2, n: lambda image: cv2.merge(random.sample(cv2.split(image), 3)),
    'pillow': lambda pil, n: lambda image: pil.Image.merge('RGB', random.sample(image.split(), 3)),
    'kornia': lambda K, n: K.RandomChannelShuffle(p=1.0),
    'augmax': lambda augmax, n: augmax.ChannelShuffle(p=1.0),
    'torchvision': lambda v2, n: v2.RandomChannelPermutation(),
  },
  'channel_drop': {
    'genaug': ('random_channel_drop', {}),
    'albumentations': lambda A, n: A.ChannelDropout((1, 1), p=1),
    'kornia': lambda K, n: K.RandomChannelDropout(1, p=1.0),
    'augmax': lambda augmax, n: augmax.ChannelDrop(p=1.0),
  },
  'planckian_jitter': {
    'genaug': ('random_planckian_jitter', {}),
    'albumentations': lambda A, n: A.PlanckianJitter(p=1),
    'kornia': lambda K, n: K.RandomPlanckianJitter(p=1.0),
  },
  'tone_curve': {
    'genaug': ('random_tone_curve', {}),
    'albumentations': lambda A, n: A.RandomToneCurve(0.1, p=1),
  },
  'gaussian_blur': {
    'genaug': ('random_gaussian_blur', {'sigma': 1.5, 'ksize': 7}),
    'albumentations': lambda A, n: A.GaussianBlur((7, 7), (0.1, 1.5), p=1),
    'opencv': lambda cv2, n: lambda image: cv2.GaussianBlur(image, (7, 7), uniform(0.1, 1.5)),
    'pillow': lambda pil, n: lambda image: image.filter(pil.ImageFilter.GaussianBlur(uniform(0.1, 1.5))),
    'kornia': lambda K, n: K.RandomGaussianBlur((7, 7), (0.1, 1.5), p=1.0),
    'augmax': lambda augmax, n: augmax.Chain(augmax.GaussianBlur(3.5, p=1.0)),  # its kernel has 2 * sigma pixels
    'dm_pix': _traced(lambda pix, image, value: pix.gaussian_blur(image, 0.1 + 1.4 * value, 7)),
    'torchvision': lambda v2, n: v2.GaussianBlur(7, (0.1, 1.5)),
  },
  'box_blur': {
    'genaug': ('box_blur', {'ksize': 5}),
    'albumentations': lambda A, n: A.Blur((5, 5), p=1),
    'opencv': lambda cv2, n: lambda image: cv2.blur(image, (5, 5)),
    'pillow': lambda pil, n: lambda image: image.filter(pil.ImageFilter.BoxBlur(2)),
    'kornia': lambda K, n: K.RandomBoxBlur((5, 5), p=1.0),
    'augmax': lambda augmax, n: augmax.Chain(augmax.Blur(5, p=1.0)),
  },
  'motion_blur': {
    'genaug': ('random_motion_blur', {'length': 7, 'ksize': 7}),
    'albumentations': lambda A, n: A.MotionBlur((7, 7), allow_shifted=False, p=1),
    'kornia': lambda K, n: K.RandomMotionBlur(7, 180.0, 0.0, p=1.0),
  },
  'median_blur': {
    'genaug': ('median_blur', {'ksize': 3}),
    'albumentations': lambda A, n: A.MedianBlur((3, 3), p=1),
    'opencv': lambda cv2, n: lambda image: cv2.medianBlur(image, 3),
    'pillow': lambda pil, n: lambda image: image.filter(pil.ImageFilter.MedianFilter(3)),
    'kornia': lambda K, n: K.RandomMedianBlur((3, 3), p=1.0),
  },
  'sharpen': {
    'genaug': ('random_sharpen', {}),
    'albumentations': lambda A, n: A.Sharpen((0, 1), (1, 1), p=1),
    'pillow': _pil_enhance('Sharpness', 1, 2),
    'kornia': lambda K, n: K.RandomSharpness((1.0, 2.0), p=1.0),
    'torchvision': lambda v2, n: v2.RandomAdjustSharpness(2, 1.0),
  },
  'unsharp_mask': {
    'genaug': ('random_unsharp_mask', {}),
    'albumentations': lambda A, n: A.UnsharpMask((11, 11), (0.5, 2), (0, 1), 0, p=1),
    'opencv': _cv2_unsharp,
    'pillow': lambda pil, n: (
      lambda image: image.filter(pil.ImageFilter.UnsharpMask(uniform(0.5, 2), random.randint(0, 100), 0))
    ),
    'kornia': _kornia_unsharp,
  },
  'gaussian_noise': {
    'genaug': ('random_gaussian_noise', {'std': 0.1}),
    'albumentations': lambda A, n: A.GaussNoise((0, 0.1), p=1),
    'opencv': _cv2_noise,
    'kornia': lambda K, n: K.RandomGaussianNoise(0.0, 0.1, p=1.0),
    'torchvision': lambda v2, n: v2.GaussianNoise(0.0, 0.1),
  },
  'shot_noise': {
    'genaug': ('random_shot_noise', {'scale': 0.05}),
    'albumentations': lambda A, n: A.ShotNoise((0.001, 0.05), p=1),
  },
  'salt_and_pepper': {
    'genaug': ('random_salt_and_pepper', {'amount': 0.05}),
    'albumentations': lambda A, n: A.SaltAndPepper((0, 0.05), (0.5, 0.5), p=1),
    'kornia': lambda K, n: K.RandomSaltAndPepperNoise((0.0, 0.05), (0.5, 0.5), p=1.0),
  },
  'jpeg': {
    'genaug': ('random_jpeg', {'quality': 50}),
    'albumentations': lambda A, n: A.ImageCompression('jpeg', (50, 95), p=1),
    'opencv': _cv2_jpeg,
    'pillow': _pil_jpeg,
    'kornia': lambda K, n: K.RandomJPEG((50.0, 95.0)),
    'torchvision': lambda v2, n: v2.JPEG((50, 95)),
  },
}
