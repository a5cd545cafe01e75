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

"""What a reproduction has to do: its questions, and the runs to make."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import functools
from typing import NamedTuple

from mtf_switch.reproduction import claims
from mtf_switch.reproduction import configurations
from mtf_switch.reproduction import estimates
from mtf_switch.reproduction import output_dir as output_dir_lib
from mtf_switch.reproduction import records as records_lib
from mtf_switch.reproduction import runs as runs_lib


class Part(NamedTuple):
  """What one question asks for.

  Attributes:
    question: the question.
    runs: its runs, those of contests too.
    to_make: those of them, and of what they need, that are to be made and that
      no part before this one has.
  """

  question: claims.Question
  runs: Sequence[runs_lib.Run]
  to_make: Sequence[runs_lib.Run]


class Agenda(NamedTuple):
  """What a reproduction has to do.

  Attributes:
    parts: of each question.
    records: by run, those that count: finished, with the settings that the
      cards have now.
    failed: by run, the records of runs that failed with these settings.
    changed: the runs whose records are of other settings.
    configurations: by card, the hash of its settings.
    to_make: all runs to make, in order.
    steps_of: the training steps of a run.
    estimate: the seconds of a run.
    basis: what the estimate rests on.
  """

  parts: Sequence[Part]
  records: Mapping[runs_lib.Run, records_lib.Record]
  failed: Mapping[runs_lib.Run, records_lib.Record]
  changed: Collection[runs_lib.Run]
  configurations: Mapping[str, str]
  to_make: Sequence[runs_lib.Run]
  steps_of: Callable[[runs_lib.Run], int]
  estimate: Callable[[runs_lib.Run], float]
  basis: str

  def seconds(self, num_cores: int) -> float:
    """The seconds until all is made."""
    return estimates.left(self.to_make, self.estimate, num_cores)


def make(
    questions: Iterable[claims.Question],
    seeds: runs_lib.Seeds,
    rows: Collection[str],
    cards: runs_lib.Cards,
    directories: Sequence[str],
    output_dir: str,
    elsewhere: Sequence[records_lib.Record] = (),
) -> Agenda:
  """Returns what is to be done, by the records that are there.

  Args:
    questions: in the order of their priority.
    seeds: which seeds.
    rows: names of the cards that count; all of them if empty.
    cards: all small cards, by name.
    directories: those of the project's gin files.
    output_dir: the directory of the runs and records.
    elsewhere: records of other directories, which tell how long runs take as
      long as there are none here.

  Raises:
    UserError: a record or a card cannot be read.
  """

  @functools.cache
  def hash_of(card):
    return configurations.hash_of(card, cards, directories)

  @functools.cache
  def steps_of(run):
    if run.is_timed:
      return runs_lib.STEPS_OF_SPEED
    return configurations.train_steps(run.card, directories)

  records = records_lib.read_all(output_dir_lib.records(output_dir))
  known, failed, changed = {}, {}, set()
  for record in records:
    run = runs_lib.of_record(record)
    if run.card not in cards or record.configuration != hash_of(run.card):
      changed.add(run)
    else:
      (known if record.failed is None else failed)[run] = record
  measured, basis = (), "as stated, without a finished run"
  if records:
    measured, basis = records, "by the runs that are finished"
  elif elsewhere:
    measured, basis = elsewhere, "by the project's own records"

  def is_settled(run):
    # One that diverged has none to use, however often it is made. One that is
    # made again for its weights may have been stopped on the way.
    return known[run].diverged is not None or output_dir_lib.has_weights(
        output_dir, run, steps_of(run)
    )

  parts, to_make, contests = [], {}, {}
  for question in questions:
    runs = runs_lib.of_question(question, seeds, rows)
    rounds = runs_lib.contest_of(question, cards, rows)
    missing = runs_lib.missing(
        runs,
        rounds,
        cards,
        known.__contains__,
        is_settled,
    )
    missing = [run for run in missing if run not in to_make]
    parts.append(Part(question, [*runs, *sum(rounds, [])], missing))
    for run in missing:
      (contests if run.is_timed else to_make)[run] = None
  return Agenda(
      parts,
      known,
      failed,
      changed,
      {run.card: hash_of(run.card) for run in (*to_make, *contests)},
      [*to_make, *contests],
      steps_of,
      estimates.by_records(measured, steps_of),
      basis,
  )
