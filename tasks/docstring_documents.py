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

"""The documents of the embedded corpus, from docstrings to three splits."""

from collections.abc import Iterable, Iterator, Sequence

from tasks import prepared_text

# Shorter docstrings ("Returns the name.") are many and say little.
MIN_CHARACTERS = 100

# A document consists of consecutive docstrings of one module, up to about this
# size: long enough to fill a sequence, short enough to mix well when shuffled.
DOCUMENT_CHARACTERS = 8192

SPLITS = ("train", "validation", "test")

# A share of a held-out docstring's characters; see `split`.
MAX_SHARED = 0.5


def select(
    modules: Iterable[list[str] | None],
    max_bytes: int | None,
    counts: dict[str, int],
) -> Iterator[list[str]]:
  """Yields the docstrings of each module that belong to the corpus.

  Args:
    modules: the docstrings of each file; None for a file that is not Python.
    max_bytes: the size to stop at; None to take all modules.
    counts: receives the numbers of "files", "files_not_python", "docstrings",
      "duplicates" (docstrings seen before and left out) and "bytes".
  """
  seen = set()
  for docstrings in modules:
    counts["files"] += 1
    counts["files_not_python"] += docstrings is None
    kept = []
    for text in docstrings or ():
      # T5's documentation shows sentinels, which would be tokenized as such.
      if len(text) < MIN_CHARACTERS or "<extra_id_" in text:
        continue
      text_hash = prepared_text.text_hash(text)
      if text_hash in seen:
        counts["duplicates"] += 1
        continue
      seen.add(text_hash)
      size = len(text.encode("utf-8"))
      if max_bytes is not None and counts["bytes"] + size > max_bytes:
        yield kept
        return
      counts["bytes"] += size
      counts["docstrings"] += 1
      kept.append(text)
    yield kept


def group(docstrings: Iterable[str]) -> Iterator[list[str]]:
  """Yields the documents of a module, as lists of docstrings.

  Args:
    docstrings: those of one module. A docstring longer than DOCUMENT_CHARACTERS
      is a document by itself.
  """
  document, size = [], 0
  for text in docstrings:
    if document and size + len(text) > DOCUMENT_CHARACTERS:
      yield document
      document, size = [], 0
    document.append(text)
    size += len(text)
  if document:
    yield document


def split(documents: Sequence[list[str]]) -> Iterator[tuple[str, str]]:
  """Yields documents with their split, which a hash of their text determines.

  Of the documents that `prepared_text.validation_limit` holds out, the half
  with the smaller hashes is for testing; a single one is for validation.

  Packages repeat paragraphs from function to function. So that each split has
  new text, validation omits docstrings that share more than MAX_SHARED of their
  characters with lines of the training text, and testing those that share as
  much with lines of the other two.

  Args:
    documents: lists of docstrings.

  Yields:
    pairs of one of SPLITS and a text.
  """
  texts = ["\n\n".join(document) for document in documents]
  hashes = [prepared_text.text_hash(text) for text in texts]
  limit = prepared_text.validation_limit(hashes)
  held_out = sorted(text_hash for text_hash in hashes if text_hash < limit)
  test_limit = held_out[len(held_out) // 2]
  lines = set()
  for text, text_hash in zip(texts, hashes):
    if text_hash >= limit:
      lines.update(_lines(text))
      yield "train", text
  for name, start, stop in (
      ("validation", test_limit, limit),
      ("test", 0, test_limit),
  ):
    unseen = []
    for document, text_hash in zip(documents, hashes):
      if start <= text_hash < stop:
        unseen.append([x for x in document if shared(x, lines) <= MAX_SHARED])
    for document in filter(None, unseen):
      text = "\n\n".join(document)
      lines.update(_lines(text))
      yield name, text


def shared(text: str, lines: set[str]) -> float:
  """Returns the share of a text's characters that is in the given lines."""
  own = _lines(text)
  return sum(len(line) for line in own if line in lines) / sum(map(len, own))


def _lines(text: str) -> list[str]:
  """Returns the lines of a text with their whitespace normalized."""
  return [" ".join(line.split()) for line in text.splitlines()]
