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

"""The tables of questions and goals, in Markdown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import contest
from mtf_switch import markdown

Row = Mapping[str, Any]
Record = Mapping[str, Any]


def _milliseconds(spread: Row) -> str:
  return (
      f"{1e3 * spread['median']:,.0f} ({1e3 * spread['lower']:,.0f} -"
      f" {1e3 * spread['upper']:,.0f})"
  )


def _seconds(spread: Row) -> str:
  return (
      f"{spread['median']:.2f} ({spread['lower']:.2f} - {spread['upper']:.2f})"
  )


def _megabytes(number: int) -> str:
  return f"{number / 1e6:,.0f}"


# The columns of each question: a title, and a function from a row to its cell.
_RATE = (
    ("useful GFLOP/s", lambda row: f"{row['flops_per_second'] / 1e9:,.1f}"),
    ("of peak", lambda row: f"{row['share_of_peak']:.0%}"),
)
_TIME = ("ms", lambda row: _milliseconds(row["seconds"]))
_MEMORY = ("peak MB", lambda row: _megabytes(row["peak_bytes"]))
_CONTENDER = ("", contest.title)
_TOKENS = ("tokens/s", lambda row: f"{row['tokens_per_second']:,.0f}")
_EXPERTS = ("experts", lambda row: str(row["experts"]))

Column = tuple[str, Callable[[Row], str]]
COLUMNS: Mapping[str, Sequence[Column]] = {
    "layer": (
        _EXPERTS,
        ("layer", lambda row: row["layer"]),
        _CONTENDER,
        _TIME,
        ("x own dense", lambda row: f"{row['times_own_dense']:.2f}"),
        ("x fastest dense", lambda row: f"{row['times_fastest_dense']:.2f}"),
        *_RATE,
        _MEMORY,
        (
            "x weights + gradients",
            lambda row: f"{row['times_needed_bytes']:.2f}",
        ),
        ("tokens processed", lambda row: f"{row['processed']:.1%}"),
    ),
    "slots": (
        ("", lambda row: row["what"]),
        ("empty slots", lambda row: row["slots"]),
        _TIME,
        _MEMORY,
    ),
    "step": (
        ("model", lambda row: row["model"]),
        _CONTENDER,
        ("precision", lambda row: row["precision"]),
        _TIME,
        _TOKENS,
        *_RATE,
        _MEMORY,
    ),
    "watching": (
        ("", lambda row: row["what"]),
        ("ms of 10 steps", _TIME[1]),
        _MEMORY,
    ),
    "teacher": (
        ("", lambda row: row["what"]),
        ("by", _CONTENDER[1]),
        _TIME,
        (
            "tensors MB",
            lambda row: (
                _megabytes(row["tensor_bytes"]) if row["tensor_bytes"] else "-"
            ),
        ),
        _MEMORY,
    ),
    "decode": (
        ("batch", lambda row: str(row["batch"])),
        _CONTENDER,
        _TIME,
        _TOKENS,
        *_RATE,
        _MEMORY,
    ),
    "peers": (
        ("work", lambda row: row["work"]),
        (
            "",
            lambda row: ", ".join(f"{k} {v}" for k, v in row["sizes"].items()),
        ),
        ("form", lambda row: row["form"]),
        _TIME,
        ("x eager", lambda row: f"{row['times_eager']:.2f}"),
        _MEMORY,
    ),
    "scaling": (
        _EXPERTS,
        ("forward ms", lambda row: _milliseconds(row["forward"])),
        ("step ms", lambda row: _milliseconds(row["step"])),
        ("optimizer alone ms", lambda row: _milliseconds(row["optimizer"])),
        *(
            (
                f"{what} ms, whole tensors",
                lambda row, key=key: (
                    _milliseconds(row[key]) if key in row else "-"
                ),
            )
            for what, key in (
                ("step", "whole_step"),
                ("optimizer", "whole_optimizer"),
            )
        ),
        _MEMORY,
        ("weights MB", lambda row: _megabytes(row["weight_bytes"])),
        ("weights + slots MB", lambda row: _megabytes(row["state_bytes"])),
    ),
    "pipeline": (
        ("", lambda row: row["what"]),
        ("examples/s", lambda row: f"{row['examples_per_second']:,.0f}"),
        _TOKENS,
    ),
    "memory": (
        ("most memory for", lambda row: row["most"]),
        ("model", lambda row: row["model"]),
        ("batch", lambda row: str(row["batch"])),
        *(
            (
                f"{part} MB",
                lambda row, part=part: _megabytes(row["planned_bytes"][part]),
            )
            for part in ("weight", "optimizer", "gradient", "activation")
        ),
        (
            "planned MB",
            lambda row: _megabytes(sum(row["planned_bytes"].values())),
        ),
        ("measured MB", lambda row: _megabytes(row["tensor_bytes"])),
        ("planned / measured", lambda row: f"{row['ratio']:.2f}"),
        ("process MB", lambda row: _megabytes(row["peak_bytes"])),
    ),
    "serving": (
        ("rows at a time", lambda row: str(row["batch"])),
        ("clients", lambda row: str(row["clients"])),
        _TIME,
        ("95% within ms", lambda row: f"{1e3 * row['seconds_95']:,.0f}"),
        (
            "requests/s",
            lambda row: f"{row['requests_per_second']:.1f}",
        ),
    ),
    "startup": (
        ("", lambda row: row["what"]),
        ("s", lambda row: _seconds(row["seconds"])),
    ),
}


def _circumstances(record: Record) -> str:
  """The machine, versions, sizes and rounds of a measurement."""
  device = record["device"]
  versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
  flags = f" ({', '.join(device['flags'])})" if device["flags"] else ""
  lines = [
      f"`{record['command']}`, {record['date']}: {device['processor']}{flags},"
      f" {device['cores']} cores, {record['threads']} threads,"
      f" {device['memory_bytes'] / 1e9:.0f} GB; {versions}."
  ]
  if record["shapes"]:
    shapes = ", ".join(f"{k} {v}" for k, v in record["shapes"].items())
    lines.append(f"Sizes: {shapes}.")
  if record["rounds"] > 1:
    lines.append(f"Medians and quartiles of {record['rounds']} rounds.")
  if record["peak_flops_per_second"]:
    lines.append(
        "A matrix product reached"
        f" {record['peak_flops_per_second'] / 1e9:,.0f} GFLOP/s (float32)."
    )
  return " ".join([*lines, *record["skipped"]])


def render(record: Record) -> str:
  """The table of a question and how it was measured, in Markdown.

  Args:
    record: the results, from questions.answer.

  Returns:
    lines without a trailing newline.
  """
  columns = COLUMNS[record["question"]]
  table = markdown.table(
      [title for title, _ in columns],
      [[cell(row) for _, cell in columns] for row in record["rows"]],
  )
  return f"{table}\n\n{_circumstances(record)}"


def render_goals(records: Sequence[Record]) -> str:
  """The goals of all questions beside the measured values, in Markdown.

  Args:
    records: the results of the questions.

  Returns:
    lines without a trailing newline.
  """

  def number(value, unit):
    return f"{value:.2f} {unit}"

  def cells(question, goal):
    wanted = measured = met = "-"
    if goal["at_most"] is not None:
      wanted = f"at most {number(goal['at_most'], goal['unit'])}"
    elif goal["at_least"] is not None:
      wanted = f"at least {number(goal['at_least'], goal['unit'])}"
    if goal["measured"] is not None:
      measured = number(goal["measured"], goal["unit"])
      met = _is_met(goal)
    return [question, goal["what"], wanted, measured, met]

  return markdown.table(
      ["question", "figure", "goal", "measured", "met"],
      [
          cells(record["question"], goal)
          for record in records
          for goal in record["goals"]
      ],
  )


def _is_met(goal: Row) -> str:
  if goal["at_most"] is not None:
    is_met = goal["measured"] <= goal["at_most"]
  elif goal["at_least"] is not None:
    is_met = goal["measured"] >= goal["at_least"]
  else:
    return "-"
  return "yes" if is_met else "no"
