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

"""The tables, texts and pictures of results, from runs that were never made."""

import dataclasses
import functools
import io
import random

import pytest
import rich.console

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import effects
from mtf_switch.reproduction import plots
from mtf_switch.reproduction import questions_page
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import result_tables
from mtf_switch.reproduction import results_page
from mtf_switch.reproduction import runs
from mtf_switch.reproduction import statistics
from mtf_switch.reproduction import verdicts
from tests.reproduction import made_records

DENSE, SWITCH = "dense", "switch_e16"


def claim(name="switch_wins", **fields):
  return claims.Claim(
      **{
          "name": name,
          "statement": "Switch is better.",
          "source": "Table 0",
          "rows": [SWITCH, DENSE],
          "effect": functools.partial(effects.better, step=20),
          "unit": claims.NATS,
          "worthwhile": 0.05,
          "worthwhile_source": "a test",
          "seeds": range(3),
          **fields,
      }
  )


QUESTION = claims.Question(
    "table0",
    "Table 0: Switch",
    [DENSE, SWITCH],
    [
        claim(),
        claim("switch_fast", kind="speed", effect=effects.faster, null=1.0),
    ],
    {SWITCH: {claims.QUALITY: -1.55, claims.SPEED: 1000}, DENSE: {}},
    "Nothing about large models.",
    contest=True,
    seeds=range(3),
)
QUESTIONS = {QUESTION.name: QUESTION}


def run(card, seed, quality, **fields):
  is_sparse = card == SWITCH
  return made_records.made(
      card,
      seed,
      evaluations=[
          {
              "step": step,
              "seconds": 1.0 * step,
              "task": "toy",
              "neg_log_perplexity": quality - 10 / step,
          }
          for step in (10, 20)
      ],
      **{
          "seconds": 1800.0,
          "machine": {
              "processor": "Abacus",
              "flags": ["avx2"],
              "cores": 2,
              "run_cores": 1,
          },
          "figures": {
              "steps": 20,
              "parameters": 111_000,
              "flops_per_sequence": 15_000_000,
              "tokens_per_second": 1.0,
              "fraction_dropped": 0.05 if is_sparse else None,
              "load_cv": 0.25 if is_sparse else None,
          },
          **fields,
      },
  )


RUNS = [
    *(run(DENSE, x, -3.0) for x in range(3)),
    *(run(SWITCH, x, y) for x, y in enumerate((-2.8, -2.75, -2.9))),
]
CONTEST = [
    made_records.made(
        card,
        number,
        kind=records_lib.SPEED,
        contest=QUESTION.name,
        round=number,
        evaluations=[],
        machine={"run_cores": 2},
        seconds=900.0,
        figures={"tokens_per_second": speed * (1 + number / 100)},
    )
    for card, speed in ((DENSE, 3000.0), (SWITCH, 2000.0))
    for number in range(runs.ROUNDS)
]
PILOTS = [
    *(run(DENSE, x, -3.0) for x in (100, 101)),
    *(run(SWITCH, x, y) for x, y in ((100, -2.8), (101, -2.82))),
]


def cells(records):
  """The cells of the question's table, by card and title."""
  titles, rows = result_tables.of_cards(QUESTION, records)
  return {row[0]: dict(zip(titles, row)) for row in rows}


def test_a_row_has_what_the_paper_prints_and_what_was_measured():
  rows = cells(RUNS + CONTEST)
  assert rows[SWITCH] == {
      "card": SWITCH,
      "stands for": "Switch-Base, 16 experts",
      "neg log perplexity, paper": "-1.55",
      "examples/s, paper": "1000",
      # -3.3, -3.25 and -3.4 at the last step.
      "neg log perplexity, here": "-3.317 \u00b1 0.076",
      "tokens/s, here": "2,040",
      "dropped": "5.0%",
      "load variation": "0.25",
      "parameters": "111K",
      "FLOPs/sequence": "15M",
      "steps": "20",
      "runs": "3",
      "core-hours": "1.5",
  }
  assert rows[DENSE]["dropped"] == rows[DENSE]["examples/s, paper"] == "-"


