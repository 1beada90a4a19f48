"""torchvision: v2 transforms of a batch, which draw parameters once for all of its images."""

from experiments.benchmarks.calls import Named, call
from experiments.benchmarks.draws import simard

MODULE, PACKAGE = 'torchvision.transforms.v2', 'torchvision'
FROM_BYTES = ('jpeg',)  # operations that it computes in uint8 only, whatever the input


def _bilinear(name, *arguments, **keywords) -> Named:
  def make(found, n):
    from torchvision.transforms.v2 import InterpolationMode

    return found(*arguments, interpolation=InterpolationMode.BILINEAR, **keywords)

  return Named(name, make)


def _mixed(name) -> Named:
  def make(found, n):
    import torch

    mix = found(num_classes=1000)
    return lambda batch: mix(batch, torch.arange(len(batch)))[0]

  return Named(name, make)


def _auto_augment(AutoAugment, n):
  from torchvision.transforms.v2 import AutoAugmentPolicy

  return AutoAugment(AutoAugmentPolicy.CIFAR10)


OPS = {
  'hflip': call('RandomHorizontalFlip', 1.0),
  'vflip': call('RandomVerticalFlip', 1.0),
  'rotate': _bilinear('RandomRotation', 30),
  'translate': _bilinear('RandomAffine', 0, translate=(0.25, 0.25)),
  'scale': _bilinear('RandomAffine', 0, scale=(0.8, 1.25)),
  'shear': _bilinear('RandomAffine', 0, shear=(-15, 15, -15, 15)),
  'affine': _bilinear('RandomAffine', 30, (0.1, 0.1), (0.8, 1.25), (-10, 10, -10, 10)),
  'perspective': call('RandomPerspective', 0.3, 1.0),
  'random_resized_crop': call('RandomResizedCrop', lambda n: n, antialias=False),
  'center_crop': call('CenterCrop', lambda n: n * 7 // 8),
  'pad': call('Pad', lambda n: n // 8),
  'resize': call('Resize', lambda n: (n * 3 // 2, n * 3 // 2), antialias=False),
  'elastic': Named('ElasticTransform', lambda make, n: make(*simard(n))),
  'brightness': call('ColorJitter', brightness=0.4),
  'contrast': call('ColorJitter', contrast=0.4),
  'saturation': call('ColorJitter', saturation=0.4),
  'hue': call('ColorJitter', hue=0.1),
  'invert': call('RandomInvert', 1.0),
  'grayscale': call('Grayscale', 3),
  'posterize': call('RandomPosterize', 4, 1.0),
  'solarize': call('RandomSolarize', 0.5, 1.0),
  'autocontrast': call('RandomAutocontrast', 1.0),
  'equalize': call('RandomEqualize', 1.0),
  'color_jitter': call('ColorJitter', 0.4, 0.4, 0.4, 0.1),
  'channel_shuffle': call('RandomChannelPermutation'),
  'gaussian_blur': call('GaussianBlur', 7, (0.1, 1.5)),
  'sharpen': call('RandomAdjustSharpness', 2, 1.0),
  'gaussian_noise': call('GaussianNoise', 0.0, 0.1),
  'jpeg': call('JPEG', (50, 95)),
  'cutout': call('RandomErasing', 1.0, (1 / 16, 1 / 16), (1.0, 1.0)),
  'erase': call('RandomErasing', 1.0, (0.02, 0.33), (0.3, 3.3)),
  'mixup': _mixed('MixUp'),
  'cutmix': _mixed('CutMix'),
  'rand_augment': call('RandAugment', 2, 9),
  'trivial_augment_wide': call('TrivialAugmentWide'),
  'auto_augment': Named('AutoAugment', _auto_augment),
  'augmix': call('AugMix'),
}
ONE_DRAW = OPS
FEATURES = {  # further features, see experiments.features
  'five_crop, ten_crop': 'TenCrop',
  'gamma': 'functional.adjust_gamma',
  'masks follow': 'Compose',
  'boxes follow': 'SanitizeBoundingBoxes',
  'keypoints follow': 'SanitizeKeyPoints',
  'gradients to the image': 'Compose',
  'cubic sampling': 'Resize',
  'on the accelerator, inside the training step': 'Compose',
}
