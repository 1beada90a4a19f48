"""Types for tests of every parameter at both ends of its declared range and in between: cases and their measures."""

from collections.abc import Callable
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from genaug.augment import Pipeline
from genaug.augment.registry import OPS
from genaug.augment.stages import OpParams

SIDE, N = 32, 64
KEYS = jax.random.split(jax.random.key(0), 1000)
RNG = np.random.default_rng(0)
LUMA = np.array([0.299, 0.587, 0.114])


def flat(value: float) -> np.ndarray:
  return np.full((SIDE, SIDE, 3), value, np.float32)


def impulse(*shape: int) -> np.ndarray:
  image = np.zeros((*shape, 1), np.float32)
  image[shape[0] // 2, shape[1] // 2] = 1
  return image


HALF = 128 / 255
LEVELS = np.repeat(np.arange(SIDE * SIDE).reshape(SIDE, SIDE, 1) % 256, 3, -1)
RAMP = (LEVELS / 255).astype(np.float32)  # every level, including white
NARROW = np.concatenate([np.round(51 + 0.6 * LEVELS[..., :1]) / 255, RAMP[..., 1:]], -1).astype(np.float32)
SOFT = (0.5 + RNG.uniform(-0.02, 0.02, RAMP.shape)).astype(np.float32)  # far from the values that are clipped
SMOOTH = cv2.GaussianBlur(RNG.integers(0, 256, RAMP.shape).astype(np.uint8), (0, 0), 1.5)
TONES = np.repeat(SMOOTH[..., :1] // 64 * 64, 3, -1) * np.float32(1 / 255)  # four grey levels
GREY = (SOFT @ LUMA)[..., None]


def partner(image: np.ndarray) -> np.ndarray:
  """Returns the image that this one is mixed with: a value of 0.4 is 0.6 in it."""
  return 0.8 - image / 2


class Seen:
  """The parameters that an operation sampled under some settings, and its results on an image, computed on request."""

  def __init__(self, name: str, settings: dict[str, Any], many: dict[str, Any], image: np.ndarray, n: int):
    self.name, self.op, self.settings, self.many = name, OPS[name], settings, many
    self.image, self.size, self.n = image, image.shape[:2], n
    self.params = jax.tree.map(lambda x: x[:n], many)

  @cached_property
  def images(self) -> np.ndarray:
    """Images from the pipeline, [n, h, w, c]; for mixes, every second input is the `partner`."""
    return self.augmented(self.params)

  def augmented(self, params: dict[str, Any]) -> np.ndarray:
    n = len(jax.tree.leaves(params)[0])
    images = np.repeat(self.image[None], n, 0)
    batch = {'image': images}
    if self.op.stage == 'mix':
      images[1::2] = partner(images[1::2])
      batch |= {'label': np.ones((n, 2), np.float32)}
    pipeline = Pipeline({self.name: {}}, border='edge' if self.op.stage == 'move' else 'constant')
    done = pipeline.apply({self.name: OpParams(jnp.ones(n, bool), params)}, batch)['image']
    done = np.asarray(done)
    assert done.dtype == np.float32
    assert np.isfinite(done).all()
    assert done.min() >= 0
    assert done.max() <= 1
    return done

  @cached_property
  def pasted(self) -> np.ndarray:
    """The share of each image that comes from its partner."""
    mine, other = self.image[0, 0, 0], partner(self.image[0, 0, 0])
    share = (self.images.mean((1, 2, 3)) - mine) / (other - mine)
    return np.where(np.arange(self.n) % 2, 1 - share, share)

  @cached_property
  def hidden(self) -> np.ndarray:
    """The share of each image that is hidden by black; the input must be white."""
    return 1 - self.images.mean((1, 2, 3))

  @cached_property
  def matrices(self) -> np.ndarray:
    return np.asarray(_each(self.op.matrix, self.size)(self.params))

  @cached_property
  def fields(self) -> np.ndarray:
    return np.asarray(_each(self.op.apply, self.size)(self.params))


@cache  # compiled once for all values
def _each(function: Callable, *arguments: Any) -> Callable:
  return jax.jit(jax.vmap(lambda params: function(*arguments, **params)))


class Row(NamedTuple):
  """A test of one parameter: a measure of the operation's results, and its expected value."""

  measure: Callable[[Seen], Any]
  expected: Callable[[Any], Any]  # value of the parameter -> expected measure
  image: np.ndarray = flat(HALF)
  sampled: str | Callable = ''  # name of the sampled argument, or a function that returns it
  interval: Callable | None = None  # parameter as a number -> (low, high) of the sampled argument
  fixed: Any = MappingProxyType({})  # the other parameters, or a function from the value to them
  sides: bool = False  # whether the range ends at the image's side in pixels
  numbers: bool = False  # whether to measure for a number although a pair is allowed
  middle: Any = None
  rtol: float = 1e-3
  atol: float = 1e-3
  n: int = N  # images
  keys: int = len(KEYS)

  def sampled_for(self, name: str, *settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Samples with `keys` keys under each of the settings, in one program."""
    sample = lambda key: [OPS[name].sample_params(key, self.image.shape, **one) for one in settings]
    return jax.jit(jax.vmap(sample))(KEYS[: self.keys])

  def settings(self, key: str, value: Any) -> dict[str, Any]:
    return {key: value} | dict(self.fixed(value) if callable(self.fixed) else self.fixed)


def symmetric(n):
  return -n, n


def from_zero(n):
  return 0, n


def reciprocal(n):
  return 1 / (1 + n), 1 + n


def around_one(n):
  return max(0, 1 - n), 1 + n


def first(seen):
  return seen.images[0]


def average(seen):
  return seen.images.mean()
