"""What other libraries have of what genaug.augment has.

python -m experiments.features   imports every name of an installed library, and fails if one does not exist

FEATURES[feature][library] is what a user of the library calls, '' where it has nothing; genaug's is the test that
proves ours. Names of torchvision come from its documentation where it is not installed.
"""

import importlib
import importlib.util
import sys

VERSIONS = {
  'albumentations': '2.0.8',
  'kornia': '0.9.0',
  'torchvision': '0.23, transforms.v2',
  'dm_pix': '0.4.5',
  'augmax': '0.4.1',
}
_LIBRARIES = ('genaug', *VERSIONS)


def _row(genaug='', albumentations='', kornia='', torchvision='', dm_pix='', augmax='') -> dict[str, str]:
  """Short names spelt out: 'Rotate' of albumentations is albumentations.Rotate, and so on."""
  prefixes = ('', 'albumentations.', 'kornia.augmentation.', 'torchvision.transforms.v2.', 'dm_pix.', 'augmax.')
  tops = ('', 'albumentations.', 'kornia.', 'torchvision.', 'dm_pix.', 'augmax.')
  names = (genaug, albumentations, kornia, torchvision, dm_pix, augmax)
  full = [
    name if not name or name.startswith(top) else prefix + name for name, prefix, top in zip(names, prefixes, tops)
  ]
  return dict(zip(_LIBRARIES, full))


