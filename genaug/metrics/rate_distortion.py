"""Rate, by the model's probabilities, and distortion of compressed images; experiments.compress writes real files."""

import numpy as np

from genaug.metrics import EvalContext, Metric, Scores


def _rate(run: EvalContext) -> Scores:
  outputs = run.outputs()
  names = ('rate_distortion', 'bits_per_pixel', 'squared_error')
  means = {f'eval/{name}': float(outputs[name].mean(dtype=np.float64)) for name in names}
  return {**means, 'eval/rate_images': len(outputs['bits_per_pixel']), 'eval/rate_split': run.split}


def _text(scores: Scores) -> str:
  return (
    f'{scores["eval/bits_per_pixel"]:.3f} bits a pixel, mean squared error {scores["eval/squared_error"]:.1f} of 255^2,'
    f' rate-distortion loss {scores["eval/rate_distortion"]:.3f}'
    f' [{scores["eval/rate_images"]:,} images of {scores["eval/rate_split"]}]'
  )


RATE = Metric(_rate, 'eval/rate_distortion', 'min', 'rate_distortion', _text)
