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

"""--mode=doctor: its findings, and its work where libraries are missing."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import os
import shutil
import subprocess
import sys

import pytest
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.modes import doctor
from mtf_switch.modes import findings
from mtf_switch.modes import run_findings
from mtf_switch.planning import step_graph
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from tests import gin_files
from tests import programs
from tests import small_model
from tests import toy_tasks  # noqa: F401

LOCK = """\
# By uv.
numpy==1.26.4
    # via
    #   -r requirements.in
    #   pytest
gast==0.6.0
    # via numpy
pytest==9.2.0
    # via -r requirements.in
pluggy==1.6.0
    # via pytest
"""
VERSIONS = {"numpy": "1.26.4", "gast": "0.6.0", "pytest": "9.2.0"}


def of_libraries(**changes):
  versions = {**VERSIONS, "pluggy": "1.6.0", **changes}
  return [
      (x.state, x.found, x.advice)
      for x in findings.of_libraries(LOCK, "complete it", versions.get)
  ]


def test_libraries_of_the_lock():
  assert of_libraries() == [("ok", "all 4 are those of the lock", "")]
  assert of_libraries(gast=None) == [("wrong", "missing: gast", "complete it")]
  assert of_libraries(pluggy=None) == [
      ("ok", "no pluggy, for developers only", "")
  ]
  assert of_libraries(numpy="2.0") == [
      (
          "warning",
          "other versions than were tried: numpy 2.0 for 1.26.4",
          "complete it",
      )
  ]
  found, _ = of_libraries(**{"tf-nightly": "2.20"})
  assert found[:2] == ("warning", "tf-nightly overwrites files of tensorflow")


def test_an_installation_without_a_lock():
  (found,) = findings.of_libraries(None, "complete it", VERSIONS.get)
  assert (found.state, found.advice) == ("warning", "complete it")


def test_the_lock_of_this_project_is_read():
  text = (programs.PROJECT / "requirements.txt").read_text()
  libraries = findings.read_lock(text)
  needed = findings.needed_by_runs(libraries)
  assert {"tensorflow", "gast", "numpy", "rich", "pandas"} <= needed
  assert not {"pytest", "ruff", "execnet", "iniconfig", "black"} & needed
  assert needed < set(libraries)


@pytest.mark.parametrize(
    "limits, expected",
    [((), 4 << 10), (("2048\n",), 2048), (("max\n",), 4 << 10)],
)
def test_memory_that_a_process_may_have(limits, expected):
  meminfo = "MemTotal: 8 kB\nMemAvailable:    4 kB\n"
  assert findings.available_memory(meminfo, limits) == expected


@pytest.mark.parametrize(
    "available, state", [(2**28, "wrong"), (2**31, "warning"), (2**34, "ok")]
)
def test_memory(available, state):
  assert findings.of_memory(2**35, available).state == state


def test_processors():
  device = {"processor": "P", "cores": 4, "flags": ["avx2"]}
  found = findings.of_processor(device, 2, "Linux", "x86_64")
  assert found[1:] == ("ok", "P, 2 of 4 cores, avx2", "")
  old = {**device, "flags": []}
  assert "AVX" in findings.of_processor(old, 2, "Linux", "x86_64").advice
  other = findings.of_processor(device, 2, "Linux", "aarch64")
  assert other.state == "warning"


def test_directories(tmp_path):
  found = findings.of_directory("model_dir", f"{tmp_path}/new/run")
  assert found.state == "ok" and "to be made" in found.found
  assert not list(tmp_path.iterdir())
  (tmp_path / "file").write_text("")
  for path in ("file", "file/run"):
    found = findings.of_directory("model_dir", str(tmp_path / path))
    assert found.state == "wrong"
    assert found.found == f"{tmp_path}/file is not a directory"
  assert findings.of_directory("model_dir", "/proc/new").state == "wrong"
  found = findings.of_directory("model_dir", str(tmp_path), needed=2**60)
  assert found.state == "wrong" and "1,024 PiB" in found.found


def test_variables_of_the_environment():
  variables = {"TF_CONFIG": "{}", "LD_PRELOAD": "a.so", "HOME": "b"}
  states = [x.state for x in findings.of_variables(variables)]
  assert states == ["wrong", "warning"]


def diagnosed(load, monkeypatch):
  """The lines of stdout, and the error if there is one."""
  monkeypatch.setattr(sys, "stdout", io.StringIO())
  installation = doctor.Installation(None, "complete it", "/proc/x", load)
  error = None
  try:
    doctor.doctor(installation)
  except errors.UserError as raised:
    error = str(raised)
  return [x.split("\t") for x in sys.stdout.getvalue().splitlines()], error


@pytest.mark.parametrize(
    "raised, expected",
    [
        (
            ModuleNotFoundError("No module\nnamed 'a'"),
            "it does not load: ModuleNotFoundError: No module named 'a'",
        ),
        (errors.UserError("--module_import=a: no."), "--module_import=a: no."),
    ],
)
def test_what_does_not_load_is_a_finding(monkeypatch, raised, expected):
  def load(unused_ask_remote):
    raise raised

  rows, error = diagnosed(load, monkeypatch)
  assert {len(row) for row in rows} == {4}
  assert [row[:3] for row in rows[-2:]] == [
      [rows[-2][0], "wrong", expected],
      ["model_dir", "wrong", rows[-1][2]],
  ]
  assert error.endswith(f"will stop a run: {rows[-2][0]}, model_dir.")


BLOCKING = """
import sys

