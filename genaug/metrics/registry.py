"""Every metric that a config can name."""

import numpy as np

from genaug.metrics import Evaluated, Metric, Scores, classification, distances, features


def _distances(run: Evaluated) -> Scores:
  """Frechet and kernel distance of generated images to the test split, and of as many real training images.

  The latter, the real-vs-real baseline, is what a perfect generator would get.
  """
  if 'real features' not in run.cache:
    size, test, train = run.settings.batch_size, run.test['image'], run.train['image']
    rows = np.random.default_rng(0).permutation(len(train))[: run.settings.samples]
    reference = features.extract(test[i : i + size] for i in range(0, len(test), size))
    real = features.extract(train[rows[i : i + size]] for i in range(0, len(rows), size))
    baseline = {
      'eval/fd_alexnet_baseline': distances.frechet_distance(real, reference),
      'eval/kid_alexnet_baseline': distances.kernel_distance(real, reference),
      'eval/baseline_samples': len(real),
    }
    run.cache['real features'] = reference, baseline
  reference, baseline = run.cache['real features']
  scores: Scores = {}
  for name in run.samplers:
    if name.startswith('samples'):
      generated, suffix = features.extract(run.samples(name)), name.removeprefix('samples')
      scores[f'eval/fd_alexnet{suffix}'] = distances.frechet_distance(generated, reference)
      scores[f'eval/kid_alexnet{suffix}'] = distances.kernel_distance(generated, reference)
  return {
    **scores,
    **baseline,
    'eval/samples': run.settings.samples,
    'eval/reference_samples': len(reference),
    'eval/reference_split': run.split,
    'eval/network': features.NETWORK,
  }


def _distances_text(scores: Scores) -> str:
  raw = f', raw weights {scores["eval/fd_alexnet_raw"]:.2f}' if 'eval/fd_alexnet_raw' in scores else ''
  return (
    f'FD ({scores["eval/network"]}) {scores["eval/fd_alexnet"]:.2f}{raw}, KID {scores["eval/kid_alexnet"]:.4f}'
    f' [{scores["eval/samples"]:,} samples v {scores["eval/reference_samples"]:,} of {scores["eval/reference_split"]};'
    f' real-vs-real baseline of {scores["eval/baseline_samples"]:,} training images:'
    f' FD {scores["eval/fd_alexnet_baseline"]:.2f}, KID {scores["eval/kid_alexnet_baseline"]:.4f}]'
  )


def _elbo(run: Evaluated) -> Scores:
  outputs = run.outputs()
  names = ('elbo_nats', 'log_likelihood_nats', 'kl_nats', 'bits_per_dim')
  means = {f'eval/{name}': float(outputs[name].mean(dtype=np.float64)) for name in names}
  return {**means, 'eval/elbo_images': len(outputs['elbo_nats']), 'eval/elbo_split': run.split}


def _elbo_text(scores: Scores) -> str:
  return (
    f'ELBO {scores["eval/elbo_nats"]:.2f} nats = log-likelihood {scores["eval/log_likelihood_nats"]:.2f}'
    f' - KL {scores["eval/kl_nats"]:.2f}; {scores["eval/bits_per_dim"]:.4f} bits/dim'
    f' [{scores["eval/elbo_images"]:,} images of {scores["eval/elbo_split"]}]'
  )


def _accuracy(run: Evaluated) -> Scores:
  label = run.test['label']
  scores = classification.scores(run.outputs()['probabilities'], label, run.class_names)
  scores |= {'accuracy_images': len(label), 'accuracy_split': run.split}
  return {f'eval/{name}': value for name, value in scores.items()}


def _accuracy_text(scores: Scores) -> str:
  return (
    f'accuracy {scores["eval/accuracy"]:.2%}, ECE {scores["eval/ece"]:.2%}, cross-entropy'
    f' {scores["eval/cross_entropy_nats"]:.3f} nats'
    f' [{scores["eval/accuracy_images"]:,} images of {scores["eval/accuracy_split"]}]'
  )


def _alexnet_is_installed() -> None:
  features.load_weights(features.weights_file())


METRICS = {
  'distances': Metric(_distances, 'eval/fd_alexnet', 'min', 'samples', _distances_text, _alexnet_is_installed),
  'elbo': Metric(_elbo, 'eval/elbo_nats', 'max', 'elbo_nats', _elbo_text),
  'accuracy': Metric(_accuracy, 'eval/accuracy', 'max', 'probabilities', _accuracy_text),
}


def describe(scores: Scores) -> str:
  """Scores as one line for people."""
  return '; '.join(metric.text(scores) for metric in METRICS.values() if metric.key in scores)
