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

"""Figures 7 and 8 from the files of two runs, by hand."""

import csv
import json

import pytest
import rich.console

from mtf_switch import errors
from mtf_switch.modes import compare_languages as comparison
from mtf_switch.training import run as run_lib


def test_steps_between_two_evaluations():
  curve = [(100, -3.0), (200, -2.0), (300, -1.0)]
  # A quarter of the way from step 200 to step 300.
  assert comparison.steps_to_reach(curve, -1.75) == 225.0
  assert comparison.steps_to_reach(curve, -2.0) == 200.0


def test_what_is_reached_before_the_first_evaluation_counts_from_there():
  assert comparison.steps_to_reach([(100, -3.0)], -9.0) == 100.0
  assert comparison.steps_to_reach([(100, -3.0)], -3.0) == 100.0


def test_a_quality_that_is_never_reached():
  assert comparison.steps_to_reach([(100, -3.0), (200, -2.5)], -2.4) is None


def test_the_first_time_counts():
  curve = [(100, -3.0), (200, -1.0), (300, -2.0), (400, -1.0)]
  assert comparison.steps_to_reach(curve, -2.0) == 150.0


DENSE = {
    "de": [(500, -2.0), (1000, -1.0)],
    "fr": [(500, -2.0), (1000, -1.5)],
    "sw": [(500, -4.0), (1000, -3.0)],
    "yo": [(500, -4.0), (1000, -3.5)],
}
SWITCH = {
    "de": [(100, -2.0), (200, -1.0), (1000, -0.5)],  # 200 steps: 5 times.
    "fr": [(100, -2.0), (500, -1.0), (1000, -0.5)],  # 300 steps: 10 / 3.
    "sw": [(100, -3.5), (1000, -3.1)],  # Never.
    "zu": [(1000, -3.1)],
}


def test_languages_by_hand():
  languages = comparison.compare(DENSE, SWITCH)
  # By the dense model's quality, and only those that both have.
  assert [language.name for language in languages] == ["sw", "fr", "de"]
  swahili, french, german = languages
  assert german == ("de", -1.0, -0.5, 1000, 200.0, 5.0)
  assert french.speed_up == pytest.approx(10 / 3)
  assert (swahili.switch_steps, swahili.speed_up) == (None, None)


def test_summary_by_hand():
  # The mean of 5 and 3.33; one of three languages has at least 4.
  assert comparison.summary(comparison.compare(DENSE, SWITCH)) == (
      "Switch is better in 2 of 3 languages. To the dense model's final "
      "quality it is 4.17 times as fast in the mean of 2 languages, and at "
      "least 4 times in 33% of all. It does not get there in 1."
  )


def write_run(directory, curves, layers):
  directory.mkdir()
  lines = [
      {
          "step": step,
          "kind": "eval",
          "task": f"mc4.{name}",
          "neg_log_perplexity": value,
          "layers": layers,
      }
      for name, curve in curves.items()
      for step, value in curve
  ]
  # A repeated evaluation replaces the earlier one.
  lines.insert(0, {**lines[0], "neg_log_perplexity": 0.0})
  lines.insert(0, {"kind": "train", "step": 1, "task": "mc4"})
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (directory / "metrics.jsonl").write_text(text)
  return str(directory)


def test_files_of_two_runs(tmp_path):
  dense = write_run(tmp_path / "dense", DENSE, None)
  switch = write_run(tmp_path / "switch", SWITCH, {"a": {}})
  console = rich.console.Console(record=True, width=100)
  output = tmp_path / "out"
  # The order of the two does not matter.
  comparison.compare_languages(
      run_lib.Run(), console, [switch, dense], str(output)
  )
  with open(output / "languages.csv") as file:
    rows = {row["name"]: row for row in csv.DictReader(file)}
  assert rows["de"] == {
      "name": "de",
      "dense": "-1.0000",
      "switch": "-0.5000",
      "dense_steps": "1000",
      "switch_steps": "200",
      "speed_up": "5.00",
  }
  assert rows["sw"]["speed_up"] == ""
  for name in ("languages.png", "speed_ups.png"):
    assert (output / name).read_bytes().startswith(b"\x89PNG")
  text = console.export_text()
  assert "It does not get there in 1." in text and "3.33" in text


def test_no_speed_up_gives_no_picture_of_them(tmp_path):
  dense = write_run(tmp_path / "dense", {"sw": DENSE["sw"]}, None)
  switch = write_run(tmp_path / "switch", {"sw": SWITCH["sw"]}, {"a": {}})
  console = rich.console.Console(record=True, width=100)
  output = tmp_path / "out"
  comparison.compare_languages(
      run_lib.Run(), console, [switch, dense], str(output)
  )
  assert sorted(x.name for x in output.iterdir()) == [
      "languages.csv",
      "languages.png",
  ]
  assert console.export_text().splitlines()[-1] == (
      "note: no language has a speed-up to draw; there is no speed_ups.png."
  )


def test_plots_show_each_language():
  languages = comparison.compare(DENSE, SWITCH)
  (axes,) = comparison.plot_quality(languages).axes
  labels = [label.get_text() for label in axes.get_xticklabels()]
  assert labels == ["sw", "fr", "de"]
  switch, dense = (line.get_ydata().tolist() for line in axes.get_lines())
  assert (switch, dense) == ([-3.1, -0.5, -0.5], [-3.0, -1.5, -1.0])
  (axes,) = comparison.plot_speed_ups([10 / 3, 5.0]).axes
  bars = {bar.get_x(): bar.get_height() for bar in axes.patches}
  assert bars == {3: 1, 4: 0, 5: 1}


def complaint(directories, tmp_path):
  with pytest.raises(errors.UserError) as raised:
    comparison.compare_languages(
        run_lib.Run(),
        rich.console.Console(),
        directories,
        str(tmp_path / "out"),
    )
  assert not (tmp_path / "out").exists()
  return str(raised.value)


def test_runs_that_cannot_be_compared(tmp_path):
  dense = write_run(tmp_path / "dense", DENSE, None)
  other = write_run(tmp_path / "other", DENSE, None)
  apart = write_run(tmp_path / "apart", {"zu": [(1, -1.0)]}, {"a": {}})
  (tmp_path / "new").mkdir()
  new = str(tmp_path / "new")
  assert "(given: 1)" in complaint([dense], tmp_path)
  assert complaint([dense, other], tmp_path) == (
      f"{dense} and {other} are both dense models; one of each is needed."
  )
  assert "have no evaluation of the same task" in complaint(
      [dense, apart], tmp_path
  )
  assert complaint([dense, new], tmp_path).startswith(
      f"{new} has no evaluations in metrics.jsonl"
  )
