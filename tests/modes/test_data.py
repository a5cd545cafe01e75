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

"""The output of the modes about data, and a run that uses their cache."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import json
import os
import signal
import time

import gin
import numpy as np
import pytest
import rich.console
import seqio

from mtf_switch import errors
from mtf_switch.modes import data
from mtf_switch.training import run as run_lib
from tasks import vocabulary_training
from tests import official_zips
from tests import toy_tasks

CONSOLE = rich.console.Console(file=io.StringIO())

TOYS = "--module_import=tests.toy_tasks"


# Readable text.

BYTES = seqio.ByteVocabulary(extra_ids=5)  # 3 special ids, 256 bytes.


def ids_of(text):
  return [3 + byte for byte in text.encode()]


@pytest.mark.parametrize(
    "ids, text",
    [
        (ids_of("a b"), "a b"),
        ([*ids_of("a"), 263, *ids_of("b"), 259], "a<extra_id_0>b<extra_id_4>"),
        ([263, 262], "<extra_id_0><extra_id_1>"),
        # An "lm" is fed several documents in a row.
        ([*ids_of("a"), 1, *ids_of("b"), 1], "a</s>b</s>"),
        (ids_of("a\nb\x1b[31m"), "a\\nb\\x1b[31m"),
        ([], ""),
    ],
)
def test_bytes_are_readable(ids, text):
  assert data.readable(BYTES, np.array(ids, np.int32)) == text


def test_sentencepiece_is_readable(tmp_path):
  path = tmp_path / "a.model"
  path.write_bytes(vocabulary_training.train(["one two three four"] * 9, 20))
  words = seqio.SentencePieceVocabulary(str(path), extra_ids=100)
  ids = words.encode("one <extra_id_0> three <extra_id_1>")
  text = data.readable(words, [*ids, 1, *words.encode("two"), 1])
  assert text == "one <extra_id_0> three <extra_id_1></s>two</s>"


# Looking at a task.


def inspected(capsys, *args, **kwargs):
  data.inspect(run_lib.Run(), CONSOLE, *args, **kwargs)
  return capsys.readouterr().out.splitlines()


def test_records_stand_beside_what_the_model_is_fed(capsys):
  gin.parse_config("""
      inputs_length = 5
      sequence_length = {"inputs": %inputs_length, "targets": 64}
  """)
  lines = inspected(capsys, "toy_reverse", "validation", num_examples=2)
  assert toy_tasks.texts("validation")[:2] == ["sends", "sends each"]

  def ids(text):
    return " ".join(map(str, [*ids_of(text), 1]))

  assert lines == [
      "toy_reverse, validation split: FunctionDataSource",
      "lengths: inputs 5, targets 64",
      "record 1",
      "  inputs: sends",
      "  targets: sdnes",
      "example 1",
      "  inputs_pretokenized: sends",
      "  inputs: send</s>",  # Cut.
      f"  inputs, 5 ids: {ids('send')}",
      "  targets_pretokenized: sdnes",
      "  targets: sdnes</s>",
      f"  targets, 6 ids: {ids('sdnes')}",
      "record 2",
      "  inputs: sends each",
      "  targets: hcae sdnes",
      "example 2",
      "  inputs_pretokenized: sends each",
      "  inputs: send</s>",
      f"  inputs, 5 ids: {ids('send')}",
      "  targets_pretokenized: hcae sdnes",
      "  targets: hcae sdnes</s>",
      f"  targets, 11 ids: {ids('hcae sdnes')}",
      "",
  ]


def test_lengths_are_those_of_t5_unless_gin_has_others(capsys):
  assert inspected(capsys, "toy_copy")[1] == "lengths: inputs 512, targets 114"
  assert inspected(capsys, "toy_lm")[1] == "lengths: targets 512"
  gin.parse_config("sequence_length = 7")
  assert inspected(capsys, "toy_copy")[1] == "lengths: inputs 7, targets 7"


def test_three_of_a_task_and_one_of_each_of_a_mixture(capsys):
  assert inspected(capsys, "toy_copy").count("  inputs: to</s>") == 1
  assert "example 3" in inspected(capsys, "toy_copy")
  lines = inspected(capsys, "toy_mixture")
  assert [line for line in lines if "split:" in line] == [
      "toy_copy, train split: FunctionDataSource",
      "toy_reverse, train split: FunctionDataSource",
  ]
  assert lines.count("example 1") == 2
  assert "example 2" not in lines


def test_the_task_may_be_gins(capsys):
  gin.parse_config("task = 'toy_lm'")
  assert inspected(capsys)[0].startswith("toy_lm, train split")
  assert inspected(capsys, "toy_copy")[0].startswith("toy_copy, train split")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--mode=inspect needs --task=NAME; --mode=tasks lists the names."),
        (
            ["toy_mixture", "test"],
            "'toy_mixture' has no 'test' split; it has train, validation.",
        ),
    ],
)
def test_mistakes(arguments, message):
  with pytest.raises(errors.UserError) as error:
    data.inspect(run_lib.Run(), None, *arguments)
  assert str(error.value) == message


@pytest.mark.parametrize(
    "value, text",
    [
        (np.array(b"a\nb"), "a\\nb"),
        (np.int64(3), "3"),
        (np.array([b"a", b"b"], object), "[a, b]"),
        ({"start": np.array([1, 2])}, "{start: [1, 2]}"),
        (np.array(b"x" * 1234), f"{'x' * 1000}... (1,234 characters)"),
    ],
    ids=["text", "number", "texts", "nested", "long"],
)
def test_values_of_records(value, text):
  assert data._shown(value) == text


# The command line.


def test_the_list_of_tasks(server, tmp_path):
  result = server.run(["--mode=tasks", TOYS], tmp_path)
  assert result.returncode == 0, result.stderr
  titles, *lines = result.stdout.splitlines()
  assert titles == "name\tdata\tsource\tsplits\tmetrics"
  rows = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
  assert len(rows) == len(lines)
  own = "sequence_accuracy, edit_distance"
  assert rows["docstrings_span_corruption"] == [
      "yes", "documentation of the installed packages",
      "train, validation, test", own,
  ]  # fmt: skip
  assert rows["text_files_full_lm"][0] == "no"
  assert rows["glue_cola"] == [
      "no", "TFDS glue/cola:1.0.0", "train, validation, test",
      "matthews_corrcoef",
  ]  # fmt: skip
  assert rows["toy_copy"] == [
      "?", "FunctionDataSource", "train, validation", "sequence_accuracy"
  ]  # fmt: skip
  assert rows["toy_mixture"][:2] == ["?", "mixture of toy_copy, toy_reverse"]
  assert rows["cldr"][:2] == ["yes", "mixture of cldr.*, 98 tasks"]
  assert rows["pairs_files"][-1] == "exact_match"
  assert "cldr.de" in rows
  # T5's own are left out.
  assert "glue_cola_v002" not in rows
  assert "T5's own" in result.stderr
  # Gin says where data is.
  (tmp_path / "a.txt").write_text("one")
  params = [
      "text_files.path = 'a.txt'",
      "cldr.languages = ['de', 'sw']",
      "pairs_files.metrics = ['rouge', 'bleu']",
  ]
  result = server.run(
      ["--mode=tasks", *(f"--gin_param={param}" for param in params)], tmp_path
  )
  rows = [line.split("\t") for line in result.stdout.splitlines()]
  rows = {row[0]: row[1:] for row in rows}
  assert rows["text_files_full_lm"][0] == "yes"
  assert rows["cldr"][1] == "mixture of cldr.*, 2 tasks"
  assert rows["pairs_files"][-1] == "rouge, bleu"


def test_the_data_of_a_task_without_some_splits(tmp_path):
  official_zips.write_super_glue(tmp_path, "cb")
  gin.parse_config(f"super_glue.directory = '{tmp_path}'")
  names = ("super_glue_cb", "super_glue_rte", "super_glue_axb")
  tasks = [seqio.TaskRegistry.get(name) for name in names]

  def presence():
    each = [data.presence([task]) for task in tasks]
    return each, data.presence(tasks)

  assert presence() == (["yes", "no", "no"], "1 of 3")
  official_zips.write_super_glue(tmp_path, "axb")
  (tmp_path / "CB" / "test.jsonl").unlink()
  assert presence() == (["no test", "no", "yes"], "2 of 3")
  (tmp_path / "CB" / "train.jsonl").unlink()
  assert presence() == (["no train, test", "no", "yes"], "1 of 3")


def test_missing_data_is_one_line(server, tmp_path):
  arguments = ["--mode=inspect", "--task=text_files_full_lm"]
  result = server.run(arguments, tmp_path)
  assert result.returncode == 1
  assert result.stderr.startswith("run_switch: text_files.path is not set;")
  assert result.stderr.count("\n") == 1
  assert not result.stdout


ODD_TASKS = """
import seqio
import tensorflow as tf


