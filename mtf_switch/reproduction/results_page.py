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

"""docs/results.md and the other texts that are made of the records.

All texts follow from records, claims and paper alone: nothing here knows the
time or the machine that it runs on.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence

import rich.console

from mtf_switch import markdown
from mtf_switch import terminal
from mtf_switch.reproduction import claims
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import result_tables
from mtf_switch.reproduction import statistics
from mtf_switch.reproduction import verdicts as verdicts_lib

Record = records_lib.Record
# By the name of the question, in the order of its claims.
Verdicts = Mapping[str, Sequence[verdicts_lib.Verdict]]
Questions = Mapping[str, claims.Question]

_PAGE = """\
# Results: the paper's claims, answered here

`python -m scripts.results` writes this page from the records of the runs,
`benchmarks/results/reproduction`, and of the pilots beside it; a test fails if
it is out of date. [experiments.md](experiments.md#questions) lists the claims
and their rules, which are older than the runs. Nothing here is chosen among
seeds or typed in.

{summary}

A verdict is about the models, the text, the steps and the seeds of its table,
and about nothing larger. The paper's numbers stand beside ours to show the
direction; their sizes cannot be compared. Of claims without an effect, one in
{one_in:.0f} is expected to get a verdict all the same, for the intervals are of
{level:.0%}.

In the tables, "here" is the mean and the standard deviation over the seeds
whose runs came to their end; "dropped" and "load variation" are means of the
second half of training, the latter being the deviation of the experts' load,
relative to its mean. A core-hour is an hour of one of the cores that a run had.

{sections}

## Not answered yet

{unanswered}

## What cannot be tested here

{not_tested}
"""


def render(
    questions: Questions,
    not_tested: Mapping[str, str],
    verdicts: Verdicts,
    records: Sequence[Record],
    pilots: Sequence[Record],
) -> str:
  """The page docs/results.md.

  Args:
    questions: all questions.
    not_tested: what no run here can test, and why.
    verdicts: on the questions' claims.
    records: of all runs.
    pilots: of runs with other seeds.

  Returns:
    Markdown.
  """
  unanswered = [
      f"- `{verdict.claim}` ({claim.source}): {verdict.detail}"
      for name, question in questions.items()
      for claim, verdict in zip(question.claims, verdicts[name])
      if verdict.verdict == verdicts_lib.NOT_ANSWERED_YET
  ]
  return _PAGE.format(
      summary=_summary(verdicts, records, pilots),
      one_in=1 / (1 - statistics.LEVEL),
      level=statistics.LEVEL,
      sections="\n\n".join(
          _section(question, verdicts[name], records)
          for name, question in questions.items()
      ),
      unanswered="\n".join(unanswered) or "Nothing: all runs are there.",
      not_tested="\n".join(f"- {x}: {why}" for x, why in not_tested.items()),
  )


def _summary(
    verdicts: Verdicts,
    records: Sequence[Record],
    pilots: Sequence[Record],
) -> str:
  """How many claims have which verdict, and what the runs took."""
  counts = collections.Counter(
      x.verdict for of in verdicts.values() for x in of
  )
  table = markdown.table(
      ["verdict", "claims"],
      [[name, str(counts[name])] for name in verdicts_lib.RULES],
  )
  hours = [result_tables.core_hours(x) for x in (records, pilots)]
  return (
      f"{table}\n\nRuns: {len(records)}, {hours[0]:.1f} core-hours; pilots:"
      f" {len(pilots)}, {hours[1]:.1f} core-hours."
  )


def picture(question: claims.Question) -> str:
  """The name of a question's picture in docs/images."""
  return f"results_{question.name}.png"


def of_question(
    question: claims.Question, records: Sequence[Record]
) -> list[Record]:
  """The records that a question's section is made of."""
  return [
      record
      for record in records
      if record.card in question.cards
      and record.contest in (None, question.name)
  ]


def _section(
    question: claims.Question,
    verdicts: Sequence[verdicts_lib.Verdict],
    records: Sequence[Record],
) -> str:
  """A question's part of the page."""
  own = of_question(question, records)
  titles, rows = result_tables.of_cards(question, records)
  parts = [
      f"## {question.title}",
      _circumstances(own),
      markdown.table(titles, _as_code(rows), result_tables.NUM_LEFT),
  ]
  if own:
    parts.append(f"![{question.title}](images/{picture(question)})")
  if question.claims:
    titles, rows = result_tables.of_claims(question, verdicts)
    parts += [
        markdown.table(titles, _as_code(rows), result_tables.NUM_LEFT),
        "\n".join(
            f"- `{claim.name}`: {claim.statement} ({claim.source})"
            + (f" **{verdict.detail}**" if verdict.detail else "")
            for claim, verdict in zip(question.claims, verdicts)
        ),
    ]
  if unfinished := _unfinished(own):
    parts.append(f"Runs that did not come to their end:\n\n{unfinished}")
  if question.limits:
    parts.append(f"Limits: {question.limits}")
  return "\n\n".join(parts)


def _as_code(rows: Iterable[Sequence[str]]) -> list[list[str]]:
  """Rows whose first cell is a name."""
  return [[f"`{first}`", *rest] for first, *rest in rows]


def _circumstances(records: Sequence[Record]) -> str:
  """Where and with what runs were made."""
  if not records:
    return "No run has been made yet."
  machines = {}
  for record in records:
    machine = record.machine
    flags = ", ".join(machine.get("flags", ()))
    text = f"{machine.get('processor', 'an unknown processor')}"
    if flags:
      text += f" ({flags})"
    text += f", {machine.get('cores', '?')} cores"
    machines[text] = None
  hours = result_tables.core_hours(records)
  return (
      f"Runs: {len(records)}, {hours:.1f} core-hours; {'; '.join(machines)};"
      f" {_versions(records)}."
  )


def _versions(records: Sequence[Record]) -> str:
  """Libraries and their versions, each once."""
  names = dict.fromkeys(name for x in records for name in x.versions)
  texts = []
  for name in names:
    versions = [x.versions[name] for x in records if name in x.versions]
    text = f"{name} {' or '.join(dict.fromkeys(versions))}"
    unknown = len(records) - len(versions)
    texts.append(f"{text} (not recorded by {unknown})" if unknown else text)
  return ", ".join(texts)


def _unfinished(records: Sequence[Record]) -> str:
  """The runs that failed or diverged, one a line."""
  lines = []
  for record in records:
    name = f"`{record.card}`, seed {record.seed}"
    if record.contest is not None:
      name = f"`{record.card}`, round {record.round} of the contest"
    end = verdicts_lib.diverged(record)
    if record.failed:
      lines.append(f"- {name}: failed; {record.failed}")
    elif end is not None:
      lines.append(f"- {name}: diverged at step {end:,}")
  return "\n".join(lines)


def render_summary(
    questions: Questions, verdicts: Verdicts, records: Sequence[Record]
) -> str:
  """The part of the README: a picture, and a line for each verdict on runs.

  Args:
    questions: all questions, in their order.
    verdicts: on their claims.
    records: of all runs.

  Returns:
    Markdown.
  """
  lines, waiting, too_few, shown = [], 0, 0, None
  for name, question in questions.items():
    if question.claims and shown is None and of_question(question, records):
      shown = question
    for claim, verdict in zip(question.claims, verdicts[name]):
      if verdict.verdict == verdicts_lib.NOT_ANSWERED_YET:
        waiting += 1
        continue
      if not verdict.seeds and verdict.verdict == verdicts_lib.CANNOT_BE_SEEN:
        too_few += 1  # By the pilots alone.
        continue
      effect = ""
      if verdict.effect:
        shown_effect = result_tables.effect_text(verdict.effect)
        effect = f", {shown_effect} {claim.unit}"
      lines.append(
          f"- {claim.source}: {claim.statement} **{verdict.verdict}**{effect}"
      )
  parts = []
  if shown:
    parts.append(f"![{shown.title}](docs/images/{picture(shown)})")
  if lines:
    parts.append("\n".join(lines))
  if waiting:
    parts.append(f"Claims that are not answered yet: {waiting}.")
  if too_few:
    parts.append(
        "Claims without runs that, by the pilots, so few seeds cannot show at"
        f" this scale: {too_few}."
    )
  return "\n\n".join(parts)


def terminal_table(
    question: claims.Question,
    records: Sequence[Record],
    console: rich.console.Console,
    pilots: Sequence[Record] = (),
):
  """Prints the table and the verdicts of a question.

  Args:
    question: the question.
    records: of all runs that there are, also of other questions.
    console: the console.
    pilots: records of runs with other seeds.
  """
  terminal.say(console, question.title)
  terminal.table(
      console,
      *result_tables.of_cards(question, records),
      num_left=result_tables.NUM_LEFT,
  )
  if not question.claims:
    return
  verdicts = verdicts_lib.judge(question, records, pilots)
  terminal.table(
      console,
      *result_tables.of_claims(question, verdicts),
      num_left=result_tables.NUM_LEFT,
  )
  for verdict in verdicts:
    if verdict.detail:
      terminal.say(console, f"{verdict.claim}: {verdict.detail}")
