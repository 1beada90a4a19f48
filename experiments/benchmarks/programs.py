"""Programs that run in the process of a library and apply an operation to a batch.

albumentations, OpenCV and Pillow compute image by image, libraries on PyTorch take the batch, those on JAX run under
jit(vmap(...)).
"""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from experiments.benchmarks import peers

BATCHES = {32: 256, 224: 32}  # side of the images: images per batch


def pictures(n: int, count: int) -> np.ndarray:
  """Returns smooth images with some grain, all different: float32 [count, n, n, 3] in [0, 1]."""
  rng = np.random.default_rng(0)
  spread = np.stack([np.interp(np.linspace(0, 4, n), np.arange(5), row) for row in np.eye(5)], axis=1)
  smooth = np.einsum('ya,xb,nabc->nyxc', spread, spread, rng.random((count, 5, 5, 3)), optimize=True)
  return np.clip(smooth + rng.normal(0, 0.03, smooth.shape), 0, 1).astype(np.float32)


def jax_step(library: str, op: str, n: int) -> Callable:
  """Returns (seed, images) -> batch with changed images, whose keys are split from the seed."""
  import jax
  import jax.numpy as jnp

  each = peers.make(library, op, n)

  def step(seed, images):
    keys = jax.random.split(jax.random.key(seed), len(images))
    if op in peers.MIXING:
      return each(keys, {'image': images, 'label': jax.nn.one_hot(jnp.arange(len(images)), 10)})
    return {'image': jax.vmap(each)(keys, images)}

  return step


def _jax_program(library: str, op: str, n: int, batch) -> tuple[Callable, float]:
  import jax

  seeds, start = itertools.count(), time.perf_counter()
  compiled = jax.jit(jax_step(library, op, n)).lower(np.uint32(0), batch).compile()
  seconds = time.perf_counter() - start
  return lambda batch: jax.block_until_ready(compiled(np.uint32(next(seeds)), batch))['image'], seconds


def _torch_program(library: str, op: str, n: int, threads: int) -> Callable:
  import torch

  torch.set_num_threads(threads)
  transform, device = peers.make(library, op, n), 'cuda' if torch.cuda.is_available() else 'cpu'
  if isinstance(transform, torch.nn.Module):
    transform = transform.to(device)

  @torch.inference_mode()
  def run(batch):
    changed = transform(batch).contiguous()  # a crop is a view: its pixels are not copied yet
    if batch.is_cuda:
      torch.cuda.synchronize()
    return changed

  return run


def _image_program(library: str, op: str, n: int, threads: int) -> Callable:
  import cv2

  cv2.setNumThreads(1)
  functions = [peers.make(library, op, n) for _ in range(threads)]
  if library == 'albumentations' and op not in peers.MIXING:
    functions = [lambda image, transform=f: transform(image=image)['image'] for f in functions]

  def some(function, images):
    if op in peers.MIXING:
      return [function(image, other) for image, other in zip(images, [images[-1], *images])]
    return [function(image) for image in images]

  if threads == 1:
    return lambda batch: some(functions[0], batch)
  pool = ThreadPoolExecutor(threads)
  shares = lambda batch: [batch[i::threads] for i in range(threads)]
  return lambda batch: list(itertools.chain(*pool.map(some, functions, shares(batch))))


def _batch(library: str, images: np.ndarray):
  """Converts images to a batch of the library."""
  if library in peers.TORCH:
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to('cuda' if torch.cuda.is_available() else 'cpu')
  if library == 'pillow':
    from PIL import Image

    return [Image.fromarray(image) for image in images]
  if library in peers.PER_IMAGE:
    return [image.copy() for image in images]
  import jax.numpy as jnp

  return jnp.asarray(images)


def _array(library: str, batch) -> np.ndarray:
  """Converts a batch of the library to an array: the inverse of `_batch`."""
  if library in peers.TORCH:
    return batch.permute(0, 2, 3, 1).cpu().numpy()
  return np.stack([np.asarray(image) for image in batch]) if isinstance(batch, list) else np.asarray(batch)


def copy(n: int, dtype: str) -> Callable:
  """Returns run(times) of the least that XLA can do with a batch: read it, and write as much."""
  import jax
  import jax.numpy as jnp

  batch = jnp.asarray(_pictures_as(n, dtype))
  copied = jax.jit(jnp.copy).lower(batch).compile()

  def run(times: int) -> None:
    for _ in range(times):
      jax.block_until_ready(copied(batch))

  return run


def _pictures_as(n: int, dtype: str) -> np.ndarray:
  images = pictures(n, BATCHES[n])
  return np.round(images * 255).astype(np.uint8) if dtype == 'uint8' else images


def make(library: str, op: str, n: int, dtype: str, threads: int, share: tuple[int, int] = (0, 1)) -> Callable:
  """Returns run(times) for images i, i + n, ... of `share` (i, n); `run.report` describes the output."""
  images = _pictures_as(n, dtype)[share[0] :: share[1]]
  batch, seconds = _batch(library, images), None
  if library in peers.PER_IMAGE:
    once = _image_program(library, op, n, threads)
  elif library in peers.TORCH:
    once = _torch_program(library, op, n, threads)
  else:
    once, seconds = _jax_program(library, op, n, batch)
  result = _array(library, once(_batch(library, np.repeat(images[:1], len(images), axis=0))))

  def run(times: int) -> None:
    for _ in range(times):
      once(batch)

  run.report = {
    'shape': list(result.shape[1:]),
    'dtype': str(result.dtype),
    'results_of_one_image': None if op in peers.MIXING else len({image.tobytes() for image in result}),
    'of': len(result),
    'compile_s': seconds,
  }
  return run