def columns(dataset):
  words = lambda line: tf.strings.split(line, "\\t")
  return dataset.map(lambda x: {"inputs": words(x)[0], "targets": words(x)[1]})


def field(dataset):
  return dataset.map(lambda x: {"inputs": x["text"], "targets": x["text"]})


def failing(dataset):
  raise RuntimeError("out of flour")


def register(name, file, *steps):
  feature = seqio.Feature(seqio.ByteVocabulary())
  seqio.TaskRegistry.add(
      name,
      source=seqio.TextLineDataSource({"train": file}),
      preprocessors=steps,
      output_features={"inputs": feature, "targets": feature},
  )


tokenize = seqio.preprocessors.tokenize
register("odd_file", "none.tsv", columns, tokenize)
register("odd_line", "odd.tsv", columns, tokenize)
register("odd_field", "odd.tsv", field, tokenize)
register("odd_step", "odd.tsv", failing, tokenize)
register("odd_type", "odd.tsv", columns)
"""


def test_the_task_may_be_a_parameter(server, tmp_path):
  """As in the gin file of a run, which has more parameters."""
  (tmp_path / "a.csv").write_text("inputs,targets\na,b\n")
  params = [
      "task = 'pairs_files'",
      "pairs_files.train = 'a.csv'",
      "vocabulary.name = 'bytes'",
  ]
  arguments = [f"--gin_param={param}" for param in params]
  length = "--gin_param=sequence_length = 2"
  result = server.run(["--mode=inspect", *arguments, length], tmp_path)
  assert "lengths: inputs 2, targets 2\n" in result.stdout, result.stderr
  cache = ["--mode=cache", "--output_dir=cached"]
  result = server.run([*cache, *arguments], tmp_path)
  assert result.returncode == 0, result.stderr
  assert (tmp_path / "cached" / "pairs_files" / "COMPLETED").exists()
  result = server.run([*cache, *arguments, "--gin_param=tsak = 'a'"], tmp_path)
  assert result.stderr == (
      "run_switch: Nothing in gin uses 'tsak'. Did you mean task?\n"
  )


def test_mistakes_in_a_task_of_ones_own_are_one_line(server, tmp_path):
  (tmp_path / "odd_tasks.py").write_text(ODD_TASKS)
  (tmp_path / "odd.tsv").write_text("a\tb\nc\n")
  place = f"{tmp_path}/odd_tasks.py:"
  none = "the examples of the task cannot be made: "
  for name, message in {
      "odd_file": "'odd_file' has no files of its 'train' split.",
      "odd_line": f"{none}slice index 1 of dimension 0 out of bounds.",
      "odd_field": f"{place}12: TypeError: Only integers, slices ",
      "odd_step": f"{place}16: RuntimeError: out of flour",
      "odd_type": f"{none}Task dataset has incorrect type for feature ",
  }.items():
    result = server.run(
        ["--mode=inspect", "--module_import=odd_tasks", f"--task={name}"],
        tmp_path,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"run_switch: {message}")


def test_broken_records_are_noted_at_the_end(server, tmp_path):
  lines = [json.dumps({"text": f"document {i}"}) for i in range(9)]
  lines[3] = "{"
  lines[5:8] = ["[]", '{"url": ""}', '{"text": 3}']
  (tmp_path / "c4-train.json").write_text("\n".join(lines))
  arguments = [
      "--mode=inspect",
      "--task=c4_span_corruption",
      "--gin_param=c4.files = 'c4-train.json'",
      "--gin_param=vocabulary.name = 'bytes'",
  ]
  result = server.run(arguments, tmp_path)
  assert result.returncode == 0, result.stderr
  assert "<extra_id_0>" in result.stdout
  (note,) = result.stderr.splitlines()
  assert note.startswith(
      "note: 4 broken records were skipped (c4-train.json, line 4: this is not"
  )
  assert note.count("c4-train.json, line ") == 3
  assert note.endswith("; ...).")
  # As they are where a run ends for them.
  limit = "--gin_param=broken_records.limit = 1"
  result = server.run([*arguments, limit], tmp_path)
  assert result.returncode == 1
  note, error = result.stderr.splitlines()
  assert note.startswith("note: 2 broken records were skipped (c4-train.json, ")
  assert error.startswith("run_switch: c4-train.json, line 6: ")


RUN = """
include "models/switch_tiny.gin"
include "layouts/single.gin"
include "schedules/constant_0_001.gin"
include "runs/pretrain.gin"
task = "toy_copy"
model_type = "lm"
sequence_length = 16
batch_size = 2
train_steps = 1
num_experts = 2
num_cores = 1
d_model = 16
d_ff = 16
d_kv = 8
num_heads = 1
make_layer_stack.layers = [
    @transformer_layers.SelfAttention, @SwitchFeedForward]
