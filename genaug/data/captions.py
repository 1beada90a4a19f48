"""Captions as rows of numbers: of their words and, for rare words, of parts of them."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Int

_RARE = 2  # training captions that a word must be in to have a number of its own
_PART = '~'  # before a part, and in no word
MOST = 48  # tokens of a caption; more are cut off


def words(caption: str) -> list[str]:
  """Runs of letters and digits, in lower case."""
  return re.findall(r'[^\W_]+', caption.lower())


def vocabulary(captions: Sequence[str]) -> tuple[str, ...]:
  """Words of at least two of the captions, and the parts of three letters that other words have."""
  count = Counter(word for caption in captions for word in set(words(caption)))
  frequent = {word for word, number in count.items() if number >= _RARE}
  parts = {part for word in count.keys() - frequent for part in _parts(word)}
  return (*sorted(frequent), *sorted(parts))


def encode(captions: Sequence[str], vocabulary: Sequence[str]) -> Int[np.ndarray, 'n 48']:
  """Numbers from 1 of the tokens that the vocabulary has, filled up with 0."""
  number, known = {token: i + 1 for i, token in enumerate(vocabulary)}, _words_of(vocabulary)
  rows = np.zeros((len(captions), MOST), np.int32)
  for row, caption in zip(rows, captions):
    found = [number[token] for token in _tokens(caption, known) if token in number][:MOST]
    row[: len(found)] = found
  return rows


def unseen(caption: str, vocabulary: Sequence[str]) -> list[str]:
  """Words that were in no training caption as they are; what is known of their parts is still used."""
  known = _words_of(vocabulary)
  return [word for word in words(caption) if word not in known]


def _words_of(vocabulary: Sequence[str]) -> set[str]:
  """Those before the first part: three letters may be a word or a part of one."""
  return set(itertools.takewhile(lambda token: not token.startswith(_PART), vocabulary))


def _tokens(caption: str, known: Collection[str]) -> list[str]:
  return [token for word in words(caption) for token in ([word] if word in known else _parts(word))]


def _parts(word: str) -> list[str]:
  """Of three letters, with marks where it begins and ends."""
  marked = f'<{word}>'
  return [_PART + marked[i : i + 3] for i in range(len(marked) - 2)]
