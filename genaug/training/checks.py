"""Checks of a config against its task, its data and the devices, before anything is computed."""

from ml_collections import ConfigDict

from genaug import ranges
from genaug.augment import OPS, Pipeline
from genaug.augment.mixing import GROUP
from genaug.data import sources
from genaug.data.dataset import Dataset
from genaug.errors import InputError
from genaug.metrics.registry import METRICS
from genaug.models import ImageShape
from genaug.models.registry import NETWORKS
from genaug.ranges import Choice, Number
from genaug.tasks import updates
from genaug.tasks.registry import TASKS

_RANGES = {  # allowed values of the keys of every run; tasks declare those of their own keys
  'task': Choice(TASKS),
  'dtype': Choice(('float32', 'bfloat16')),
  'seed': Number(0, 2**31 - 1),
  'data.per_class': Number(),
  'data.subset_seed': Number(0, 2**31 - 1),
  'data.validation': Number(),
  'data.fold': Number(),
  'data.device_mib': Number(),
  'model.network': Choice(NETWORKS),
  'model.width': Number(1),
  **updates.RANGES,
  'train.steps': Number(1),
  'train.patience': Number(),
  'train.batch_size': Number(1),
  'train.accumulate': Number(1),
  'train.steps_per_call': Number(1),
  'train.log_every': Number(1),
  'train.snapshot_every': Number(1),
  'train.checkpoint_every': Number(1),
  'train.checkpoints_kept': Number(1),
  'eval.every': Number(1),
  'eval.samples': Number(2),
  'eval.labels': Choice(('training', 'balanced')),
  'eval.batch_size': Number(1),
}


def reads_labels(config: ConfigDict) -> bool:
  """Whether the task needs to know the classes of its images."""
  return config.model.conditional or 'label' in TASKS[config.task].inputs


def check_config(config: ConfigDict) -> None:
  """Raises InputError for the first mistake in a config that can be found without the data."""
  ranges.check(config, _RANGES)
  task = TASKS[config.task]
  ranges.check(config, task.ranges)
  task.check(config)
  network = config.model.network
  if missing := set(task.roles) - set(NETWORKS[network].roles):
    fitting = ', '.join(name for name, other in NETWORKS.items() if set(task.roles) <= set(other.roles))
    problem = f'has no {sorted(missing)[0]}, which task {config.task!r} trains'
    raise InputError('model.network', network, problem, f'one of {fitting}')
  for key, allowed in (task.ranges | updates.RANGES).items():
    value = ranges.get(config, key)
    if isinstance(allowed, Number) and isinstance(value, tuple | list) and config.optim.schedule == 'constant':
      problem = 'changes over the steps, but optim.schedule is constant'
      raise InputError(key, value, problem, '--config.optim.schedule=cosine, or one number')
  if config.optim.warmup_steps >= (length := updates.schedule_steps(config)):
    key = 'optim.schedule_steps' if config.optim.schedule_steps else 'train.steps'
    problem, remedy = 'leaves no steps after the warmup', f'fewer than {key} = {length}'
    raise InputError('optim.warmup_steps', config.optim.warmup_steps, problem, remedy)
  reads_files = config.data.name in sources.USER_DATA_SETS or {'target', 'caption'} & set(task.inputs)
  for key in ('folder', 'target_folder', 'captions'):
    if config.data.get(key) and not reads_files:
      problem = f'data.name={config.data.name} reads no files of your own'
      remedy = f'--config.data.name={sources.USER_DATA_SETS[0]}, or one of configs/*_own_images.py'
      raise InputError(f'data.{key}', config.data[key], problem, remedy)
  mixes = mixes_of(config.augment)
  if mixes and 'label' not in task.inputs:
    key, problem = f'augment.{mixes[0]}.p', f'task {config.task!r} has no use for mixed images'
    raise InputError(key, ranges.get(config, key), problem, f'--config.{key}=0, and leave it out of one_of and some_of')
  if config.train.patience and not config.eval.metrics:
    problem = 'nothing is evaluated that could stop improving'
    remedy = 'name a metric in eval.metrics, or --config.train.patience=0'
    raise InputError('train.patience', config.train.patience, problem, remedy)
  for name in config.eval.metrics:
    known = metrics_of(config.task)
    if name not in METRICS:
      remedy = f'--config.eval.metrics="({known[0]!r},)"; any of {", ".join(known)}'
      raise InputError('eval.metrics', name, 'no such metric', remedy)
    if name not in known:
      problem = f'task {config.task!r} has no such metric'
      raise InputError('eval.metrics', name, problem, 'remove it from eval.metrics')
    if config.eval.samples < (least := METRICS[name].at_least):
      raise InputError('eval.samples', config.eval.samples, f'too few for {name}', f'at least {least}')
    METRICS[name].check(config)