class Finder:
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in ("tensorflow", "numpy", "rich", "gin"):
      raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
"""


def test_it_works_without_libraries(tmp_path):
  (tmp_path / "sitecustomize.py").write_text(BLOCKING)
  result = subprocess.run(
      [sys.executable, programs.PROGRAM, "--mode=doctor"],
      cwd=tmp_path,
      env=programs.environment(PYTHONPATH=f"{tmp_path}:{programs.PROJECT}"),
      capture_output=True,
      text=True,
      timeout=60,
      check=False,
  )
  assert result.returncode == 1
  last = result.stdout.splitlines()[-1].split("\t")
  assert last[:2] == ["TensorFlow", "wrong"] and "make setup" in last[3]
  assert result.stderr == (
      "run_switch: what is wrong will stop a run: TensorFlow.\n"
  )


# What needs TensorFlow.


@pytest.fixture
def display():
  with progress.Display(rich.console.Console(file=io.StringIO())) as display:
    yield display


def run_of(*params, file="mine.gin"):
  gin_files.clear()
  return run_lib.Run(
      gin_files=[str(file)],
      gin_params=params,
      gin_directories=[str(gin_files.ROOT)],
  )


@pytest.fixture
def in_directory(tmp_path, monkeypatch):
  """A directory with a gin file."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("MTF_SWITCH_CACHE", str(tmp_path / "cache"))
  (tmp_path / "mine.gin").write_text(small_model.RUN + "train_steps = 2")
  return tmp_path


@pytest.fixture(scope="module")
def saved_run(tmp_path_factory):
  """A run's directory with the weights of its model, at steps 2 and 4."""
  directory = tmp_path_factory.mktemp("saved")
  (directory / "mine.gin").write_text(small_model.RUN + "train_steps = 2")
  run = run_of(file=directory / "mine.gin")
  run.configure()
  variables = step_graph.StepGraph(run.experiment, False).graph.all_variables
  with tf.Graph().as_default(), tf.Session() as session:
    for variable in variables:
      shape = variable.shape.to_integer_list
      tf.get_variable(variable.name, shape, variable.master_dtype)
    step = tf.train.get_or_create_global_step()
    session.run(tf.global_variables_initializer())
    saver = tf.train.Saver()
    for number in (2, 4):
      saver.save(session, f"{directory}/run/model.ckpt", step + number)
  return directory / "run"


@pytest.fixture
def model_dir(in_directory, saved_run):
  """A copy of it."""
  return str(shutil.copytree(saved_run, in_directory / "run"))


