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

"""SavedModels that a server loads, written by another TensorFlow program."""

import mtf_switch  # isort: skip  # noqa: F401
import json
import math
import shutil

import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.serving import served_model
from tests.serving import made_server as made

RECORD = {
    "step": 12,
    "model_type": "bitransformer",
    "default": "greedy",
    "decodings": {},
    "lengths": {"inputs": 3, "targets": 5},
    "batch_size": 2,
    "signatures": {},
    "vocabularies": {},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
  path = tmp_path_factory.mktemp("model")
  made.write(path)
  return path


@pytest.fixture(scope="module")
def model(directory):
  return served_model.ServedModel(str(directory))


def test_a_model_of_another_program(model, directory):
  of_texts = served_model.Signature(("inputs",), "outputs")
  of_pairs = served_model.Signature(("inputs", "targets"), "scores")
  assert model.signatures == {
      "beam": of_texts,
      "greedy": of_texts,
      "score": of_pairs,
      "serving_default": of_texts,
  }
  assert model.decodings[0] == "serving_default"
  assert (model.directory, model.facts) == (str(directory), {})
  assert model.most_tokens is None


def test_results_are_texts_and_numbers_in_order(model):
  model.warm_up()
  texts = ["abc", "", "e\u0301 \0 \U0001f600"]
  rows = [[text] for text in texts]
  assert model.run("greedy", rows) == [text.upper() for text in texts]
  assert model.run("beam", rows) == [f"beam of {text}" for text in texts]
  one, none = model.run("score", [["abc", "d"], ["a", ""]])
  assert one == 2.0 and math.isnan(none)
  assert model.run("greedy", rows[:1]) == ["ABC"]


def test_an_export_says_more(directory, tmp_path):
  # The last version counts, as a number.
  for place in ("text/9", "text/12", "ids/13"):
    shutil.copytree(directory, tmp_path / place)
  (tmp_path / "text" / "100").mkdir()
  (tmp_path / "text" / "12" / "serving.json").write_text(json.dumps(RECORD))
  model = served_model.ServedModel(str(tmp_path))
  assert model.directory == str(tmp_path / "text" / "12")
  assert model.decodings == ["greedy", "beam"]
  assert "serving_default" not in model.signatures
  assert model.facts == RECORD
  assert model.most_tokens == 3
  assert model.count_tokens(["a b", ""]) == [2, 0]


def test_a_signature_that_fails(model, directory, monkeypatch):
  def run(name, examples):
    raise tf.errors.InvalidArgumentError(None, None, f"{name}\nfails")

  monkeypatch.setattr(model, "run", run)
  with pytest.raises(errors.UserError) as error:
    model.warm_up()
  assert str(error.value) == (
      f"the signature beam of {directory} fails: beam\\nfails"
  )


@pytest.mark.parametrize(
    "change, line",
    [
        (
            lambda path: (path / "saved_model.pb").unlink(),
            "is not a SavedModel: it has no saved_model.pb, and neither have",
        ),
        (
            lambda path: (path / "saved_model.pb").write_bytes(b"\xff" * 9),
            "cannot be loaded as a SavedModel: ",
        ),
        (
            lambda path: (path / "serving.json").write_text("{}"),
            "serving.json has other content than this program writes",
        ),
    ],
)
def test_what_cannot_be_served(directory, tmp_path, change, line):
  path = tmp_path / "model"
  shutil.copytree(directory, path)
  change(path)
  with pytest.raises(errors.UserError) as error:
    served_model.ServedModel(str(path))
  assert line in str(error.value)
  assert len(str(error.value).splitlines()) == 1


def test_a_model_of_ids_alone(tmp_path):
  made.write(tmp_path, has_texts=False)
  with pytest.raises(errors.UserError) as error:
    served_model.ServedModel(str(tmp_path))
  assert "has no signature that takes texts, only " in str(error.value)
  assert "greedy_ids" in str(error.value)
