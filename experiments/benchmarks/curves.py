"""Table curves of experiments.bench: how the time and the memory of a step grow with batch, image and devices."""

import importlib
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from experiments.benchmarks import steps
from experiments.benchmarks.processes import Program, compare, ratios, worker

BATCHES, SIDES, DEVICES = (16, 32, 64, 128, 256, 512), (28, 32, 64, 96, 128), (1, 2, 4)
BATCH, SIDE = 64, 28  # where the other one varies
KINDS = ('dcgan', 'flow U-Net', 'classifier', 'input step')
_CONFIGS = {'dcgan': 'gan_mnist5k', 'flow U-Net': 'flow_mnist5k', 'classifier': 'classify_mnist5k'}
_NEAR = 0.9  # of the highest throughput: the knee
_CALLS = 5


def point(kind: str, batch: int, side: int) -> dict[str, float]:
  """Seconds and MiB of a step on all devices of this process."""
  if kind == 'input step':
    return _input_step(batch, side)
  from genaug.training import dry_run

  config = importlib.import_module(f'configs.{_CONFIGS[kind]}').get_config()
  config.train.batch_size = batch
  cost = dry_run.step_cost(steps.on_noise(config, (side, side, 1)))
  return {'seconds': cost.seconds, 'mib': cost.mib, 'gflop': cost.gflop}


def _input_step(batch: int, side: int) -> dict[str, float]:
  import jax

  from configs import base
  from genaug.augment import Pipeline

  config = base.get_config().augment
  config.update_from_flattened_dict(steps.CLASSIC)
  images, keys = np.zeros((batch, side, side, 1), np.uint8), jax.random.split(jax.random.key(0), batch)
  pipeline = Pipeline.from_config(config)
  compiled = jax.jit(lambda keys, images: pipeline(keys, {'image': images})['image']).lower(keys, images).compile()
  seconds = []
  for _ in range(_CALLS + 1):
    started = time.perf_counter()
    jax.block_until_ready(compiled(keys, images))
    seconds.append(time.perf_counter() - started)
  memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
  size = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
  return {'seconds': statistics.median(seconds[1:]), 'mib': size / 2**20, 'gflop': cost['flops'] / 1e9}


def _measured(devices: int, *arguments) -> dict[str, float]:
  """`point` in a process that has so many devices, made up where there are fewer."""
  with worker(devices=devices) as process:
    return process.submit(point, *arguments).result()


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
  """k of the least-squares fit y = c x**k."""
  return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def knee(batches: Sequence[int], seconds: Sequence[float]) -> int:
  """The smallest batch with 90 % of the highest throughput."""
  speeds = [batch / time for batch, time in zip(batches, seconds)]
  return next(batch for batch, speed in zip(batches, speeds) if speed >= _NEAR * max(speeds))


def table(output: pathlib.Path | None, rounds: int, count: int, log: Callable[[str], None] = print) -> dict:
  """Measures what the output lacks; written after every point."""
  from genaug.training import workdir

  result = json.loads(output.read_text()) if output and output.exists() else {'points': {}}
  result['what'] = (
    f'a training step in float32: batches of images of {SIDE}x{SIDE}x1; images of other sides, {BATCH} a batch; devices'
    ' that share one batch'
  )
  result['environment'] = workdir.environment()
  save = lambda: output and workdir.write_json(output, result)
  todo = [(kind, 'batch', batch, (1, batch, SIDE)) for kind in KINDS for batch in BATCHES]
  todo += [(kind, 'side', side, (1, BATCH, side)) for kind in KINDS for side in SIDES]
  todo += [('dcgan', 'devices', devices, (devices, BATCH, SIDE)) for devices in DEVICES]
  for kind, axis, value, (devices, batch, side) in todo:
    points = result['points'].setdefault(kind, {}).setdefault(axis, {})
    if str(value) not in points:
      points[str(value)] = found = _measured(devices, kind, batch, side)
      log(
        f'{kind}, {axis} {value}: {found["seconds"] * 1e3:.1f} ms, {found["mib"]:,.0f} MiB, {found["gflop"]:.2f} GFLOP'
      )
      save()
  if 'streamed' not in result:
    programs = {
      name: Program([worker()], 'step', steps.ours, 'dcgan', **{'data.device_mib': mib})
      for name, mib in {'resident': 1024, 'streamed': 0}.items()
    }
    result['milliseconds'] = compare(programs, rounds, count)
    result['streamed'] = ratios(result['milliseconds'], 'resident')['streamed']
    log(f'images that come with every step: {result["streamed"]:.3f} of a step with images on the device')
    save()
  return result
