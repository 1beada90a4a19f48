"""Scores samples made by any program against training and test images, by metrics of genaug/metrics/registry.py.

python -m experiments.score --arrays all.npz [--features vgg16] [--metrics distances] [--output scores.json]

The file holds `samples`, `train` and `test`: uint8 images [n, h, w, 1 or 3], or features [n, d] of your own network;
genaug/metrics/arrays.py documents the format. Prints one readable line per metric.
"""

import pathlib

from absl import flags

from experiments import cli

_ARRAYS = flags.DEFINE_string('arrays', None, 'The .npz file of samples, training and test images.', required=True)
_FEATURES = flags.DEFINE_string('features', 'alexnet', 'Feature extractor for comparing images, as in configs/base.py.')
_WEIGHTS = flags.DEFINE_string('inception_weights', '', 'With --features=inception: the .npz file of its weights.')
_METRICS = flags.DEFINE_list(
  'metrics', None, 'Metrics of samples. Default: those of configs/families/gan.py that the file has arrays for.'
)
_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write the scores to as well.')
flags.adopt_module_key_flags(cli)


def main() -> None:
  from configs.families import gan
  from genaug.errors import InputError
  from genaug.metrics import arrays
  from genaug.metrics.registry import METRICS, describe
  from genaug.training import workdir

  config = gan.get_config()
  config.eval.features, config.eval.inception_weights = _FEATURES.value, _WEIGHTS.value
  run = arrays.read(pathlib.Path(_ARRAYS.value), config.eval)
  config.model.conditional = run.labels is not None
  available = [name for name, metric in METRICS.items() if metric.needs in run.samplers]
  refused = [name for name in available if METRICS[name].needs_images and run.test['image'].ndim == 2]
  names = _METRICS.value or [name for name in config.eval.metrics if name in available and name not in refused]
  for name in names:
    if name not in available:
      raise InputError('metrics', name, 'no such metric of samples', f'any of {", ".join(available)}')
    if name in refused:
      raise InputError('metrics', name, 'compares images, but the file holds features', 'leave it out of --metrics')
    METRICS[name].check(config)
    fewest = min(len(images) for images in (run.samples('samples'), run.train['image'], run.test['image']))
    if fewest < (least := METRICS[name].at_least):
      problem, remedy = f'{fewest} images are too few for {name}', f'at least {least}, or leave it out of --metrics'
      raise InputError('arrays', _ARRAYS.value, problem, remedy)
  scores = {key: value for name in names for key, value in METRICS[name].compute(run).items()}
  if _OUTPUT.value:
    workdir.write_json(pathlib.Path(_OUTPUT.value), scores)
  print(describe(scores))


if __name__ == '__main__':
  cli.run(main)