FEATURES = {
  # geometry
  'hflip': _row(
    '', 'HorizontalFlip', 'RandomHorizontalFlip', 'RandomHorizontalFlip', 'flip_left_right', 'HorizontalFlip'
  ),
  'vflip': _row('', 'VerticalFlip', 'RandomVerticalFlip', 'RandomVerticalFlip', 'flip_up_down', 'VerticalFlip'),
  'rot90': _row('', 'RandomRotate90', 'RandomRotation90', '', 'rot90', 'Rotate90'),
  'rotate': _row('', 'Rotate', 'RandomRotation', 'RandomRotation', 'rotate', 'Rotate'),
  'translate': _row('', 'Affine', 'RandomTranslate', 'RandomAffine', 'affine_transform', 'Translate'),
  'scale': _row('', 'Affine', 'RandomAffine', 'RandomAffine', 'affine_transform'),
  'shear': _row('', 'Affine', 'RandomShear', 'RandomAffine', 'affine_transform'),
  'affine': _row('', 'Affine', 'RandomAffine', 'RandomAffine', 'affine_transform'),
  'perspective': _row('', 'Perspective', 'RandomPerspective', 'RandomPerspective'),
  'random_resized_crop': _row('', 'RandomResizedCrop', 'RandomResizedCrop', 'RandomResizedCrop', '', 'RandomSizedCrop'),
  'center_crop': _row('', 'CenterCrop', 'CenterCrop', 'CenterCrop', 'center_crop', 'CenterCrop'),
  'pad': _row('', 'Pad', 'PadTo', 'Pad', 'pad_to_size'),
  'resize': _row('', 'Resize', 'Resize', 'Resize', '', 'Resize'),
  'transpose': _row('', 'Transpose'),
  'tiles, strips, diagonal halves': _row(),
  'five_crop, ten_crop': _row('', '', '', 'TenCrop'),
  'elastic': _row('', 'ElasticTransform', 'RandomElasticTransform', 'ElasticTransform', 'elastic_deformation', 'Warp'),
  'grid_distort': _row('', 'GridDistortion'),
  'thin_plate_spline': _row('', 'ThinPlateSpline', 'RandomThinPlateSpline'),
  'lens_distort': _row('', 'OpticalDistortion', 'RandomFisheye'),
  # colour
  'brightness': _row(
    '', 'RandomBrightnessContrast', 'RandomBrightness', 'ColorJitter', 'random_brightness', 'RandomBrightness'
  ),
  'contrast': _row(
    '', 'RandomBrightnessContrast', 'RandomContrast', 'ColorJitter', 'random_contrast', 'RandomContrast'
  ),
  'saturation': _row('', 'ColorJitter', 'RandomSaturation', 'ColorJitter', 'random_saturation'),
  'hue': _row('', 'ColorJitter', 'RandomHue', 'ColorJitter', 'random_hue', 'ColorJitter'),
  'gamma': _row('', 'RandomGamma', 'RandomGamma', 'functional.adjust_gamma', 'random_gamma', 'RandomGamma'),
  'invert': _row('', 'InvertImg', 'RandomInvert', 'RandomInvert'),
  'grayscale': _row('', 'ToGray', 'RandomGrayscale', 'RandomGrayscale', 'rgb_to_grayscale', 'RandomGrayscale'),
  'posterize': _row('', 'Posterize', 'RandomPosterize', 'RandomPosterize'),
  'solarize': _row('', 'Solarize', 'RandomSolarize', 'RandomSolarize', 'solarize', 'Solarization'),
  'autocontrast': _row('', 'AutoContrast', 'RandomAutoContrast', 'RandomAutocontrast'),
  'equalize': _row('', 'Equalize', 'RandomEqualize', 'RandomEqualize'),
  'clahe': _row('', 'CLAHE', 'RandomClahe'),
  'color_jitter': _row('', 'ColorJitter', 'ColorJitter', 'ColorJitter', '', 'ColorJitter'),
  'pca_lighting': _row('', 'FancyPCA'),
  'channel_shuffle': _row(
    '', 'ChannelShuffle', 'RandomChannelShuffle', 'RandomChannelPermutation', '', 'ChannelShuffle'
  ),
  'channel_drop': _row('', 'ChannelDropout', 'RandomChannelDropout', '', '', 'ChannelDrop'),
  'planckian_jitter': _row('', 'PlanckianJitter', 'RandomPlanckianJitter'),
  'tone_curve': _row('', 'RandomToneCurve'),
  # sharpness and noise
  'gaussian_blur': _row('', 'GaussianBlur', 'RandomGaussianBlur', 'GaussianBlur', 'gaussian_blur', 'GaussianBlur'),
  'box_blur': _row('', 'Blur', 'RandomBoxBlur', '', '', 'Blur'),
  'motion_blur': _row('', 'MotionBlur', 'RandomMotionBlur'),
  'median_blur': _row('', 'MedianBlur', 'RandomMedianBlur'),
  'sharpen': _row('', 'Sharpen', 'RandomSharpness', 'RandomAdjustSharpness'),
  'unsharp_mask': _row('', 'UnsharpMask', 'kornia.filters.UnsharpMask'),
  'gaussian_noise': _row('', 'GaussNoise', 'RandomGaussianNoise', 'GaussianNoise'),
  'shot_noise': _row('', 'ShotNoise'),
  'salt_and_pepper': _row('', 'SaltAndPepper', 'RandomSaltAndPepperNoise'),
  'jpeg': _row('', 'ImageCompression', 'RandomJPEG', 'JPEG'),
  # occlusion
  'cutout': _row('', 'CoarseDropout', 'RandomErasing', 'RandomErasing'),
  'random_erasing': _row('', 'Erasing', 'RandomErasing', 'RandomErasing'),
  'grid_mask': _row('', 'GridDropout'),
  'pixel_dropout': _row('', 'PixelDropout'),
  'coarse_dropout': _row('', 'CoarseDropout'),
  'grid_shuffle': _row('', 'RandomGridShuffle', 'RandomJigsaw', '', '', 'GridShuffle'),
  # several images
  'mixup': _row('', '', 'RandomMixUpV2', 'MixUp'),
  'cutmix': _row('', '', 'RandomCutMixV2', 'CutMix'),
  'mosaic': _row('', 'Mosaic', 'RandomMosaic'),
  'histogram_match': _row('', 'HistogramMatching'),
  'fourier_mix': _row('', 'FDA'),
  'resizemix, fmix': _row(),
  'copy_paste': _row(),
  # policies
  'rand_augment': _row('', '', 'auto.RandAugment', 'RandAugment'),
  'trivial_augment_wide': _row('', '', 'auto.TrivialAugment', 'TrivialAugmentWide'),
  'auto_augment': _row('', '', 'auto.AutoAugment', 'AutoAugment'),
  'augmix': _row('', '', '', 'AugMix'),
  'three_augment': _row(),
  # what they can do beside
  'another draw for every image of a batch': _row('', 'Compose', 'AugmentationSequential', '', 'random_hue', 'Chain'),
  'masks follow': _row('', 'Compose', 'AugmentationSequential', 'Compose', '', 'Chain'),
  'boxes follow': _row('', 'BboxParams', 'AugmentationSequential', 'SanitizeBoundingBoxes'),
  'keypoints follow': _row(
    '', 'KeypointParams', 'AugmentationSequential', 'SanitizeKeyPoints', '', 'InputType.KEYPOINTS'
  ),
  'chains of moves resampled once': _row('', '', '', '', '', 'GeometricChain'),
  'DiffAugment': _row(),
  'adaptive discriminator augmentation': _row('', '', 'presets.ada.AdaptiveDiscriminatorAugmentation'),
  'inverse': _row('', '', 'AugmentationSequential.inverse', '', '', 'Chain.invert'),
  'replay of a draw': _row('', 'ReplayCompose', 'AugmentationSequential', '', 'random_hue', 'Chain'),
  'jit and vmap': _row('', '', '', '', 'rotate', 'Chain'),
  'gradients to the image': _row('', '', 'AugmentationSequential', 'Compose', 'adjust_hue', 'Chain'),
  'cubic sampling': _row('', 'Affine', 'RandomAffine', 'Resize'),
  'on the accelerator, inside the training step': _row('', '', 'AugmentationSequential', 'Compose', 'rotate', 'Chain'),
}


