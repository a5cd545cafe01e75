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

"""--mode=reproduce, with a program that only pretends to train."""

import mtf_switch  # isort: skip  # noqa: F401
import contextlib
import dataclasses
import errno
import io
import os
import subprocess
import sys
import time
import types

import pytest
import rich.console

from mtf_switch import errors
from mtf_switch import reproduction
from mtf_switch.modes import reproduce
from mtf_switch.reproduction import configurations
from mtf_switch.reproduction import processes
from mtf_switch.reproduction import questions
from mtf_switch.reproduction import records
from mtf_switch.reproduction import runs
from mtf_switch.reproduction import small_cards
from mtf_switch.training import lock
from tests import programs
from tests.reproduction import made_questions
from tests.reproduction import made_records
from tests.reproduction.made_questions import CARDS
from tests.reproduction.made_questions import QUESTIONS

# A run: it notes its command, and ends as the file "ends/<card>" says.
PROGRAM = """
import json, os, pathlib, sys, time
flags = dict(x[2:].split("=", 1) for x in sys.argv[1:])
place = pathlib.Path(flags["model_dir"])
card = pathlib.Path(flags["gin_file"]).stem
out = pathlib.Path(__file__).parent
weights = place / "model.ckpt-10.index"
with open(out / "commands", "a") as file:
  print(card, place.name, "again" * weights.exists(), file=file)
end = out / "ends" / card
end = end.read_text() if end.exists() else ""
if end == "waits":
  print("waiting", flush=True)
  time.sleep(600)
if end == "diverges":
  (place / "not_finite.json").write_text('[{"step": 3}]')
  sys.exit(f"run_switch: step 3: NaN in a; see {place}/not_finite.json.")
weights.write_text("")
if end.startswith("cannot read"):
  sys.exit(f"run_switch: {end}")
if end == "fails":
  sys.exit(f"run_switch: {place}/metrics.jsonl: No space left on device.")
line = dict(step=10, task="toy", seconds=5.0, neg_log_perplexity=-4.25)
with open(place / "metrics.jsonl", "w") as file:
  print(json.dumps(dict(line, kind="train", tokens_per_second=10.0)), file=file)
  print(json.dumps(dict(line, kind="train", tokens_per_second=20.0)), file=file)
  print(json.dumps(dict(line, kind="train", tokens_per_second=30.0)), file=file)
  print(json.dumps(dict(line, kind="eval")), file=file)
"""
CONTEST = 2 * runs.ROUNDS


class Place:
  """A reproduction in a directory of its own, on the cards of tests.

  Attributes:
    path: the directory.
    said: what was written to the console.
  """

  def __init__(self, path):
    self.path = path
    (path / "program.py").write_text(PROGRAM)
    for card in CARDS:
      self.write(f"gin/{configurations.gin_file(card)}", "train_steps = 10\n")

  def write(self, name, text):
    path = self.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

  def run(self, *experiments, flags=(), has_tpu=False, live=False, **kwargs):
    """Calls the mode."""
    text = io.StringIO()
    console = rich.console.Console(file=text, width=200, force_terminal=live)
    program = processes.Program(
        [sys.executable, str(self.path / "program.py")],
        [str(self.path / "gin")],
        flags,
        has_tpu,
    )
    kwargs.setdefault("output_dir", str(self.path / "out"))
    try:
      reproduce.reproduce(program, console, experiments, **kwargs)
    finally:
      self.said = text.getvalue()

  def records(self):
    """The records by run."""
    found = records.read_all(str(self.path / "out" / "records"))
    return {runs.of_record(record): record for record in found}

  def started(self):
    """The runs that were started since the last call, in order."""
    path = self.path / "commands"
    if not path.exists():
      return []
    lines = path.read_text().splitlines()
    path.unlink()
    return [tuple(line.split()) for line in lines]


@pytest.fixture
def place(tmp_path, monkeypatch):
  monkeypatch.setattr(small_cards, "SMALL_CARDS", CARDS)
  monkeypatch.setattr(questions, "QUESTIONS", QUESTIONS)
  monkeypatch.setattr(reproduce, "_RECORDS", tmp_path / "elsewhere")
  monkeypatch.setattr(reproduce, "_SECONDS_BETWEEN_LOOKS", 0.01)
  return Place(tmp_path)


