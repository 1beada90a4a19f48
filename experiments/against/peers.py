"""How the peers of the throughput table are called.

OPS[operation][library] makes the peer's callable from the library (`LIBRARIES`) and the side n of the image:

  albumentations  a transform of one image
  opencv, pillow  a function of one image, written as a user would
  kornia          a module of a batch
  augmax, dm_pix  a function (key, image), for jit(vmap(...))
  torchvision     a v2 transform of a batch, which decides once for all of its images
  genaug          (name in genaug.augment, keywords or what makes them from n); names in random_... take a key first

In the operations of MIXING a function of one image gets another one of the batch as well, and ours the whole batch
with its labels. Ranges are the same for everyone as
far as a peer's parameters allow; every operation is applied to every image.
"""

import importlib.metadata
import importlib.util
import random

from experiments.against import geometry, pixels

LIBRARIES = {  # the module a callable is made from, and the package that brings it
  'genaug': ('genaug.augment', 'jax'),
  'albumentations': ('albumentations', 'albumentations'),
  'opencv': ('cv2', 'opencv-python-headless'),
  'pillow': ('PIL', 'pillow'),
  'kornia': ('kornia.augmentation', 'kornia'),
  'augmax': ('augmax', 'augmax'),
  'dm_pix': ('dm_pix', 'dm_pix'),
  'torchvision': ('torchvision.transforms.v2', 'torchvision'),
}
PER_IMAGE = ('albumentations', 'opencv', 'pillow')
PLAIN = ('opencv', 'pillow')  # no augmentation libraries, but what such are made of
TORCH = ('kornia', 'torchvision')
FROM_BYTES = {  # what computes in uint8 only, whatever it is given
  'albumentations': (
    'posterize', 'autocontrast', 'equalize', 'clahe', 'tone_curve', 'median_blur', 'jpeg', 'histogram_match',
  ),
  'opencv': ('equalize', 'clahe', 'jpeg'),
  'torchvision': ('jpeg',),
}  # fmt: skip


ONE_DRAW = {  # beside torchvision, all of whose draws are for the batch
  'kornia': ('rand_augment', 'trivial_augment_wide', 'auto_augment'),  # the operations; strengths are drawn per image
  'augmax': ('gaussian_blur',),
}


def _hide(image, left, top, width, height):
  hidden = image.copy()
  hidden[max(top, 0) : top + height, max(left, 0) : left + width] = 0
  return hidden


