"""The losses that a style transfer network is trained with, on test images."""

import numpy as np

from genaug.metrics import EvalContext, Metric, Scores

_NAMES = ('style_total', 'content_loss', 'style_loss')


def _style(run: EvalContext) -> Scores:
  outputs = run.outputs()
  means = {f'eval/{name}': float(outputs[name].mean(dtype=np.float64)) for name in _NAMES}
  return {
    **means,
    'eval/style_network': 'vgg16',
    'eval/style_images': len(outputs['style_total']),
    'eval/style_split': run.split,
  }


def _text(scores: Scores) -> str:
  return (
    f'weighted loss {scores["eval/style_total"]:.3f}, of content {scores["eval/content_loss"]:.3f}, of style'
    f' {scores["eval/style_loss"]:.4f} [{scores["eval/style_images"]:,} images of {scores["eval/style_split"]}, each in'
    f' a random style; {scores["eval/style_network"]}]'
  )


STYLE = Metric(_style, 'eval/style_total', 'min', 'style_total', _text)
