"""The convolutions that the networks are built from, fast on CPU, GPU and TPU.

Two have 4x4 kernels and stride 2 and are each other's transpose: `conv_down` halves the sides, `conv_up` doubles them.
XLA's CPU backend runs the transposed convolution as a dilated one, with a weight gradient ten times slower than
necessary. On CPU `conv_up` is therefore a matrix product (`_conv_up_matmul`), and gradients are expressed in terms
of the two ops. `conv3x3` keeps the sides; on CPU it uses Winograd's algorithm where that is faster (experiments.bench
layers). Parameters and results are those of the native ops.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from genaug.models import ImageShape, winograd

_LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def _conv_down_native(x, kernel):
  return lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=_LAYOUT)


def _conv_up_native(x, kernel):
  return lax.conv_transpose(x, kernel, (2, 2), ((2, 2), (2, 2)), dimension_numbers=_LAYOUT)


def _conv3x3_native(x, kernel, precision=None):
  groups = x.shape[-1] // kernel.shape[2]
  return lax.conv_general_dilated(
    x, kernel, (1, 1), 'SAME', dimension_numbers=_LAYOUT, feature_group_count=groups, precision=precision
  )


def _conv_up_matmul(x, kernel):
  """Computes all 16 taps of every input pixel in one matrix product and sums them where they overlap."""
  n, h, w, c_in = x.shape
  c_out = kernel.shape[-1]
  taps = x.reshape(-1, c_in) @ kernel.transpose(2, 0, 1, 3).reshape(c_in, -1)
  taps = taps.reshape(n, h, w, 4, 4, c_out)

  def shift(t, dy, dx):
    pad = ((0, 0), (max(0, -dy), max(0, dy)), (max(0, -dx), max(0, dx)), (0, 0))
    top, left = max(0, dy), max(0, dx)
    return jnp.pad(t, pad)[:, top : top + h, left : left + w]

  # Output pixel (2i + a, 2j + b) meets kernel taps (a + 2u, b + 2v) at input pixel (i + a + u - 1, j + b + v - 1).
  rows = [
    jnp.stack(
      [
        sum(shift(taps[:, :, :, a + 2 * u, b + 2 * v], a + u - 1, b + v - 1) for u in (0, 1) for v in (0, 1))
        for b in (0, 1)
      ],
      axis=3,
    )
    for a in (0, 1)
  ]
  return jnp.stack(rows, axis=2).reshape(n, 2 * h, 2 * w, c_out)


def _transposed(kernel):
  """Returns the kernel with which `conv_up` is the transpose of `conv_down` with this one, and vice versa."""
  return kernel[::-1, ::-1].transpose(0, 1, 3, 2)


def _kernel_gradient(x, cotangent, shape):
  """Returns the gradient of `conv_down` of x with respect to its kernel, which has that shape."""
  kernel = jax.ShapeDtypeStruct(shape, x.dtype)
  (gradient,) = jax.linear_transpose(lambda k: _conv_down_native(x, k), kernel)(cotangent)
  return gradient


def _bilinear(
  name: str, run: Callable, native: Callable, transpose_x: Callable, transpose_kernel: Callable
) -> Primitive:
  """Makes a primitive for run(x, kernel) with these transposes, so that derivatives of any order and mode are fast.

  A `custom_vjp` would suffice for reverse mode, but JAX does not differentiate it in forward mode.
  """
  op = Primitive(name)
  op.def_impl(jax.jit(run))

  @op.def_abstract_eval
  def _(x, kernel):
    out = jax.eval_shape(native, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (x, kernel)))
    return jax.core.ShapedArray(out.shape, out.dtype)

  mlir.register_lowering(op, mlir.lower_fun(run, multiple_results=False))
  ad.defbilinear(
    op, lambda ct, x, kernel: transpose_x(ct, kernel), lambda ct, x, kernel: transpose_kernel(ct, x, kernel.aval.shape)
  )

  def batched(arguments, axes):
    (x, kernel), (x_axis, kernel_axis) = arguments, axes
    if kernel_axis is not None:  # one convolution per kernel
      return jax.vmap(native, axes)(x, kernel), 0
    x = jnp.moveaxis(x, x_axis, 0)
    out = op.bind(x.reshape(-1, *x.shape[2:]), kernel)
    return out.reshape(*x.shape[:2], *out.shape[1:]), 0

  batching.primitive_batchers[op] = batched
  return op


_conv_down_cpu = _bilinear(
  'conv_down',
  _conv_down_native,
  _conv_down_native,
  lambda ct, kernel: _conv_up_cpu.bind(ct, _transposed(kernel)),
  lambda ct, x, shape: _kernel_gradient(x, ct, shape),
)
_conv_up_cpu = _bilinear(
  'conv_up',
  _conv_up_matmul,
  _conv_up_native,
  lambda ct, kernel: _conv_down_cpu.bind(ct, _transposed(kernel)),
  lambda ct, x, shape: _transposed(_kernel_gradient(ct, x, (*shape[:2], shape[3], shape[2]))),
)


_conv3x3_cpu = _bilinear(
  'conv3x3',
  winograd.convolve,
  _conv3x3_native,
  lambda ct, kernel: _conv3x3_cpu.bind(ct, _transposed(kernel)),
  lambda ct, x, shape: winograd.kernel_gradient(x, ct),
)


def conv_down(x: Float[Array, 'n h w c'], kernel: Float[Array, '4 4 c d']) -> Float[Array, 'n h/2 w/2 d']:
  """Computes a 4x4 convolution with stride 2 and one pixel of zero padding. Sides must be even."""
  return _conv_down_cpu.bind(x, kernel) if _on_cpu(x, kernel) else _conv_down_native(x, kernel)


def conv_up(x: Float[Array, 'n h w c'], kernel: Float[Array, '4 4 c d']) -> Float[Array, 'n 2*h 2*w d']:
  """Computes a 4x4 transposed convolution with stride 2, cropped to exactly twice the sides."""
  return _conv_up_cpu.bind(x, kernel) if _on_cpu(x, kernel) else _conv_up_native(x, kernel)


def conv3x3(
  x: Float[Array, 'n h w c'], kernel: Float[Array, '3 3 c/groups d'], precision: lax.PrecisionLike = None
) -> Float[Array, 'n h w d']:
  """Computes a 3x3 convolution with one pixel of zero padding; the kernel's shape implies the number of groups.

  `precision` is that of XLA on GPU and TPU; on CPU it makes no difference.
  """
  groups = x.shape[-1] // kernel.shape[2]
  if groups > 1 and _on_cpu(x, kernel):  # XLA's gradients of grouped convolutions are 10 to 50 times slower there
    pairs = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([conv3x3(*pair, precision) for pair in pairs], axis=-1)
  # With few pixels or channels the transforms don't pay; in floats of less than 32 bits they would lose precision.
  suits = x.shape[2] >= 4 and min(kernel.shape[2:]) >= 32 and x.dtype in (jnp.float32, jnp.float64)
  return _conv3x3_cpu.bind(x, kernel) if suits and _on_cpu(x, kernel) else _conv3x3_native(x, kernel, precision)


def _on_cpu(*arrays: Array) -> bool:
  """Whether the CPU primitives apply.

  They don't where `shard_map` tracks which values vary over devices, as they don't declare that of their results.
  """
  kinds = [jax.typeof(array) for array in arrays]
  # jax 0.10.2 and later keep the axes in manual_axis_type, earlier ones in vma.
  axes = [
    getattr(kind, 'vma', None) or getattr(getattr(kind, 'manual_axis_type', None), 'varying', None) for kind in kinds
  ]
  return jax.default_backend() == 'cpu' and not any(axes)


def base_and_doublings(side: int) -> tuple[int, int]:
  """Returns (base side, number of doublings) for an image side, which is halved until it is at most 7.

  28 -> (7, 2), 32 -> (4, 3), 64 -> (4, 4). Raises ValueError for a side that does not halve down to 4..7.
  """
  base, doublings = side, 0
  while base > 7 and base % 2 == 0:
    base, doublings = base // 2, doublings + 1
  if not (4 <= base <= 7 and doublings >= 1):
    raise ValueError(f'an image side must be 4, 5, 6 or 7 times 2, 4, 8, ... (28, 32, 64, ...), got {side}')
  return base, doublings


def check_square(model: ConfigDict, shape: ImageShape) -> None:
  """Raises ValueError unless images of that shape are square, with a side that `base_and_doublings` takes."""
  del model
  height, width, _ = shape
  if height != width:
    raise ValueError(f'images of {height} x {width} pixels: must be square')
  base_and_doublings(height)


class _Convolution(nn.Module):
  features: int
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
  dtype: jnp.dtype = jnp.float32
  groups = 1
  side = 4  # kernel size

  @nn.compact
  def __call__(self, x):
    kernel = self.param('kernel', self.kernel_init, (self.side, self.side, x.shape[-1] // self.groups, self.features))
    y = self.convolve(x.astype(self.dtype), kernel.astype(self.dtype))
    if self.use_bias:
      y = y + self.param('bias', nn.initializers.zeros, (self.features,)).astype(self.dtype)
    return y


class ConvDown(_Convolution):
  """4x4 convolution that halves the sides: [n, h, w, c] -> [n, h/2, w/2, features]."""

  convolve = staticmethod(conv_down)


class ConvUp(_Convolution):
  """4x4 transposed convolution that doubles the sides: [n, h, w, c] -> [n, 2h, 2w, features]."""

  convolve = staticmethod(conv_up)


class Conv3x3(_Convolution):
  """3x3 convolution that keeps the sides: [n, h, w, c] -> [n, h, w, features]."""

  groups: int = 1  # of channels, each convolved separately
  precision: lax.PrecisionLike = None
  side = 3

  def convolve(self, x, kernel):
    return conv3x3(x, kernel, self.precision)


def _shifts_added(kernel: Float[Array, '3 3 c d']) -> Float[Array, '4 4 c d']:
  """Returns the kernel convolved with a 2x2 kernel of ones."""
  return sum(jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0), (0, 0))) for i in (0, 1) for j in (0, 1))


class ConvPool(_Convolution):
  """3x3 convolution, then 2x2 average pooling, as one strided convolution: [n, h, w, c] -> [n, h/2, w/2, features]."""

  side = 3
  convolve = staticmethod(lambda x, kernel: conv_down(x, _shifts_added(kernel) / 4))


class UpsampleConv(_Convolution):
  """Nearest 2x upsampling, then 3x3 convolution, as one transposed one: [n, h, w, c] -> [n, 2h, 2w, features]."""

  side = 3
  convolve = staticmethod(lambda x, kernel: conv_up(x, _shifts_added(kernel)))
