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

"""The pool, with runs that are nothing but a number of looks."""

import mtf_switch  # isort: skip  # noqa: F401
import pytest

from mtf_switch.reproduction import pool
from mtf_switch.reproduction import runs
from tests.reproduction.made_questions import CARDS

Run = runs.Run


class Fake:
  """A pool's surroundings, in which time passes with each look.

  Attributes:
    events: what has happened.
    most: the most runs that went on at a time.
  """

  def __init__(self, lengths=(), statuses=(), usable=()):
    self.events = []
    self.most = 0
    self.now = 0
    self.interrupt_at = None
    self._lengths = dict(lengths)
    self._statuses = dict(statuses)
    self._usable = set(usable)

  def make(self, to_make, cores):
    pool.make(
        to_make,
        cores,
        lambda run: runs.needs_of(run, CARDS),
        self._usable.__contains__,
        self._start,
        self._finish,
        lambda run, needed: self.events.append(("out", run, needed)),
        self._look,
    )

  def _start(self, run, cores):
    self.events.append(("start", run, tuple(cores)))
    return _Process(self, run, self.now + self._lengths.get(run, 1))

  def status(self, run):
    return self._statuses.get(run, 0)

  def _finish(self, run, status):
    self.events.append(("end", run, status))
    if not status:
      self._usable.add(run)

  def _look(self, going, waiting):
    assert not set(going) & set(waiting)
    self.most = max(self.most, len(going))
    self.now += 1
    assert self.now < 100
    if self.now == self.interrupt_at:
      raise KeyboardInterrupt

  def of(self, kind):
    return [event[1] for event in self.events if event[0] == kind]

  def cores_of(self, run):
    (cores,) = (x[2] for x in self.events if x[:2] == ("start", run))
    return cores


class _Process:

  def __init__(self, fake, run, ends_at):
    self._fake = fake
    self._run = run
    self._ends_at = ends_at

  def status(self):
    if self._fake.now >= self._ends_at:
      return self._fake.status(self._run)
    return None

  def stop(self):
    self._fake.events.append(("stop", self._run))

  def wait(self):
    self._fake.events.append(("wait", self._run))


DENSE = [Run("dense", seed) for seed in range(5)]


def test_runs_start_in_order_on_cores_of_their_own():
  fake = Fake(lengths={DENSE[0]: 3})
  fake.make(DENSE, [2, 5])
  assert fake.of("start") == DENSE
  assert set(fake.of("end")) == set(DENSE)
  assert fake.most == 2
  # The second core is free again and again while the first run goes on.
  assert [fake.cores_of(run) for run in DENSE[:4]] == [(2,), (5,), (5,), (5,)]


def test_one_core_has_one_run_at_a_time():
  fake = Fake()
  fake.make(DENSE, [0])
  assert fake.most == 1
  assert [x[:2] for x in fake.events] == [
      (kind, run) for run in DENSE for kind in ("start", "end")
  ]


def test_no_runs_need_no_time():
  fake = Fake()
  fake.make([], [0])
  assert not fake.events and not fake.now


def test_a_run_waits_for_what_it_needs_and_lets_others_pass():
  teacher, student, other = Run("switch", 0), Run("student", 0), DENSE[0]
  fake = Fake(lengths={teacher: 4})
  fake.make([teacher, student, other], [0, 1])
  assert fake.of("start") == [teacher, other, student]
  assert fake.events.index(("end", teacher, 0)) < fake.events.index(
      ("start", student, (0,))
  )


def test_what_was_made_before_need_not_be_made():
  fake = Fake(usable=[Run("switch", 0)])
  fake.make([Run("student", 0)], [0])
  assert fake.of("end") == [Run("student", 0)]


def test_a_failure_leaves_out_what_needs_it_and_nothing_else():
  teacher, student = Run("switch", 0), Run("student", 0)
  tuned = Run("tuned_student", 0)
  fake = Fake(statuses={teacher: 1})
  fake.make([teacher, student, tuned, DENSE[0]], [0])
  assert ("end", teacher, 1) in fake.events
  assert ("out", student, teacher) in fake.events
  assert ("out", tuned, student) in fake.events
  assert fake.of("start") == [teacher, DENSE[0]]


def test_another_seeds_weights_do_not_do():
  fake = Fake(usable=[Run("switch", 1)])
  fake.make([Run("student", 0)], [0])
  assert fake.of("out") == [Run("student", 0)]


def test_runs_for_speed_are_alone_and_last():
  timed = [Run(card, 0, "table1", 0) for card in ("dense", "switch")]
  fake = Fake(lengths={DENSE[0]: 5})
  fake.make([*DENSE[:3], *timed], [0, 1])
  ends = [fake.events.index(("end", run, 0)) for run in DENSE[:3]]
  first = fake.events.index(("start", timed[0], (0, 1)))
  assert first > max(ends)
  assert fake.events[first:] == [
      ("start", timed[0], (0, 1)),
      ("end", timed[0], 0),
      ("start", timed[1], (0, 1)),
      ("end", timed[1], 0),
  ]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_end_stops_all_runs_before_it_waits_for_them(error):
  fake = Fake(lengths=dict.fromkeys(DENSE, 50))
  if error is KeyboardInterrupt:
    fake.interrupt_at = 2
  else:
    fake.status = lambda run: (_ for _ in ()).throw(OSError)
    fake._lengths = {DENSE[1]: 1, DENSE[0]: 50}
  with pytest.raises(error):
    fake.make(DENSE, [0, 1])
  assert fake.of("start") == DENSE[:2]
  assert fake.events[-4:] == [
      ("stop", DENSE[0]),
      ("stop", DENSE[1]),
      ("wait", DENSE[0]),
      ("wait", DENSE[1]),
  ]


def test_a_run_that_is_being_recorded_is_not_stopped():
  """Its process has ended."""
  fake = Fake()

  def fail(run, status):
    raise OSError("disk full")

  fake._finish = fail
  with pytest.raises(OSError):
    fake.make(DENSE[:1], [0])
  assert fake.of("stop") == []
