"""Whether images generated from captions show what these say: is the nearest real image one with that caption?"""

import numpy as np
from jaxtyping import Bool, Float

from genaug.metrics import EvalContext, Metric, Scores, features

_FEW = 5


def recall_at(
  queries: Float[np.ndarray, 'n d'], images: Float[np.ndarray, 'm d'], same: Bool[np.ndarray, 'n m'], most: int
) -> float:
  """Returns the share of queries with a match among the `most` images of largest cosine similarity.

  `same` says which images match which query.
  """
  unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
  nearest = np.argsort(-unit(queries) @ unit(images).T, axis=1, kind='stable')[:, :most]
  return float(np.take_along_axis(same, nearest, axis=1).any(1).mean())


def _retrieval(run: EvalContext) -> Scores:
  """Generates an image for every test caption and searches for the test images that are nearest to it by features.

  The mean of the test images is subtracted from all features. Test images match if they have the same caption. Chance
  is the score of images drawn at random; the ceiling is that of mirrored test images in place of generated ones.
  """
  images, captions = run.test['image'], run.test['caption']
  caption_id = np.unique(captions, axis=0, return_inverse=True)[1].reshape(-1)
  same = caption_id[:, None] == caption_id
  real = features.of_test(run).astype(np.float64)
  if 'mirrored' not in run.cache:
    run.cache['mirrored'] = features.extract(run.settings, np.ascontiguousarray(images[:, :, ::-1]))
  generated = features.extract(run.settings, run.samples_from_test('from_text'))
  scores: Scores = {'eval/retrieval_chance': float(same.mean()), 'eval/retrieval_chance_5': float(_chance(same, _FEW))}
  for name, queries in (('', generated), ('_ceiling', run.cache['mirrored'])):
    for suffix, most in (('', 1), ('_5', _FEW)):
      scores[f'eval/retrieval{name}{suffix}'] = recall_at(queries - real.mean(0), real - real.mean(0), same, most)
  return scores | {
    'eval/retrieval_captions': len(captions),
    'eval/retrieval_split': run.split,
    'eval/retrieval_network': features.network(run.settings).label,
  }


def _chance(same: Bool[np.ndarray, 'n m'], most: int) -> float:
  """Returns the mean probability of a match among `most` images drawn without replacement."""
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
