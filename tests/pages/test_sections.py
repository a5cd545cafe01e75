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

"""Sections of the report, by hand."""

import math
import re

import numpy as np
import pytest

from mtf_switch.pages import curve_sections
from mtf_switch.pages import load_sections
from mtf_switch.pages import record_sections
from mtf_switch.pages import report
from mtf_switch.pages import run_files
from mtf_switch.training import figures
from tests.pages import made_runs


@pytest.fixture
def read(tmp_path):
  """Reads runs that are made of lines, by name."""

  def read(**of_runs):
    paths = [
        made_runs.write(tmp_path / name, lines, positions_per_batch=100)
        for name, lines in of_runs.items()
    ]
    return run_files.read_all(paths)

  return read


def table_rows(section):
  """The cells of all tables of a section."""
  text = "".join(section.blocks)
  rows = re.findall("<tr>(.*?)</tr>", text, re.DOTALL)
  return [re.findall("<td.*?>(.*?)</td>", row) for row in rows if "<td" in row]


def test_speed_up_by_hand(read):
  runs = read(
      dense=[made_runs.evaluation(100 * i, -5.0 + i) for i in range(1, 5)],
      switch=[
          made_runs.evaluation(100, -3.0, seconds=1000),
          made_runs.evaluation(200, -1.0, seconds=2000),
          made_runs.evaluation(300, 0.0, seconds=3000),
      ],
  )
  rows = table_rows(curve_sections.speed_up(runs))
  # At -2, between two evaluations: 300 steps of the one, 150 of the other.
  assert [
      "-2.0000",
      "dense",
      "300",
      "30,000",
      "0:10:00",
      "1.00 x",
      "1.00 x",
  ] in rows
  assert [
      "-2.0000",
      "switch",
      "150",
      "15,000",
      "0:25:00",
      "2.00 x",
      "0.40 x",
  ] in rows
  # Before the first evaluation nothing is known.
  assert rows[1] == [
      *("-4.0000", "switch", "at most 100", "at most 10,000"),
      *("at most 0:16:40", "at least 1.00 x", "at least 0.20 x"),
  ]
  assert len(rows) == 8


def test_the_reference_is_the_run_that_ends_lowest(read):
  runs = read(
      good=[made_runs.evaluation(100, -1.0)],
      bad=[made_runs.evaluation(100, -2.0), made_runs.evaluation(200, -1.5)],
  )
  rows = table_rows(curve_sections.speed_up(runs))
  assert {row[0] for row in rows} == {"-2.0000", "-1.5000"}


def test_a_quality_that_is_lost_again_is_reached_all_the_same(read):
  runs = read(
      up=[made_runs.evaluation(100, -1.0), made_runs.evaluation(200, -3.0)],
      low=[made_runs.evaluation(100, -2.9), made_runs.evaluation(200, -4.0)],
  )
  rows = table_rows(curve_sections.speed_up(runs))
  assert not [row for row in rows if "not reached" in row]


def test_without_seconds_and_positions_times_are_unknown(tmp_path):
  lines = [made_runs.evaluation(10, -1.0)]
  del lines[0]["seconds"]
  paths = [made_runs.write(tmp_path / x, lines) for x in "ab"]
  rows = table_rows(curve_sections.speed_up(run_files.read_all(paths)))
  assert rows[0] == ["-1.0000", "a", "10", "unknown", "unknown", "1.00 x", "-"]


def test_the_mean_is_over_steps_with_all_tasks(read):
  (run,) = read(
      m=[
          made_runs.evaluation(10, -1.0, "a"),
          made_runs.evaluation(10, -3.0, "b"),
          made_runs.evaluation(20, -0.5, "a"),
      ]
  )
  curve = curve_sections.quality_curve(run, ["a", "b"])
  assert (curve.steps.tolist(), curve.values.tolist()) == ([10], [-2.0])


def test_runs_of_different_vocabularies(tmp_path):
  lines = [made_runs.evaluation(10, -1.0)]
  same = [made_runs.write(tmp_path / x, lines) for x in "ab"]
  other = made_runs.write(tmp_path / "c", lines, sha256="b" * 64)
  note, section = "perplexities cannot be compared", "Speed-up to a given"
  page = report.render(run_files.read_all(same))
  assert note not in page and section in page
  page = report.render(run_files.read_all([*same, other]))
  assert note in page and section not in page


def test_dead_and_hot_experts_by_name(read):
  # Of 20 lines, the last two count: 0.05 and 0.15 are 0.1 in the mean.
  lines = [made_runs.routed(i, [1.0, 1.0, 1.0, 1.0]) for i in range(18)]
  lines.append(made_runs.routed(18, [0.0, 0.05, 3.0, 0.95]))
  lines.append(made_runs.routed(19, [0.1, 0.15, 1.5, 2.25]))
  (run,) = read(m=lines)
  dead, hot = load_sections.dead_and_hot(run)
  assert dead == [f"{made_runs.LAYER}, expert 0: 0.05"]
  assert hot == [f"{made_runs.LAYER}, expert 2: 2.25"]
  text = "".join(load_sections.load([run]).blocks)
  assert "Dead experts (load below 0.1 of the mean): 1" in text
  assert hot[0] in text and 'href="data:image/png' in text


