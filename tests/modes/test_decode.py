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

"""The files of inference and scoring, without a model."""

import mtf_switch  # isort: skip  # noqa: F401
import gzip
import io
import types
import warnings

import gin
import hypothesis
from hypothesis import strategies
import numpy as np
import pytest
import rich.console
import seqio

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.modes import decode
from mtf_switch.training import prediction
from tasks import errors as task_errors
from tasks import text_files

# What str.splitlines takes for the end of a line, and we do not.
NO_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
VOCABULARY = seqio.ByteVocabulary()


@pytest.fixture
def run(monkeypatch):
  """A run that decodes each input to itself, and scores its number of ids."""

  def decoded(run, ids, step, display):
    del run, step, display
    return [VOCABULARY.decode(row.tolist()) for row in ids]

  def predict(run, model_fn, features, *args):
    del run, model_fn, args
    counts = [np.count_nonzero(ids, axis=1) for ids in features.values()]
    return [{"score": -x} for x in np.sum(counts, axis=0)]

  monkeypatch.setattr(prediction, "decode", decoded)
  monkeypatch.setattr(prediction, "predict", predict)
  return types.SimpleNamespace(
      experiment=types.SimpleNamespace(
          model_type="bitransformer",
          vocabularies=(VOCABULARY, VOCABULARY),
          lengths={"inputs": 24, "targets": 12},
      ),
      select_checkpoints=lambda step: [3],
  )


def outputs(mode, run, directory, content, packed=False):
  """The lines that a mode makes of a file's content."""
  path, output = directory / ("in.txt" + ".gz" * packed), directory / "out"
  path.write_bytes(gzip.compress(content) if packed else content)
  console = rich.console.Console(file=io.StringIO())
  mode(run, console, str(path), str(output))
  return output.read_text().split("\n")[:-1]


@pytest.mark.parametrize("packed", [False, True])
def test_inference_answers_each_line_with_one(run, tmp_path, packed):
  lines = [f"a{NO_ENDS[:4]}b", "", f"c{NO_ENDS[4:]}\rd", "e", " ", "\ufefff"]
  content = "\ufeff" + "\r\n".join(lines)
  written = outputs(decode.infer, run, tmp_path, content.encode(), packed)
  assert written == ["a    b", "", "c     d", "e", "", "\ufefff"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_pair_with_any_character_is_scored(run, tmp_path, packed):
  content = f"\ufeffa\tb\nin{NO_ENDS}puts\tc\u2028d\na\rb\tc\n"
  written = outputs(decode.score, run, tmp_path, content.encode(), packed)
  # As bytes, and an end to each of both.
  assert written == ["-4.0", f"-{7 + len(NO_ENDS.encode()) + 5 + 1}.0", "-6.0"]


def test_a_pair_with_a_broken_line_is_refused_by_its_number(run, tmp_path):
  with pytest.raises(errors.UserError, match="in.txt:2: 1 columns where"):
    outputs(decode.score, run, tmp_path, "a\u2028\tb\nc\u2028d\n".encode())


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.example("\r\r\n", "\n", False)
@hypothesis.given(
    strategies.text(alphabet=f"ab \t\n\r\ufeff\u2603{NO_ENDS}", max_size=30),
    strategies.sampled_from(["\n", "\r\n"]),
    strategies.booleans(),
)
def test_training_and_inference_see_the_same_lines(
    tmp_path_factory, text, end, packed
):
  # A line whose last character is \r cannot be told from one that \r\n ends.
  lines = [line.rstrip("\r") for line in text.split("\n")]
  path = tmp_path_factory.getbasetemp() / ("lines.txt" + ".gz" * packed)
  content = end.join(lines).encode()
  path.write_bytes(gzip.compress(content, 1) if packed else content)
  read = decode.read_lines(str(path))
  lines = lines if lines[-1] else lines[:-1]
  if lines:
    lines[0] = lines[0].removeprefix("\ufeff")
  assert read == lines
  assert list(text_files.read_documents(str(path), "line")) == [
      line for line in lines if line.strip()
  ]
  # Each text that is written is one line to the same reader.
  files.write_lines(str(path), [text, *lines])
  assert len(decode.read_lines(str(path))) == 1 + len(lines)


@pytest.mark.parametrize("mode", [decode.infer, decode.score])
def test_files_that_are_no_text_are_refused(run, tmp_path, mode):
  with pytest.raises(task_errors.DataError) as error:
    outputs(mode, run, tmp_path, "a\tb\ncaf\u00e9\tc\n".encode("latin-1"))
  assert str(error.value).split("\n")[0] == (
      f"{tmp_path / 'in.txt'}, line 2: this is not UTF-8 text."
  )
  with pytest.raises(task_errors.DataError, match="is a directory."):
    mode(run, None, str(tmp_path), str(tmp_path / "out"))
  assert not (tmp_path / "out").exists()


def notices(mode, *arguments):
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    mode(*arguments)
  return [str(x.message) for x in caught if x.category is errors.UserNotice]


def test_cut_inputs_are_counted(run, tmp_path):
  lines = ["x" * 23, "x" * 24, "", "x" * 2000, "\u00e9" * 12]
  content = "\n".join(lines).encode()
  # The end of the sequence takes a position, and a blank line is not decoded.
  assert notices(outputs, decode.infer, run, tmp_path, content) == [
      "3 of 4 inputs are longer than the 24 tokens of "
      "Experiment.sequence_length and were cut, the first is line 2."
  ]
  run.experiment.model_type = "lm"  # It continues its inputs.
  assert notices(outputs, decode.infer, run, tmp_path, content) == [
      "4 of 4 inputs are longer than the 12 tokens of "
      "Experiment.sequence_length and were cut, the first is line 1."
  ]


def test_an_lm_has_no_beam_search(run, tmp_path):
  run.experiment.model_type = "lm"
  gin.parse_config("Bitransformer.decode.beam_size = 1")
  outputs(decode.infer, run, tmp_path, b"a\n")
  gin.parse_config("Bitransformer.decode.beam_size = 4")
  with pytest.raises(errors.UserError, match="no beam search for an 'lm'"):
    outputs(decode.infer, run, tmp_path, b"a\n")


def test_cut_pairs_are_counted(run, tmp_path):
  content = b"a\tb\n" + b"x" * 24 + b"\t" + b"y" * 12 + b"\na\tb"
  assert notices(outputs, decode.score, run, tmp_path, content) == [
      f"1 of 3 {feature} is longer than the {length} tokens of "
      "Experiment.sequence_length and was cut, the first is line 2."
      for feature, length in (("inputs", 24), ("targets", 12))
  ]
  assert not notices(outputs, decode.score, run, tmp_path, b"a\tb\n")
