"""Whether a discriminator takes held-out images for real, or only those that it was trained on."""

from genaug.metrics import EvalContext, Metric, Scores


def _discriminator(run: EvalContext) -> Scores:
  taken = run.outputs()['taken_for_real']
  return {
    'eval/taken_for_real': float(taken.mean()),
    'eval/held_out_images': len(taken),
    'eval/held_out_split': run.split,
  }


def _discriminator_text(scores: Scores) -> str:
  return (
    f'the discriminator takes {scores["eval/taken_for_real"]:.1%} of'
    f' {scores["eval/held_out_images"]:,} images of {scores["eval/held_out_split"]} for real'
  )


DISCRIMINATOR = Metric(_discriminator, 'eval/taken_for_real', 'max', 'taken_for_real', _discriminator_text)
