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

"""Training of vocabularies on a text, and what is known of the result."""

import collections
from collections.abc import Iterable, Iterator, Mapping
import io
import itertools
import json
import os
import pathlib
from typing import Any, NamedTuple
import warnings
import zlib

import sentencepiece

from tasks import cache
from tasks import errors
from tasks import prepared_text
from tasks import waits

# More text makes training slower and the pieces hardly better.
SAMPLE_BYTES = 2_000_000

# A longer line is cut, so that the sample has parts of it and not all or none.
LINE_CHARACTERS = 4096

# The share of a text that the characters of a vocabulary must make up where not
# all fit; SentencePiece's default for all texts.
COVERAGE = 0.9995

# More unknown pieces than this share of the text are said in each run.
UNKNOWN_SHARE = 0.003

# Fixed, whatever the number of cores, because the result depends on it.
_NUM_THREADS = 2

# SentencePiece skips longer lines, and only logs that it does.
_MAX_LINE_BYTES = 1 << 20

# Byte pieces and the three special ones.
_NUM_BYTE_PIECES = 256 + 3

# The models that this process has told of.
_notified: set[str] = set()

_MODEL = "sentencepiece.model"
_REPORT = "report.json"
_REPORTED = (
    "pieces",
    "size",
    "characters",
    "characters_kept",
    "byte_fallback",
    "unknown_share",
)


class Characters(NamedTuple):
  """The characters of a text and what a vocabulary does with them.

  Attributes:
    kept: those that get a piece, the most frequent first.
    dropped: the others.
    as_bytes: whether the others become bytes; otherwise they are unknown.
  """

  kept: str
  dropped: str
  as_bytes: bool


def trained_on(text: prepared_text.PreparedText, size: int) -> str:
  """Returns the path of a model trained on a text; trains it if missing.

  A notice tells how well it covers the text: when it is trained, and in each
  run if it leaves many pieces unknown.

  Args:
    text: the text, of which the training split is used.
    size: the number of pieces, without the sentinels.

  Raises:
    DataError: the vocabulary cannot be trained.
  """
  key = _key(text, size)
  key["characters"] = {"line": LINE_CHARACTERS, "coverage": COVERAGE}
  is_new = []

  def build(directory: pathlib.Path):
    with waits.work(f"training a vocabulary of {size:,} pieces"):
      characters = choose_characters(count_characters(text), size)
      lines = list(sample_lines(text, SAMPLE_BYTES, LINE_CHARACTERS))
      model = train(lines, size, characters)
      report = _report(model, size, characters, lines)
    (directory / _MODEL).write_bytes(model)
    (directory / _REPORT).write_text(json.dumps(report, indent=2))
    is_new.append(True)

  path = str(cache.build_once("vocabulary", key, build) / _MODEL)
  _notify(path, bool(is_new))
  return path


def trained_before(text: prepared_text.PreparedText, size: int) -> str:
  """Returns the path of the model that versions up to 0.2.0 made of a text.

  It lacks characters that are rare in the text, such as a question mark.

  Args:
    text: as for `trained_on`.
    size: as for `trained_on`.

  Raises:
    DataError: the vocabulary cannot be trained.
  """

  def build(directory: pathlib.Path):
    with waits.work(f"training a vocabulary of {size:,} pieces"):
      model = train(sample_lines(text, SAMPLE_BYTES), size)
    (directory / _MODEL).write_bytes(model)

  return str(cache.build_once("vocabulary", _key(text, size), build) / _MODEL)


def _key(text: prepared_text.PreparedText, size: int) -> dict[str, Any]:
  return {
      "text": text.sha256("train"),
      "size": size,
      "sample_bytes": SAMPLE_BYTES,
      "threads": _NUM_THREADS,
      "sentencepiece": sentencepiece.__version__,
  }


def report_of(model_file: str) -> dict[str, Any] | None:
  """Returns what was found out when a model was trained, by name.

  Args:
    model_file: the path of the model.

  Returns:
    "pieces" and "size", the numbers of pieces that there are and that were
    asked for; "characters" and "characters_kept", the numbers of different
    characters in the text and with a piece of their own; "byte_fallback",
    whether the others become bytes; "unknown_share", the share of unknown
    pieces of a sample of the training text. None if there is no report.
  """
  path = os.path.join(os.path.dirname(model_file), _REPORT)
  if not os.path.exists(path):
    return None
  return cache.read_json(pathlib.Path(path), _REPORTED)


def describe(report: Mapping[str, Any]) -> str:
  """Returns a report of `report_of` in words."""
  few = report["pieces"] < report["size"]
  return (
      f"the vocabulary trained on this text has {report['pieces']:,} pieces"
      + (f" instead of {report['size']:,}" if few else "")
      + f", {report['characters_kept']:,} of the text's "
      f"{report['characters']:,} characters among them"
      + (", and bytes for the others" if report["byte_fallback"] else "")
      + f"; {100 * report['unknown_share']:.2g}% of the text's pieces are "
      "unknown"
  )


