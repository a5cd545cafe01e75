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

"""The rows and lines of the paper that a run at its scale can answer.

Table 9's sizes are no results: its rows are here for their quality.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mtf_switch.paper import figures
from mtf_switch.paper import tables


class Row(NamedTuple):
  """A row of a table, or the run behind a line or a point of a figure.

  Where a table has a run for each column of a row (Tables 4 and 5), that is a
  row here.

  Attributes:
    source: "Table 1", "Figure 4", "Appendix B".
    label: the row's, in the paper's words.
    printed: the paper's numbers in words; empty where it prints none.
  """

  source: str
  label: str
  printed: str = ""


# The columns of Tables 4 and 5.
SCORES = {
    "glue": "GLUE",
    "cnn_dailymail": "CNN/DailyMail",
    "squad": "SQuAD",
    "super_glue": "SuperGLUE",
    "winogrande": "Winogrande XL",
    "xsum": "XSum",
    "anli": "ANLI R3",
    "arc_easy": "ARC Easy",
    "arc_challenge": "ARC Challenge",
    "web_questions": "closed-book WebQA",
    "natural_questions": "closed-book NatQA",
    "trivia_qa": "closed-book TriviaQA",
}
_QUALITY = "neg log perplexity"


def experts_label(experts: int) -> str:
  """The label of a line of Figures 1, 4, 5 and 12.

  Args:
    experts: how many; 1 is T5-Base.
  """
  return "T5-Base" if experts == 1 else f"Switch-Base, {experts} experts"


def table_1_label(model: str, capacity_factor: float | None) -> str:
  """The label of a row of Table 1."""
  if capacity_factor is None:
    return model
  return f"{model}, capacity factor {capacity_factor}"


def table_4_label(
    model: str, dropout: float, expert_dropout: float | None, score: str
) -> str:
  """The label of a cell of Table 4."""
  experts = "" if expert_dropout is None else f", ed = {expert_dropout}"
  return f"{model}, d = {dropout}{experts}: {SCORES[score]}"


def table_5_label(model: str, score: str) -> str:
  """The label of a cell of Table 5."""
  return f"{model}: {SCORES[score]}"


def _figures() -> Iterator[Row]:
  """The runs behind the curves; only ends of curves and arrows are printed."""
  for source, lines in (
      ("Figure 1", figures.FIGURE_1_EXPERTS),
      ("Figure 4", figures.FIGURE_1_EXPERTS),
      ("Figure 5", (1, *figures.FIGURE_5_LINES)),
      ("Figure 12", (1, *figures.FIGURE_12_LINES)),
  ):
    for experts in lines:
      printed = ""
      if source == "Figure 4" and experts in figures.FIGURE_4_ENDS:
        printed = f"{figures.FIGURE_4_ENDS[experts]} parameters"
      yield Row(source, experts_label(experts), printed)
  sparse = experts_label(figures.FIGURE_6_EXPERTS)
  yield Row("Figure 6", sparse)
  for model, speed_up in figures.FIGURE_6_SPEED_UPS.items():
    printed = f"{sparse} is as good {speed_up} times as fast"
    yield Row("Figure 6", model, printed)
  for source in ("Figure 7", "Figure 8"):
    printed = ""
    if source == "Figure 8":
      printed = (
          f"{figures.FIGURE_8_MEAN_SPEED_UP:g} times fewer steps than the dense"
          f" model on average, 4 times or more in"
          f" {figures.FIGURE_8_PERCENT_OVER_4}% of"
          f" {figures.FIGURE_7_LANGUAGES} languages"
      )
    yield Row(source, "Switch", printed)
    yield Row(source, "Dense")


def _tables_1_to_3() -> Iterator[Row]:
  threshold = f"{tables.TABLE_1_THRESHOLD:.2f}"
  for key, row in tables.TABLE_1.items():
    reached = f"{threshold} not reached by then"
    if row.hours_to_threshold is not None:
      reached = f"{threshold} after {row.hours_to_threshold} hours"
    yield Row(
        "Table 1",
        table_1_label(*key),
        f"{_QUALITY} {row.quality:.3f} after {tables.TABLE_1_STEPS:,} steps;"
        f" {reached}; {row.examples_per_second} examples/s",
    )
  for precision, row in tables.TABLE_2.items():
    diverged = " (diverged)" if row.diverged else ""
    yield Row(
        "Table 2",
        f"Switch-Base, {precision}",
        f"{_QUALITY} {row.quality:.3f}{diverged};"
        f" {row.examples_per_second} examples/s",
    )
  for scale, row in tables.TABLE_3.items():
    yield Row(
        "Table 3",
        f"{scale}x-init",
        f"{_QUALITY} {row.mean:.2f} on average, with a standard deviation of"
        f" {row.standard_deviation:.2f}, over {tables.TABLE_3_SEEDS} seeds"
        f" after {tables.TABLE_3_STEPS:,} steps",
    )


def _tables_4_and_5() -> Iterator[Row]:
  for key, row in tables.TABLE_4.items():
    for score, value in row._asdict().items():
      yield Row("Table 4", table_4_label(*key, score), f"{value}")
  for model, row in tables.TABLE_5.items():
    for score, value in row._asdict().items():
      yield Row("Table 5", table_5_label(model, score), f"{value}")


def _tables_6_to_8() -> Iterator[Row]:
  for technique, row in tables.TABLE_6.items():
    share = ""
    if row.percent_of_gain is not None:
      share = f", {row.percent_of_gain}% of the teacher's gain"
    yield Row("Table 6", technique, f"{_QUALITY} {row.quality:.3f}{share}")
  for experts, column in tables.TABLE_7.items():
    yield Row(
        "Table 7",
        f"teacher of {experts} experts",
        f"{column.teacher} parameters; {_QUALITY} {column.teacher_quality:.3f}",
    )
    yield Row(
        "Table 7",
        f"student of {experts} experts",
        f"{_QUALITY} {column.distilled:.3f},"
        f" {column.percent_of_gain}% of the teacher's gain",
    )
  for model, row in tables.TABLE_8.items():
    yield Row("Table 8", model, f"{row.super_glue} on SuperGLUE")


def _tables_9_to_11() -> Iterator[Row]:
  for model, row in tables.TABLE_9.items():
    yield Row(
        "Table 9",
        model,
        f"{_QUALITY} {row.at_250k:.3f} after 250,000 steps,"
        f" {row.at_500k:.3f} after 500,000",
    )
  for (experts, precision), row in tables.TABLE_10.items():
    printed = "diverges"
    if row.at_100k is not None:
      printed = (
          f"{_QUALITY} {row.at_100k:.3f} after 100,000 steps,"
          f" {row.at_16_hours:.3f} after 16 hours;"
          f" {row.examples_per_second} examples/s"
      )
    yield Row("Table 10", f"{experts}, {precision}", printed)
  for policy, quality in tables.TABLE_11.items():
    yield Row("Table 11", policy, f"{_QUALITY} {quality:.3f}")


# By source and label.
ROWS = {
    (row.source, row.label): row
    for rows in (
        _figures(),
        _tables_1_to_3(),
        _tables_4_and_5(),
        _tables_6_to_8(),
        _tables_9_to_11(),
        [Row("Appendix B", "No-Token-Left-Behind")],
    )
    for row in rows
}
