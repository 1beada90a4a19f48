"""From words to images: captions as numbers, words that matter, retrieval, and a program that is told them."""

import json

import jax
import numpy as np
import pytest

from configs import text_to_image_own_images
from genaug.data import builders, captioned, captions, record, sources
from genaug.data.dataset import Dataset, Split
from genaug.errors import InputError
from genaug.metrics.retrieval import _chance, recall_at
from genaug.models import Spec
from genaug.models.unet import pool_tokens
from genaug.tasks.registry import TASKS
from genaug.training import loop
from genaug.training.experiment import assemble, prepare
from tests.conftest import UNAUGMENTED, data_config, png, tiny_config, write_emoji_tarball

CAPTIONS = ['red Square', 'blue square', 'red_disc', 'blue disc!', 'zebra']


def test_frequent_words_have_a_number_and_rare_ones_those_of_their_parts():
  vocabulary = captions.vocabulary(CAPTIONS)
  assert vocabulary == ('blue', 'disc', 'red', 'square', '~<ze', '~bra', '~ebr', '~ra>', '~zeb')
  rows = captions.encode(['Red disc', 'zebras', 'whatever', ''], vocabulary)
  assert rows.shape == (4, captions.MAX_TOKENS)
  found = [[vocabulary[i - 1] for i in row if i] for row in rows]
  assert found == [['red', 'disc'], ['~<ze', '~zeb', '~ebr', '~bra'], [], []]
  assert captions.out_of_vocabulary('a red zebra', vocabulary) == ['a', 'zebra']
  assert captions.encode([' '.join(['red'] * 100)], vocabulary).all()
  assert captions.out_of_vocabulary('a bra', vocabulary) == ['a', 'bra']  # a part of a word is no word
  assert captions.out_of_vocabulary('red', captions.vocabulary(['red', 'red'])) == []
  numbers = captions.vocabulary(['in 2024', 'in 1987'])
  assert captions.out_of_vocabulary('in 024', numbers) == ['024']  # a part, though digits sort before every mark


def test_captions_of_emoji_name_parts_and_hold_out_compositions(tmp_path):
  (tmp_path / 'downloads').mkdir()
  tones = [tone for tone in builders.EmojiCaptions.TONES if tone]
  path = tmp_path / 'downloads' / 'emoji-datasource-google-16.0.0.tgz'
  write_emoji_tarball(path, 'google', 6, (*tones, '1F3FB-1F3FF'))
  found = sources.load(data_config('emoji_captions/google'), tmp_path, log=lambda _: None)
  said = [
    {' '.join(found.vocabulary[i - 1] for i in row if i) for row in split.arrays['caption']}
    for split in (found.train, found.test)
  ]
  assert said[0] == {f'e{k} {words}s' for k in range(6) for words in TONES} - said[1]
  assert said[1] == {f'e{k} {TONES[1 + k % 5]}s' for k in range(6)}
  described = json.loads(json.dumps(record.describe(found)))
  assert record.placeholder(described).vocabulary == found.vocabulary
  assert not any(record.differences(described, found))


def test_own_captions_are_matched_by_name_and_refused_otherwise(tmp_path):
  for name in ('a/0.png', 'a/1.png', '2.png'):
    (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'images' / name).write_bytes(png(np.full((8, 8, 3), int(name[-5]), np.uint8)))
  lines = ['a/0.png\tzero nought', 'a/1.png\tone', '2.png\ttwo']
  settings = {'folder': str(tmp_path / 'images'), 'captions': str(tmp_path / 'captions.txt'), 'name': 'image_captions'}

  def load(text):
    (tmp_path / 'captions.txt').write_text(text)
    config = text_to_image_own_images.get_config().data
    config.update(settings | {'image_size': 8})
    return sources.load(config, tmp_path / 'data', log=lambda _: None)

  found = load('\n'.join(lines))
  for split in (found.train, found.test):
    for image, row in zip(split.arrays['image'], split.arrays['caption']):
      known = captions.vocabulary([['zero nought', 'one', 'two'][image[0, 0, 0]]])
      assert {found.vocabulary[i - 1] for i in row if i} <= set(known)
  for text, problem in [
    ('\n'.join(lines[:2]), r'1 images without a caption: 2\.png'),
    ('\n'.join([*lines, '3.png\tthree']), r'1 images with a caption and no such file: 3\.png'),
    ('a/0.png zero', r"line 1 has no tab with a caption behind it: 'a/0\.png zero'"),
  ]:
    with pytest.raises(InputError, match=f'data.captions(?s:.*){problem}'):
      load(text)
  with pytest.raises(InputError, match=r'line 4 has a second caption for .a/0\.png.'):
    load('\n'.join([*lines, lines[0]]))
  load('\ufeff' + '\r\n'.join(lines))
  (tmp_path / 'captions.txt').write_bytes('2.png\tdrei für zwei'.encode('latin-1'))
  with pytest.raises(InputError, match=r'data\.captions(?s:.*)is no UTF-8 text'):
    captioned._read(tmp_path / 'images', tmp_path / 'captions.txt')


