"""How good a trained state is. `registry.METRICS` lists what a config can name in `eval.metrics`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

Arrays = dict[str, np.ndarray]
Scores = dict[str, float | int | str]


class Evaluated(NamedTuple):
  """A trained state as metrics see it; outputs and samples are computed when they are asked for."""

  settings: ConfigDict  # config.eval
  outputs: Callable[[], dict[str, Float[np.ndarray, 'n ...']]]  # what eval_step says of every test image
  train_images: Callable[[], Arrays]  # at most as many of the training images
  train_outputs: Callable[[], dict[str, Float[np.ndarray, 'm ...']]]  # what eval_step says of these
  on_demand: Callable[[str], dict[str, Float[np.ndarray, 'n ...']]]  # a task's, of the first test images
  train_on_demand: Callable[[str], dict[str, Float[np.ndarray, 'n ...']]]  # and of the first of train_images
  samplers: tuple[str, ...]
  samples: Callable[[str], UInt8[np.ndarray, 'n h w c']]  # of a sampler, settings.samples of them
  made_from_test: Callable[[str], UInt8[np.ndarray, 'n h w c']]  # by a sampler that has a source: one of every image
  labels: Int[np.ndarray, ' n'] | None  # classes that the samples are of; None where the task is not told
  train: Arrays
  test: Arrays
  split: str  # what the test images are, for people
  paired_test: bool  # whether the target of a test image, where there is one, shows the same
  class_names: tuple[str, ...]
  cache: dict[str, Any]  # what metrics keep of the real images between evaluations
  generated: dict[str, Any]  # what they share of this state's samples


class Metric(NamedTuple):
  """One entry of `eval.metrics`."""

  compute: Callable[[Evaluated], Scores]  # names begin with eval/
  key: str  # the score that makes a checkpoint the best
  better: str  # min | max
  needs: str  # a sampler or a value of eval_step: tasks that provide it have the metric
  text: Callable[[Scores], str]  # one line for people: figure, n, split, network, baseline
  check: Callable[[ConfigDict], object] = lambda config: None  # raises InputError where what it needs is missing
  at_least: int = 2  # images in each split, and samples; fewer are refused
  needs_images: bool = False  # refused for features from a file
