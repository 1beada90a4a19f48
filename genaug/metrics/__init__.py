"""How good a trained state is. `registry.METRICS` lists what a config can name in `eval.metrics`."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

Arrays = dict[str, np.ndarray]
Scores = dict[str, float | int | str]


class Evaluated(NamedTuple):
  """A trained state as metrics see it; outputs and samples are computed when they are asked for."""

  settings: ConfigDict  # config.eval
  outputs: Callable[[], dict[str, Float[np.ndarray, 'n ...']]]  # what eval_step says of every test image
  samplers: tuple[str, ...]
  samples: Callable[[str], Iterator[UInt8[np.ndarray, 'b h w c']]]  # of a sampler, settings.samples in all
  train: Arrays
  test: Arrays
  split: str  # what the test images are, for people
  class_names: tuple[str, ...]
  cache: dict[str, Any]  # what a metric keeps of the real images between evaluations


class Metric(NamedTuple):
  """One entry of `eval.metrics`."""

  compute: Callable[[Evaluated], Scores]  # names begin with eval/
  key: str  # the score that makes a checkpoint the best
  better: str  # min | max
  needs: str  # a sampler or a value of eval_step: tasks that provide it have the metric
  text: Callable[[Scores], str]  # one line for people: figure, n, split, network, baseline
  check: Callable[[], object] = lambda: None  # raises InputError where something it needs is not installed
