"""The codec of each task whose runs can compress images."""

import pathlib
from collections.abc import Callable

from genaug.errors import InputError
from genaug.offline import lossless, lossy
from genaug.tasks import TrainState
from genaug.training.experiment import Experiment, load_trained

CODECS = {'vae': lossless.Codec, 'hyperprior': lossy.Codec}


def of_run(
  workdir: pathlib.Path, data_dir: pathlib.Path, checkpoint: str, log: Callable[[str], None] = print
) -> lossless.Codec | lossy.Codec:
  """Returns the codec of a trained run. Raises InputError if its task has none."""
  return of_state(*load_trained(workdir, data_dir, checkpoint, log, images=False))


def of_state(experiment: Experiment, state: TrainState) -> lossless.Codec | lossy.Codec:
  """Returns the codec of a trained state. Raises InputError if its task has none."""
  if experiment.config.task not in CODECS:
    raise InputError('task', experiment.config.task, 'cannot compress images', f'a run of task {" or ".join(CODECS)}')
  return CODECS[experiment.config.task](experiment.config, experiment.spec, state)
