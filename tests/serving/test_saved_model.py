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

"""SavedModels in a process without this package, beside infer and score."""

import mtf_switch  # isort: skip  # noqa: F401
import concurrent.futures
import itertools
import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest

from mtf_switch.modes import decode
from mtf_switch.modes import export
from mtf_switch.serving import saved_model
from mtf_switch.serving import served_model
from mtf_switch.training import inputs
from tests.serving import made_model
from tests.serving import made_server

BATCHES = (1, 3, 17)
LINES = [
    "the switch sends each token to one expert",
    "",
    "each <extra_id_0> to one <extra_id_1>.",
    "caf\u00e9",
    "sends each token to one expert the switch, 0123",
    " \u2003",
    "token token",
    "x y z",
    "too long " * 20,
    "one",
    "two_words",
    "the",
    "each token to one expert sends the switch, _.",
    "to",
    "expert expert",
    "0",
    # T5 limits beams by the longest input of a batch, here of 4 rows.
    "one expert sends the switch each token, 0123",
]
ANSWERS = LINES[::-1]
DECODINGS = {
    "greedy": {},
    "beam": {"beam_size": 3},
    "sample": {"temperature": 0.7},
}
T5_NAMES = {
    "greedy": [],
    "beam": ["Bitransformer.decode.beam_size = 3"],
}


def lines_of(mode, directory, lines, *params):
  """The lines that a mode makes of a file's."""
  file, output = directory / "in.txt", directory / "out.txt"
  file.write_text("\n".join(lines) + "\n")
  run = made_model.configured(directory, *params)
  mode(run, made_model.console(), str(file), str(output))
  return output.read_text().split("\n")[:-1]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """A model that is exported, and what it and this package answer."""
  directory = tmp_path_factory.mktemp("exported")
  pieces = made_model.train_pieces(directory)
  params = [
      "task = 'docstrings_span_corruption'",
      f"vocabulary.path = {str(pieces)!r}",
  ]
  run = made_model.configured(
      directory, *params, f"export.decodings = {DECODINGS}"
  )
  made_model.write_checkpoint(run)
  vocabulary = run.experiment.vocabularies[0].found
  asked = {
      "step": made_model.STEP,
      "batches": BATCHES,
      "lines": LINES,
      "answers": ANSWERS,
      "wrong": [[[5] * 25], [[vocabulary.vocab_size]], [[-1]]],
      **{
          name: (
              inputs.encode_lines(
                  dict(enumerate(lines)), vocabulary, length, True, name
              ).tolist()
          )
          for name, lines, length in (
              ("inputs", LINES, 24),
              ("targets", ANSWERS, 16),
          )
      },
  }
  (directory / "asked.json").write_text(json.dumps(asked))
  printed = []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr("builtins.print", printed.append)
    export.export(run, made_model.console(), str(directory / "out"))
  (directory / "printed.py").write_text(printed[-1])
  process = subprocess.Popen(
      [
          sys.executable,
          made_model.__file__.replace("made_model", "without_package"),
          *(str(directory / x) for x in ("out", "asked.json", "printed.py")),
      ],
      cwd=directory,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
  )
  expected = {
      name: lines_of(decode.infer, directory, LINES, *params, *T5_NAMES[name])
      for name in T5_NAMES
  }
  pairs = [f"{a}\t{b}" for a, b in zip(LINES, ANSWERS)]
  scores = lines_of(decode.score, directory, pairs, *params)
  stdout, stderr = process.communicate()
  assert process.returncode == 0, stderr
  example, answers = stdout.splitlines()
  return types.SimpleNamespace(
      directory=directory / "out",
      vocabulary=vocabulary,
      printed=printed,
      example=example,
      answers=json.loads(answers),
      texts=expected,
      scores=np.array(list(map(float, scores))),
      asked=asked,
  )


@pytest.mark.parametrize("name", T5_NAMES)
def test_texts_are_those_of_infer(exported, name):
  expected = exported.texts[name]
  assert len(set(expected)) > 8
  assert exported.answers["texts"][name] == [expected[:n] for n in BATCHES]
  assert exported.answers["none"] == []
  is_blank = [not line.strip() for line in LINES]
  assert sum(is_blank) == 2 and not any(itertools.compress(expected, is_blank))