def _squares() -> Dataset:
  """Red and blue squares on the left and on the right; of two of the four, all others are seen in training."""
  images, texts = [], []
  for colour, channel in (('red', 0), ('blue', 2)):
    for side, columns in (('left', np.s_[2:7]), ('right', np.s_[9:14])):
      image = np.full((16, 16, 3), 230, np.uint8)
      image[4:12, columns] = 0
      image[4:12, columns, channel] = 255
      images.append(image)
      texts.append(f'{colour} square, {side}')
  texts = np.array(texts, object)
  vocabulary = captions.vocabulary(texts)
  caption = captions.encode(texts, vocabulary)
  split = Split({'image': np.stack(images), 'label': np.zeros(4, np.int32), 'caption': caption})
  return Dataset('squares', split, split, ('all',), vocabulary=vocabulary)


TONES = ('', 'light skin ', 'medium light skin ', 'medium skin ', 'medium dark skin ', 'dark skin ')


@pytest.mark.slow
def test_what_is_drawn_is_what_the_words_say():
  data = _squares()
  settings = {'model__width': 16, 'model__dropout': 0.0, 'flow__ema': 0.9, 'flow__sample_steps': 6, 'train__steps': 150}
  config = tiny_config('text_to_image', **UNAUGMENTED, **settings, optim__lr=3e-3)
  task = TASKS['text_to_image'].build(config, Spec((16, 16, 3), 0, len(data.vocabulary)))
  state, step = task.init(jax.random.key(0)), jax.jit(task.train_step)
  batch = {name: np.tile(array, (4, *[1] * (array.ndim - 1))) for name, array in data.train.arrays.items()}
  keys = jax.random.split(jax.random.key(1), 16)
  for i in range(150):
    state, _ = step(state, batch, jax.vmap(lambda key: jax.random.fold_in(key, i))(keys))  # noqa: B023
  made = np.asarray(task.samplers['from_text'].sample(state, batch, keys))
  truth = batch['image'] / 255
  distance = ((made[:, None] - truth[None, :4]) ** 2).mean((2, 3, 4))
  assert (distance.argmin(1) == np.arange(16) % 4).mean() > 0.6  # by chance 0.25
  none = np.asarray(task.samplers['samples'].sample(state, {'label': batch['label']}, keys))
  assert none.shape == made.shape


def test_long_captions_are_heeded_as_short_ones_are():
  tokens = np.random.default_rng(0).standard_normal((400, 16, 64), np.float32)
  for length in (1, 4, 16):
    known = np.broadcast_to(np.arange(16) < length, (400, 16))
    pooled = pool_tokens(tokens, known)
    assert abs(pooled.std() - 1) < 0.03
    np.testing.assert_allclose(pooled, tokens[:, :length].sum(1) / length**0.5, rtol=1e-5, atol=1e-5)
  assert not pool_tokens(tokens, np.zeros((400, 16), bool)).any()


def test_retrieval_counts_captions_that_are_found():
  rng = np.random.default_rng(0)
  real = rng.normal(size=(6, 8))
  same = np.eye(6, dtype=bool)
  assert recall_at(real * 3, real, same, 1) == 1
  shuffled = real[[1, 0, 2, 3, 4, 5]]
  assert recall_at(shuffled, real, same, 1) == pytest.approx(4 / 6)
  assert recall_at(shuffled, real, same, 6) == 1
  same[0, 1] = same[1, 0] = True  # two images of one caption
  assert recall_at(shuffled, real, same, 1) == 1
  draws = [same[i, rng.choice(6, 2, replace=False)].any() for i in rng.integers(0, 6, 20_000)]
  assert _chance(same, 2) == pytest.approx(np.mean(draws), abs=0.01)


def test_a_run_is_scored_and_told_words(tmp_path, monkeypatch, forked):
  config = tiny_config(
    'text_to_image',
    **UNAUGMENTED,
    train__steps=5,
    eval__metrics=('retrieval',),
    eval__features='alexnet',
    train__snapshot_every=5,
    flow__sample_steps=1,
  )
  experiment = assemble(config, _squares())
  said = []
  scores = loop.train(experiment, tmp_path / 'run', said.append)
  assert scores['eval/retrieval_chance'] == 0.25
  assert scores['eval/retrieval_captions'] == 4
  assert 'retrieval, the nearest: images from captions' in '\n'.join(said)
  assert (tmp_path / 'run' / 'figures' / 'from_text_000005.png').exists()
  told = ['--text=red square', '--text=blue zebra', '--count=6']
  done = forked('experiments.sample', f'--workdir={tmp_path / "run"}', f'--output={tmp_path / "out"}', *told)
  assert done.returncode == 0, done.stderr
  assert 'in fewer than two training captions, so known by parts of words at most: zebra' in done.stdout
  assert len(list((tmp_path / 'out').glob('0*.png'))) == 6


def test_captions_are_needed_and_only_there(data_dir):
  with pytest.raises(InputError, match=r"its images have no caption, which task 'text_to_image' reads"):
    prepare(tiny_config('text_to_image', data__name='mnist5k'), data_dir, lambda _: None)