def test_columns_without_anything_are_left_out():
  titles, _ = result_tables.of_cards(QUESTION, RUNS[:3])
  assert "dropped" not in titles and "tokens/s, here" not in titles
  titles, rows = result_tables.of_cards(QUESTION, [])
  assert titles[-2:] == ["runs", "core-hours"]
  assert [row[-2:] for row in rows] == [["0 of 3", "0.0"]] * 2


def test_scores_have_a_column_for_each_task():
  def score(value):
    return {"a task": {"metric": "accuracy", "step": 10, "value": value}}

  records = [run(DENSE, x, -3.0, scores=score(60.0 + x)) for x in range(3)]
  assert cells(records)[DENSE]["a task, here"] == "61.0 \u00b1 1.0"
  assert cells(records)[SWITCH]["a task, here"] == "-"


def test_runs_that_did_not_end_are_counted_and_not_averaged():
  records = [
      run(DENSE, 0, -3.0),
      run(DENSE, 1, -9.0, failed="no memory"),
      run(DENSE, 2, -9.0, diverged=15),
  ]
  row = cells(records)[DENSE]
  assert row["runs"] == "1, 1 diverged, 1 failed"
  assert row["neg log perplexity, here"] == "-3.500"
  assert cells(records[:2])[DENSE]["runs"] == "1 of 3, 1 failed"


@pytest.mark.parametrize(
    "number, text",
    [(1500, "1.5K"), (111_234, "111K"), (1.5e7, "15M"), (64, "64")],
)
def test_counts_are_short(number, text):
  assert result_tables.short(number) == text


@pytest.mark.parametrize(
    "bounds, text",
    [
        ((0.19, 0.18, 0.2), "0.190 [0.180, 0.200]"),
        ((1.2345, -0.5, 3.0), "1.2 [-0.5, 3.0]"),
        ((40.0, 20.0, 60.0), "40 [20, 60]"),
        ((1.0, 1.0, 1.0), "1 [1, 1]"),
    ],
)
def test_effects_have_the_digits_that_are_known(bounds, text):
  effect = statistics.Effect(*bounds, smallest=0.0, count=3)
  assert result_tables.effect_text(effect) == text


def test_core_hours_by_hand():
  # Six half hours on one core, and ten quarters of an hour on two.
  assert result_tables.core_hours(RUNS + CONTEST) == 3 + 5


def test_a_claims_row_by_hand():
  found = verdicts.judge(QUESTION, RUNS + CONTEST)
  titles, (first, second) = result_tables.of_claims(QUESTION, found)
  # 0.2, 0.25 and 0.1; t is 4.303.
  assert dict(zip(titles, first)) == {
      "claim": "switch_wins",
      "verdict": verdicts.NO_DIFFERENCE,
      "effect [95% interval]": "0.18 [-0.01, 0.37]",
      "without one": "0",
      "unit": "nats",
      "seeds": "3",
      "smallest shown": "0.19",
      "would matter": "0.05",
  }
  assert second[1] == verdicts.OPPOSITE and second[3] == "1"
  _, rows = result_tables.of_claims(QUESTION, verdicts.judge(QUESTION, []))
  assert rows[0][1:3] == [verdicts.NOT_ANSWERED_YET, "-"]


# The page.


def page(records, pilots=()):
  return results_page.render(
      QUESTIONS,
      {"Table 9": "too large."},
      verdicts.judge_all(QUESTIONS, records, pilots),
      records,
      pilots,
  )


def summary(questions, records, pilots):
  found = verdicts.judge_all(questions, records, pilots)
  return results_page.render_summary(questions, found, records)


def test_the_page_has_the_tables_the_verdicts_and_the_limits():
  text = page(RUNS + CONTEST, PILOTS)
  assert "| `switch_e16` | Switch-Base, 16 experts | -1.55 | 1000 |" in text
  assert "| opposite | 1 |" in text and "| no difference seen | 1 |" in text
  assert "`switch_wins`: Switch is better. (Table 0)" in text
  assert "Runs: 16, 8.0 core-hours; Abacus (avx2), 2 cores" in text
  assert "Runs: 16, 8.0 core-hours; pilots: 4, 2.0 core-hours." in text
  assert "![Table 0: Switch](images/results_table0.png)" in text
  assert "Limits: Nothing about large models." in text
  assert "- Table 9: too large." in text
  assert "Nothing: all runs are there." in text
  assert "Runs that did not" not in text


