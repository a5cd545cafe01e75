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

"""What runs leave behind, as it is read."""

import json
import math
import pathlib

import hypothesis
from hypothesis import strategies
import numpy as np
import pytest

from mtf_switch import errors
from mtf_switch.pages import report
from mtf_switch.pages import run_files
from tests.pages import made_runs


def test_a_whole_run(tmp_path):
  gin = "a.b = 1\ns/c.d = [%x, @f]\nx = {'k': (2,)}\n"
  lines = [
      made_runs.routed(10, [1.0, 1.0]),
      made_runs.evaluation(20, -2.0),
      {"kind": "warning", "step": 20, "task": "t", "what": "spike"},
  ]
  path = made_runs.write(tmp_path / "m", lines, gin, parameters=7)
  scores = tmp_path / "m" / "validation_eval"
  scores.mkdir()
  (scores / "metrics.jsonl").write_text('{"step": 3, "task": "t", "f1": 2.5}\n')
  commands = tmp_path / "m" / "commands"
  commands.mkdir()
  for number in (2, 10):
    (commands / f"command.{number}").write_text(f"run {number}\n")
  (run,) = run_files.read_all([path])
  assert run.configuration == {
      **{"a.b": "1", "s/c.d": "[%x, @f]", "x": "{'k': (2,)}"}
  }
  assert run.commands == ["run 2", "run 10"]
  assert run.scores["validation"][0]["f1"] == 2.5
  assert [x["what"] for x in run.warnings] == ["spike"]
  assert run.figures["fraction_dropped"].tolist() == [0.25]
  assert run.layer_names == [made_runs.LAYER]
  assert run.versions["numpy"] == "1.26.4"
  assert (run.tasks, run.model, run.notes) == (
      ["a_task"],
      {"parameters": 7},
      [],
  )


def test_a_run_of_an_earlier_version_has_metrics_alone(tmp_path):
  (tmp_path / "m").mkdir()
  line = {"step": 1, "kind": "train", "task": "t", "cross_entropy": 2.0}
  (tmp_path / "m" / "metrics.jsonl").write_text(json.dumps(line))
  runs = run_files.read_all([str(tmp_path / "m")])
  assert (runs[0].model, runs[0].gin, runs[0].commands) == ({}, "", [])
  assert "Versions" in report.render(runs)


def test_a_damaged_line_is_noted_and_left_out(tmp_path):
  path = made_runs.write(tmp_path / "m", [made_runs.train(1)])
  with open(f"{path}/metrics.jsonl", "a") as file:
    file.write('{"step": 2, "ki\n')
  (run,) = run_files.read_all([path])
  assert len(run.training) == 1
  assert "1 line of" in run.notes[0]
  assert run.notes[0] in report.render([run])


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("metrics.jsonl", "", "has no figures of a run in metrics.jsonl"),
        ("model.json", "{", "is not JSON"),
        ("vocabulary.json", '{"inputs": 1}', "has other content than"),
        ("not_finite.json", "{}", "has other content than"),
    ],
)
def test_damaged_files(tmp_path, name, content, message):
  path = made_runs.write(tmp_path / "m", [made_runs.train(1)])
  (tmp_path / "m" / name).write_text(content)
  with pytest.raises(errors.UserError, match=message):
    run_files.read_all([path])


def test_names_are_as_short_as_they_can_be(tmp_path):
  paths = [tmp_path / "x" / "m", tmp_path / "y" / "m"]
  paths = [made_runs.write(x, [made_runs.train(1)]) for x in paths]
  assert [x.name for x in run_files.read_all(paths)] == ["x/m", "y/m"]
  assert run_files.read_all(paths[:1])[0].name == "m"
  with pytest.raises(errors.UserError, match="is given twice"):
    run_files.read_all([paths[0], paths[1], f"{paths[0]}/"])


def test_of_equal_steps_the_last_line_counts(tmp_path):
  lines = [
      made_runs.evaluation(2, -1.0),
      made_runs.evaluation(1, -3.0),
      made_runs.evaluation(2, -2.0),
      made_runs.evaluation(2, -5.0, task="other"),
  ]
  (run,) = run_files.read_all([made_runs.write(tmp_path / "m", lines)])
  found = [(x["step"], x["neg_log_perplexity"]) for x in run.evaluations]
  assert found == [(1, -3.0), (2, -2.0), (2, -5.0)]


def test_numbers():
  for value in (None, "1", True, [1], math.inf, math.nan, 10**400):
    assert math.isnan(run_files.number(value))
  assert run_files.number(3) == 3.0


def test_steps_that_are_none(tmp_path):
  lines = [{**made_runs.train(1), "step": x} for x in (-1, 10**400, 5)]
  (run,) = run_files.read_all([made_runs.write(tmp_path / "m", lines)])
  assert [x["step"] for x in run.training] == [5]


def test_figures_of_a_student(tmp_path):
  lines = [
      made_runs.train(1, distillation={"agreement": 0.5, "loss": None}),
      made_runs.train(2, distillation=7),
  ]
  (run,) = run_files.read_all([made_runs.write(tmp_path / "m", lines)])
  np.testing.assert_array_equal(
      run.figures["distillation: agreement"], [0.5, np.nan]
  )
  assert "distillation: loss" not in run.figures


JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=5),
    lambda inner: strategies.lists(inner, max_size=3)
    | strategies.dictionaries(strategies.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KINDS = strategies.sampled_from(["train", "eval", "warning", "other"])
_NAMES = strategies.sampled_from(
    [
        *("layers", "cross_entropy", "seconds", "date", "where", "numbers"),
        *("neg_log_perplexity", "distillation", "state", "what"),
    ]
)
_LAYERS = strategies.dictionaries(
    strategies.sampled_from(["a", "b"]),
    strategies.dictionaries(
        strategies.sampled_from(["load", "load_histogram", "gate"]), JSON
    ),
)


@hypothesis.settings(
    deadline=None,
    max_examples=30,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(
    lines=strategies.lists(
        strategies.tuples(
            strategies.integers(),
            _KINDS,
            strategies.dictionaries(_NAMES, JSON | _LAYERS, max_size=5),
        ),
        max_size=4,
    ),
    other=strategies.binary(max_size=20),
)
def test_any_content_gives_a_page_or_one_line(tmp_path, lines, other):
  directory = pathlib.Path(tmp_path) / "m"
  directory.mkdir(exist_ok=True)
  records = [
      {**fields, "step": step, "kind": kind, "task": "<b>"}
      for step, kind, fields in lines
  ]
  text = "".join(json.dumps(record) + "\n" for record in records)
  (directory / "metrics.jsonl").write_bytes(text.encode() + other)
  for name in ("operative_config.gin", "versions.txt"):
    (directory / name).write_bytes(other)
  try:
    runs = run_files.read_all([str(directory)])
  except errors.UserError:
    return
  assert "<b>" not in report.render(runs)