def test_runs_are_made_recorded_and_shown_once(place):
  place.run("table6", seeds="1")
  assert sorted(place.started()) == [
      ("dense", "0"),
      ("student", "0"),
      ("switch", "0"),
  ]
  found = place.records()
  assert set(found) == {
      runs.Run(card, 0) for card in ("dense", "switch", "student")
  }
  for record in found.values():
    assert record.failed is None
    assert record.evaluations[-1]["neg_log_perplexity"] == -4.25
    assert record.machine["run_cores"] == 1
    assert record.gin == "train_steps = 10\n"
  assert "dense, seed 0: -4.2500 at step 10, 0:00:05;" in place.said
  assert "3 of 3 runs made, about 0:00:00 left" in place.said
  assert "Table6" in place.said
  # Weights stay where another card needs them, even if it is not asked for.
  assert place.path.joinpath("out/runs/switch/0/model.ckpt-10.index").exists()
  assert not place.path.joinpath("out/runs/student/1").exists()
  place.run("table6", seeds="1")
  assert place.started() == []
  assert "Table6" in place.said


def test_published_files_are_given_and_no_record_knows_where(
    place, monkeypatch
):
  monkeypatch.setattr(
      small_cards, "SMALL_CARDS", made_questions.CARDS_WITH_PUBLISHED
  )
  monkeypatch.setattr(
      questions, "QUESTIONS", made_questions.QUESTIONS_WITH_PUBLISHED
  )
  place.write(
      f"gin/{configurations.gin_file('published')}", "train_steps = 10\n"
  )
  monkeypatch.delenv("SWITCH_REAL_DATA", raising=False)
  place.run("all", dry_run=True)
  assert "table5_published: left out, since SWITCH_REAL_DATA" in place.said
  files = place.path / "files"
  monkeypatch.setenv("SWITCH_REAL_DATA", str(files))
  place.write("ends/published", f"cannot read {files}/glue/CoLA")
  with pytest.raises(
      errors.UserError, match=r"cannot read \$SWITCH_REAL_DATA/"
  ):
    place.run("table5_published", seeds="1")
  place.write("ends/published", "")
  place.run("table5_published", seeds="1")
  record = place.records()[runs.Run("published", 0)]
  assert "'$SWITCH_REAL_DATA/glue'" in record.command
  assert str(files) not in repr(record)


def test_contests_have_records_of_their_own(place):
  place.run("table1", rows=["dense"], seeds="1")
  started = place.started()
  assert started[0] == ("dense", "0")
  assert started[1:] == [
      ("dense", f"speed_table1_{number}") for number in range(runs.ROUNDS)
  ]
  timed = [record for run, record in place.records().items() if run.is_timed]
  assert [x.round for x in timed] == list(range(runs.ROUNDS))
  num_cores = len(os.sched_getaffinity(0))
  for record in timed:
    assert record.kind == records.SPEED
    assert record.figures["tokens_per_second"] == 30.0
    assert record.machine["run_cores"] == num_cores
  assert os.listdir(place.path / "out" / "runs" / "dense") == ["0"]
  place.run("table1", rows=["dense"], seeds="1")
  assert place.started() == []


def test_a_run_for_speed_does_not_go_on_in_the_middle(place):
  place.run("table6", rows=["dense"], seeds="1")
  place.write("ends/dense", "fails")
  with pytest.raises(errors.UserError, match="5 of 5 runs did not"):
    place.run("table1", rows=["dense"], seeds="1")
  place.write("ends/dense", "")
  place.started()
  place.run("table1", rows=["dense"], seeds="1")
  assert place.started() == [
      ("dense", f"speed_table1_{number}") for number in range(runs.ROUNDS)
  ]


def test_what_another_command_has_just_made_is_not_made_again(
    place, monkeypatch
):
  hold = lock.hold
  record = dataclasses.replace(
      made_records.made("dense"),
      configuration=configurations.hash_of(
          "dense", CARDS, [str(place.path / "gin")]
      ),
  )

  @contextlib.contextmanager
  def hold_at_last(*args):
    with hold(*args) as descriptor:
      records.write(str(place.path / "out" / "records"), record)
      yield descriptor

  monkeypatch.setattr(lock, "hold", hold_at_last)
  place.run("table6", rows=["dense"])
  assert place.started() == [("dense", "1")]


