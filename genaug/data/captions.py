"""Tokenisation of captions: words and, in place of rare words, their trigrams."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Int

_MIN_COUNT = 2  # training captions that must contain a word for it to be a token
_PART = '~'  # prefix of trigrams: no word contains it, so a trigram never equals a word of three letters
MAX_TOKENS = 48  # tokens per caption; further ones are cut off


def words(caption: str) -> list[str]:
  """Returns the words of a caption: runs of letters and digits, in lower case."""
  return re.findall(r'[^\W_]+', caption.lower())


def vocabulary(captions: Sequence[str]) -> tuple[str, ...]:
  """Returns the tokens: words that at least two of the captions contain, then the trigrams of all other words."""
  count = Counter(word for caption in captions for word in set(words(caption)))
  frequent = {word for word, number in count.items() if number >= _MIN_COUNT}
  parts = {part for word in count.keys() - frequent for part in _parts(word)}
  return (*sorted(frequent), *sorted(parts))


def encode(captions: Sequence[str], vocabulary: Sequence[str]) -> Int[np.ndarray, 'n 48']:
  """Returns the token ids of each caption, from 1 and padded with 0; tokens not in the vocabulary are left out."""
  number, known = {token: i + 1 for i, token in enumerate(vocabulary)}, _words_of(vocabulary)
  rows = np.zeros((len(captions), MAX_TOKENS), np.int32)
  for row, caption in zip(rows, captions):
    ids = [number[token] for token in _tokens(caption, known) if token in number][:MAX_TOKENS]
    row[: len(ids)] = ids
  return rows


def out_of_vocabulary(caption: str, vocabulary: Sequence[str]) -> list[str]:
  """Returns the words that are not tokens: fewer than two training captions have them. Known trigrams still count."""
  known = _words_of(vocabulary)
  return [word for word in words(caption) if word not in known]


def _words_of(vocabulary: Sequence[str]) -> set[str]:
  """Returns the words of a vocabulary, which precede its first trigram."""
  return set(itertools.takewhile(lambda token: not token.startswith(_PART), vocabulary))


def _tokens(caption: str, known: Collection[str]) -> list[str]:
  return [token for word in words(caption) for token in ([word] if word in known else _parts(word))]


def _parts(word: str) -> list[str]:
  """Returns the trigrams of a word, with marks where it begins and ends."""
  marked = f'<{word}>'
  return [_PART + marked[i : i + 3] for i in range(len(marked) - 2)]
