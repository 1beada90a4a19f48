"""kornia: augmentation modules, which take a batch."""

from experiments.benchmarks.calls import WHOLE, Named, call
from experiments.benchmarks.draws import simard

MODULE, PACKAGE = 'kornia.augmentation', 'kornia'
ONE_DRAW = ('rand_augment', 'trivial_augment_wide', 'auto_augment')  # operations are drawn once; strengths per image


def _elastic(RandomElasticTransform, n):
  alpha, sigma = simard(n)
  taps, alpha = 2 * round(3 * sigma) + 1, 2 * alpha / n
  return RandomElasticTransform((taps, taps), (sigma, sigma), (alpha, alpha), p=1.0)


def _fisheye(RandomFisheye, n):
  import torch

  return RandomFisheye(torch.tensor([-0.1, 0.1]), torch.tensor([-0.1, 0.1]), torch.tensor([0.7, 1.3]), p=1.0)


def _unsharp(unsharp_mask, n):
  import torch

  return lambda batch: unsharp_mask(batch, (11, 11), 0.5 + 1.5 * torch.rand(len(batch), 1).expand(-1, 2))


def _mixed(name, **options) -> Named:
  def make(found, n):
    import torch

    mix = found(data_keys=['input', 'class'], p=1.0, **options)
    return lambda batch: mix(batch, torch.arange(len(batch)))[0]

  return Named(name, make)


def _mosaic(RandomMosaic, n):
  mosaic = RandomMosaic((n, n), (2, 2), data_keys=['input'], p=1.0)
  return lambda batch: mosaic(batch)


def _policy(name, *values) -> Named:
  def make(found, n):
    from kornia.augmentation import AugmentationSequential

    return AugmentationSequential(found(*values))

  return Named(name, make)


OPS = {
  'hflip': call('RandomHorizontalFlip', p=1.0),
  'vflip': call('RandomVerticalFlip', p=1.0),
  'rot90': call('RandomRotation90', (0, 3), p=1.0),
  'rotate': call('RandomRotation', 30.0, p=1.0),
  'translate': call('RandomTranslate', (-0.25, 0.25), (-0.25, 0.25), p=1.0),
  'scale': call('RandomAffine', 0.0, scale=(0.8, 1.25, 0.8, 1.25), p=1.0),
  'shear': call('RandomShear', (-15.0, 15.0, -15.0, 15.0), p=1.0),
  'affine': call('RandomAffine', 30.0, (0.1, 0.1), (0.8, 1.25), (-10.0, 10.0, -10.0, 10.0), p=1.0),
  'perspective': call('RandomPerspective', 0.3, p=1.0),
  'random_resized_crop': call('RandomResizedCrop', lambda n: (n, n)),
  'center_crop': call('CenterCrop', lambda n: n * 7 // 8),
  'pad': call('PadTo', lambda n: (n * 5 // 4, n * 5 // 4)),
  'resize': call('Resize', lambda n: (n * 3 // 2, n * 3 // 2), align_corners=False),
  'elastic': Named('RandomElasticTransform', _elastic),
  'thin_plate_spline': call('RandomThinPlateSpline', 0.1, p=1.0),
  'lens_distort': Named('RandomFisheye', _fisheye),
  'brightness': call('RandomBrightness', (0.6, 1.4)),
  'contrast': call('RandomContrast', (0.6, 1.4)),
  'saturation': call('RandomSaturation', (0.6, 1.4)),
  'hue': call('RandomHue', (-0.1, 0.1)),
  'gamma': call('RandomGamma', (0.67, 1.5)),
  'invert': call('RandomInvert', p=1.0),
  'grayscale': call('RandomGrayscale', p=1.0),
  'posterize': call('RandomPosterize', (4.0, 8.0), p=1.0),
  'solarize': call('RandomSolarize', (0.5, 1.0), (0.0, 0.0), p=1.0),
  'autocontrast': call('RandomAutoContrast'),
  'equalize': call('RandomEqualize', p=1.0),
  'clahe': call('RandomClahe', (1.0, 4.0), (8, 8), p=1.0),
  'color_jitter': call('ColorJitter', 0.4, 0.4, 0.4, 0.1),
  'channel_shuffle': call('RandomChannelShuffle', p=1.0),
  'channel_drop': call('RandomChannelDropout', 1, p=1.0),
  'planckian_jitter': call('RandomPlanckianJitter', p=1.0),
  'gaussian_blur': call('RandomGaussianBlur', (7, 7), (0.1, 1.5), p=1.0),
  'box_blur': call('RandomBoxBlur', (5, 5), p=1.0),
  'motion_blur': call('RandomMotionBlur', 7, 180.0, 0.0, p=1.0),
  'median_blur': call('RandomMedianBlur', (3, 3), p=1.0),
  'sharpen': call('RandomSharpness', (1.0, 2.0), p=1.0),
  'unsharp_mask': Named('kornia.filters.unsharp_mask', _unsharp),
  'gaussian_noise': call('RandomGaussianNoise', 0.0, 0.1, p=1.0),
  'salt_and_pepper': call('RandomSaltAndPepperNoise', (0.0, 0.05), (0.5, 0.5), p=1.0),
  'jpeg': call('RandomJPEG', (50.0, 95.0)),
  'cutout': call('RandomErasing', (1 / 16, 1 / 16), (1.0, 1.0), p=1.0),
  'erase': call('RandomErasing', (0.02, 0.33), (0.3, 3.3), p=1.0),
  'grid_shuffle': call('RandomJigsaw', (4, 4), p=1.0),
  'mixup': _mixed('RandomMixUpV2'),
  'cutmix': _mixed('RandomCutMixV2', use_correct_lambda=True),
  'mosaic': Named('RandomMosaic', _mosaic),
  'rand_augment': _policy('auto.RandAugment', 2, 9),
  'trivial_augment_wide': _policy('auto.TrivialAugment'),
  'auto_augment': _policy('auto.AutoAugment', 'cifar10'),
}
FEATURES = {  # further features, see experiments.features
  'adaptive discriminator augmentation': 'presets.ada.AdaptiveDiscriminatorAugmentation',
  'inverse': 'AugmentationSequential.inverse',
  'cubic sampling': 'RandomAffine',
  **dict.fromkeys((*WHOLE, 'masks follow', 'boxes follow', 'keypoints follow'), 'AugmentationSequential'),
}
