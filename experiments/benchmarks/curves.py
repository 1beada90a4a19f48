"""Table curves of experiments.bench: how the time and the memory of a step grow with batch, image and devices."""

import importlib
import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from experiments.benchmarks import steps
from experiments.benchmarks.processes import Program, check_same, compare, ratios, worker

BATCHES, SIDES, DEVICES = (16, 32, 64, 128, 256, 512), (28, 32, 64, 96, 128), (1, 2, 4)
BATCH, SIDE = 64, 28  # what is fixed while the other one varies
KINDS = ('dcgan', 'flow U-Net', 'classifier', 'input step')
_CONFIGS = {'dcgan': 'gan_mnist5k', 'flow U-Net': 'flow_mnist5k', 'classifier': 'classify_mnist5k'}
_NEAR = 0.9  # share of the highest throughput that a batch at the knee reaches


def point(kind: str, batch: int, side: int) -> dict[str, float]:
  """Measures seconds, MiB and GFLOP of a step on all devices of this process."""
  import jax

  from configs import base
  from genaug.augment import Pipeline
  from genaug.training import dry_run

  if kind != 'input step':
    config = importlib.import_module(f'configs.{_CONFIGS[kind]}').get_config()
    config.train.batch_size = batch
    return dry_run.step_cost(steps.on_noise(config, (side, side, 1)))._asdict()
  settings = base.get_config().augment
  settings.update_from_flattened_dict(steps.CLASSIC)
  pipeline = Pipeline.from_config(settings)
  images, keys = np.zeros((batch, side, side, 1), np.uint8), jax.random.split(jax.random.key(0), batch)
  compiled = jax.jit(lambda keys, images: pipeline(keys, {'image': images})['image']).lower(keys, images).compile()
  return dry_run.cost_of(compiled, lambda _: jax.block_until_ready(compiled(keys, images)))._asdict()


def _measured(kind: str, devices: int, batch: int, side: int) -> dict[str, float]:
  """Runs `point` in a process of its own; on CPU its simulated devices share the same cores."""
  with worker(devices=devices) as process:
    return process.submit(point, kind, batch, side).result()


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
  """Returns k of the least-squares fit y = c x**k, in logarithms."""
  return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def knee(batches: Sequence[int], seconds: Sequence[float]) -> int:
  """Returns the smallest batch with 90 % of the highest throughput; batches are in ascending order."""
  speeds = [batch / of_batch for batch, of_batch in zip(batches, seconds)]
  return next(batch for batch, speed in zip(batches, speeds) if speed >= _NEAR * max(speeds))


def table(output: pathlib.Path | None, rounds: int, count: int, log: Callable[[str], None] = print) -> dict:
  """Measures what the output lacks; writes it after every point. Raises InputError for an output of another machine."""
  from genaug.training import workdir

  environment = workdir.environment()
  result = {
    'what': f'a training step in float32: batches of images of {SIDE}x{SIDE}x1; images of other sides, {BATCH} a batch',
    'environment': environment,
    'points': {},
  }
  if output and output.exists():
    before = json.loads(output.read_text())
    check_same(output, before, result, 'name another --output')
    result = before
  save = lambda: output and workdir.write_json(output, result)
  todo = [(kind, 'batch', batch, (1, batch, SIDE)) for kind in KINDS for batch in BATCHES]
  todo += [(kind, 'side', side, (1, BATCH, side)) for kind in KINDS for side in SIDES]
  if environment['backend'] == 'cpu':  # elsewhere devices can't be simulated
    todo += [('dcgan', 'devices', devices, (devices, BATCH, SIDE)) for devices in DEVICES]
  for kind, axis, value, setting in todo:
    points = result['points'].setdefault(kind, {}).setdefault(axis, {})
    if str(value) in points:
      continue
    same = result['points'][kind].get('batch', {}).get(str(BATCH)) if setting == (1, BATCH, SIDE) else None
    points[str(value)] = measured = same or _measured(kind, *setting)
    milliseconds = 1e3 * measured['seconds']
    log(f'{kind}, {axis} {value}: {milliseconds:.1f} ms, {measured["mib"]:,.0f} MiB, {measured["gflop"]:.2f} GFLOP')
    save()
  if 'streamed' not in result:
    programs = {
      name: Program([worker()], 'step', steps.genaug_step, 'dcgan', **{'data.device_mib': mib})
      for name, mib in {'resident': 1024, 'streamed': 0}.items()
    }
    result['milliseconds'] = compare(programs, rounds, count)
    result['streamed'] = ratios(result['milliseconds'], 'resident')['streamed']
    log(f'images streamed from the host: {result["streamed"]:.3f} of the time of a step with images on the device')
    save()
  return result
