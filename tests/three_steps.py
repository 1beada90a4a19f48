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


def _inputs(experiment, state, resident, feed) -> np.ndarray:
  """What one step's keys make of its images: the real step, of a task that trains nothing and returns them."""

  def look(config, spec, state, batch, keys):
    if config.task == 'classify':
      batch = batch | {'label': jax.nn.one_hot(batch['label'], spec.num_classes)}
    images = pipeline.input_step(config.augment)(keys, batch)['image']
    return state, jax.lax.all_gather(images, DEVICES, tiled=True)

  experiment.task.train_step = look
  return np.asarray(make_step(experiment)(state, resident, feed)[1])


def main(task: str, data_dir: str, output: str, *distributed: str) -> None:
  if distributed:
    coordinator, processes, process = distributed
    jax.distributed.initialize(coordinator, int(processes), int(process))
  extra = {'augment__cutmix__p': 0.5, 'train__accumulate': 2} if task == 'classify' else {}
  experiment = prepare(
    tiny_config(task, data__device_mib=512 * (task != 'vae'), **ADA, **extra), pathlib.Path(data_dir)
  )
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
  if task != 'gan':  # its inputs go the same way and take long to compile
    arrays['inputs'] = _inputs(experiment, state, resident, feed(3))
  np.savez(output, **arrays)


if __name__ == '__main__':
  main(*sys.argv[1:])
