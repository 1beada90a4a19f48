"""The flow matching loss on held-out images: when it rises again, the network has begun to copy training images."""

import numpy as np

from genaug.metrics import EvalContext, Metric, Scores


def _held_out(run: EvalContext) -> Scores:
  losses = run.outputs()['flow_loss']
  return {
    'eval/flow_loss': float(losses.mean(dtype=np.float64)),
    'eval/flow_loss_images': len(losses),
    'eval/flow_loss_split': run.split,
  }


def _held_out_text(scores: Scores) -> str:
  return (
    f'flow loss {scores["eval/flow_loss"]:.4f}'
    f' [{scores["eval/flow_loss_images"]:,} images of {scores["eval/flow_loss_split"]}]'
  )


HELD_OUT = Metric(_held_out, 'eval/flow_loss', 'min', 'flow_loss', _held_out_text)