def _notify(model_file: str, is_new: bool):
  """Says once in a process how a new or poor vocabulary covers its text."""
  if model_file in _notified:
    return
  _notified.add(model_file)
  report = report_of(model_file)
  if is_new or report["unknown_share"] > UNKNOWN_SHARE:
    warnings.warn(f"{describe(report)}.", errors.DataNotice, stacklevel=3)


def count_characters(
    text: prepared_text.PreparedText,
) -> collections.Counter[str]:
  """Counts the characters of the training split, as SentencePiece sees them."""
  normalizer = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")
  counts = collections.Counter()
  for document in text.documents("train"):
    counts.update(normalizer.normalize(document))
  for special in " \0\u2581":  # The last one is SentencePiece's own space.
    del counts[special]
  return counts


def choose_characters(counts: Mapping[str, int], size: int) -> Characters:
  """Returns which characters of a text get pieces of their own.

  All, if they take at most half of the pieces. Otherwise the most frequent: so
  many that they make up COVERAGE of the text, at least a quarter of the pieces.
  If that takes more than half, as for Chinese, half get a piece and the others
  become bytes.

  Args:
    counts: how often each character occurs.
    size: the number of pieces.
  """
  ordered = "".join(sorted(counts, key=lambda char: (-counts[char], char)))
  half = size // 2
  if len(ordered) <= half:
    return Characters(ordered, "", as_bytes=False)
  sums = list(itertools.accumulate(counts[char] for char in ordered))
  needed = 1 + sum(covered < COVERAGE * sums[-1] for covered in sums)
  number = max(needed, size // 4)
  as_bytes = number > half and half + _NUM_BYTE_PIECES <= size
  if as_bytes:
    number = half
  return Characters(ordered[:number], ordered[number:], as_bytes)


def sample_lines(
    text: prepared_text.PreparedText,
    num_bytes: int,
    max_characters: int | None = None,
) -> Iterator[str]:
  """Yields lines from all of the training split, about `num_bytes` in total.

  Args:
    text: the text.
    num_bytes: the size of the sample.
    max_characters: a longer line is cut, at spaces if it has some; None to cut
      none.
  """
  limit = 2**32 * num_bytes / max(1, text.num_bytes("train"))
  for document in text.documents("train"):
    for line in document.splitlines():
      for part in _parts(line, max_characters or len(line)):
        if part and zlib.crc32(part.encode("utf-8")) < limit:
          yield part


def _parts(line: str, max_characters: int) -> Iterator[str]:
  """Yields the parts of a line, cut at spaces where possible."""
  start = 0
  while len(line) - start > max_characters:
    end = line.rfind(" ", start + 1, start + max_characters + 1)
    end = end if end > 0 else start + max_characters
    yield line[start:end]
    start = end
  yield line[start:]


def train(
    lines: Iterable[str], size: int, characters: Characters | None = None
) -> bytes:
  """Trains a SentencePiece model.

  Args:
    lines: the text; the result depends on their order.
    size: the largest number of pieces.
    characters: those that get pieces; None for the most frequent, which make up
      COVERAGE of the lines.

  Returns:
    the model, the same bytes for the same arguments: a unigram model in which,
    as in T5's, padding is 0, the end is 1 and unknown is 2.

  Raises:
    DataError: the vocabulary cannot be trained.
  """
  options = {}
  if characters is not None:
    options = {
        "required_chars": characters.kept,
        "character_coverage": 1.0,
        "byte_fallback": characters.as_bytes,
    }
    lines = _without(lines, characters.dropped)
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        max_sentence_length=_MAX_LINE_BYTES,
        num_threads=_NUM_THREADS,
        minloglevel=2,
        **options,
    )
  except RuntimeError as error:
    reason = str(error).rpartition("] ")[2]  # Without the place in the C++.
    raise errors.DataError(
        f"No vocabulary of {size} pieces can be trained on this text: {reason}"
    ) from error
  return model.getvalue()


def _without(lines: Iterable[str], dropped: str) -> Iterable[str]:
  """Returns lines with spaces in place of some characters."""
  if not dropped:
    return lines
  normalizer = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")
  spaces = str.maketrans(dropped, " " * len(dropped))
  return (normalizer.normalize(line).translate(spaces) for line in lines)


def _report(
    model: bytes, size: int, characters: Characters, lines: Iterable[str]
) -> dict[str, Any]:
  """Returns what `report_of` describes."""
  pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
  num_ids = num_unknown = 0
  for line in lines:
    ids = pieces.encode(line)
    num_ids += len(ids)
    num_unknown += ids.count(pieces.unk_id())
  return {
      "pieces": pieces.get_piece_size(),
      "size": size,
      "characters": len(characters.kept) + len(characters.dropped),
      "characters_kept": len(characters.kept),
      "byte_fallback": characters.as_bytes,
      "unknown_share": num_unknown / max(1, num_ids),
  }
