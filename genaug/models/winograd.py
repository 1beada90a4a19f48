"""3x3 convolutions with stride 1 and zero padding as 16 matrix products: F(2x2, 3x3) of Winograd.

Lavin and Gray 2016 (arXiv:1509.09308), section 4.1: tiles of 4x4 input pixels give 2x2 output pixels with 16
multiplications per channel instead of 36. On CPU it is faster than XLA's convolution from 32 channels on.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)


def convolve(x: Float[Array, 'n h w c'], kernel: Float[Array, '3 3 c d']) -> Float[Array, 'n h w d']:
  n, h, w, c_in = x.shape
  rows, columns, c_out = -(-h // 2), -(-w // 2), kernel.shape[-1]
  filters = jnp.einsum('ai,bj,ijcd->abcd', _G, _G, kernel).astype(x.dtype)
  products = [
    [(tile.reshape(-1, c_in) @ filters[a, b]).reshape(n, rows, columns, c_out) for b, tile in enumerate(tiles)]
    for a, tiles in enumerate(_tiles(x, rows, columns))
  ]
  outputs = _both(lambda v: [v[0] + v[1] + v[2], v[1] - v[2] - v[3]], products)
  out = jnp.stack([jnp.stack(row, axis=3) for row in outputs], axis=2)
  return out.reshape(n, 2 * rows, 2 * columns, c_out)[:, :h, :w]


def kernel_gradient(x: Float[Array, 'n h w c'], cotangent: Float[Array, 'n h w d']) -> Float[Array, '3 3 c d']:
  """Returns the gradient of `convolve` of x with respect to the kernel, by the transposes of its three transforms."""
  _, h, w, c_in = x.shape
  rows, columns, c_out = -(-h // 2), -(-w // 2), cotangent.shape[-1]
  padded = jnp.pad(cotangent, ((0, 0), (0, 2 * rows - h), (0, 2 * columns - w), (0, 0)))
  pixels = [[padded[:, i::2, j::2] for j in range(2)] for i in range(2)]
  spread = _both(lambda v: [v[0], v[0] + v[1], v[0] - v[1], -v[1]], pixels)
  tiles = _tiles(x, rows, columns)
  products = [[tiles[a][b].reshape(-1, c_in).T @ spread[a][b].reshape(-1, c_out) for b in range(4)] for a in range(4)]
  stacked = jnp.stack([jnp.stack(row) for row in products])
  return jnp.einsum('ai,bj,abcd->ijcd', _G, _G, stacked).astype(x.dtype)


def _tiles(x, rows, columns):
  """Returns the transformed input tiles: a 4x4 list of arrays [n, rows, columns, c]."""
  _, h, w, _ = x.shape
  padded = jnp.pad(x, ((0, 0), (1, 1 + 2 * rows - h), (1, 1 + 2 * columns - w), (0, 0)))
  pixels = [[padded[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2] for j in range(4)] for i in range(4)]
  return _both(lambda v: [v[0] - v[2], v[1] + v[2], v[2] - v[1], v[1] - v[3]], pixels)


def _both(transform, grid):
  """Applies a transform of lists along the columns of a list of lists, then along its rows."""
  columns = [transform(list(column)) for column in zip(*grid)]
  return [transform(list(row)) for row in zip(*columns)]
