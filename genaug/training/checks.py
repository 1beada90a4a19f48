"""Says what is wrong with a config before anything is computed."""

import math

from ml_collections import ConfigDict

from genaug import losses
from genaug.augment import mixing, pipeline, registry
from genaug.augment.ada import GROUPS
from genaug.augment.diff_augment import POLICIES
from genaug.data.sources import Dataset
from genaug.errors import InputError
from genaug.evaluation import features
from genaug.models.classifiers import CLASSIFIERS
from genaug.models.layers import stages
from genaug.tasks import classify, gan, vae

TASKS = {'gan': gan, 'vae': vae, 'classify': classify}

_CHOICES = {
  'task': TASKS,
  'dtype': ('float32', 'bfloat16'),
  'model.z_prior': gan.PRIORS,
  'gan.loss': losses.ADVERSARIAL_LOSSES,
  'gan.d_augment': gan.D_AUGMENT,
  'vae.likelihood': losses.LIKELIHOODS,
  'classify.network': CLASSIFIERS,
  'optim.schedule': ('constant', 'cosine'),
}
_BELOW_ONE = math.nextafter(1, 0)  # at 1 Adam's bias correction divides by zero
_RANGES = {  # inclusive, but not infinite
  'seed': (0, 2**31 - 1),
  'data.per_class': (0, math.inf),
  'data.subset_seed': (0, 2**31 - 1),
  'data.validation': (0, math.inf),
  'data.fold': (0, math.inf),
  'data.device_mib': (0, math.inf),
  'model.width': (1, math.inf),
  'model.z_dim': (1, math.inf),
  'gan.ema': (0, 1),
  'gan.ada_target': (-1, 1),
  'gan.ada_kimg': (math.ulp(0), math.inf),
  'gan.ada_p': (0, 1),
  'vae.beta': (0, math.inf),
  'vae.kl_warmup_steps': (0, math.inf),
  'optim.lr': (0, math.inf),
  'optim.b1': (0, _BELOW_ONE),
  'optim.b2': (0, _BELOW_ONE),
  'optim.weight_decay': (0, math.inf),
  'train.steps': (1, math.inf),
  'train.batch_size': (1, math.inf),
  'train.accumulate': (1, math.inf),
  'train.steps_per_call': (1, math.inf),
  'train.log_every': (1, math.inf),
  'train.snapshot_every': (1, math.inf),
  'train.checkpoint_every': (1, math.inf),
  'train.checkpoints_kept': (1, math.inf),
  'eval.every': (1, math.inf),
  'eval.samples': (2, math.inf),
  'eval.batch_size': (1, math.inf),
}
METRICS = {'distances': ('gan', 'vae'), 'elbo': ('vae',), 'accuracy': ('classify',)}
"""Evaluation metric -> the tasks that have it."""


def _get(config: ConfigDict, key: str):
  for part in key.split('.'):
    if part not in config:
      remedy = 'train anew, or use the code that wrote it (git_commit in environment.json)'
      raise InputError(key, None, 'missing: this config is of another version', remedy)
    config = config[part]
  return config


def check_config(config: ConfigDict) -> None:
  """Everything that can be said without the data. Raises InputError."""
  for key, allowed in _CHOICES.items():
    if _get(config, key) not in allowed:
      raise InputError(key, _get(config, key), 'no such choice', f'one of {", ".join(allowed)}')
  for key, (low, high) in _RANGES.items():
    value = _get(config, key)
    if not (low <= value <= high and math.isfinite(value)):
      allowed = f'from {low} to {high}' if math.isfinite(high) else f'of at least {low}'
      raise InputError(key, value, 'out of range', f'a number {allowed}')
  for key, allowed in {'gan.diff_augment': POLICIES, 'gan.ada_transforms': GROUPS}.items():
    if unknown := set(_get(config, key)) - set(allowed):
      raise InputError(key, _get(config, key), f'no {unknown.pop()!r}', f'a tuple of any of {", ".join(allowed)}')
  for name in registry.MIXES:
    if config.augment[name].p and config.task != 'classify':
      problem = f'task {config.task!r} has no use for mixed images'
      raise InputError(f'augment.{name}.p', config.augment[name].p, problem, f'--config.augment.{name}.p=0')
  for metric in config.eval.metrics:
    if metric not in METRICS:
      raise InputError('eval.metrics', metric, 'no such metric', f'any of {", ".join(METRICS)}')
    if config.task not in METRICS[metric]:
      raise InputError(
        'eval.metrics', metric, f'task {config.task!r} has no such metric', 'remove it from eval.metrics'
      )
  if 'distances' in config.eval.metrics:
    features.load_weights(features.weights_file())


