"""The part of a run that only the first process of a job does: workdir, log, scores, pictures and checkpoints."""

import contextlib
import json
import math
import pathlib
import time
from collections.abc import Callable, Mapping

from jaxtyping import PyTree
from tqdm import tqdm

from genaug.errors import DivergedError
from genaug.metrics import Scores
from genaug.metrics.registry import describe
from genaug.tasks.registry import TASKS
from genaug.training import figures, workdir
from genaug.training.checkpoint import Checkpoints
from genaug.training.evaluator import Evaluator
from genaug.training.experiment import Experiment, best_metric
from genaug.training.logs import Log


class RunLogger:
  """Writer of all that a run leaves in its workdir, which it locks and claims.

  Raises InputError if the workdir cannot be written or holds a run of another config.
  """

  def __init__(self, experiment: Experiment, directory: pathlib.Path, log: Callable[[str], None]):
    self._experiment, self._directory, self._print = experiment, directory, log
    workdir.create(directory)
    with contextlib.ExitStack() as held:
      held.enter_context(workdir.lock(directory))
      workdir.claim(directory, experiment.config, experiment.dataset)
      self._closing = held.pop_all()
    self.saved = Checkpoints(directory, experiment.config.train.checkpoints_kept, *best_metric(experiment.config))
    self._closing.callback(self.saved.close)
    self._evaluator = Evaluator(experiment)

  def open(self, start: int) -> None:
    """Starts logging after step `start`; lines that a killed run wrote beyond it are dropped."""
    self._start = start
    self._log = Log(self._directory, start)
    self._closing.callback(self._log.close)
    self._warned = set(self._diagnose(self._log.history))

  def log_metrics(self, step: int, means: Mapping[str, float], bar: tqdm) -> None:
    self._write(step, means)
    shown = {name: f'{means[f"train/{name}"]:.3f}' for name in TASKS[self._experiment.config.task].progress}
    bar.set_postfix({'images/s': f'{means["train/images_per_second"]:,.0f}', **shown}, refresh=False)

  def evaluate(self, step: int, state: PyTree) -> Scores:
    """Computes and logs the scores. Raises DivergedError for one that is not finite, which could pass for the best."""
    scores = self._evaluator(state)
    for name, value in scores.items():
      if not isinstance(value, str) and not math.isfinite(value):
        raise DivergedError(step, name, value)
    self._print(f'step {step:,}: {describe(scores)}')
    self._write(step, scores)
    return scores

  def out_of_patience(self) -> bool:
    """Whether the last `train.patience` evaluations all had no better score than the best before them."""
    patience = self._experiment.config.train.patience
    key, better = best_metric(self._experiment.config)
    scores = [line[key] if better == 'min' else -line[key] for line in self._log.history if key in line]
    return 0 < patience < len(scores) and min(scores[-patience:]) >= min(scores[:-patience])

  @property
  def _diagnose(self):
    return TASKS[self._experiment.config.task].diagnose

  def _write(self, step: int, values: Mapping[str, float | int | str]) -> None:
    """Writes a line of the log, and prints what the task then diagnoses from the log, each condition once in a run."""
    self._log.write(step, values)
    for condition, sentence in self._diagnose(self._log.history).items():
      if condition not in self._warned:
        self._warned.add(condition)
        self._print(f'step {step:,}: warning: {sentence}')

  def save(self, step: int, state: PyTree, evaluating: bool) -> Scores:
    """Saves a checkpoint, with its scores if `evaluating`. If the evaluation fails, saves it without scores."""
    scores: Scores = {}
    try:
      if evaluating:
        scores = self.evaluate(step, state)
    finally:
      self.saved.save(step, state, scores)
    return scores

  def snapshot(self, step: int, state: PyTree) -> None:
    """Saves a picture of every sampler's images and logs how diverse they are."""
    pictures, diversity = self._evaluator.snapshot(state)
    if diversity:
      self._write(step, diversity)
    for name, picture in pictures.items():
      figures.save_png(self._directory / 'figures' / f'{name}_{step:06d}.png', picture)
      self._log.image(step, name, picture)

  def conclude(self, steps: int, state: PyTree, started: float) -> Scores:
    """Returns the scores of a run with nothing left to train; completes it if killed after its last checkpoint."""
    lines = [line for line in self._log.history if line['step'] == steps]
    scores = {name: value for line in lines for name, value in line.items() if name.startswith('eval/')}
    if self._lacks_summary(steps):
      self.snapshot(steps, state)
    if self._experiment.config.eval.metrics and not scores:
      scores = self.evaluate(steps, state)
    self.summarise(steps, time.perf_counter() - started, scores)
    return scores

  def _lacks_summary(self, steps: int) -> bool:
    """Whether summary.json is missing or of another step, as in a run that was killed after its last checkpoint."""
    path = self._directory / 'summary.json'
    return not path.exists() or json.loads(path.read_text())['steps'] != steps

  def summarise(self, steps: int, seconds: float, scores: Scores) -> None:
    """Writes summary.json and prints the last lines, once the last checkpoint is on disk."""
    self.saved.wait()
    if steps > self._start or self._lacks_summary(steps):
      summary = {'steps': steps, 'resumed_at': self._start, 'seconds': round(seconds, 1), **scores}
      workdir.write_json(self._directory / 'summary.json', summary)
      count = f'{steps - self._start:,} steps in {seconds / 60:.1f} minutes'
      self._print(f'done: {count}; everything is in {self._directory}')
    if scores:
      self._print(f'  last scores: {describe(scores)}')
    if (best := self.saved.best()) is not None:
      self._print(f'  best checkpoint: step {best:,}')
    for picture in sorted((self._directory / 'figures').glob(f'*_{steps:06d}.png')):
      self._print(f'  {picture.stem.rpartition("_")[0]}: {picture}')

  def __enter__(self) -> 'RunLogger':
    return self

  def __exit__(self, *_) -> None:
    """Waits until the last checkpoint is on disk."""
    self._closing.close()
