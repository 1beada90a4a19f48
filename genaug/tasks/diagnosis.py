"""Diagnoses of a run from its log: history -> {condition: sentence that says what is wrong and what to try}."""

from genaug.tasks import History

_LINES = 10  # log lines that a diagnosis needs
_FIRST_STEPS = 1000  # early on the discriminator is often ahead for a while, and the samples hardly differ


def _values(history: History, name: str) -> list[float]:
  """Returns all values logged under a name, oldest first."""
  return [float(line[name]) for line in history if name in line]


def diagnose_gan(history: History) -> dict[str, str]:
  """Diagnoses a GAN from d_accuracy, r_t, losses, gradient norms, eval/taken_for_real and the diversity of samples."""
  found = {}
  trained = bool(history) and history[-1]['step'] >= _FIRST_STEPS
  accuracy, d_loss = (_values(history, f'train/{name}')[-_LINES:] for name in ('d_accuracy', 'd_loss'))
  # A Wasserstein critic may well tell all images right; its loss is then negative.
  if trained and len(accuracy) == _LINES and min(accuracy) > 0.998 and min(d_loss) >= 0:
    found['discriminator won'] = (
      f'the discriminator has won: it has classified {min(accuracy):.1%} or more of all images correctly in the last '
      f'{_LINES} lines of the log, and the generator learns little from it; try gan.d_augment=diff_augment, '
      'gan.r1=1 with model.d_norm=none, a lower optim.discriminator.lr or model.d_norm=spectral'
    )
  diversity = _values(history, 'diversity/samples')
  began = trained or max(diversity, default=0) > 0.5
  if began and len(diversity) >= 2 and max(diversity[-2:]) < 0.3:
    found['generator collapsed'] = (
      f'the generator has collapsed: its samples differ only {diversity[-1]:.2f} times as much as real images do; try '
      'an earlier checkpoint with a lower optim.generator.lr, gan.loss=relativistic with gan.r1=1, gan.r2=1 and '
      'model.d_norm=none, or model.minibatch_stddev=True'
    )
  held_out, r_t = _values(history, 'eval/taken_for_real'), _values(history, 'train/r_t')
  if held_out and r_t and (train := 0.5 + 0.5 * r_t[-1]) - held_out[-1] > 0.3:
    found['discriminator memorises'] = (
      f'the discriminator memorises its training images: it takes {train:.0%} of them for real, but {held_out[-1]:.0%} '
      'of held-out ones; try gan.d_augment=diff_augment or ada, more images, or the best checkpoint'
    )
  for name, least in (('d_loss', 100), ('g_loss', 100), ('d_grad_norm', 1000), ('g_grad_norm', 1000)):
    sizes = [abs(value) for value in _values(history, f'train/{name}')]
    earlier, latest = sorted(sizes[:-3]), sizes[-3:]
    if len(earlier) >= _LINES and min(latest) > max(100 * earlier[len(earlier) // 2], least):
      found['diverges'] = (
        f'the training diverges: {name} has risen to {latest[-1]:,.0f}; try a lower optim.lr, '
        'optim.warmup_steps, or a penalty (gan.r1, gan.gradient_penalty)'
      )
  return found