def _cv2_cutout(cv2, n):
  return lambda image: _hide(image, random.randrange(n) - n // 8, random.randrange(n) - n // 8, n // 4, n // 4)


def _cv2_mixup(cv2, n):
  def one(image, other):
    weight = random.betavariate(1, 1)
    return cv2.addWeighted(image, weight, other, 1 - weight, 0)

  return one


def _cv2_cutmix(cv2, n):
  def one(image, other):
    side = round(n * (1 - random.betavariate(1, 1)) ** 0.5)
    x, y = random.randrange(n) - side // 2, random.randrange(n) - side // 2
    rows, columns = slice(max(y, 0), max(y + side, 0)), slice(max(x, 0), max(x + side, 0))
    mixed = image.copy()
    mixed[rows, columns] = other[rows, columns]
    return mixed

  return one


def _albumentations_mosaic(A, n):
  mosaic = A.Compose([A.Mosaic((2, 2), (n, n), (n, n), p=1)])
  return lambda image, other: mosaic(image=image, mosaic_metadata=[{'image': other}] * 3)['image']


def _albumentations_histogram(A, n):
  match = A.HistogramMatching(blend_ratio=(0.5, 1), p=1)
  return lambda image, other: match(image=image, hm_metadata=[other])['image']


def _albumentations_fourier(A, n):
  adapt = A.FDA(beta_limit=(0, 0.1), p=1)
  return lambda image, other: adapt(image=image, fda_metadata=[other])['image']


def _kornia_mixed(name, **options):
  def make(K, n):
    import torch

    mix = getattr(K, name)(data_keys=['input', 'class'], p=1.0, **options)
    return lambda batch: mix(batch, torch.arange(len(batch)))[0]

  return make


def _kornia_mosaic(K, n):
  mosaic = K.RandomMosaic((n, n), (2, 2), data_keys=['input'], p=1.0)
  return lambda batch: mosaic(batch)


def _kornia_policy(name, *values):
  def make(K, n):
    from kornia.augmentation import auto

    return K.AugmentationSequential(getattr(auto, name)(*values))

  return make


def _pillow_operations(level, shear, shift, degrees, factor, bits):
  """The fourteen of RandAugment as torchvision carries them out on PIL images: (image, sign) -> image, at a level."""
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


def _pillow_rand_augment(PIL, n):
  operations = _pillow_operations(9 / 30, 0.3, 150 / 331 * n, 30, 0.9, 4)

  def one(image):
    for _ in range(2):
      image = random.choice(operations)(image, random.choice((-1, 1)))
    return image

  return one


def _pillow_trivial_augment(PIL, n):
  levels = [_pillow_operations(i / 30, 0.99, 32, 135, 0.99, 6) for i in range(31)]
  return lambda image: random.choice(random.choice(levels))(image, random.choice((-1, 1)))


def _torchvision_mixed(name):
  def make(v2, n):
    import torch

    mix = getattr(v2, name)(num_classes=1000)
    return lambda batch: mix(batch, torch.arange(len(batch)))[0]

  return make


_OTHERS = {
  'cutout': {
    'genaug': ('random_cutout', {'size': 0.25}),
    'albumentations': lambda A, n: A.CoarseDropout((1, 1), (0.25, 0.25), (0.25, 0.25), p=1),
    'opencv': _cv2_cutout,
    'kornia': lambda K, n: K.RandomErasing((1 / 16, 1 / 16), (1.0, 1.0), p=1.0),
    'torchvision': lambda v2, n: v2.RandomErasing(1.0, (1 / 16, 1 / 16), (1.0, 1.0)),
  },
  'random_erasing': {
    'genaug': ('random_erase', {}),
    'albumentations': lambda A, n: A.Erasing((0.02, 0.33), (0.3, 3.3), p=1),
    'kornia': lambda K, n: K.RandomErasing((0.02, 0.33), (0.3, 3.3), p=1.0),
    'torchvision': lambda v2, n: v2.RandomErasing(1.0, (0.02, 0.33), (0.3, 3.3)),
  },
  'grid_mask': {
    'genaug': ('random_grid_mask', {'min_unit': 0.125, 'max_unit': 0.25}),
    'albumentations': lambda A, n: A.GridDropout(0.5, unit_size_range=(n // 8, n // 4), p=1),
  },
  'pixel_dropout': {
    'genaug': ('random_pixel_dropout', {'rate': 0.05}),
    'albumentations': lambda A, n: A.PixelDropout(0.05, p=1),
  },
  'coarse_dropout': {
    'genaug': ('random_coarse_dropout', {'max_side': 0.2, 'holes': 8}),
    'albumentations': lambda A, n: A.CoarseDropout((8, 8), (0.1, 0.2), (0.1, 0.2), p=1),
  },
  'grid_shuffle': {
    'genaug': ('random_grid_shuffle', {'rows': 4, 'cols': 4}),
    'albumentations': lambda A, n: A.RandomGridShuffle((4, 4), p=1),
    'kornia': lambda K, n: K.RandomJigsaw((4, 4), p=1.0),
    'augmax': lambda augmax, n: augmax.GridShuffle((4, 4), p=1.0),
  },
  'mixup': {
    'genaug': ('random_mixup', {'alpha': 1.0}),
    'opencv': _cv2_mixup,
    'kornia': _kornia_mixed('RandomMixUpV2'),
    'torchvision': _torchvision_mixed('MixUp'),
  },
  'cutmix': {
    'genaug': ('random_cutmix', {}),
    'opencv': _cv2_cutmix,
    'kornia': _kornia_mixed('RandomCutMixV2', use_correct_lambda=True),
    'torchvision': _torchvision_mixed('CutMix'),
  },
  'mosaic': {
    'genaug': ('random_mosaic', {'margin': 0.3}),
    'albumentations': _albumentations_mosaic,
    'kornia': _kornia_mosaic,
  },
  'histogram_match': {
    'genaug': ('random_histogram_match', {}),
    'albumentations': _albumentations_histogram,
  },
  'fourier_mix': {
    'genaug': ('random_fourier_mix', {}),
    'albumentations': _albumentations_fourier,
  },
  'rand_augment': {
    'genaug': ('rand_augment', {}),
    'pillow': _pillow_rand_augment,
    'kornia': _kornia_policy('RandAugment', 2, 9),
    'torchvision': lambda v2, n: v2.RandAugment(2, 9),
  },
  'trivial_augment_wide': {
    'genaug': ('trivial_augment_wide', {}),
    'pillow': _pillow_trivial_augment,
    'kornia': _kornia_policy('TrivialAugment'),
    'torchvision': lambda v2, n: v2.TrivialAugmentWide(),
  },
  'auto_augment': {
    'genaug': ('auto_augment', {}),
    'kornia': _kornia_policy('AutoAugment', 'cifar10'),
    'torchvision': lambda v2, n: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10),
  },
  'augmix': {
    'genaug': ('augmix', {}),
    'torchvision': lambda v2, n: v2.AugMix(),
  },
}
OPS = geometry.OPS | pixels.OPS | _OTHERS
MIXING = ('mixup', 'cutmix', 'mosaic', 'histogram_match', 'fourier_mix')


POLICIES = ('rand_augment', 'trivial_augment_wide', 'auto_augment', 'augmix')


def programs(op: str) -> list[tuple[str, str]]:
  """(library, dtype) of everything that is measured: float32 where it is taken, and uint8 where both are.

  Ours is measured in uint8 where a peer takes nothing else.
  """
  bytes_only = op not in MIXING and any(not takes_float(library, op) for library in OPS[op])
  return [
    (library, dtype)
    for library in OPS[op]
    for dtype in ('float32', 'uint8')
    if (
      takes_float(library, op) if dtype == 'float32' else library in PER_IMAGE or (library == 'genaug' and bytes_only)
    )
  ]


def takes_float(library: str, op: str) -> bool:
  return library != 'pillow' and op not in FROM_BYTES.get(library, ())


def marks(library: str, op: str) -> list[str]:
  """What a reader has to know of a figure."""
  one_draw = library == 'torchvision' or op in ONE_DRAW.get(library, ())
  return ['uint8'] * (not takes_float(library, op)) + ['one draw for the whole batch'] * one_draw


def version(library: str) -> str | None:
  """Of the package that brings the library; None where it is not installed."""
  module, package = LIBRARIES[library]
  return importlib.metadata.version(package) if importlib.util.find_spec(module.partition('.')[0]) else None