_OPERATION = 'tests/test_every_op.py::test_an_operation_of_a_config'
_MIX = 'tests/test_mixing.py::test_random_mixes_of_batches'
PROOFS = {  # of what is no operation of one image from a config
  'center_crop': 'tests/test_crops.py::test_center_crop_has_the_same_margin_on_both_sides',
  'pad': 'tests/test_crops.py::test_pad_is_numpys',
  'resize': 'tests/test_crops.py::test_resize_is_pils',
  'tiles, strips, diagonal halves': 'tests/test_slicing.py::test_strips',
  'five_crop, ten_crop': 'tests/test_slicing.py::test_five_and_ten_crops',
  **dict.fromkeys(
    ('mixup', 'cutmix', 'mosaic', 'histogram_match', 'fourier_mix', 'resizemix, fmix', 'copy_paste'), _MIX
  ),
  'masks follow': 'tests/test_pipeline.py::test_targets_move_with_the_image',
  'boxes follow': 'tests/test_pipeline.py::test_targets_move_with_the_image',
  'keypoints follow': 'tests/test_pipeline.py::test_targets_move_with_the_image',
  'chains of moves resampled once': 'tests/test_pipeline.py::test_all_moves_of_a_config_are_one_resample',
  'DiffAugment': 'tests/test_diff_augment.py::test_it_is_its_definition',
  'adaptive discriminator augmentation': 'tests/test_ada_training.py::test_controller_reaches_its_target',
  'inverse': 'tests/test_geometry.py::test_there_and_back_costs_no_more_than_two_interpolations',
  'replay of a draw': 'tests/test_pipeline.py::test_a_draw_can_be_replayed_on_something_else',
  'cubic sampling': 'tests/test_resample.py::test_resample_is_map_coordinates',
  'on the accelerator, inside the training step': 'tests/test_parallel.py::test_one_device_and_two_agree',
}
for _feature, _names in FEATURES.items():
  _names['genaug'] = PROOFS.get(_feature, _OPERATION)


def verify() -> list[str]:
  """Names in the columns of the installed libraries that do not exist there."""
  wrong = []
  for feature, row in FEATURES.items():
    for library in VERSIONS:
      if row[library] and _installed(library) and not _exists(row[library]):
        wrong.append(f'{feature}: {row[library]}')
  return wrong


def _installed(library: str) -> bool:
  return importlib.util.find_spec(library) is not None


def _exists(name: str) -> bool:
  """Whether a dotted name leads to something: modules as far as they go, attributes from there on."""
  module, _, rest = name.partition('.')
  found = importlib.import_module(module)
  for part in rest.split('.'):
    module += f'.{part}'
    if not hasattr(found, part):
      try:
        importlib.import_module(module)
      except ImportError:
        return False
    found = getattr(found, part)
  return True


def main() -> int:
  wrong = verify()
  print('\n'.join(wrong) or f'every name exists, {", ".join(name for name in VERSIONS if _installed(name))}')
  return bool(wrong)


if __name__ == '__main__':
  sys.exit(main())
