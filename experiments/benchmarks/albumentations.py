"""albumentations: transforms of one image."""

from experiments.benchmarks.calls import Named, call
from experiments.benchmarks.draws import simard

MODULE, PACKAGE = 'albumentations', 'albumentations'
FROM_BYTES = (  # operations that it computes in uint8 only, whatever the input
  'posterize', 'autocontrast', 'equalize', 'clahe', 'tone_curve', 'median_blur', 'jpeg', 'histogram_match',
)  # fmt: skip


def _mosaic(Mosaic, n):
  import albumentations

  mosaic = albumentations.Compose([Mosaic((2, 2), (n, n), (n, n), p=1)])
  return lambda image, other: mosaic(image=image, mosaic_metadata=[{'image': other}] * 3)['image']


def _histogram_match(HistogramMatching, n):
  match = HistogramMatching(blend_ratio=(0.5, 1), p=1)
  return lambda image, other: match(image=image, hm_metadata=[other])['image']


def _fourier_mix(FDA, n):
  adapt = FDA(beta_limit=(0, 0.1), p=1)
  return lambda image, other: adapt(image=image, fda_metadata=[other])['image']


OPS = {
  'hflip': call('HorizontalFlip', p=1),
  'vflip': call('VerticalFlip', p=1),
  'rot90': call('RandomRotate90', p=1),
  'rotate': call('Rotate', (-30, 30), p=1),
  'translate': call('Affine', translate_percent={'x': (-0.25, 0.25), 'y': (-0.25, 0.25)}, p=1),
  'scale': call('Affine', scale=(0.8, 1.25), p=1),
  'shear': call('Affine', shear=(-15, 15), p=1),
  'affine': call('Affine', scale=(0.8, 1.25), translate_percent=(-0.1, 0.1), rotate=(-30, 30), shear=(-10, 10), p=1),
  'perspective': call('Perspective', scale=(0.05, 0.1), p=1),
  'random_resized_crop': call('RandomResizedCrop', lambda n: (n, n), p=1),
  'center_crop': call('CenterCrop', lambda n: n * 7 // 8, lambda n: n * 7 // 8),
  'pad': call('Pad', lambda n: n // 8),
  'resize': call('Resize', lambda n: n * 3 // 2, lambda n: n * 3 // 2),
  'elastic': Named('ElasticTransform', lambda make, n: make(*simard(n), noise_distribution='uniform', p=1)),
  'grid_distort': call('GridDistortion', 5, (-0.3, 0.3), p=1),
  'thin_plate_spline': call('ThinPlateSpline', (0.05, 0.1), 3, p=1),
  'lens_distort': call('OpticalDistortion', (-0.3, 0.3), p=1),
  'brightness': call('RandomBrightnessContrast', (-0.4, 0.4), (0, 0), p=1),
  'contrast': call('RandomBrightnessContrast', (0, 0), (-0.4, 0.4), p=1),
  'saturation': call('ColorJitter', (1, 1), (1, 1), (0.6, 1.4), (0, 0), p=1),
  'hue': call('ColorJitter', (1, 1), (1, 1), (1, 1), (-0.1, 0.1), p=1),
  'gamma': call('RandomGamma', (67, 150), p=1),
  'invert': call('InvertImg', p=1),
  'grayscale': call('ToGray', p=1),
  'posterize': call('Posterize', (4, 7), p=1),
  'solarize': call('Solarize', (0.5, 1), p=1),
  'autocontrast': call('AutoContrast', method='pil', p=1),
  'equalize': call('Equalize', mode='pil', p=1),
  'clahe': call('CLAHE', (1, 4), (8, 8), p=1),
  'color_jitter': call('ColorJitter', (0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=1),
  'pca_lighting': call('FancyPCA', 0.1, p=1),
  'channel_shuffle': call('ChannelShuffle', p=1),
  'channel_drop': call('ChannelDropout', (1, 1), p=1),
  'planckian_jitter': call('PlanckianJitter', p=1),
  'tone_curve': call('RandomToneCurve', 0.1, p=1),
  'gaussian_blur': call('GaussianBlur', (7, 7), (0.1, 1.5), p=1),
  'box_blur': call('Blur', (5, 5), p=1),
  'motion_blur': call('MotionBlur', (7, 7), allow_shifted=False, p=1),
  'median_blur': call('MedianBlur', (3, 3), p=1),
  'sharpen': call('Sharpen', (0, 1), (1, 1), p=1),
  'unsharp_mask': call('UnsharpMask', (11, 11), (0.5, 2), (0, 1), 0, p=1),
  'gaussian_noise': call('GaussNoise', (0, 0.1), p=1),
  'shot_noise': call('ShotNoise', (0.001, 0.05), p=1),
  'salt_and_pepper': call('SaltAndPepper', (0, 0.05), (0.5, 0.5), p=1),
  'jpeg': call('ImageCompression', 'jpeg', (50, 95), p=1),
  'cutout': call('CoarseDropout', (1, 1), (0.25, 0.25), (0.25, 0.25), p=1),
  'erase': call('Erasing', (0.02, 0.33), (0.3, 3.3), p=1),
  'grid_mask': call('GridDropout', 0.5, unit_size_range=lambda n: (n // 8, n // 4), p=1),
  'pixel_dropout': call('PixelDropout', 0.05, p=1),
  'coarse_dropout': call('CoarseDropout', (8, 8), (0.1, 0.2), (0.1, 0.2), p=1),
  'grid_shuffle': call('RandomGridShuffle', (4, 4), p=1),
  'mosaic': Named('Mosaic', _mosaic),
  'histogram_match': Named('HistogramMatching', _histogram_match),
  'fourier_mix': Named('FDA', _fourier_mix),
}
FEATURES = {  # further features, see experiments.features
  'transpose': 'Transpose',
  'another draw for every image of a batch': 'Compose',
  'masks follow': 'Compose',
  'boxes follow': 'BboxParams',
  'keypoints follow': 'KeypointParams',
  'replay of a draw': 'ReplayCompose',
  'cubic sampling': 'Affine',
}
