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

"""Where tokens go: the record, the text and the page, of made-up routing."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import json
import re

import numpy as np
import pytest
import rich.console

from mtf_switch import files
from mtf_switch.pages import routing_page
from mtf_switch.pages import routing_record as record_lib
from mtf_switch.pages import routing_text
from tests.pages import made_routing
from tests.pages import test_page


def tokens(experts, asked, best, probabilities=None, kept=None):
  asked = np.array(asked, bool)
  best = np.array(best)
  return made_routing.token_routing.Tokens(
      is_real=np.ones(len(asked), bool),
      experts=np.array(experts),
      probabilities=np.full(asked.shape, 0.5),
      gates=np.full(asked.shape, 0.5),
      asked=asked,
      kept=asked if kept is None else np.array(kept, bool),
      best=best,
      best_probabilities=(
          np.full(best.shape, 0.25)
          if probabilities is None
          else np.array(probabilities)
      ),
  )


@pytest.fixture(name="routing", scope="module")
def make_routing():
  return made_routing.routing()


@pytest.fixture(name="analyses", scope="module")
def make_analyses(routing):
  return [record_lib.analyse(routing, x) for x in routing.readings]


def test_a_decoder_reads_a_start_and_not_the_end():
  ids = {"inputs": np.array([5, 6, 1]), "targets": np.array([7, 8, 1])}
  example = record_lib.Example(1, "", ids)
  assert example.tokens("inputs").tolist() == [5, 6, 1]
  assert example.tokens("targets").tolist() == [0, 7, 8]
  nothing = {"targets": np.array([], int)}
  assert not len(record_lib.Example(1, "", nothing).tokens("targets"))


def test_the_next_best_is_the_first_that_does_not_take_the_token():
  found = tokens(
      [[2, 0], [2, 0], [1, 3]],
      [[1, 1], [1, 0], [1, 1]],
      [[2, 0, 1], [2, 0, 1], [0, 1, 3]],  # The last found no slot in 0.
      [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]],
  )
  experts, probabilities = record_lib.next_best(found)
  assert experts.tolist() == [1, 0, 0]
  assert probabilities.tolist() == [0.2, 0.3, 0.6]
  alone = tokens([[0]], [[1]], [[0]])
  assert [x.tolist() for x in record_lib.next_best(alone)] == [[-1], [0.0]]


def test_marks_can_be_read_without_colours():
  here = tokens([[3, 5], [1, 2]], [[1, 1], [1, 0]], [[3, 5, 0], [1, 2, 0]])
  assert routing_text.marks(here, None) == ["3+5", "1"]
  there = here._replace(kept=np.array([[1, 0], [0, 0]], bool))
  assert routing_text.marks(here, there) == ["3+5x", "1x"]
  assert routing_text.marks(there, here) == ["3+5", "1"]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_text_has_colours_on_terminals_only(routing, is_terminal):
  file = io.StringIO()
  console = rich.console.Console(
      file=file,
      force_terminal=is_terminal,
      width=80,
      color_system="256" if is_terminal else "auto",
  )
  for line in routing_text.example(routing, 0):
    console.print(line, soft_wrap=True)
  said = file.getvalue()
  assert ("\x1b[38;5;" in said) == is_terminal
  plain = re.sub(r"\x1b\[[\d;]*m", "", said)
  title, *layers = plain.splitlines()
  assert title.startswith(
      f"example 1 of {made_routing.EVIL}, the decoder's own"
  )
  assert len(layers) == len(made_routing.LAYERS)
  for layer, line in zip(made_routing.LAYERS, layers):
    assert line.startswith(f"  {layer.name}, {layer.feature}: ")
    marks = re.findall(r"/(\d\S*)(?= |$)", line)
    count = len(routing.shown[0].tokens(layer.feature))
    assert len(marks) == count


def test_counts_are_those_of_all_examples(routing, analyses):
  reading, found = routing.readings[0], analyses[0]
  for of_layer, asked in zip(found, reading.asked):
    assert of_layer.load.sum() == asked.sum()
    for name, table in of_layer.tables.items():
      assert table.counts.sum() == asked.sum()
      if name != "token":
        assert len(of_layer.names[name]) == len(table.counts)
  encoder = found[0]
  assert set(encoder.tables) == {"token", "class", "position", "task"}
  ids = np.concatenate([x.ids["inputs"] for x in routing.examples])
  assert encoder.tables["token"].values.tolist() == sorted(set(ids))
  is_first = np.concatenate(
      [np.arange(len(x.ids["inputs"])) == 0 for x in routing.examples]
  )
  expected = np.bincount(reading.experts[0][is_first, 0], minlength=4)
  assert encoder.names["position"][0] == "0"
  assert (encoder.tables["position"].counts[0] == expected).all()
  by_task = [
      sum(len(x.ids["inputs"]) for x in routing.examples if x.task == task)
      for task in encoder.names["task"]
  ]
  assert encoder.tables["task"].counts.sum(axis=1).tolist() == by_task


def test_the_record_is_json_of_the_documented_form(routing, analyses):
  changed = record_lib.changes(routing)
  content = record_lib.as_json(routing, analyses, changed)
  record = json.loads(files.json_text(content))
  assert list(record) == [
      *("format", "source", "task", "num_examples", "layers", "main"),
      *("checkpoints", "changes", "training_batch", "examples"),
  ]
  assert record["num_examples"] == 9 and len(record["examples"]) == 7
  assert record["layers"][1] == {
      "name": "decoder/block_000/layer_001",
      "feature": "targets",
      "num_experts": 3,
      "num_choices": 2,
  }
  assert [x["step"] for x in record["checkpoints"]] == [0, 100]
  of_layer = record["checkpoints"][1]["layers"][0]
  assert list(of_layer) == ["load", "information", "tables", "typical_tokens"]
  assert list(of_layer["information"]["token"]) == [
      *("bits", "shuffled", "deviation", "entropy", "above_shuffled")
  ]
  assert list(record["changes"][0][0]) == ["changed", "by_chance", "renamed"]
  example, shown = record["examples"][2], routing.shown[2]
  assert example["tokens"]["targets"]["ids"] == shown.tokens("targets").tolist()
  assert example["tokens"]["targets"]["texts"][0] == "<start>"
  assert example["training_row"] == 2
  layer = example["layers"][1]
  main = routing.readings[1].shown[2][1]
  assert layer["experts"] == main.experts.tolist()
  assert layer["asked"] == main.asked.tolist()
  assert not np.any(layer["dropped"])
  there = routing.in_training.shown[2][1]
  assert layer["in_training"]["dropped"] == (there.asked & ~there.kept).tolist()


def test_without_a_training_batch_the_record_and_page_say_so(routing):
  alone = routing._replace(in_training=None)
  analyses = [record_lib.analyse(alone, x) for x in alone.readings]
  record = record_lib.as_json(alone, analyses, [])
  assert record["training_batch"] is None
  assert record["examples"][0]["training_row"] is None
  assert "in_training" not in record["examples"][0]["layers"][0]
  page = test_page.Tags(routing_page.render(alone, analyses, []))
  assert "No training batch was read" in page.text
  assert "Changes" not in page.text


def test_names_of_files_and_texts_stay_texts(routing, analyses):
  changed = record_lib.changes(routing)
  content = routing_page.render(routing, analyses, changed)
  page = test_page.Tags(content)
  assert [tag for tag, _ in page.tags].count("script") == 1
  assert "img" not in {tag for tag, _ in page.tags}
  # The file, the task, the directory, a layer, and a piece.
  assert page.text.count(made_routing.EVIL) > 10


def test_each_token_has_its_expert_and_what_is_dropped(routing, analyses):
  page = test_page.Tags(routing_page.render(routing, analyses, []))
  found = [attrs for tag, attrs in page.tags if tag == "i" and "title" in attrs]
  shown = [x for of_example in routing.readings[1].shown for x in of_example]
  there = [x for of_example in routing.in_training.shown for x in of_example]
  assert len(found) == sum(len(x.experts) for x in shown)
  expected = [
      f"e{expert}" + " dropped" * bool(is_dropped)
      for one, other in zip(shown, there)
      for expert, is_dropped in zip(
          one.experts[:, 0], (other.asked & ~other.kept).any(axis=1)
      )
  ]
  assert [attrs["class"] for attrs in found] == expected
  first, other = shown[0].experts[0, 0], there[0].experts[0, 0]
  title = found[0]["title"]
  assert title.startswith(f"{first}: {shown[0].probabilities[0, 0]:.2f}; next ")
  assert title.endswith(f"in training {other}") == (first != other)


def test_a_page_does_not_grow_without_end(routing, analyses, monkeypatch):
  monkeypatch.setattr(routing_page, "_MOST_TOKENS", 40)
  page = test_page.Tags(routing_page.render(routing, analyses, []))
  headings = re.findall(r"example \d+ of", page.text)
  assert 0 < len(headings) < 7
  assert f"{7 - len(headings)} more examples are in routing.json" in page.text


def test_a_layer_with_one_expert_has_no_next(routing):
  only = tokens([[0]] * 3, [[1]] * 3, [[0]] * 3)
  first, *_ = routing_page._tokens(["a", "b", "c"], only, None)
  assert first == '<i class="e0" title="0: 0.50">a<sub>0</sub></i>'


def test_a_decoder_that_writes_nothing_has_no_tokens(routing):
  def without_targets(tokens):
    return [
        x if layer.feature == "inputs" else type(x)(*(y[:0] for y in x))
        for layer, x in zip(made_routing.LAYERS, tokens)
    ]

  silent = routing._replace(
      examples=[
          x._replace(ids={**x.ids, "targets": np.array([], int)})
          for x in routing.examples
      ],
      readings=[
          x._replace(
              shown=[without_targets(tokens) for tokens in x.shown],
              experts=[x.experts[0], x.experts[1][:0], x.experts[2]],
              asked=[x.asked[0], x.asked[1][:0], x.asked[2]],
          )
          for x in routing.readings
      ],
      in_training=None,
  )
  analyses = [record_lib.analyse(silent, x) for x in silent.readings]
  changed = record_lib.changes(silent)
  assert changed[0][1].changed == 0
  files.json_text(record_lib.as_json(silent, analyses, changed))
  page = test_page.Tags(routing_page.render(silent, analyses, changed))
  assert "There are no tokens." in page.text