def test_the_page_names_each_version_once():
  """Also of what not all runs have recorded."""
  versions = [
      {"python": "3.11.7"},
      {"python": "3.11.7", "numpy": "1.26.3"},
      {"python": "3.11.7", "numpy": "1.26.4"},
  ]
  text = page([run(DENSE, i, -3.0, versions=x) for i, x in enumerate(versions)])
  assert (
      "; python 3.11.7, numpy 1.26.3 or 1.26.4 (not recorded by 1).\n" in text
  )


def test_the_page_lists_what_is_missing_and_what_went_wrong():
  failed = run(DENSE, 0, -3.0, failed="no memory")
  text = page([failed, run(SWITCH, 1, -3.0, diverged=15), *CONTEST[:1]])
  assert "- `switch_wins` (Table 0): 2 of 6 runs are there." in text
  assert "- `switch_fast` (Table 0): 1 of 10 runs are there." in text
  assert "- `dense`, seed 0: failed; no memory" in text
  assert "- `switch_e16`, seed 1: diverged at step 15" in text
  assert "No run has been made yet." in page([])
  assert "images/" not in page([])


def test_the_page_follows_from_the_records_alone():
  records = RUNS + CONTEST
  shuffled = random.Random(0).sample(records, len(records))
  expected = page(records)
  assert page(records) == expected
  # Runs of other questions, which change the counts of the summary alone.
  others = [
      made_records.made("switch_e2", 0),
      dataclasses.replace(CONTEST[0], contest="another", round=7),
  ]
  _, sections = page([*records, *others]).split("\n## ", 1)
  assert sections == expected.split("\n## ", 1)[1]
  _, sections = page(shuffled).split("\n## ", 1)
  assert "0.18 [-0.01, 0.37]" in sections


def test_the_readme_has_a_picture_and_a_line_for_each_verdict():
  text = summary(QUESTIONS, RUNS, PILOTS)
  assert text == (
      "![Table 0: Switch](docs/images/results_table0.png)\n\n"
      "- Table 0: Switch is better. **no difference seen**,"
      " 0.18 [-0.01, 0.37] nats\n\n"
      "Claims that are not answered yet: 1."
  )
  assert summary(QUESTIONS, [], []) == "Claims that are not answered yet: 2."
  small = QUESTION._replace(claims=[claim(worthwhile=1e-6)])
  assert summary({"table0": small}, [], PILOTS) == (
      "Claims without runs that, by the pilots, so few seeds cannot show at"
      " this scale: 1."
  )


# The terminal.


@pytest.mark.parametrize("width", [30, 80, 300])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_terminal_shows_both_tables_at_any_width(width, is_terminal):
  stream = io.StringIO()
  console = rich.console.Console(
      file=stream,
      width=width,
      force_terminal=is_terminal,
      color_system=None,
      legacy_windows=False,
  )
  records = [*RUNS[:-1], run(SWITCH, 2, -2.9, failed="no memory"), *CONTEST]
  results_page.terminal_table(QUESTION, records, console)
  text = " ".join(stream.getvalue().split())
  for word in (QUESTION.title, "switch_e16", "switch_fast", verdicts.OPPOSITE):
    assert word in text
  assert "switch_wins: Without seed 2: switch_e16 failed (no memory)." in text
  if is_terminal:
    assert max(map(len, stream.getvalue().splitlines())) <= width


def test_a_question_without_claims_has_one_table():
  stream = io.StringIO()
  console = rich.console.Console(file=stream, width=200)
  question = QUESTION._replace(claims=())
  results_page.terminal_table(question, RUNS, console)
  assert "verdict" not in stream.getvalue()
  assert "stands for" in stream.getvalue()


# The list of claims.


def test_the_list_of_claims_says_how_each_is_answered():
  text = questions_page.render(QUESTIONS, PILOTS)
  assert "`--experiment=table0`" in text
  assert (
      "- `switch_wins`: Switch is better. (Table 0)\n"
      "  - Measure, of each seed: The first run's quality less the second's"
      " (step 20).\n"
      "  - Rows: `switch_e16`, `dense`; seeds 0 to 2.\n"
      "  - In nats; reproduced above 0, and 0.05 more would matter (a test).\n"
  ) in text
  power = verdicts.power(QUESTION.claims[0], "table0", PILOTS)
  assert (
      f"Power: {power.seen:.3g} would be seen with probability 0.8, given a"
      f" deviation of 0.0141 among 2 pilots; {power.needed} seeds would see"
  ) in text
  assert "of each round of a contest" in text and "rounds 0 to 4." in text
  assert "Power: there are no pilots yet." not in text
  assert "2 pilots of other cards;" in text
  without = questions_page.render(QUESTIONS, [])
  assert "Power: there are no pilots yet." in without
  for name in verdicts.RULES:
    assert f"**{name}**" in text


