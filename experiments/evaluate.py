"""Scores a trained run by metrics of genaug/metrics/registry.py, with n, split and real-vs-real baseline.

python -m experiments.evaluate --workdir runs/gan_mnist5k [--checkpoint latest] [--samples 10000] [--metrics distances]
  [--features vgg16]

Prints one readable line per metric and writes WORKDIR/evaluation_<step>.json; values of --features, --samples
and --metrics are part of its name.
"""

from absl import flags

from experiments import cli

_RUN = cli.define_trained()
_SAMPLES = flags.DEFINE_integer(
  'samples', None, 'Number of generated images. Default: eval.samples of the run.', lower_bound=2
)
_METRICS = flags.DEFINE_list(
  'metrics', None, 'Names of metrics in genaug/metrics/registry.py. Default: eval.metrics of the run.'
)
_FEATURES = flags.DEFINE_string(
  'features', None, 'Feature extractor for comparing images. Default: eval.features of the run.'
)
flags.adopt_module_key_flags(cli)


def main() -> None:
  from genaug.data.builders import batches_done
  from genaug.errors import InputError
  from genaug.metrics.registry import describe
  from genaug.training import checks, evaluator, workdir
  from genaug.training.experiment import load_trained

  run = _RUN()
  given = {'samples': _SAMPLES.value, 'metrics': _METRICS.value, 'features': _FEATURES.value}
  overrides = {f'eval.{name}': value for name, value in given.items() if value}
  experiment, state = load_trained(*run, overrides=overrides)
  if not experiment.config.eval.metrics:
    remedy = f'--metrics=..., any of {", ".join(checks.metrics_of(experiment.config.task))}'
    raise InputError('metrics', '', 'none given, and eval.metrics of the run is empty', remedy)
  scores = evaluator.Evaluator(experiment, progress=batches_done)(state)
  step = int(state.step)
  asked = (_FEATURES.value, _SAMPLES.value and f'{_SAMPLES.value}_samples', '-'.join(_METRICS.value or ()))
  name = '_'.join(filter(None, (f'evaluation_{step:06d}', *asked)))  # a partial one must not replace a complete one
  print(f'step {step:,}: {describe(scores)}')
  workdir.write_json(run.workdir / f'{name.replace(":", ".")}.json', {'step': step, **scores})


if __name__ == '__main__':
  cli.run(main)
