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

"""The split of a document."""

import pathlib
import re

import pytest

from tasks import prepared_text


@pytest.mark.parametrize(
    "hashes, expected",
    [
        # Some below 2.5% of 2**64 and some not.
        ([1, 2**63], prepared_text.VALIDATION_LIMIT),
        # None below: only the smallest.
        ([2**63 + 5, 2**63 + 3, 2**64 - 1], 2**63 + 4),
        # All below: only the smallest.
        ([7, 5, 6], 6),
    ],
)
def test_both_splits_have_a_document(hashes, expected):
  assert prepared_text.validation_limit(hashes) == expected


def test_text_hash_depends_on_the_words_only():
  text_hash = prepared_text.text_hash
  assert text_hash("a b\n  c") == text_hash("a  b c") != text_hash("a bc")
  # SHA-256 of "abc" starts with ba7816bf8f01cfea.
  assert text_hash("abc") == 0xBA7816BF8F01CFEA


def test_the_documentation_has_the_share_of_validation():
  page = pathlib.Path(__file__).parents[2] / "docs" / "running.md"
  (percent,) = re.findall(r"([\d.]+)% of the documents", page.read_text())
  share = prepared_text.VALIDATION_LIMIT / 2**64
  assert float(percent) / 100 == pytest.approx(share)