def check_data(config: ConfigDict, dataset: Dataset) -> None:
  """Whether the model and the augmentation fit the images. Raises InputError."""
  height, width, channels = dataset.image_shape
  if height != width:
    raise InputError(
      'data.name',
      config.data.name,
      f'its images are {height} x {width} pixels, the models need squares',
      'export the images and use data.name=image_folder, which crops them square',
    )
  try:
    stages(height)
  except ValueError as error:
    own = config.data.name == 'image_folder'
    raise InputError(
      'data.image_size' if own else 'data.name',
      height if own else config.data.name,
      str(error),
      '--config.data.image_size=64' if own else 'export the images and use data.name=image_folder, which resizes them',
    ) from None
  if channels not in (1, 3):
    raise InputError(
      'data.name', config.data.name, f'its images have {channels} channels', 'use images with 1 or 3 channels'
    )
  for key, split in (('data.train_split', dataset.train), ('data.test_split', dataset.test)):
    if len(split.arrays['label']) < 2:
      remedy = 'more images; for image_folder also a larger data.test_fraction'
      raise InputError(key, _get(config, key), 'holds fewer than two images', remedy)
  if dataset.num_classes < 2 and (config.model.conditional or config.task == 'classify'):
    problem, remedy = f'{dataset.name} has only one class', '--config.model.conditional=False'
    if config.task == 'classify':
      raise InputError('task', 'classify', problem, 'use images of several classes')
    raise InputError('model.conditional', True, problem, remedy)
  check_augment(config.augment, dataset.image_shape, f'an image of {config.data.name}')


def check_augment(augment: ConfigDict, image_shape: tuple[int, int, int], name: str) -> None:
  """Whether the augmentation suits images like the one of that name. Raises InputError."""
  try:
    pipeline.check(augment, image_shape)
  except ValueError as error:
    key = str(error).partition(' = ')[0]
    value = augment[key].to_dict() if key in registry.OPS else augment
    for part in () if key in registry.OPS else key.split('.'):
      value = value[part]
    shape, problem = ' x '.join(map(str, image_shape)), str(error).removeprefix(f'{key} = {value!r}: ')
    remedy = f'--config.augment.{key}{".p=0" if key in registry.OPS else "=..."}, see c.augment in configs/base.py'
    raise InputError(f'augment.{key}', value, f'{problem} ({name} is {shape})', remedy) from None


def check_devices(config: ConfigDict, devices: int, steps_per_call: int) -> None:
  """Whether batch and intervals divide as the machine needs. Raises InputError."""
  mixes = [name for name in registry.MIXES if config.augment[name].p]
  share = config.train.batch_size // devices
  if mixes and devices > 1 and share % mixing.GROUP:
    raise InputError(
      'train.batch_size',
      config.train.batch_size,
      f'{share} images on each of {devices} devices, but {mixes[0]} mixes groups of {mixing.GROUP}',
      f'a multiple of {mixing.GROUP * devices}',
    )
  slices = config.train.accumulate
  parts = devices * slices
  if config.train.batch_size % parts:
    raise InputError(
      'train.batch_size',
      config.train.batch_size,
      f'not divisible by the {devices} devices' + (f' x train.accumulate = {slices}' if slices > 1 else ''),
      f'a multiple of {parts}, such as {max(parts, config.train.batch_size // parts * parts)}',
    )
  intervals = (
    'train.steps',
    'train.log_every',
    'train.snapshot_every',
    'train.checkpoint_every',
    'eval.every',
  )
  for key in intervals:
    if _get(config, key) % steps_per_call:
      raise InputError(
        key,
        _get(config, key),
        f'not a multiple of train.steps_per_call = {steps_per_call}',
        'change either of them, or --config.train.steps_per_call=1',
      )