def test_ids_are_those_of_infer(exported):
  # Blank lines are no lines to infer; as ids they are rows like others.
  for n, rows in zip(BATCHES, exported.answers["ids"]["greedy"], strict=True):
    assert len(rows) == n
    for line, row, text in zip(LINES, rows, exported.texts["greedy"]):
      assert not line.strip() or exported.vocabulary.decode(row) == text
  # As TensorFlow Serving loads them.
  assert exported.answers["session"] == rows


def test_scores_are_those_of_score(exported):
  for kind in ("texts", "ids"):
    for n, scores in zip(BATCHES, exported.answers[kind]["score"]):
      np.testing.assert_allclose(scores, exported.scores[:n], rtol=1e-5)


def test_samples_are_others_with_each_call(exported):
  one, other = exported.answers["ids"]["samples"]
  assert one != other


def test_ids_may_be_short_and_not_long_or_unknown(exported):
  short, padded = exported.answers["short"]
  assert short == padded
  size = exported.vocabulary.vocab_size
  expected = [
      "inputs may have 24 ids and no more",
      *[f"inputs may have ids from 0 to {size - 1}"] * 2,
  ]
  for text, message in zip(expected, exported.answers["errors"], strict=True):
    assert text in message


def test_tokens_are_those_of_the_vocabulary(exported):
  tokens = exported.answers["tokenize"]
  assert tokens["ids"] == exported.asked["inputs"]
  assert tokens["lengths"] == [
      len(exported.vocabulary.encode(x)) + 1 for x in LINES
  ]


def test_ids_need_tensorflow_alone_and_weights_are_there_once(exported):
  assert not exported.answers["needs_text"]
  text, ids = (exported.directory / x / "3" for x in ("text", "ids"))
  for file in os.listdir(text / "variables"):
    one, other = (x / "variables" / file for x in (text, ids))
    assert os.path.samefile(one, other)
  sizes = [saved_model.num_bytes(str(x)) for x in (text, ids)]
  assert saved_model.num_bytes(str(exported.directory)) < sum(sizes)


def test_the_printed_example_works_as_it_is(exported):
  greedy = exported.answers["texts"]["greedy"]
  assert exported.printed[-1].startswith("import tensorflow as tf\nimport ")
  assert len(eval(exported.example)) == 2 and greedy  # A list of texts.
  assert "b'" not in exported.example


def test_the_record_says_what_a_server_has_to_know(exported):
  record = saved_model.read_record(str(exported.directory / "text" / "3"))
  assert record["step"] == 3 and record["default"] == "greedy"
  assert record["lengths"] == {"inputs": 24, "targets": 16}
  assert record["batch_size"] == 4
  assert list(record["decodings"]) == list(DECODINGS)
  assert record["decodings"]["sample"]["temperature"] == 0.7
  assert record["signatures"]["score"] == {
      "inputs": {"inputs": "string[n]", "targets": "string[n]"},
      "outputs": {"scores": "float32[n]"},
  }
  assert saved_model.read_record(str(exported.directory)) is None


def test_without_links_there_are_two_copies(tmp_path, monkeypatch):
  def refuse(*unused):
    raise OSError("no links here")

  monkeypatch.setattr(os, "link", refuse)
  for name in ("one", "other"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "file").write_text(name)
  saved_model._share(str(tmp_path / "one"), str(tmp_path / "other"))
  assert (tmp_path / "other/file").read_text() == "other"
  assert sorted(os.listdir(tmp_path)) == ["one", "other"]


def test_many_clients_get_what_infer_and_score_say(exported):
  model = served_model.ServedModel(str(exported.directory))
  assert model.decodings == ["greedy", "beam", "sample"]
  assert model.most_tokens == 24
  with made_server.served(model.run, model, wait_seconds=0.005) as (server, _):

    def ask(number):
      content = {"inputs": LINES[number], "cut": True}
      status, decoded, _ = made_server.ask(server, "/v1/decode", content)
      assert status == 200
      content["targets"] = ANSWERS[number]
      status, scored, _ = made_server.ask(server, "/v1/score", content)
      assert status == 200
      return decoded["outputs"][0], scored["scores"][0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      texts, scores = zip(*pool.map(ask, range(len(LINES))))
    long = LINES.index("too long " * 20)
    status, answer, _ = made_server.ask(
        server, "/v1/decode", {"inputs": LINES[long]}
    )
  assert list(texts) == exported.texts["greedy"]
  np.testing.assert_allclose(scores, exported.scores, rtol=1e-5)
  tokens = exported.answers["tokenize"]["lengths"][long]
  assert (status, f"has {tokens} tokens" in answer["error"]) == (400, True)