def metrics_of(task: str) -> list[str]:
  """Returns the names of the metrics whose inputs the task provides."""
  return [name for name, metric in METRICS.items() if metric.needs in TASKS[task].provides]


def check_model(config: ConfigDict, image_shape: ImageShape, classes: int) -> None:
  """Raises InputError unless the model and the augmentation fit images of this shape and this number of classes."""
  height, _, channels = image_shape
  own = config.data.name in sources.USER_DATA_SETS
  try:
    NETWORKS[config.model.network].check(config.model, image_shape)
  except ValueError as error:
    raise InputError(
      'data.image_size' if own else 'data.name',
      height if own else config.data.name,
      f'model.network={config.model.network}: {error}',
      f'--config.data.image_size={96 if height == 64 else 64}'
      if own
      else 'export the images and use data.name=image_folder, which resizes them',
    ) from None
  if channels not in (1, 3):
    raise InputError(
      'data.name', config.data.name, f'its images have {channels} channels', 'use images with 1 or 3 channels'
    )
  if classes < 2 and reads_labels(config):
    problem, remedy = f'{config.data.name} has only one class', '--config.model.conditional=False'
    if 'label' in TASKS[config.task].inputs:
      raise InputError('task', config.task, problem, 'use images of several classes')
    raise InputError('model.conditional', True, problem, remedy)
  check_augment(config.augment, image_shape, f'an image of {config.data.name}')


def check_data(config: ConfigDict, dataset: Dataset) -> None:
  """Raises InputError unless there are enough images, with all batch entries that the task reads.

  The model and the augmentation must fit them.
  """
  for key, split in (('data.train_split', dataset.train), ('data.test_split', dataset.test)):
    count = len(split.arrays['label'])
    if count < 2:
      remedy = 'more images; for image_folder also a larger data.test_fraction'
      raise InputError(key, ranges.get(config, key), 'holds fewer than two images', remedy)
    for name in config.eval.metrics:
      if count < (least := METRICS[name].at_least):
        problem = f'holds {count} images, and {name} needs {least}'
        remedy = f'more images, for image_folder a larger data.test_fraction, or eval.metrics without {name}'
        raise InputError(key, ranges.get(config, key), problem, remedy)
  if missing := set(TASKS[config.task].inputs) - set(dataset.train.arrays):
    problem = f'its images have no {min(missing)}, which task {config.task!r} reads'
    raise InputError(
      'data.name',
      config.data.name,
      problem,
      'name a data set that has it, such as image_pairs (target) or image_captions (caption)',
    )
  check_model(config, dataset.image_shape, dataset.num_classes)


def check_augment(augment: ConfigDict, image_shape: ImageShape | None = None, name: str = '') -> Pipeline:
  """Returns the pipeline of `c.augment`. Raises InputError if it is invalid or does not suit images of the given shape.

  `name` says in the message what has that shape.
  """
  try:
    pipeline = Pipeline.from_config(augment)
    if image_shape:
      pipeline.check(image_shape)
    return pipeline
  except ValueError as error:
    key = str(error).partition(' = ')[0]
    value, is_operation = augment, key in OPS
    for part in key.split('.'):
      value = value.get(part, value)
    value = value.to_dict() if is_operation else value
    problem = str(error).removeprefix(f'{key} = {value!r}: ')
    problem += f' ({name} is {" x ".join(map(str, image_shape))})' if image_shape else ''
    remedy = f'--config.augment.{key}{".p=0" if is_operation else "=..."}, see c.augment in configs/base.py'
    raise InputError(f'augment.{key}', value, problem, remedy) from None


def mixes_of(augment: ConfigDict) -> list[str]:
  """Returns those operations that may happen and mix an image with a second one."""
  return [name for name in check_augment(augment).operations if OPS[name].stage == 'mix']


def check_devices(config: ConfigDict, devices: int, steps_per_call: int) -> None:
  """Raises InputError unless the batch divides evenly into devices, slices and groups for mixing.

  All intervals must be multiples of `steps_per_call`.
  """
  mixes, share = mixes_of(config.augment), config.train.batch_size // devices
  if mixes and devices > 1 and share % GROUP:
    raise InputError(
      'train.batch_size',
      config.train.batch_size,
      f'{share} images on each of {devices} devices, but {mixes[0]} mixes groups of {GROUP}',
      f'a multiple of {GROUP * devices}',
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
    if ranges.get(config, key) % steps_per_call:
      raise InputError(
        key,
        ranges.get(config, key),
        f'not a multiple of train.steps_per_call = {steps_per_call}',
        'change either of them, or --config.train.steps_per_call=1',
      )