def found_of(run, model_dir, display, ask_remote=False):
  """The findings by subject: states and texts."""
  found = {}
  for x in run_findings.of_run(run, model_dir, ask_remote, display):
    found.setdefault(x.subject, []).append((x.state, f"{x.found}; {x.advice}"))
  return found


def test_a_run_in_order(model_dir, display):
  found = found_of(run_of(), model_dir, display)
  assert {state for rows in found.values() for state, _ in rows} == {"ok"}
  assert found["checkpoints"] == [("ok", "whole: 2, the last one of step 4; ")]
  assert found["model"] == [("ok", "it is that of model.ckpt-4; ")]
  assert "259 ids" in found["vocabulary"][0][1]
  assert not os.path.exists("cache")  # Nothing was written.


def test_another_model_than_that_of_the_checkpoint(model_dir, display):
  ((state, text),) = found_of(run_of("d_ff = 64"), model_dir, display)["model"]
  assert state == "wrong" and "is of another model" in text


def test_damaged_checkpoints(model_dir, display):
  path = f"{model_dir}/model.ckpt-4.data-00000-of-00001"
  with open(path, "r+b") as file:
    file.write(b"\xff" * 100)
  found = found_of(run_of(), model_dir, display)
  damaged, whole = found["checkpoints"]
  assert damaged[0] == "warning" and "go on from step 2" in damaged[1]
  assert "model.ckpt-4 has damaged data" in damaged[1]
  assert whole == ("ok", "whole: 1, the last one of step 2; ")
  for step in (2, 4):
    os.remove(f"{model_dir}/model.ckpt-{step}.data-00000-of-00001")
  ((state, text),) = found_of(run_of(), model_dir, display)["checkpoints"]
  assert state == "wrong" and "take another directory" in text


def test_what_gin_says_wrong(in_directory, display):
  found = found_of(run_of("d_fff = 3"), None, display)
  ((state, text),) = found["gin"]
  assert state == "wrong" and "did you mean d_ff?" in text.lower()
  assert "model" not in found


def test_what_is_remote_is_asked_on_demand_only(
    in_directory, display, monkeypatch
):
  asked = []
  monkeypatch.setattr(tf.io.gfile, "exists", asked.append)
  monkeypatch.setattr(run_findings.tpu_lib, "check_answer", asked.append)
  run = run_lib.Run(tpu=run_lib.Tpu("mine"))
  found = found_of(run, "gs://bucket/run", display)
  assert [found[x][0] for x in ("TPU", "model_dir")] == [
      ("ok", "mine was not asked; --ask_remote asks"),
      ("ok", "gs://bucket/run was not asked; --ask_remote asks"),
  ]
  vocabulary = seqio.SentencePieceVocabulary("gs://bucket/model")
  found, is_at_hand = run_findings.of_vocabulary(vocabulary, False)
  assert found.state == "ok" and not is_at_hand
  assert not [x for x in asked if "://" in x]


def test_a_vocabulary_that_is_not_there(tmp_path):
  vocabulary = seqio.SentencePieceVocabulary(str(tmp_path / "model"))
  found, is_at_hand = run_findings.of_vocabulary(vocabulary, True)
  assert found.state == "wrong" and not is_at_hand


def test_a_cache(in_directory):
  (in_directory / "cache" / "text-0123").mkdir(parents=True)
  (in_directory / "cache" / "text-0123" / "a").write_bytes(b"a" * 2048)
  (in_directory / "cache" / ".text-4567.partial").mkdir()
  directory, entries, unfinished = run_findings.of_cache()
  assert directory.state == "ok"
  assert entries.found == "text-0123 2 KiB"
  assert unfinished.state == "warning"


def test_a_look_that_fails_is_a_finding():
  def look():
    yield findings.Finding("a", "ok", "b")
    raise KeyError("c\nd")

  found = list(run_findings._guarded("a", look))
  assert [x.state for x in found] == ["ok", "wrong"]
  assert "\n" not in found[1].found
