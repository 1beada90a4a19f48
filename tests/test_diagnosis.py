"""Warnings in words: of histories that show what is wrong, and of runs made to go wrong; none of what is well."""

import numpy as np
import pytest

from genaug.tasks.diagnosis import diagnose_gan
from genaug.training import loop
from genaug.training.evaluator import mean_distance
from genaug.training.experiment import prepare
from tests.conftest import tiny_config


def _history(**changes):
  """The log of 30 healthy lines; a change is a function of the number of the line."""
  values = {
    'd_accuracy': lambda i: 0.98 if i < 5 else 0.85,
    'r_t': lambda i: 0.6,
    'd_loss': lambda i: 0.9,
    'g_loss': lambda i: 1.4 + 0.1 * (i % 3),
    'd_grad_norm': lambda i: 2.0 + i % 4,
    'g_grad_norm': lambda i: 1.0 + i % 4,
  }
  values = {f'train/{name}': f for name, f in values.items()}
  lines = [{'step': 50 * i} | {name: f(i) for name, f in values.items()} for i in range(30)]
  for i in range(5, 30, 5):
    lines.append({'step': 50 * i, 'diversity/samples': 0.8})
    lines.append({'step': 50 * i, 'eval/taken_for_real': 0.7, 'eval/held_out_split': 'test'})
  for name, f in changes.items():
    for i, line in enumerate(lines):
      for key in line:
        if key.endswith(f'/{name}'):
          line[key] = f(i)
  return sorted(lines, key=lambda line: line['step'])


@pytest.mark.parametrize(
  ('changes', 'expected'),
  [
    ({}, ''),
    ({'d_accuracy': lambda i: 1.0 if i >= 20 else 0.9}, 'discriminator won'),
    ({'d_accuracy': lambda i: 1.0 if i < 20 else 0.9}, ''),  # earlier, not any more
    ({'d_accuracy': lambda i: 1.0, 'd_loss': lambda i: -1.0}, ''),  # a Wasserstein critic
    ({'samples': lambda i: 0.05}, 'generator collapsed'),
    ({'samples': lambda i: 0.8 if i < 20 else 0.1}, 'generator collapsed'),
    ({'samples': lambda i: 0.05 if i < 20 else 0.8}, ''),
    ({'r_t': lambda i: 0.9, 'taken_for_real': lambda i: 0.4}, 'discriminator memorises'),
    ({'g_loss': lambda i: 10.0**i / 1e24}, 'diverges'),
    ({'d_loss': lambda i: -(10.0 ** (i - 20)) if i > 20 else -1.0}, 'diverges'),
    ({'d_grad_norm': lambda i: 1e5 if i == 28 else 2.0}, ''),  # one line only
  ],
)
def test_a_history_is_put_into_words(changes, expected):
  found = diagnose_gan(_history(**changes))
  assert set(found) == ({expected} if expected else set())
  assert all('; try ' in sentence for sentence in found.values())


def test_the_first_lines_are_no_reason_for_a_warning():
  for count in range(10):
    assert not diagnose_gan(_history(d_accuracy=lambda i: 1.0, g_loss=lambda i: 1e6)[:count])
  untrained = [{'step': step, 'diversity/samples': 0.05} for step in (100, 200)]
  assert not diagnose_gan(untrained)
  assert set(diagnose_gan([*untrained, {'step': 1000, 'diversity/samples': 0.05}])) == {'generator collapsed'}


def test_mean_distance_is_over_all_pairs():
  images = np.random.default_rng(0).random((5, 4, 3, 2)).astype(np.float32)
  pairs = [np.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(images) for b in images[:i]]
  assert mean_distance(images) == pytest.approx(np.mean(pairs), rel=1e-5)
  assert mean_distance(np.ones((4, 3, 3, 1))) == pytest.approx(0, abs=1e-6)


def _warnings(directory, data_dir, **settings):
  settings = {'train__steps': 1000, 'train__log_every': 50, 'train__snapshot_every': 250} | settings
  settings |= {'train__checkpoint_every': 500}
  config = tiny_config('gan', eval__metrics=('discriminator',), eval__every=500, **settings)
  said = []
  loop.train(prepare(config, data_dir, lambda _: None), directory, said.append)
  loop.train(prepare(config, data_dir, lambda _: None), directory, said.append)  # goes on: nothing is said again
  return [line.partition('warning: ')[2] for line in said if 'warning' in line]


@pytest.mark.slow
def test_a_run_made_to_go_wrong_is_warned_of_once_and_a_healthy_one_not_at_all(data_dir, tmp_path):
  assert _warnings(tmp_path / 'healthy', data_dir) == []
  strong = {'optim__discriminator__lr': 1e-2, 'optim__generator__lr': 0.0}
  found = _warnings(tmp_path / 'strong', data_dir, **strong)
  assert [sentence.partition(':')[0] for sentence in found] == [
    'the discriminator has won',
    'the generator has collapsed',
  ]
