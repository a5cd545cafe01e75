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

import collections
import warnings

import pytest

from tasks import errors
from tasks import text_files
from tasks import text_notes

CODE = "def f(x):\n  if x:\n    return 1\n\treturn 2"


def notices(*documents):
  counts = collections.Counter()
  for document in documents:
    counts.update(text_notes.count(document))
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    text_notes.warn("a.txt", counts)
  return [str(warning.message) for warning in caught]


def test_one_notice_has_the_counts():
  assert notices("the <unk> is <UNK> here", CODE) == [
      "a.txt: 2 of 13 words (15.4%) are a literal <unk>, which the model "
      "learns to write; 3 of 5 lines (60.0%) are indented, and vocabularies of "
      "pieces turn line breaks and indents into single spaces (vocabulary.name "
      "= 'bytes' keeps them)."
  ]
  (code,) = notices(CODE)
  assert "<unk>" not in code and "3 of 4 lines (75.0%)" in code
  (unknown,) = notices("<unk> word")
  assert "indented" not in unknown


def test_prose_has_none():
  assert not notices("Some prose\nof two lines.", " One space.")
  assert not notices("<unk> " + "word " * 2000)


@pytest.mark.parametrize("number", [2, 400])
def test_the_users_text_is_counted_once(tmp_path, number):
  """A text of few documents is written twice."""
  (tmp_path / "a.txt").write_text(
      "\n\n".join(f"word{i} <unk>" for i in range(number))
  )
  (tmp_path / "out").mkdir()
  files = [str(tmp_path / "a.txt")]
  with pytest.warns(errors.DataNotice) as caught:
    text_files.build(tmp_path / "out", files, "paragraph")
  (notice,) = caught
  assert str(notice.message).startswith(
      f"{files[0]}: {number:,} of {2 * number:,} words (50.0%) are a literal"
  )