def test_columns_are_means_over_spans_of_steps():
  generator = np.random.default_rng(0)
  steps = np.unique(generator.integers(0, 10_000, 700)).astype(float)
  values = generator.random((len(steps), 3))
  found = load_sections.columns_of(load_sections.Loads(steps, values))
  assert found.shape == (3, 120)
  span = (steps[-1] - steps[0]) / 120
  expected = None
  for column in range(120):
    low = steps[0] + column * span
    inside = (steps >= low) & (
        (steps < low + span) | (column == 119) & (steps == steps[-1])
    )
    if inside.any():
      expected = values[inside].mean(axis=0)
    np.testing.assert_allclose(found[:, column], expected)


def test_a_span_without_lines_is_as_the_one_before():
  loads = load_sections.Loads(
      np.array([0.0, 1.0, 99.0]), np.array([[1.0], [3.0], [5.0]])
  )
  assert load_sections.columns_of(loads).tolist() == [[2.0, 2.0, 5.0]]


def test_one_line_is_a_map_of_one_column():
  loads = load_sections.Loads(np.array([7.0]), np.array([[1.0, 2.0]]))
  assert load_sections.columns_of(loads).tolist() == [[1.0], [2.0]]


def test_a_run_without_load_shows_its_histograms(read):
  counts = [0.0] * len(figures.LOAD_BINS)
  counts[2] = 8.0
  lines = [made_runs.routed(i, load_histogram=counts) for i in range(5)]
  (run,) = read(m=lines)
  text = "".join(load_sections.load([run]).blocks)
  assert "no load for each expert" in text and "0.25+" in text
  assert 'href="data:image/png' in text


def test_routing_is_the_mean_of_the_last_tenth(read):
  lines = [made_runs.routed(i, load_max=9.0) for i in range(18)]
  lines += [
      made_runs.routed(18, load_max=1.0),
      made_runs.routed(19, load_max=2.0),
  ]
  (row,) = table_rows(load_sections.routing(read(m=lines)))
  assert row[:4] == ["m", made_runs.LAYER, "", "1.500"]


def warning(step, state, what="spike", where=None):
  return {
      **{"kind": "warning", "step": step, "task": "t", "state": state},
      **{"what": what, "where": where, "numbers": {"loss": 2.0}},
  }


def test_a_warning_has_a_beginning_and_an_end(read):
  lines = [
      made_runs.train(1),
      warning(10, "began"),
      warning(15, "began", where="layer"),
      warning(20, "ended"),
      warning(25, "ended"),
      warning(30, "began"),
  ]
  assert table_rows(record_sections.warnings(read(m=lines))) == [
      ["m", "spike", "", "loss 2", "10", "20"],
      ["m", "spike", "layer", "loss 2", "15", "not yet"],
      # Its beginning was in lines that are gone.
      ["m", "spike", "", "loss 2", "", "25"],
      ["m", "spike", "", "loss 2", "30", "not yet"],
  ]


def test_differences():
  settings = [{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}]
  assert record_sections.differences(settings) == [
      ["b", "2", "3"],
      ["c", "(not set)", "4"],
  ]


def test_evaluations_of_each_task(read):
  runs = read(
      m=[made_runs.evaluation(10, -1.0), made_runs.evaluation(20, -2.0)]
  )
  (row,) = table_rows(record_sections.evaluations(runs))
  assert row == ["a_task", "m", "2", "-2.0000", "20", "-1.0000", "10"]


def test_scores_of_decoded_outputs(tmp_path):
  path = made_runs.write(tmp_path / "m", [made_runs.train(1)])
  (tmp_path / "m" / "test_eval").mkdir()
  (tmp_path / "m" / "test_eval" / "metrics.jsonl").write_text(
      '{"step": 5, "task": "q", "accuracy": 80.0}\n'
      '{"step": 9, "task": "q", "accuracy": 70.0, "num_examples": 4}\n'
  )
  (row,) = table_rows(record_sections.evaluations(run_files.read_all([path])))
  assert row == ["test", "q", "accuracy", "m", "2", "70", "9", "80", "5"]


def test_the_unit_of_time_follows_the_longest_run(read):
  (run,) = read(m=[made_runs.evaluation(10_000, -1.0)])
  *_, time = curve_sections.axes([run])
  assert time.label == "minutes"
  values = time.values(run, np.array([10_000.0]), np.array([20_000.0]))
  assert math.isclose(values[0], 20_000 / 60)
