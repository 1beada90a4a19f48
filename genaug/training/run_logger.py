"""What only the first process of a job does: the workdir with its log, scores, pictures and checkpoints."""

import contextlib
import math
import pathlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from tqdm import tqdm

from genaug.errors import DivergedError
from genaug.training import figures, workdir
from genaug.training.checkpoint import Checkpoints
from genaug.training.evaluator import Evaluator, Scores
from genaug.training.experiment import Experiment, best_metric
from genaug.training.metrics import Log

_PICTURES = 64  # images in a snapshot
_BAR = ('train/d_loss', 'train/g_loss', 'train/loss', 'train/elbo_nats', 'train/accuracy')


class RunLogger:
  """Claims the workdir. Raises InputError if it cannot be written or holds a run of another config."""

  def __init__(self, experiment: Experiment, directory: pathlib.Path, log: Callable[[str], None]):
    self._experiment, self._directory, self._print = experiment, directory, log
    workdir.create(directory)
    with contextlib.ExitStack() as held:
      held.enter_context(workdir.lock(directory))
      workdir.claim(directory, experiment.config)
      self._closing = held.pop_all()
    self.saved = Checkpoints(directory, experiment.config.train.checkpoints_kept, *best_metric(experiment.config))
    self._closing.callback(self.saved.close)
    self._evaluator = Evaluator(experiment)
    self._pictures = jax.jit(self._draw)

  def open(self, start: int) -> None:
    """Starts logging after step `start`; lines a killed run wrote beyond it are dropped."""
    self._start = start
    self._log = Log(self._directory, start)
    self._closing.callback(self._log.close)

  def log_metrics(self, step: int, means: Mapping[str, float], bar: tqdm) -> None:
    self._log.write(step, means)
    shown = {name.removeprefix('train/'): f'{means[name]:.3f}' for name in _BAR if name in means}
    bar.set_postfix({'images/s': f'{means["train/images_per_second"]:,.0f}', **shown}, refresh=False)

  def evaluate(self, step: int, state: PyTree) -> Scores:
    """Raises DivergedError for a score that is not finite: it could pass for the best."""
    scores = self._evaluator(state)
    for name, value in scores.items():
      if not isinstance(value, str) and not math.isfinite(value):
        raise DivergedError(step, name, value)
    self._log.write(step, scores)
    self._print(f'step {step:,}: {describe(scores)}')
    return scores

  def save(self, step: int, state: PyTree, evaluating: bool) -> Scores:
    """A checkpoint, with its scores if it is to be evaluated; one without, should evaluating fail."""
    scores: Scores = {}
    try:
      if evaluating:
        scores = self.evaluate(step, state)
    finally:
      self.saved.save(step, state, scores)
    return scores

  def snapshot(self, step: int, state: PyTree) -> None:
    """A grid of samples of the same latents every time, and for a VAE originals above reconstructions; of a classifier,
    training images above what it sees of them."""
    dataset, count = self._experiment.dataset, _PICTURES // 2
    split = dataset.test if self._experiment.config.task == 'vae' else dataset.train
    shown = {name: array[:count] for name, array in split.arrays.items()}
    pictures = jax.device_get(self._pictures(jax.device_get(state), shown))
    for name in pictures.keys() & {'reconstructions', 'inputs'}:
      pictures[name] = figures.beside(shown['image'] / np.float32(255), pictures[name])
    for name, images in pictures.items():
      picture = figures.grid(images)
      figures.save_png(self._directory / 'figures' / f'{name}_{step:06d}.png', picture)
      self._log.image(step, name, picture)

  def _draw(self, state: PyTree, shown: dict[str, jax.Array]) -> dict[str, jax.Array]:
    config, dataset, spec, _ = self._experiment
    task, keys = self._experiment.task, self._experiment.keys
    index = jnp.arange(_PICTURES)
    snapshot_keys = jax.vmap(lambda i: jax.random.fold_in(keys.snapshot, i))(index)
    some = snapshot_keys[: len(shown['label'])]
    if hasattr(task, 'inputs'):
      # Keys of this step: another one shows other draws.
      some = jax.vmap(lambda key: jax.random.fold_in(key, state.step))(some)
      return {'inputs': task.inputs(config, spec, shown, some)['image']}
    pictures = {'samples': task.sample(config, spec, state, snapshot_keys, index % dataset.num_classes)}
    if hasattr(task, 'reconstruct'):
      pictures['reconstructions'] = task.reconstruct(config, spec, state, shown, some)
    return pictures

  def summarise(self, steps: int, seconds: float, scores: Scores) -> None:
    """The last words on the terminal, and summary.json."""
    if steps > self._start:
      summary = {'steps': steps, 'resumed_at': self._start, 'seconds': round(seconds, 1), **scores}
      workdir.write_json(self._directory / 'summary.json', summary)
      count = f'{steps - self._start:,} steps in {seconds / 60:.1f} minutes'
      self._print(f'done: {count}, all of it in {self._directory}')
    if scores:
      self._print(f'  last: {describe(scores)}')
    if (best := self.saved.best()) is not None:
      self._print(f'  best checkpoint: step {best:,}')
    for picture in sorted((self._directory / 'figures').glob(f'*_{steps:06d}.png')):
      self._print(f'  {picture.stem.rpartition("_")[0]}: {picture}')

  def __enter__(self) -> 'RunLogger':
    return self

  def __exit__(self, *_) -> None:
    """Waits until the last checkpoint is on disk."""
    self._closing.close()


def describe(scores: Mapping[str, float | int | str]) -> str:
  """Scores as one line for people: each figure with its n, split, network and floor."""
  parts = []
  if 'eval/fd_alexnet' in scores:
    raw = f', raw weights {scores["eval/fd_alexnet_raw"]:.2f}' if 'eval/fd_alexnet_raw' in scores else ''
    parts.append(
      f'FD ({scores["eval/network"]}) {scores["eval/fd_alexnet"]:.2f}{raw}, KID {scores["eval/kid_alexnet"]:.4f}'
      f' [{scores["eval/samples"]:,} samples v {scores["eval/reference_samples"]:,} of'
      f' {scores["eval/reference_split"]}; {scores["eval/floor_samples"]:,} real training images:'
      f' FD {scores["eval/fd_alexnet_floor"]:.2f}, KID {scores["eval/kid_alexnet_floor"]:.4f}]'
    )
  if 'eval/elbo_nats' in scores:
    parts.append(
      f'ELBO {scores["eval/elbo_nats"]:.2f} nats = log-likelihood {scores["eval/log_likelihood_nats"]:.2f}'
      f' - KL {scores["eval/kl_nats"]:.2f}; {scores["eval/bits_per_dim"]:.4f} bits/dim'
      f' [{scores["eval/elbo_images"]:,} images of {scores["eval/elbo_split"]}]'
    )
  if 'eval/accuracy' in scores:
    parts.append(
      f'accuracy {scores["eval/accuracy"]:.2%}, ECE {scores["eval/ece"]:.2%}, cross-entropy'
      f' {scores["eval/cross_entropy_nats"]:.3f} nats'
      f' [{scores["eval/accuracy_images"]:,} images of {scores["eval/accuracy_split"]}]'
    )
  return '; '.join(parts)
