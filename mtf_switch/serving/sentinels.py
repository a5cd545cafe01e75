# Copyright 2026 The mtf_switch Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Sentinels in texts that people type, and the texts that fill them."""

import re

import seqio

from mtf_switch.training import vocabulary_record

_TYPED = re.compile(r"<extra_id_(\d+)>")
_UNDERSCORE = re.compile(r"(?<!\S)_(?!\S)")


class Sentinels:
  """The sentinels of a vocabulary: <extra_id_0> is its last id.

  Attributes:
    count: how many there are; 0 without any.
  """

  def __init__(self, vocabulary: seqio.Vocabulary):
    """Looks for them.

    Args:
      vocabulary: of inputs and targets.
    """
    self._vocabulary = vocabulary_record.found_of(vocabulary)
    self._last = self._vocabulary.vocab_size - 1
    # A vocabulary of bytes has ids for them, and no texts.
    self._have_texts = not isinstance(self._vocabulary, seqio.ByteVocabulary)
    self.count = self._vocabulary.extra_ids
    if self._have_texts and not self.count:
      # Those that a SentencePiece model has itself, as mT5's.
      self.count = sum(
          f"<extra_id_{k}>" in self._vocabulary.decode([self._last - k])
          for k in range(min(100, self._last))
      )

  def numbered(self, text: str) -> str:
    """Writes each lone underscore as the next sentinel.

    Args:
      text: as typed.
    """
    free = iter(sorted(set(range(self.count)) - set(_numbers(text))))
    return _UNDERSCORE.sub(
        lambda match: f"<extra_id_{k}>"
        if (k := next(free, None)) is not None
        else match[0],
        text,
    )

  def encode(self, text: str) -> list[int]:
    """Returns the ids of a text, sentinels included, without an end.

    Args:
      text: with sentinels as <extra_id_0>.
    """
    if self._have_texts or not self.count:
      return list(self._vocabulary.encode(text))
    ids, begin = [], 0
    for match in _TYPED.finditer(text):
      if int(match[1]) < self.count:
        ids += self._vocabulary.encode(text[begin : match.start()])
        ids.append(self._last - int(match[1]))
        begin = match.end()
    return ids + list(self._vocabulary.encode(text[begin:]))

  def decode(self, ids: list[int]) -> str:
    """Returns the text of ids up to their end, sentinels included.

    Args:
      ids: of an answer.
    """
    if self._have_texts or not self.count:
      return self._vocabulary.decode(ids)
    first, parts = self._parts(ids)
    return first + "".join(f"<extra_id_{k}>{part}" for k, part in parts)

  def filled(self, text: str, ids: list[int]) -> str | None:
    """Returns a text with an answer's parts in the place of sentinels.

    Args:
      text: with sentinels as <extra_id_0>.
      ids: of the answer.

    Returns:
      the text, in which sentinels that the answer lacks stay; None if it has no
      sentinels.
    """
    if not any(k < self.count for k in _numbers(text)):
      return None
    _, parts = self._parts(ids)
    by_number = dict(reversed(parts))  # The first, if it comes twice.
    return _TYPED.sub(
        lambda match: by_number.get(int(match[1]), match[0]), text
    )

  def _parts(self, ids: list[int]) -> tuple[str, list[tuple[int, str]]]:
    """The text before the first sentinel, and the one after each."""
    if self._vocabulary.eos_id in ids:
      ids = ids[: ids.index(self._vocabulary.eos_id)]
    groups = [(None, [])]
    for i in ids:
      if 0 <= self._last - i < self.count:
        groups.append((self._last - i, []))
      else:
        groups[-1][1].append(i)
    (_, first), *others = [
        (k, self._vocabulary.decode(group)) for k, group in groups
    ]
    return first, others


def _numbers(text: str) -> list[int]:
  return [int(x) for x in _TYPED.findall(text)]
