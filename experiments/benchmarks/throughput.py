"""Table augment of experiments.bench: images per second of every operation, in genaug and its peers."""

import importlib.metadata
import itertools
import json
import math
import pathlib
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from experiments.benchmarks import peers, processes, programs
from experiments.benchmarks.processes import Program
from experiments.benchmarks.programs import BATCHES
from genaug.errors import InputError
from genaug.training import workdir

_BLOCK_S = 0.04  # seconds that a block lasts, about: it repeats a batch as often as that takes
_SLOW_S = 1.0  # seconds; a program that needs longer for a batch is measured once
_HOW = {
  'everyone': 'all cores; the batch stays in memory and the allocator is set as experiments.train sets it; every '
  'image is changed, by random parameters of its own unless marked; float32 in [0, 1] in and out unless marked uint8; '
  'compilation and warm-up left out',
  'genaug, augmax, dm_pix': 'jit(vmap(operation)); keys are split and parameters drawn inside; channels last',
  'kornia, torchvision': 'one call for the batch in torch.inference_mode; channels first',
  'albumentations, opencv, pillow': 'image by image in one process or one thread a core, whichever is faster; '
  'processes hold their share of the images and keep the results: transfer excluded',
  'images_per_s': 'of the median block; blocks of the programs take turns',
  'ratio': 'genaug / the fastest peer, in the same dtype: float32, or uint8 where a peer takes nothing else',
  'of_a_copy': 'bytes of images read and written a second / those of a copy of the batch by XLA in the same process',
}


def _program(workers: list[ProcessPoolExecutor], library: str, op: str, n: int, dtype: str, threads: int) -> Program:
  """Makes a program. For libraries of single images, the faster of a process per core and a thread per core."""
  arguments = (programs.make, library, op, n, dtype)
  if library not in peers.PER_IMAGE:
    return _timed(Program(workers, dtype, *arguments, threads=threads))
  several = _timed(Program(workers, f'{dtype} processes', *arguments, threads=1))
  one = _timed(Program(workers[:1], f'{dtype} threads', *arguments, threads=threads))
  several.report['in'], one.report['in'] = 'processes', 'threads'
  return min(several, one, key=lambda program: program.milliseconds(1))


def _timed(program: Program) -> Program:
  """Measures `batch_ms` of a program once, and sets how many batches are a block."""
  program.batch_ms = program.milliseconds(1)
  program.times = max(1, round(_BLOCK_S * 1e3 / program.batch_ms))
  return program


def _programs(workers: dict[str, list], op: str, n: int, threads: int) -> tuple[dict[str, Program], dict[str, str]]:
  """Returns (programs of all libraries, why some fail). Raises RuntimeError if genaug's fails."""
  ready, notes = {}, {}
  for library, dtype in peers.programs(op):
    name = f'{library} uint8' if dtype == 'uint8' and peers.takes_float(library, op) else library
    try:
      if library in workers:
        ready[name] = _program(workers[library], library, op, n, dtype, threads)
    except RuntimeError as error:
      notes[name] = str(error)
  if 'genaug' not in ready:
    raise RuntimeError(notes['genaug'])
  return ready, notes


def _cell(workers: dict[str, list], op: str, n: int, threads: int, rounds: int, seconds: float) -> dict:
  """Measures an operation at an image size. Raises RuntimeError if genaug's program fails."""
  ready, notes = _programs(workers, op, n, threads)
  against = {
    name: 'genaug' if peers.takes_float(name, op) or op in peers.MIXING else 'genaug uint8'
    for name in ready
    if name in peers.LIBRARIES and name != 'genaug'
  }
  copy_of = {name: 'copy uint8' if name == 'genaug uint8' else 'copy' for name in {'genaug', *against.values()}}
  everything = ready | {
    name: _timed(Program(workers['genaug'], name, programs.copy, n, 'uint8' if name == 'copy uint8' else 'float32'))
    for name in set(copy_of.values())
  }
  quick = {name: program for name, program in everything.items() if program.batch_ms < _SLOW_S * 1e3}
  round_s = sum(program.times * program.batch_ms for program in quick.values()) / 1e3
  blocks = processes.alternate(quick, max(min(3, rounds), min(rounds, int(seconds / max(round_s, 1e-3)))), 1)
  blocks |= {name: [program.batch_ms] for name, program in everything.items() if name not in quick}
  speeds = {name: BATCHES[n] / statistics.median(times) * 1e3 for name, times in blocks.items()}
  ratios = {name: float(f'{speeds[ours] / speeds[name]:.3g}') for name, ours in against.items()}
  moved = {name: (1 + math.prod(ready[name].report['shape']) / (3 * n * n)) / 2 for name in copy_of}  # a copy's is 1
  best = min(ratios, key=ratios.get, default=None)
  return {
    'images_per_s': {name: float(f'{speed:.4g}') for name, speed in speeds.items()},
    'best_peer': best,
    'compared': against.get(best),
    'ratio_to_libraries': min((ratio for name, ratio in ratios.items() if name not in peers.PLAIN), default=None),
    'ratio': ratios.get(best),
    'of_a_copy': {name: float(f'{moved[name] * speeds[name] / speeds[copy]:.3g}') for name, copy in copy_of.items()},
    'marks': {name: marks for name in ready if name in peers.LIBRARIES and (marks := peers.marks(name, op))},
    'compile_s': {name: round(s, 2) for name, p in ready.items() if (s := p.report.pop('compile_s')) is not None},
    'notes': notes,
    'reports': {name: program.report for name, program in ready.items()},
    'milliseconds': {name: [float(f'{block:.4g}') for block in times] for name, times in blocks.items()},
  }


