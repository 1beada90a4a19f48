"""Which features of genaug.augment other libraries have, and under which names.

python -m experiments.features   imports every name of an installed library, and fails if one does not exist

The names are those in OPS and FEATURES of the library's file in experiments/benchmarks; genaug's entry is the test that
proves the feature.
"""

import importlib.util
import sys

from experiments.benchmarks import peers
from experiments.benchmarks.calls import resolve

VERSIONS = {
  'albumentations': '2.0.8',
  'kornia': '0.9.0',
  'torchvision': '0.29.1, transforms.v2',
  'dm_pix': '0.4.5',
  'augmax': '0.4.1',
}
_TARGETS = 'test_pipeline.py::test_targets_move_with_the_image'
_MIX = 'test_mixing.py::test_random_mixes_of_batches'
PROOFS = {  # feature: test; first what is measured, then the rest. None: an operation of a config, tested by _OPERATION
  **dict.fromkeys(peers.OPS),
  'center_crop': 'test_crops.py::test_center_crop_has_the_same_margin_on_both_sides',
  'pad': 'test_crops.py::test_pad_is_numpys',
  'resize': 'test_crops.py::test_resize_is_pils',
  **dict.fromkeys((*peers.MIXING, 'resizemix, fmix', 'copy_paste'), _MIX),
  'transpose': None,
  'three_augment': None,
  'tiles, strips, diagonal halves': 'test_slicing.py::test_strips',
  'five_crop, ten_crop': 'test_slicing.py::test_five_and_ten_crops',
  'another draw for every image of a batch': None,
  **dict.fromkeys(('masks follow', 'boxes follow', 'keypoints follow'), _TARGETS),
  'chains of moves resampled once': 'test_pipeline.py::test_all_moves_of_a_config_are_one_resample',
  'DiffAugment': 'test_diff_augment.py::test_it_is_its_definition',
  'adaptive discriminator augmentation': 'test_ada_training.py::test_controller_reaches_its_target',
  'inverse': 'test_geometry.py::test_there_and_back_costs_no_more_than_two_interpolations',
  'replay of a draw': 'test_pipeline.py::test_a_draw_can_be_replayed_on_something_else',
  'jit and vmap': None,
  'gradients to the image': None,
  'cubic sampling': 'test_resample.py::test_resample_is_map_coordinates',
  'on the accelerator, inside the training step': 'test_parallel.py::test_one_device_and_two_agree',
}
_OPERATION = 'test_every_op.py::test_an_operation_of_a_config'


def _name(library: str, feature: str) -> str:
  """Returns the full dotted name of a feature in a library, '' if it has none."""
  module = peers.LIBRARIES[library]
  entry = module.OPS.get(feature)
  name = entry.name if entry else module.FEATURES.get(feature, '')
  return name and peers.full_name(library, name)


FEATURES = {
  feature: {'genaug': f'tests/{proof or _OPERATION}'} | {library: _name(library, feature) for library in VERSIONS}
  for feature, proof in PROOFS.items()
}


def verify() -> list[str]:
  """Returns a message for every name of an installed library that does not exist there."""
  wrong = []
  for feature, row in FEATURES.items():
    for library in filter(_installed, VERSIONS):
      try:
        _ = row[library] and resolve(row[library])
      except AttributeError as error:
        wrong.append(f'{feature}: {error}')
  return wrong


def _installed(library: str) -> bool:
  return importlib.util.find_spec(library) is not None


def main() -> int:
  wrong = verify()
  print('\n'.join(wrong) or f'every name exists in {", ".join(name for name in VERSIONS if _installed(name))}')
  return bool(wrong)


if __name__ == '__main__':
  sys.exit(main())
