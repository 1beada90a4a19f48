"""Run by test_parallel.py: a few training steps through the real feed and step; their states and inputs in a file.

python -m tests.three_steps TASK DATA_DIR OUTPUT [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import pathlib
import sys

import jax
import numpy as np

from genaug.augment import pipeline
from genaug.models import DEVICES
from genaug.training.experiment import prepare
from genaug.training.loop import make_feed, make_step
from tests.conftest import ADA, tiny_config


def _with_inputs(train_step):
  """The training step, with the augmented images of all devices among its metrics."""
  input_step, seen = pipeline.input_step, []

  def recording(config):
    def step(keys, batch):
      seen.append(input_step(config)(keys, batch))
      return seen[-1]

    return step

  def step(*arguments):
    state, metrics = train_step(*arguments)
    return state, metrics | {'inputs': jax.lax.all_gather(seen.pop()['image'], DEVICES, tiled=True)}

  pipeline.input_step = recording
  return step


def main(task: str, data_dir: str, output: str, *distributed: str) -> None:
  if distributed:
    coordinator, processes, process = distributed
    jax.distributed.initialize(coordinator, int(processes), int(process))
  extra = {'augment__cutmix__p': 0.5, 'train__accumulate': 2} if task == 'classify' else {}
  experiment = prepare(
    tiny_config(task, data__device_mib=512 * (task != 'vae'), **ADA, **extra), pathlib.Path(data_dir)
  )
  experiment.task.train_step = _with_inputs(experiment.task.train_step)
  state, step = experiment.init(), make_step(experiment)
  resident, feed = make_feed(experiment)
  assert bool(resident['split']) == (task != 'vae'), 'one task tests splits on the device, the other streamed ones'
  for i in range(3):
    state, metrics = step(state, resident, feed(i))
    for leaf in jax.tree.leaves((state, metrics)):
      shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
      assert len(shards) == jax.local_device_count()
      assert all((shard == shards[0]).all() for shard in shards), 'devices hold different values'
  leaves = jax.tree_util.tree_leaves_with_path(state)
  arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
  np.savez(output, **arrays, inputs=np.asarray(metrics['inputs']))


if __name__ == '__main__':
  main(*sys.argv[1:])