def summary(cells: dict[str, dict]) -> dict:
  """Returns for each image size the geometric mean of the ratios, and the operations below half of the best peer.

  The mean is against the best of all peers and, as a second one, against the best augmentation library, without OpenCV
  and Pillow called directly.
  """
  table = {}
  for n in BATCHES:
    of_size = {op: sizes[str(n)] for op, sizes in cells.items() if sizes.get(str(n), {}).get('ratio')}
    if of_size:
      ratios = {op: cell['ratio'] for op, cell in of_size.items()}
      below = {op: ratio for op, ratio in ratios.items() if ratio < 0.5}
      table[str(n)] = {'operations': len(ratios), 'geometric_mean': _mean(ratios.values()), 'below_0.5': below}
      if among := [best for cell in of_size.values() if (best := cell.get('ratio_to_libraries'))]:
        table[str(n)]['geometric_mean_to_libraries'] = _mean(among)
  return table


def _mean(ratios: Iterable[float]) -> float:
  """Returns the geometric mean."""
  return round(math.exp(statistics.fmean(map(math.log, ratios))), 3)


def table(output: pathlib.Path | None, ops: list[str], fresh: bool, threads: int, rounds: int, seconds: float) -> dict:
  """Measures what the output lacks, for about `seconds` per operation and size, and writes it after each of them.

  Raises InputError for an unknown operation, and for an output of another machine or other versions.
  """
  unknown = [op for op in ops if op not in peers.OPS]
  if unknown:
    raise InputError('ops', ','.join(unknown), 'no such operation', f'any of {",".join(peers.OPS)}')
  result = _start(output, fresh and not ops, threads)
  cells = result['operations']
  installed = [library for library in peers.LIBRARIES if result['versions'][library]]
  with_peer = [op for op in ops or peers.OPS if len(set(peers.libraries_with(op)) & set(installed)) > 1]
  todo = [(op, n) for op in with_peer for n in BATCHES if fresh or str(n) not in cells.get(op, {})]
  alone = ', '.join(op for op in ops or peers.OPS if op not in with_peer) or 'none'
  print(f'operations left out, because no other installed library has them: {alone}')
  workers = {
    name: [processes.worker() for _ in range(threads if name in peers.PER_IMAGE else 1)] for name in installed if todo
  }
  start, commit = time.perf_counter(), workdir.environment()['git_commit']
  for done, (op, n) in enumerate(todo, 1):
    try:
      cell = _cell(workers, op, n, threads, rounds, seconds)
    except RuntimeError as error:
      print(f'[{done}/{len(todo)}] {op} {n}: skipped, because it failed: {error}', flush=True)
      continue
    cells.setdefault(op, {})[str(n)] = cell | {'git_commit': commit}
    result['summary'] = summary(cells)
    if output:
      workdir.write_json(output, result)
    minutes = (time.perf_counter() - start) / done * (len(todo) - done) / 60
    print(f'[{done}/{len(todo)}] {op} {n}: {_text(cell)}; {minutes:.0f} min left', flush=True)
  for worker in itertools.chain(*workers.values()):
    worker.shutdown()
  for n, figures in result['summary'].items():
    below = ', '.join(f'{op} {ratio}' for op, ratio in figures['below_0.5'].items()) or 'none'
    mean, count = figures['geometric_mean'], figures['operations']
    print(f'{n}x{n}: {mean:.2f} times the speed of the fastest peer, geometric mean over {count} operations')
    print(f'  operations below 0.5: {below}')
  return result


def _start(output: pathlib.Path | None, fresh: bool, threads: int) -> dict:
  """Returns the result so far: what the output holds, or one without measurements."""
  environment, versions = workdir.environment(), {name: peers.version(name) for name in peers.LIBRARIES}
  versions['genaug'] = importlib.metadata.version('jax')
  result = {
    'what': 'images a second; batches of ' + ' and '.join(f'{count}x{n}x{n}x3' for n, count in BATCHES.items()),
    'how': _HOW,
    'threads': threads,
    'environment': environment,
    'versions': versions,
    'summary': {},
    'operations': {},
  }
  if fresh or not output or not output.exists():
    return result
  before = json.loads(output.read_text())
  processes.check_same(output, before, result, 'measure again with --fresh, or name another --output')
  return result | {name: before[name] for name in ('environment', 'summary', 'operations')}


def _text(cell: dict) -> str:
  speeds = sorted(cell['images_per_s'].items(), key=lambda item: -item[1])
  listed = ', '.join(f'{name} {speed:,.0f}' for name, speed in speeds)
  failed = ''.join(f'; {name} failed: {note}' for name, note in cell['notes'].items())
  return f'{cell["ratio"]} times the speed of the fastest peer, {cell["best_peer"]} ({listed}){failed}'
