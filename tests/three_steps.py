"""Run by test_parallel.py: a few training steps through the real feed and step, the state written to a file.

python -m tests.three_steps TASK DATA_DIR OUTPUT [COORDINATOR NUM_PROCESSES PROCESS_ID]
"""

import pathlib
import sys

import jax
import numpy as np

from genaug.training.experiment import prepare
from genaug.training.loop import make_feed, make_step
from tests.conftest import ADA, tiny_config


def main(task: str, data_dir: str, output: str, *distributed: str) -> None:
  if distributed:
    coordinator, processes, process = distributed
    jax.distributed.initialize(coordinator, int(processes), int(process))
  mixes = {'augment__cutmix__p': 0.5} if task == 'classify' else {}
  experiment = prepare(
    tiny_config(task, data__device_mib=512 * (task != 'vae'), **ADA, **mixes), pathlib.Path(data_dir)
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
  np.savez(output, **{jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves})


if __name__ == '__main__':
  main(*sys.argv[1:])
