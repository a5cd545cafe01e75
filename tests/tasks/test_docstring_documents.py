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

"""From docstrings to documents in three splits."""

import collections
import itertools
import re

import pytest

from tasks import docstring_documents
from tasks import prepared_text
from tests import source_trees


def test_select_drops_repeated_short_and_sentinel_text():
  a, b = source_trees.sentence("a"), source_trees.sentence("b")
  counts = collections.Counter()
  modules = [
      [a, "Returns the name.", b],
      None,
      [],
      [
          a.replace(" ", "\n   "),
          "Use <extra_id_0> here. " + source_trees.sentence("c"),
      ],
  ]
  assert list(docstring_documents.select(modules, None, counts)) == [
      [a, b],
      [],
      [],
      [],
  ]
  assert counts == {
      "files": 4,
      "files_not_python": 1,
      "docstrings": 2,
      "duplicates": 1,
      "bytes": len(a) + len(b),
  }


@pytest.mark.parametrize("room", [-1, 0, 1])
def test_select_stops_at_max_bytes(room):
  texts = [
      source_trees.sentence(name) + "\u00e9" for name in "abcd"
  ]  # Two more bytes.
  size = sum(len(text) + 1 for text in texts[:3])
  modules = iter([texts[:2], texts[2:], [source_trees.sentence("never")]])
  counts = collections.Counter()
  selected = list(docstring_documents.select(modules, size + room, counts))
  assert sum(selected, []) == texts[: 3 if room >= 0 else 2]
  assert counts["bytes"] <= size + room
  assert next(modules) == [
      source_trees.sentence("never")
  ]  # The rest was not read.


def test_documents_are_consecutive_docstrings_up_to_a_size(monkeypatch):
  monkeypatch.setattr(docstring_documents, "DOCUMENT_CHARACTERS", 10)
  docstrings = ["aaaa", "bbbb", "cccc", "d" * 30, "ee", "ffffffff", "g"]
  assert list(docstring_documents.group(docstrings)) == [
      ["aaaa", "bbbb"],
      ["cccc"],
      ["d" * 30],
      ["ee", "ffffffff"],
      ["g"],
  ]
  assert not list(docstring_documents.group([]))


def test_the_lower_half_of_the_held_out_hashes_is_for_testing():
  documents = [[source_trees.sentence(f"a{i}")] for i in range(400)]
  texts = collections.defaultdict(list)
  for split, text in docstring_documents.split(documents):
    texts[split].append(prepared_text.text_hash(text))
  every = [prepared_text.text_hash(document[0]) for document in documents]
  limit = prepared_text.validation_limit(every)
  assert sorted(texts["train"]) == sorted(x for x in every if x >= limit)
  held_out = sorted(x for x in every if x < limit)
  half = len(held_out) // 2
  assert sorted(texts["test"]) == held_out[:half] and half >= 2
  assert sorted(texts["validation"]) == held_out[half:]


def test_a_single_held_out_document_is_for_validation():
  documents = [["only this"], ["and that"]]
  pairs = list(docstring_documents.split(documents))
  assert sorted(split for split, _ in pairs) == ["train", "validation"]


def test_testing_omits_docstrings_of_validation():
  documents = [[source_trees.sentence(f"a{i}")] for i in range(400)]
  pairs = list(docstring_documents.split(documents))
  smallest = min(prepared_text.text_hash(text) for _, text in pairs)
  # The largest hash of all that are held out stays with validation.
  repeated = max(
      (text for split, text in pairs if split == "validation"),
      key=prepared_text.text_hash,
  )
  copies = (f"{repeated}\nand {number}" for number in itertools.count())
  copy = next(x for x in copies if prepared_text.text_hash(x) < smallest)
  pairs = list(docstring_documents.split([*documents, [copy]]))
  assert ("validation", repeated) in pairs
  assert copy not in [text for _, text in pairs]


def test_validation_omits_docstrings_of_the_training_text():
  shared_lines = "\n".join(f"    parameter {i} is common" for i in range(5))
  documents = [
      [
          source_trees.sentence(f"own{i}"),
          f"Half of f{i} is its own.\n{shared_lines}\n"
          + source_trees.sentence(f"half{i}"),
          f"Most of g{i} is not.\n{shared_lines}",
      ]
      for i in range(400)
  ]
  texts = collections.defaultdict(list)
  for split, text in docstring_documents.split(documents):
    texts[split].append(text)
  joined = ["\n\n".join(document) for document in documents]
  assert set(texts["train"]) <= set(joined)
  held_out = texts["validation"] + texts["test"]
  assert len(texts["train"]) + len(held_out) == 400
  assert 4 <= len(held_out) <= 25  # 10 expected: 2.5% of 400.
  for text in held_out:
    (i,) = set(re.findall(r"own(\d+)", text))
    assert text == "\n\n".join(documents[int(i)][:2])


def test_validation_omits_documents_of_the_training_text():
  # Each document is part of another, with other line breaks and indentation.
  documents = [[source_trees.sentence(f"a{i}")] for i in range(200)]
  documents += [
      [f"  {source_trees.sentence(f'a{i}')}\n" + source_trees.sentence(f"b{i}")]
      for i in range(200)
  ]
  pairs = list(docstring_documents.split(documents))
  train = [text for split, text in pairs if split == "train"]
  held_out = [text for split, text in pairs if split != "train"]
  assert held_out
  for text in held_out:
    assert not any(text in document for document in train)
