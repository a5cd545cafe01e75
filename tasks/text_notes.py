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

"""Notices of what a model will not learn from a text as its reader expects."""

from collections.abc import Mapping, Sequence
import re
import warnings

from tasks import errors

# Shares of the words and of the lines from which on a notice is due.
_UNKNOWN_SHARE = 0.001
_INDENTED_SHARE = 0.2

_UNKNOWN = re.compile("<unk>", re.IGNORECASE)
_INDENTED = re.compile(r"^(?:\t| {2,})\S", re.MULTILINE)


def count(document: str) -> dict[str, int]:
  """Returns numbers of a document, by name.

  Args:
    document: a text.

  Returns:
    "words", and "unknown_words" which are a literal "<unk>", as in WikiText;
    "lines", and "indented_lines", of which code has many.
  """
  return {
      "words": len(document.split()),
      "unknown_words": len(_UNKNOWN.findall(document)),
      "lines": document.count("\n") + 1,
      "indented_lines": len(_INDENTED.findall(document)),
  }


def warn(name: str, counts: Mapping[str, int]):
  """Warns of literal unknown words and of lost indentation, in one notice.

  Args:
    name: of the text.
    counts: sums of those of `count`.
  """
  words, unknown = counts["words"], counts["unknown_words"]
  lines, indented = counts["lines"], counts["indented_lines"]
  remarks = []
  if unknown > _UNKNOWN_SHARE * words:
    remarks.append(
        f"{unknown:,} of {words:,} words ({unknown / words:.1%}) are a literal "
        "<unk>, which the model learns to write"
    )
  if indented > _INDENTED_SHARE * lines:
    remarks.append(
        f"{indented:,} of {lines:,} lines ({indented / lines:.1%}) are "
        "indented, and vocabularies of pieces turn line breaks and indents "
        "into single spaces (vocabulary.name = 'bytes' keeps them)"
    )
  if remarks:
    warnings.warn(
        f"{name}: {'; '.join(remarks)}.", errors.DataNotice, stacklevel=2
    )


def warn_of_breaks(name: str, targets: Sequence[str]):
  """Warns of line breaks and tabs that pieces cannot write.

  Args:
    name: of the targets.
    targets: those that were read.
  """
  number = sum("\n" in text or "\t" in text for text in targets)
  if number:
    warnings.warn(
        f"{name}: {number:,} of the first {len(targets):,} targets have line "
        "breaks or tabs, which vocabularies of pieces turn into single spaces "
        "(vocabulary.name = 'bytes' keeps them).",
        errors.DataNotice,
        stacklevel=2,
    )
