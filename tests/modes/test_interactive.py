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

"""The prompt and the pipe of --mode=interactive."""

import mtf_switch  # isort: skip  # noqa: F401
import io
import os
import signal
import sys
import types

import pytest

from mtf_switch.modes import decode
from mtf_switch.modes import interactive
from mtf_switch.serving import conversation as conversation_lib
from tests.serving import made_model
from tests.serving import test_saved_model

LINES = ["the switch", "", "each token to one", "too long a text " * 9]


def test_a_pipe_has_the_lines_of_infer(tmp_path, monkeypatch, capsys):
  run = made_model.configured(tmp_path)
  made_model.write_checkpoint(run)
  content = "\n".join([*LINES, "/options", "/beams", "//beams 2"]).encode()
  stdin = types.SimpleNamespace(
      isatty=lambda: False, buffer=io.BytesIO(content + b"\r\n\xff\n/quit\na")
  )
  monkeypatch.setattr(sys, "stdin", stdin)
  console = made_model.console()
  interactive.interactive(run, console)
  answers = capsys.readouterr().out.split("\n")
  expected = test_saved_model.lines_of(
      decode.infer, tmp_path, [*LINES, "/beams 2"]
  )
  assert answers == [*expected, "", ""]
  said = console.file.getvalue()
  assert "note: the text has 145 tokens, and the model takes 24" in said
  assert "/beams is followed by a whole number" in said
  assert "line 8: this is not UTF-8 text." in said
  assert said.count("greedy decoding\n") == 1


@pytest.fixture
def talk():
  """A conversation in which answers are questions in capitals."""

  def command(line):
    if line == "/quit":
      raise conversation_lib.Ended
    return "changed"

  return types.SimpleNamespace(
      answer=lambda x: conversation_lib.Answer(x.upper(), f"{x}!"),
      command=command,
  )


def type_(monkeypatch, *lines):
  """Has input() return lines; an exception is raised, a function called."""
  typed = iter(lines)

  def read(prompt):
    assert prompt == "> "
    line = next(typed)
    if callable(line):
      line = line()
    if isinstance(line, BaseException):
      raise line
    return line

  monkeypatch.setattr("builtins.input", read)
  return typed


def test_a_prompt_answers_until_the_end_of_input(talk, monkeypatch, capsys):
  type_(monkeypatch, "a\x1b", " ", "/beams 2", "//b", EOFError())
  console = made_model.console()
  interactive._on_terminal(talk, console)
  assert capsys.readouterr().out.splitlines() == [
      r"A\x1b",
      r"filled: a\x1b!",
      "/B",
      "filled: /b!",
      "",
  ]
  assert console.file.getvalue() == "changed\n"


def test_interrupts_cancel_a_line_as_often_as_they_come(
    talk, monkeypatch, capsys
):
  def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    return "not answered"

  before = signal.getsignal(signal.SIGINT)
  left = type_(monkeypatch, interrupt, interrupt, "a", "/quit", "b")
  interactive._on_terminal(talk, made_model.console())
  assert capsys.readouterr().out.splitlines() == ["", "", "A", "filled: a!"]
  assert list(left) == ["b"]
  assert signal.getsignal(signal.SIGINT) is before
