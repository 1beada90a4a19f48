"""Whether images made from captions show what these say: is the nearest real image the one with that caption?"""

import numpy as np
from jaxtyping import Bool, Float

from genaug.metrics import Evaluated, Metric, Scores, features

_FEW = 5


def retrieved(
  queries: Float[np.ndarray, 'n d'], images: Float[np.ndarray, 'm d'], same: Bool[np.ndarray, 'n m'], most: int
) -> float:
  """Share of queries of which an image that is the same is among the `most` images of the largest cosine."""
  unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  nearest = np.argsort(-unit(queries) @ unit(images).T, axis=1, kind='stable')[:, :most]
  return float(np.take_along_axis(same, nearest, axis=1).any(1).mean())


def _retrieval(run: Evaluated) -> Scores:
  """Of every test caption an image, sought among all test images by their features, less the mean of these.

  Chance is that of an image drawn at random; the ceiling is what mirrored test images find.
  """
  images, captions = run.test['image'], run.test['caption']
  number = np.unique(captions, axis=0, return_inverse=True)[1].reshape(-1)
  same = number[:, None] == number
  real = features.of_test(run).astype(np.float64)
  if 'mirrored' not in run.cache:
    run.cache['mirrored'] = features.extract(run.settings, np.ascontiguousarray(images[:, :, ::-1]))
  made = features.extract(run.settings, run.made_from_test('from_text'))
  scores: Scores = {'eval/retrieval_chance': float(same.mean()), 'eval/retrieval_chance_5': float(_chance(same, _FEW))}
  for name, found in (('', made), ('_ceiling', run.cache['mirrored'])):
    for suffix, most in (('', 1), ('_5', _FEW)):
      scores[f'eval/retrieval{name}{suffix}'] = retrieved(found - real.mean(0), real - real.mean(0), same, most)
  return scores | {
    'eval/retrieval_captions': len(captions),
    'eval/retrieval_split': run.split,
    'eval/retrieval_network': features.network(run.settings).label,
  }


def _chance(same: Bool[np.ndarray, 'n m'], most: int) -> float:
  """That one of `most` images drawn without replacement is the same."""
  hits, count = same.sum(1), same.shape[1]
  missed = np.ones(len(same))
  for i in range(min(most, count)):
    missed *= np.maximum(count - hits - i, 0) / (count - i)
  return 1 - missed.mean()


def _text(scores: Scores) -> str:
  line = lambda suffix: ', '.join(
    f'{name} {scores[f"eval/retrieval{key}{suffix}"]:.1%}'
    for name, key in (('images from captions', ''), ('chance', '_chance'), ('mirrored test images', '_ceiling'))
  )
  return (
    f'retrieval, the nearest: {line("")}; among the nearest {_FEW}: {line("_5")}'
    f' [{scores["eval/retrieval_captions"]:,} captions of {scores["eval/retrieval_split"]},'
    f' {scores["eval/retrieval_network"]}]'
  )


RETRIEVAL = Metric(_retrieval, 'eval/retrieval_5', 'max', 'from_text', _text, features.check)
