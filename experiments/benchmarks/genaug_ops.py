"""genaug.augment: functions of one image, `random_NAME(key, image, ...)` if there is one, for jit(vmap(...)).

OPS lists every operation that a peer has too, in the order of the tables, with the parameters that differ from the
defaults. Ranges of parameters are the same for all libraries as far as a peer allows.
"""

import importlib
from collections.abc import Callable

MODULE, PACKAGE = 'genaug.augment', 'jax'
POLICIES = ('rand_augment', 'trivial_augment_wide', 'auto_augment', 'augmix')
FIXED = (  # operations that draw nothing
  'hflip', 'vflip', 'center_crop', 'pad', 'resize', 'invert', 'grayscale', 'autocontrast', 'equalize', 'box_blur',
  'median_blur',
)  # fmt: skip
MIXING = ('mixup', 'cutmix', 'mosaic', 'histogram_match', 'fourier_mix')  # operations on a batch with labels
OPS = {
  **{op: {} for op in ('hflip', 'vflip', 'rot90')},
  'rotate': {'degrees': 30},
  'translate': {'fraction': 0.25},
  'scale': {'limit': 0.25},
  'shear': {'degrees': 15},
  'affine': {'degrees': 30, 'fraction': 0.1, 'limit': 0.25, 'shear': 10},
  'perspective': {'distortion': 0.3},
  'random_resized_crop': {},
  'center_crop': lambda n: {'height': n * 7 // 8, 'width': n * 7 // 8},
  'pad': lambda n: dict.fromkeys(('top', 'bottom', 'left', 'right'), n // 8),
  'resize': lambda n: {'height': n * 3 // 2, 'width': n * 3 // 2},  # enlarged, so that antialiasing makes no difference
  'elastic': {'alpha': 0.05, 'sigma': 0.05},
  'grid_distort': {'limit': 0.3},
  'thin_plate_spline': {'limit': 0.1},
  'lens_distort': {'limit': 0.3},
  **{op: {'limit': 0.4} for op in ('brightness', 'contrast', 'saturation')},
  'hue': {'degrees': 36},
  'gamma': {'limit': 0.5},
  **{op: {'amount': 1.0} for op in ('invert', 'grayscale')},
  'posterize': {'bits': 4},
  'solarize': {'threshold': 0.5},
  **{op: {} for op in ('autocontrast', 'equalize', 'clahe')},
  'color_jitter': {'brightness': 0.4, 'contrast': 0.4, 'saturation': 0.4, 'hue': 36},
  **{op: {} for op in ('pca_lighting', 'channel_shuffle', 'channel_drop', 'planckian_jitter', 'tone_curve')},
  'gaussian_blur': {'sigma': 1.5, 'ksize': 7},
  'box_blur': {'ksize': 5},
  'motion_blur': {'length': 7, 'ksize': 7},
  'median_blur': {'ksize': 3},
  **{op: {} for op in ('sharpen', 'unsharp_mask')},
  'gaussian_noise': {'std': 0.1},
  'shot_noise': {'scale': 0.05},
  'salt_and_pepper': {'amount': 0.05},
  'jpeg': {'quality': 50},
  'cutout': {'size': 0.25},
  'erase': {},
  'grid_mask': {'min_unit': 0.125, 'max_unit': 0.25},
  'pixel_dropout': {'rate': 0.05},
  'coarse_dropout': {'max_side': 0.2, 'holes': 8},
  'grid_shuffle': {'rows': 4, 'cols': 4},
  'mixup': {'alpha': 1.0},
  'cutmix': {},
  'mosaic': {'margin': 0.3},
  **{op: {} for op in ('histogram_match', 'fourier_mix', *POLICIES)},
}


def find(name: str) -> Callable:
  """Returns a function of genaug.augment. Raises LookupError if there is none of that name."""
  package = importlib.import_module(MODULE)
  if not hasattr(package, name):
    raise LookupError(f'{MODULE} has no {name}')
  return getattr(package, name)


def make(op: str, n: int) -> Callable:
  """Returns (key, image of side n) -> image; for MIXING (keys, batch) -> batch. Raises LookupError if unknown."""
  keywords = OPS[op](n) if callable(OPS[op]) else OPS[op]
  if op in FIXED:
    return lambda key, image: find(op)(image, **keywords)
  name = op if op in POLICIES or op == 'random_resized_crop' else f'random_{op}'
  return lambda key, image: find(name)(key, image, **keywords)