def test_the_list_says_what_needs_no_pilots_and_what_is_out_of_reach():
  spread = claim(kind="spread", effect=effects.quality, worthwhile=60.0)
  question = QUESTION._replace(claims=[spread, claim(worthwhile=1e-6)])
  text = questions_page.render({"table0": question}, PILOTS)
  assert "probability 0.8, whatever the deviations are." in text
  assert "no number of seeds in reach would see what would matter." in text


# Pictures.


def test_the_picture_has_every_run_and_every_effect():
  found = verdicts.judge(QUESTION, RUNS + CONTEST)
  timed = [
      dataclasses.replace(x, evaluations=RUNS[0].evaluations) for x in CONTEST
  ]
  figure = plots.draw(QUESTION, RUNS + timed, found)
  curves, ends, effects_ = figure.axes
  assert len(curves.lines) == len(RUNS)
  assert list(curves.lines[0].get_ydata()) == [-4.0, -3.5]
  points = [x for line in ends.lines[::2] for x in line.get_xdata()]
  assert points == pytest.approx([-3.5] * 3 + [-3.3, -3.25, -3.4])
  names = [label.get_text() for label in effects_.get_yticklabels()]
  assert names == ["switch_wins", "switch_fast"]
  # In units of what would matter.
  lower, upper = effects_.lines[0].get_xdata()
  assert lower == pytest.approx(found[0].effect.lower / 0.05)
  assert upper == pytest.approx(found[0].effect.upper / 0.05)


@pytest.mark.parametrize(
    "worthwhile, scale", [(0.5, "linear"), (1e-3, "symlog")]
)
def test_the_axis_of_effects_has_few_round_numbers(worthwhile, scale):
  question = QUESTION._replace(claims=[claim(worthwhile=worthwhile)])
  figure = plots.draw(question, RUNS, verdicts.judge(question, RUNS))
  axes = figure.axes[-1]
  assert axes.get_xscale() == scale
  figure.canvas.draw()
  for label in axes.get_xticklabels():
    assert len(label.get_text()) <= len("-0.25")


def test_the_picture_shows_scores_where_there_are_some():
  scores = {
      name: {"metric": "accuracy", "step": 10, "value": value}
      for name, value in (("a", 60.0), ("b", 70.0))
  }
  # One that has failed at once has no curve.
  failed = made_records.made(DENSE, 1, evaluations=[], failed="no memory")
  records = [made_records.made(DENSE, 0, evaluations=[], scores=scores), failed]
  figure = plots.draw(QUESTION, records, verdicts.judge(QUESTION, records))
  (ends,) = figure.axes
  assert list(ends.lines[0].get_xdata()) == [65.0]


def test_the_picture_of_figure_13_has_quality_against_scores():
  scores = {"a": {"metric": "accuracy", "step": 10, "value": 60.0}}
  question = QUESTION._replace(
      cards=[DENSE, SWITCH, "tuned_dense", "tuned_switch"],
      claims=[
          claim(
              rows=[DENSE, SWITCH, "tuned_dense", "tuned_switch"],
              effect=effects.downstream_slope,
          )
      ],
  )
  records = [
      made_records.made(DENSE, 0, -3.0),
      made_records.made(SWITCH, 0, -2.5),
      # One without the model that it starts from, and one that is to be made.
      *(
          made_records.made("tuned_dense", i, evaluations=[], scores=scores)
          for i in (0, 1)
      ),
  ]
  figure = plots.draw(question, records, verdicts.judge(question, records))
  downstream, ends = figure.axes
  (points,) = downstream.lines
  assert points.get_xydata().tolist() == [[-3.0, 60.0]]
  assert downstream.get_legend().get_texts()[0].get_text() == "a"
  assert [x.get_text() for x in ends.get_yticklabels()] == ["tuned_dense"]
