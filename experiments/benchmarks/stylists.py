"""Table stylize of experiments.bench: a trained network against Gatys' optimisation of the pixels, by the same losses.

Both are scored on held-out images of the run, whose styles take turns. Seconds are per image of one batch of all,
without compilation; the network is also timed on images with sides twice as long.
"""

import pathlib
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from genaug.offline.stylization import Painter, Stylist
from genaug.study.intervals import mean_interval
from genaug.tasks.style import content_of, losses, select_grams
from genaug.training import figures, workdir
from genaug.training.experiment import load_trained

STEPS = (25, 50, 100)
_ROUNDS = 5  # in which the network is timed
_SHOWN = 8


def table(directory: pathlib.Path, data_dir: pathlib.Path, count: int, output: pathlib.Path | None) -> dict:
  """Measures losses and seconds of both. Saves a picture beside the output: originals, the network's, after STEPS."""
  experiment, state = load_trained(directory, data_dir, 'best')
  stylist, settings = Stylist(experiment.config, experiment.spec, state), experiment.config.style
  images = jnp.asarray(experiment.dataset.test.arrays['image'][:count] / np.float32(255))
  number = np.arange(len(images)) % len(stylist.names)
  grams = select_grams(state.extra['grams'], number)
  # All arrays are arguments: XLA would compute what depends on constants alone while it compiles.
  score = jax.jit(lambda made, images, grams: losses(settings, made, content_of(images), grams))
  made = {'original': (images, 0.0), 'network': _by_network(experiment.task, state, images)}
  paint = Painter(settings)
  jax.block_until_ready(list(paint(images, grams, 1)))  # compiled
  started = time.perf_counter()
  for done, stylised in enumerate(paint(images, grams, max(STEPS)), 1):
    jax.block_until_ready(stylised)
    if done in STEPS:
      made[f'{done} steps'] = stylised, (time.perf_counter() - started) / len(images)
  scores, totals = {}, {}
  for name, (stylised, seconds) in made.items():
    by_loss = {loss: np.asarray(values, np.float64) for loss, values in score(stylised, images, grams).items()}
    totals[name] = by_loss['style_total']
    scores[name] = {loss: float(values.mean()) for loss, values in by_loss.items()} | {'seconds': seconds}
    print(f'{name}: loss {scores[name]["style_total"]:.3f}, {seconds:.4f} s per image', flush=True)
  if output:
    shown = np.concatenate([np.asarray(stylised[:_SHOWN]) for stylised, _ in made.values()])
    figures.save_png(output.with_suffix('.png'), figures.grid(shown, min(_SHOWN, len(images))))
  larger = images.repeat(2, axis=1).repeat(2, axis=2)
  _, seconds = _by_network(experiment.task, state, larger)
  return {
    'network_at': {'shape': list(larger.shape[1:]), 'seconds': seconds},
    'what': f'{len(images):,} test images of {experiment.dataset.name}, {"x".join(map(str, images.shape[1:]))}; styles'
    f' {", ".join(stylist.names)}; {int(state.step):,} steps of training; Gatys: Adam from the image itself',
    'config': experiment.config.to_dict(),
    'environment': workdir.environment(),
    'methods': scores,
    'more_than_gatys': {
      name: mean_interval(list(totals['network'] - values)) for name, values in totals.items() if 'steps' in name
    },
  }


def _by_network(task, state, images) -> tuple[jax.Array, float]:
  """Returns (stylised images, median seconds per image)."""
  sample, batch = jax.jit(task.samplers['stylized'].sample), {'image': images * 255}
  seconds = []
  for _ in range(_ROUNDS + 1):
    started = time.perf_counter()
    stylised = jax.block_until_ready(sample(state, batch, None))
    seconds.append((time.perf_counter() - started) / len(images))
  return stylised, statistics.median(seconds[1:])