"""


def test_a_killed_cache_goes_on_and_a_run_uses_it(server, tmp_path):
  arguments = [
      "--mode=cache", "--task=toy_lm", "--output_dir=caches", TOYS
  ]  # fmt: skip
  root = tmp_path / "caches" / "toy_lm"
  pid = server.start(arguments, tmp_path)
  while not list(root.glob("train.tfrecord-00002-*")):
    os.kill(pid, 0)
    time.sleep(0.001)
  os.kill(pid, signal.SIGKILL)
  assert server.wait().returncode == -signal.SIGKILL
  assert not (root / "COMPLETED").exists()

  (tmp_path / "mine.gin").write_text(RUN)
  train = [
      "--gin_file=mine.gin", "--model_dir=run", TOYS,
      "--gin_param=task = 'toy_lm'", "--gin_param=use_cached = True",
      "--additional_task_cache_dirs=caches",
  ]  # fmt: skip
  refused = server.run(train, tmp_path)
  assert refused.returncode == 1
  assert refused.stderr.startswith(
      "run_switch: mesh_train_dataset_fn.use_cached = True, but "
      "--additional_task_cache_dirs (caches) has no complete cache of 'toy_lm'"
  )

  result = server.run(arguments, tmp_path)
  assert result.returncode == 0, result.stderr
  assert result.stderr.splitlines()[-1] == (
      "toy_lm: the cache is in caches/toy_lm"
  )
  assert (root / "COMPLETED").exists()
  result = server.run(train, tmp_path)
  assert result.returncode == 0, result.stderr
  config = (tmp_path / "run" / "operative_config.gin").read_text()
  assert "mesh_train_dataset_fn.use_cached = %use_cached" in config
  assert "Using cache directory caches/toy_lm for 'toy_lm'" in (
      (tmp_path / "run" / "log.txt").read_text()
  )
