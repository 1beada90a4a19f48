"""The features by which metrics compare images: `eval.features` names an entry of FEATURES or a function of yours.

Protocol of AlexNet and VGG16: images in [0, 255], grey repeated to RGB, bilinear to 64x64 (antialiased when that
shrinks), ImageNet normalisation, the last ReLU before pooling, averaged over positions.
"""

import functools
import importlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8
from ml_collections import ConfigDict

from genaug.errors import InputError
from genaug.metrics import EvalContext, Scores, inception
from genaug.models import imagenet

Features = Float[np.ndarray, 'n d']


class FeatureNetwork(NamedTuple):
  """A function from images to feature vectors, with its label."""

  label: str  # network and layer, for people
  extract: Callable[[UInt8[np.ndarray, 'b h w c']], Float[np.ndarray, 'b d']]


@functools.cache
def _pooled(network: str, label: str) -> FeatureNetwork:
  apply = jax.jit(
    lambda variables, images: imagenet.taps(network, variables, imagenet.resized(images))[-1].mean((1, 2))
  )
  variables = imagenet.variables(network)
  return FeatureNetwork(label, lambda images: apply(variables, images.astype(jnp.float32)))


def _imported(name: str) -> FeatureNetwork:
  """Imports the function MODULE:NAME, uint8 images [b, h, w, 1 or 3] -> [b, d]. Raises InputError if it can't."""
  module, _, function = name.partition(':')
  try:
    found = getattr(importlib.import_module(module), function) if function else None
  except (ImportError, AttributeError, ValueError) as error:
    raise InputError('eval.features', name, str(error), 'package.module:function, importable from here') from error
  if not callable(found):
    remedy = f'one of {", ".join(FEATURES)}, or package.module:function of your own'
    raise InputError('eval.features', name, 'no such features', remedy)
  return FeatureNetwork(name, found)


FEATURES: dict[str, Callable[[ConfigDict], FeatureNetwork]] = {
  'alexnet': lambda settings: _pooled('alexnet', 'alexnet relu5'),  # 256 values per image
  'vgg16': lambda settings: _pooled('vgg16', 'vgg16 relu5_3'),  # 512
  'inception': lambda settings: FeatureNetwork(inception.LABEL, inception.extractor(settings.inception_weights)),
  'given': lambda settings: FeatureNetwork('given features', lambda x: x.reshape(len(x), -1)),  # of images: pixels
}


def network(settings: ConfigDict) -> FeatureNetwork:
  """Returns the feature network that `eval.features` names. Raises InputError if it or its weights can't be found."""
  name = settings.features
  return FEATURES[name](settings) if name in FEATURES else _imported(name)


def check(config: ConfigDict) -> None:
  """Raises InputError if `network` can't provide the features that the config names."""
  network(config.eval)


def extract(settings: ConfigDict, images: UInt8[np.ndarray, 'n h w c']) -> Features:
  """Computes the features of images in [0, 255], `eval.batch_size` at a time."""
  rows, size = [], min(settings.batch_size, len(images))
  for first in range(0, len(images), size):
    batch = images[first : first + size]
    padding = ((0, size - len(batch)), *((0, 0),) * (images.ndim - 1))  # one shape, one compilation
    rows.append(np.asarray(network(settings).extract(np.pad(batch, padding)))[: len(batch)])
  return np.concatenate(rows)


# Features that metrics share: for samples they are computed once per evaluation, for real images once for all.
def of_samples(run: EvalContext, sampler: str = 'samples') -> Features:
  if sampler not in run.generated:
    run.generated[sampler] = extract(run.settings, run.samples(sampler))
  return run.generated[sampler]


def of_test(run: EvalContext) -> Features:
  return _cached(run, 'test', run.test['image'])


def of_train(run: EvalContext) -> Features:
  return _cached(run, 'train', run.train['image'])


def baseline_rows(run: EvalContext) -> Int[np.ndarray, ' n']:
  """Returns the rows of random training images that stand in for a perfect generator's: one per sample, or all."""
  return np.random.default_rng(0).permutation(len(run.train['image']))[: run.settings.samples]


def of_baseline(run: EvalContext) -> Features:
  rows = baseline_rows(run)
  if 'train' in run.cache or len(rows) == len(run.train['image']):
    return of_train(run)[rows]
  return _cached(run, 'baseline', run.train['image'][rows])


def _cached(run: EvalContext, name: str, images: UInt8[np.ndarray, 'n h w c']) -> Features:
  if name not in run.cache:
    run.cache[name] = extract(run.settings, images)
  return run.cache[name]


def score_context(run: EvalContext) -> Scores:
  """Returns what a score means nothing without: the network, the numbers of images and the split."""
  return {
    'eval/network': network(run.settings).label,
    'eval/samples': len(of_samples(run)),
    'eval/reference_samples': len(run.test['image']),
    'eval/reference_split': run.split,
    'eval/baseline_samples': len(baseline_rows(run)),
  }


def sizes_text(scores: Scores) -> str:
  """Returns the numbers of samples and references, the split and the network, for a line that people read."""
  return (
    f'{scores["eval/samples"]:,} samples v {scores["eval/reference_samples"]:,} of {scores["eval/reference_split"]},'
    f' {scores["eval/network"]}'
  )
