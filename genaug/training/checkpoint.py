"""Checkpoints of the state: the last few and the best, written in the background, read back whole or not at all."""

import pathlib
import shutil
from collections.abc import Callable, Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint.checkpoint_managers import preservation_policy

from genaug.errors import InputError


class Checkpoints:
  """The checkpoints of a workdir, owned by one process of a job.

  Arrays are fetched to the host before they are saved, so that any number of devices can resume.
  """

  def __init__(self, workdir: pathlib.Path, kept: int, metric: str | None, mode: str, read_only: bool = False):
    """Keeps the newest `kept` checkpoints and the one with the best `metric` (`mode`: 'min' or 'max' is better).

    With `read_only` nothing on disk is changed, so that the workdir of a run in progress can be read.
    """
    self._workdir, self._read_only = workdir.absolute(), read_only
    self._metric = metric
    score = (lambda scores: scores[metric]) if metric else None
    keep = [preservation_policy.LatestN(kept)]
    if metric:
      keep.append(
        preservation_policy.BestN(
          get_metric_fn=score, reverse=mode == 'min', n=1, keep_checkpoints_without_metrics=False
        )
      )
    process = jax.process_index()
    self._manager = ocp.CheckpointManager(
      self._workdir / 'checkpoints',
      options=ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.AnyPreservationPolicy(keep),
        best_fn=score,  # without it orbax does not write the metric
        best_mode=mode,
        multiprocessing_options=ocp.options.MultiprocessingOptions(
          primary_host=process, active_processes={process}, barrier_sync_key_prefix=f'process{process}'
        ),
        create=False,
        read_only=read_only,
        cleanup_tmp_directories=not read_only,
      ),
    )

  def save(self, step: int, state: PyTree, scores: Mapping[str, float] | None = None) -> None:
    """Saves the state, once per step. Returns when it is copied; the files are written while training goes on."""
    if step in self._manager.all_steps():
      return
    metrics = {self._metric: scores[self._metric]} if scores and self._metric in scores else None
    self._manager.save(step, args=ocp.args.StandardSave(jax.device_get(state)), metrics=metrics)

  def steps(self) -> list[int]:
    """Returns the steps that have a checkpoint, in ascending order."""
    return sorted(self._manager.all_steps())

  def best(self) -> int | None:
    """Returns the step of the best checkpoint, or None if none was evaluated. Waits for pending writes."""
    self._manager.wait_until_finished()
    return self._manager.best_step() if self._metric else None

  def restore(self, state: PyTree, warn: Callable[[str], None], step: int | None = None) -> PyTree | None:
    """Returns the checkpoint of `step`, or the newest readable one, or None if there is none; `state` gives the shapes.

    Newer ones that cannot be read are reported through `warn` and, unless `read_only`, moved to broken_checkpoints/. If
    none can be read, nothing is moved and InputError is raised.
    """
    template = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state)
    steps = [step] if step is not None else self.steps()[::-1]
    broken: dict[int, str] = {}
    for candidate in steps:
      try:
        restored = self._manager.restore(candidate, args=ocp.args.StandardRestore(template))
      except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
        broken[candidate] = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        continue
      self._check_leaves(candidate, template, restored)
      for bad, reason in broken.items():
        moved = '' if self._read_only else f'; moved to {self._set_aside(bad)}'
        warn(f'checkpoint of step {bad} cannot be read ({reason}){moved}; using step {candidate}')
      return restored
    if broken:
      problem = '; '.join(f'checkpoint of step {bad} cannot be read ({reason})' for bad, reason in broken.items())
      remedy = 'name another --checkpoint' if step is not None else 'name another --workdir, or remove its checkpoints/'
      raise InputError('workdir', str(self._workdir), problem, remedy)
    return None

  def _check_leaves(self, step: int, expected: PyTree, restored: PyTree) -> None:
    """Raises InputError for a leaf of another shape or dtype, which orbax restores silently."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(restored), strict=True)
    for (path, leaf), found in pairs:
      if (leaf.shape, leaf.dtype) != (found.shape, found.dtype):
        name = jax.tree_util.keystr(path, simple=True, separator='.')
        problem = f'{name} of its checkpoint of step {step} is {found.dtype}{list(found.shape)}, '
        problem += f'but {leaf.dtype}{list(leaf.shape)} with this config and these data'
        remedy = 'use the config and data that it was trained with, or name another --workdir'
        raise InputError('workdir', str(self._workdir), problem, remedy)

  def _set_aside(self, step: int) -> pathlib.Path:
    directory = self._workdir / 'broken_checkpoints'
    directory.mkdir(exist_ok=True)
    target = directory / f'{step}'
    while target.exists():
      target = target.with_name(target.name + '_again')
    shutil.move(self._workdir / 'checkpoints' / f'{step}', target)
    self._manager.reload()
    return target

  def wait(self) -> None:
    """Waits for pending writes; raises their errors."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for pending writes and closes the manager."""
    self.wait()
    self._manager.close()
