"""Script of test_parallel.py: runs three steps with the training loop's batches and saves final state and inputs.

python -m tests.three_steps TASK_OR_VARIANT DATA_DIR OUTPUT [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import pathlib
import sys

import jax
import numpy as np

from genaug.augment import Pipeline
from genaug.training.experiment import DEVICES, prepare
from genaug.training.loop import make_batches, make_step
from tests.conftest import EXTRA, VARIANTS, tiny_config


def _recorded(call, seen):
  """Returns `Pipeline.__call__` with its results also appended to a list."""

  def record(*arguments):
    seen.append(call(*arguments))
    return seen[-1]

  return record


def _with_inputs(train_step, seen):
  """Returns the training step with the augmented images of all devices added to its metrics."""

  def step(*arguments):
    state, metrics = train_step(*arguments)
    return state, metrics | {'inputs': jax.lax.all_gather(seen.pop()['image'], DEVICES, tiled=True)}

  return step


def main(name: str, data_dir: str, output: str, *distributed: str) -> None:
  if distributed:
    coordinator, processes, process = distributed
    jax.distributed.initialize(coordinator, int(processes), int(process))
  task = VARIANTS.get(name, name)
  extra = {'augment__cutmix__p': 0.5, 'train__accumulate': 2} if task == 'classify' else EXTRA.get(name, {})
  seen: list = []
  Pipeline.__call__ = _recorded(Pipeline.__call__, seen)
  experiment = prepare(tiny_config(task, data__device_mib=512 * (task != 'vae'), **extra), pathlib.Path(data_dir))
  task_ = experiment.task
  experiment = experiment._replace(task=task_._replace(train_step=_with_inputs(task_.train_step, seen)))
  state, step = experiment.init(), make_step(experiment)
  device_data, batch = make_batches(experiment)
  assert bool(device_data['split']) == (task != 'vae'), 'one task tests splits on the device, the other streamed ones'
  for i in range(3):
    state, metrics = step(state, device_data, batch(i))
    for leaf in jax.tree.leaves((state, metrics)):
      shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
      assert len(shards) == jax.local_device_count()
      assert all((shard == shards[0]).all() for shard in shards), 'devices hold different values'
  leaves = jax.tree_util.tree_leaves_with_path(state)
  arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
  np.savez(output, **arrays, inputs=np.asarray(metrics['inputs']))


if __name__ == '__main__':
  main(*sys.argv[1:])