def test_a_run_that_fails_is_a_row_and_is_tried_again_by_the_same_command(
    place,
):
  place.write("ends/switch", "fails")
  with pytest.raises(errors.UserError) as error:
    place.run("table6", seeds="1")
  assert str(error.value) == (
      "2 of 3 runs did not come to an end, first switch, seed 0:"
      " runs/switch/0/metrics.jsonl: No space left on device. The same command"
      " tries them again."
  )
  failed = place.records()[runs.Run("switch", 0)]
  assert failed.failed == (
      "runs/switch/0/metrics.jsonl: No space left on device."
  )
  assert "student, seed 0: left out, it needs switch, seed 0" in place.said
  assert "\nswitch, seed 0: failed, runs/switch/0" in place.said
  assert {card for card, _ in place.started()} == {"dense", "switch"}
  place.run("table6", seeds="1", dry_run=True)
  assert "1 run failed before, to be made again." in place.said
  place.write("ends/switch", "")
  place.run("table6", seeds="1")
  assert place.started() == [("switch", "0", "again"), ("student", "0")]
  assert place.records()[runs.Run("switch", 0)].failed is None


def test_a_run_that_is_only_made_for_its_weights_keeps_its_record(place):
  place.run("table6", rows=["switch"], seeds="1")
  place.path.joinpath("out/runs/switch/0/model.ckpt-10.index").unlink()
  place.started()
  place.write("ends/switch", "fails")
  with pytest.raises(errors.UserError, match="2 of 2 runs did not"):
    place.run("table6", rows=["student"], seeds="1")
  # Its student has not been started on nothing.
  assert place.started() == [("switch", "0")]
  assert place.records()[runs.Run("switch", 0)].failed is None


def test_a_run_that_diverges_is_a_result(place):
  place.write("ends/dense", "diverges")
  place.run("table6", rows=["dense", "switch"], seeds="1")
  assert place.records()[runs.Run("dense", 0)].diverged == 3
  assert "\ndense, seed 0: diverged at step 3\n" in place.said
  assert len(place.started()) == 2
  place.run("table6", rows=["dense"], seeds="1")
  assert place.started() == []
  # Its weights are of no use to others.
  with pytest.raises(errors.UserError, match="it needs dense, seed 0, which"):
    place.run("table5", rows=["tuned"])
  assert place.records()[runs.Run("dense", 0)].diverged == 3


def test_runs_whose_card_has_changed_are_made_again(place):
  place.run("table6", rows=["dense", "switch"], seeds="1")
  place.started()
  gin_file = f"gin/{configurations.gin_file('dense')}"
  place.write(gin_file, "# Why.\ntrain_steps = 10\n")
  place.run("table6", rows=["dense", "switch"], seeds="1")
  assert place.started() == []
  place.write(gin_file, "train_steps = 20\n")
  place.run("table6", rows=["dense", "switch"], seeds="1", dry_run=True)
  assert "1 run to make" in place.said
  assert "1 run made with other settings of the cards" in place.said
  place.write("out/runs/dense/0/left_over", "")
  place.run("table6", rows=["dense", "switch"], seeds="1")
  assert place.started() == [("dense", "0")]
  assert not (place.path / "out/runs/dense/0/left_over").exists()


def test_a_dry_run_says_how_many_and_how_long_and_writes_nothing(place):
  place.run("all", dry_run=True)
  table1 = str(4 + CONTEST)
  rows = [line.split() for line in place.said.splitlines()]
  assert ["table1", "2", table1, table1] in [row[:4] for row in rows]
  assert ["table6", "3", "6", "2"] in [row[:4] for row in rows]
  assert ["table5", "2", "2", "2"] in [row[:4] for row in rows]
  assert f"{8 + CONTEST} runs to make" in place.said
  assert "as stated, without a finished run" in place.said
  assert not (place.path / "out").exists()
  place.run("table6", rows=["dense"])
  place.started()
  place.run("table6", dry_run=True)
  assert ["table6", "3", "6", "4", "0.01"] in [
      line.split() for line in place.said.splitlines()
  ]
  assert "by the runs that are finished" in place.said
  assert place.started() == []


def test_two_reproductions_do_not_share_a_directory(place):
  with lock.hold(str(place.path / "out"), "reproducing"):
    with pytest.raises(errors.UserError) as error:
      place.run("table6")
    assert "is reproducing in" in str(error.value)
    assert str(error.value).endswith("give another --output_dir.")
    place.run("table6", dry_run=True)
  assert place.started() == []


def test_a_directory_of_something_else_is_refused(place):
  place.write("out/thesis.tex", "")
  for dry_run in (True, False):
    with pytest.raises(errors.UserError, match="has 'thesis.tex' in it"):
      place.run("table6", dry_run=dry_run)


