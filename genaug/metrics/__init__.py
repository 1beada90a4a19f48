"""Metrics of a trained state. `registry.METRICS` lists those that a config can name in `eval.metrics`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

Arrays = dict[str, np.ndarray]
Scores = dict[str, float | int | str]


class EvalContext(NamedTuple):
  """A trained state and its data as metrics see them; outputs and samples are computed on request."""

  settings: ConfigDict  # config.eval
  outputs: Callable[[], dict[str, Float[np.ndarray, 'n ...']]]  # values of eval_step for every test image
  train_images: Callable[[], Arrays]  # random training images, at most as many as there are test images
  train_outputs: Callable[[], dict[str, Float[np.ndarray, 'm ...']]]  # values of eval_step for these
  on_demand: Callable[[str], dict[str, Float[np.ndarray, 'n ...']]]  # by name, for the first test images
  train_on_demand: Callable[[str], dict[str, Float[np.ndarray, 'n ...']]]  # for the first of train_images
  samplers: tuple[str, ...]
  samples: Callable[[str], UInt8[np.ndarray, 'n h w c']]  # settings.samples images of the named sampler
  samples_from_test: Callable[[str], UInt8[np.ndarray, 'n h w c']]  # by a sampler with a source, one per test image
  labels: Int[np.ndarray, ' n'] | None  # classes of the samples; None for unconditional models
  train: Arrays
  test: Arrays
  split: str  # description of the test images, for people
  paired_test: bool  # whether targets of test images, if any, show the same as the images
  class_names: tuple[str, ...]
  cache: dict[str, Any]  # what metrics have computed for real images, kept between evaluations
  generated: dict[str, Any]  # what they have computed for this state's samples, shared between metrics


class Metric(NamedTuple):
  """Registry entry of a metric that `eval.metrics` can name."""

  compute: Callable[[EvalContext], Scores]  # the names of scores begin with eval/
  key: str  # the score by which the best checkpoint is chosen
  better: str  # min | max
  needs: str  # an entry of tasks.Definition.provides: tasks with it have the metric
  text: Callable[[Scores], str]  # one line for people: score, n, split, network, baseline
  check: Callable[[ConfigDict], object] = lambda config: None  # raises InputError if something it needs is missing
  at_least: int = 2  # fewest images in each split, and fewest samples, that it accepts
  needs_images: bool = False  # not available for features from a file
