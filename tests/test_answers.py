"""What tables say in words: gains and losses that are significant, and nothing else."""

import numpy as np
import pytest
import scipy.stats

from experiments.report import answers, models
from genaug.study.intervals import holm, paired_p
from genaug.study.seeds import summarise
from genaug.study.summaries import compared
from tests.test_report import headline


def test_only_a_significant_difference_is_called_one():
  first, second = answers.answers(
    headline({'none': [0.6, 0.61, 0.6], 'classic': [0.7, 0.72, 0.7], 'gan': [0.62, 0.58, 0.6]})
  )[0]
  assert first.startswith(
    'k = 10: the highest mean accuracy, 70.7 %, is that of “classic”: a gain of 10.3 points against'
  )
  assert 'no clear difference from no augmentation: -0.3' in second
  assert 'a loss of 10.7 points against classic augmentation [' in second
  single = headline({'none': [0.6], 'classic': [0.7], 'gan': [None]})
  one, more = answers.answers(single)[0]
  assert more == 'More seeds may tell.'
  assert 'of “classic”: +10.0 points relative to no augmentation with one seed, so no interval.' in one
  found = answers.verdicts(single['per_class']['10']['rows'])
  assert found == {'Gains': [], 'Losses': [], 'No clear difference': [], 'One seed': ['“classic” +10.0']}
  none = answers.answers(headline({'none': [0.9, 0.9], 'classic': [0.7, 0.6]}))[0]
  assert none == ['k = 10 (2 rows so far): the highest mean accuracy, 90.0 %, is that of “no augmentation”.']


@pytest.mark.parametrize(
  ('gains', 'said', 'verdict'),
  [
    ([3.0, 4.0, 3.5, 4.5], 'a gain of 3.8 points against no augmentation [', 'Gains'),
    ([-3.0, -4.0, -3.5, -4.5], 'a loss of 3.8 points against no augmentation [', 'Losses'),
    ([3.0, -2.0, 4.0, 0.5], 'no clear difference from no augmentation: +1.4 points [', 'No clear difference'),
  ],
)
def test_the_answer_says_whether_a_generator_helps_hurts_or_cannot_be_told(gains, said, verdict):
  none = [0.6, 0.62, 0.58, 0.61]
  result = headline({'none': none, 'gan': [value + gain / 100 for value, gain in zip(none, gains)]})
  (answer,) = answers.answers(result)
  generated_is_best = sum(gains) > 0
  assert said in answer[0 if generated_is_best else 1]
  assert ('More seeds may tell.' in answer) == (generated_is_best and verdict == 'No clear difference')
  found = answers.verdicts(result['per_class']['10']['rows'])
  assert [name for name, titles in found.items() if titles] == [verdict]


def test_many_rows_need_clearer_differences():
  """A gain that is significant alone, and not beside a dozen rows that are none."""
  none, gain = [0.6, 0.62, 0.58, 0.61, 0.6], [0.03, 0.01, 0.03, 0.01, 0.02]
  row = lambda values: {'title': 'x', 'runs': [{'seed': i, 'accuracy': a, 'ece': 0.1} for i, a in enumerate(values)]}
  rows = {'none': row(none), 'gan': row([a + b for a, b in zip(none, gain)])}
  more = {f'other{i}': row([a + (-1) ** j * 0.01 for j, a in enumerate(none)]) for i in range(12)}
  alone, among = (answers.with_p_values(compared(found, 'accuracy'))['gan']['to_none'] for found in (rows, rows | more))
  assert answers.is_significant(alone)
  assert not answers.is_significant(among)
  assert among['p'] == pytest.approx(13 * alone['p'])


def test_p_values_are_scipys_and_corrected_by_holms_steps():
  differences = [0.01, 0.03, -0.01, 0.02]
  assert paired_p(differences) == pytest.approx(scipy.stats.ttest_rel(differences, [0] * 4).pvalue)
  assert [paired_p(values) for values in ([], [0.1], [0.0, 0.0], [0.1, 0.1])] == [1, 1, 1, 0]
  assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
  assert holm([]) == []
  rng, false = np.random.default_rng(0), 0
  for _ in range(400):
    false += min(holm([paired_p(rng.normal(size=5)) for _ in range(10)])) < 0.05
  assert false / 400 < 0.08


def test_the_most_accurate_row_is_compared_seed_by_seed():
  def row(title, *accuracies):
    about = {'seconds': 60, 'curve': [], 'eval/accuracy_images': 1000, 'eval/accuracy_split': 'test'}
    runs = [{'seed': i, 'eval/accuracy': a, 'eval/ece': 0.1, **about} for i, a in enumerate(accuracies)]
    return {'title': title, 'config': {'train': {'steps': 20}}, 'runs': runs, 'summary': summarise(runs)}

  rows = {'none': row('none', 0.7, 0.8), 'fixmatch': row('FixMatch', 0.9, 0.96), 'crop': row('crop', 0.6, 0.7)}
  content = {'title': 'few labels', 'order': list(rows), 'command': ['python'], 'rows': rows}
  assert models.compares(content, 'eval/accuracy')
  gain, table, about, _ = models.compared(content)
  half = 12.706 * np.std([20, 16], ddof=1) / np.sqrt(2)
  assert gain == f'No clear difference: “FixMatch” is 18.0 ± {half:.1f} points above “none”, seed by seed.'
  rows |= {'none': row('none', 0.7, 0.8, 0.75), 'fixmatch': row('FixMatch', 0.9, 0.96, 0.93)}
  assert models.compared(content)[0].startswith('“FixMatch” is 18.0 ± ')
  assert '| FixMatch | 2 | 20 | 1.0 | 0.930 ± ' in table
  assert about == 'accuracy on 1,000 images of test'


def test_translations_are_compared_with_images_as_they_are():
  scores = {'l1': (0.1, 0.2), 'ssim': (0.5, 0.6), 'fd': (3.0, 2.0)}
  mean = lambda value: {'mean': value}
  summary = {f'eval/translation_{name}': mean(own) for name, (own, _) in scores.items()}
  summary |= {f'eval/translation_{name}_identity': mean(identity) for name, (_, identity) in scores.items()}
  (line,) = models._to_identity({'cut': {'title': 'CUT', 'summary': summary}}, list(models._SCORES))
  assert line == '- CUT (one seed): better than images as they are in L1; not in SSIM, FD.'
  of_l1 = {name: value for name, value in summary.items() if '_l1' in name}
  (line,) = models._to_identity({'cut': {'title': 'CUT', 'summary': of_l1}}, list(models._SCORES))
  assert line == '- CUT (one seed): better than images as they are in every score.'