def test_a_full_disk_ends_it_in_one_line_and_loses_nothing(place, monkeypatch):
  write = records.write

  def write_one(directory, record):
    if record.card == "switch":
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/a.json")
    write(directory, record)

  monkeypatch.setattr(records, "write", write_one)
  with pytest.raises(errors.UserError) as error:
    place.run("table6", rows=["dense", "switch"], seeds="1")
  assert str(error.value).startswith("out/a.json: No space left on device.")
  assert "run the same command to go on" in str(error.value)
  monkeypatch.setattr(records, "write", write)
  place.run("table6", rows=["dense", "switch"], seeds="1")
  assert set(place.records()) == {runs.Run("dense", 0), runs.Run("switch", 0)}


def test_a_signal_stops_the_runs_and_the_same_command_goes_on(
    place, monkeypatch
):
  place.write("ends/dense", "waits")
  output = place.path / "out/runs/dense/0/output.txt"

  def sleep(seconds):
    del seconds
    if output.exists() and "waiting" in output.read_text():
      raise KeyboardInterrupt
    _sleep(0.01)

  _sleep = time.sleep
  monkeypatch.setattr(time, "sleep", sleep)
  with pytest.raises(errors.Stopped, match="stopped; 0 of 1 run made. Run"):
    place.run("table6", rows=["dense"], seeds="1")
  monkeypatch.setattr(time, "sleep", _sleep)
  assert place.records() == {}
  place.write("ends/dense", "")
  place.run("table6", rows=["dense"], seeds="1")
  assert place.started() == [("dense", "0"), ("dense", "0")]
  assert set(place.records()) == {runs.Run("dense", 0)}


def test_a_terminal_shows_each_run_and_what_is_left(place):
  place.run("table6", seeds="1", live=True)
  for text in ("student, seed 0", "runs 3/3", "about 0:00:00 left"):
    assert text in place.said


@pytest.fixture
def paper(monkeypatch):
  """The paper's scale has two cards."""
  row = types.SimpleNamespace(source="Table 3")
  cards = {
      name: types.SimpleNamespace(
          name=name,
          rows=[row],
          mode="train",
          needs={},
          seeds=1,
          file=f"experiments/paper/{name}.gin",
      )
      for name in ("a", "b")
  }
  # In both places where an import looks, whatever has been imported before.
  module = types.SimpleNamespace(PAPER_CARDS=cards)
  name = "mtf_switch.reproduction.paper_cards"
  monkeypatch.setitem(sys.modules, name, module)
  monkeypatch.setattr(reproduction, "paper_cards", module, raising=False)


def test_at_the_papers_scale_commands_are_listed(place, paper):
  place.run("table3", scale="paper", dry_run=True, output_dir="gs://b")
  assert place.said.splitlines() == [
      "run_switch --mode=train --gin_file=experiments/paper/a.gin"
      " --model_dir=gs://b/a/0 --seed=0",
      "run_switch --mode=train --gin_file=experiments/paper/b.gin"
      " --model_dir=gs://b/b/0 --seed=0",
      "2 runs.",
  ]
  assert place.started() == []


def test_at_the_papers_scale_runs_need_a_tpu(place, paper):
  with pytest.raises(errors.UserError, match="2 runs for TPUs; name one with"):
    place.run("table3", scale="paper")
  assert place.started() == []


def test_on_a_tpu_runs_follow_one_another(place, paper):
  output_dir = str(place.path)
  (place.path / "a" / "0").mkdir(parents=True)
  (place.path / "b" / "0").mkdir(parents=True)
  kwargs = dict(scale="paper", has_tpu=True, output_dir=output_dir)
  place.run("table3", flags=["--tpu=v3"], **kwargs)
  assert place.started() == [("a", "0"), ("b", "0")]
  assert "--seed=0 --tpu=v3\n" in place.said
  place.write("ends/a", "fails")
  with pytest.raises(errors.UserError, match="a, seed 0, ended with status 1"):
    place.run("table3", **kwargs)
  assert place.started() == [("a", "0", "again")]


def test_a_dry_run_of_all_does_not_load_tensorflow(tmp_path):
  script = (
      "import atexit, sys\n"
      "atexit.register(lambda: print('tensorflow' in sys.modules))\n"
      "import run_switch\n"
      "run_switch.main()\n"
  )
  flags = ["--mode=reproduce", "--experiment=all", "--dry_run"]
  done = subprocess.run(
      [sys.executable, "-c", script, *flags],
      cwd=tmp_path,
      env=programs.environment(),
      capture_output=True,
      text=True,
      check=True,
  )
  assert done.stdout == "False\n"
  assert "runs to make" in done.stderr
  assert not list(tmp_path.iterdir())
