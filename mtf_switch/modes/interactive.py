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

"""The mode that answers what is typed, or comes through a pipe."""

from collections.abc import Iterable, Iterator
import contextlib
import dataclasses
import signal
import sys

import gin
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.serving import conversation as conversation_lib
from mtf_switch.serving import decodings
from mtf_switch.serving import functions as functions_lib
from mtf_switch.training import checkpoints
from mtf_switch.training import counted_lowering
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib

_PROMPT = "> "
# One text is answered at a time, whatever a training batch has.
_ONE_ROW = ("Experiment.batch_size = 1", "Experiment.outer_batch_size = 1")


class _Cancelled(Exception):
  """Ctrl-C: the line is not to be answered."""


@gin.configurable(module="mtf_switch.decoding")
@values.checked
def interactive(
    run: run_lib.Run,
    console: rich.console.Console,
    checkpoint_step: checkpoints.Step = None,
):
  """Answers lines as --mode=infer does, until there are no more.

  On a terminal with a prompt, a history and commands, see conversation.HELP; in
  a pipe with a line for each line and nothing else.

  Args:
    run: the run.
    console: the console for progress and notes.
    checkpoint_step: the step of the checkpoint; None for the latest.

  Raises:
    UserError: the checkpoint is missing, or the model cannot be served.
  """
  functions_lib.check(run)
  experiment = run.experiment
  is_lm = experiment.model_type == "lm"
  (decoding,) = decodings.chosen(None, is_lm).values()
  run = dataclasses.replace(run, gin_params=[*run.gin_params, *_ONE_ROW])
  with functions_lib.eagerly():
    with progress.Display(console) as display:
      with display.working("checking the vocabulary and the checkpoint"):
        (step,) = run.select_checkpoints(checkpoint_step)
      with display.working(f"reading the weights of step {step}"):
        functions = functions_lib.Functions(run, step)

    def build(decoding):
      with progress.Display(console) as display:
        return functions.decode(decoding, counted_lowering.shown_by(display))

    conversation = conversation_lib.Conversation(
        experiment.vocabularies,
        functions.lengths["inputs"],
        is_lm,
        decoding,
        build,
        run.seed,
    )
    conversation.prepare()
    if sys.stdin.isatty() and sys.stdout.isatty():
      terminal.say(
          console,
          f"step {step}, {decoding.described}; /help says what can be changed.",
      )
      _on_terminal(conversation, console)
    else:
      _in_pipe(conversation, sys.stdin.buffer, console)


def _on_terminal(
    conversation: conversation_lib.Conversation, console: rich.console.Console
):
  """Answers lines of a terminal until Ctrl-D, or a command to end."""
  # With it, input() has a history, and keys to move in a line.
  import readline  # noqa: F401  # pylint: disable=g-import-not-at-top,unused-import

  with _cancelling_by_interrupts():
    while True:
      try:
        line = input(_PROMPT)
        if line.strip():
          _respond(conversation, line, console, _show)
      except _Cancelled:
        print()
      except EOFError:
        print()
        return
      except conversation_lib.Ended:
        return


def _in_pipe(
    conversation: conversation_lib.Conversation,
    lines: Iterable[bytes],
    console: rich.console.Console,
):
  """Answers each line of a pipe by one; commands have none."""
  for number, line in enumerate(lines, start=1):
    try:
      text = line.removesuffix(b"\n").removesuffix(b"\r").decode()
    except UnicodeDecodeError:
      terminal.say(console, f"line {number}: this is not UTF-8 text.")
      print(flush=True)
      continue
    try:
      _respond(conversation, text, console, _write)
    except conversation_lib.Ended:
      return


def _respond(conversation, line: str, console, show):
  """Answers a line, or obeys it; mistakes are said and change nothing."""
  try:
    if line.startswith("/") and not line.startswith("//"):
      for part in conversation.command(line.strip()).splitlines():
        terminal.say(console, part)
      return
    answer = conversation.answer(
        line.removeprefix("/") if line.startswith("//") else line
    )
  except (errors.UserError, tf.errors.OpError, UnicodeError) as error:
    terminal.say(console, str(error).split("\n", maxsplit=1)[0])
    return
  if answer.note:
    terminal.say(console, f"note: {answer.note}")
  show(answer)


def _show(answer: conversation_lib.Answer):
  """Shows an answer to a person."""
  print(terminal.visible(answer.text))
  if answer.filled is not None:
    print(f"filled: {terminal.visible(answer.filled)}")


def _write(answer: conversation_lib.Answer):
  """Writes an answer to a program: one line."""
  print(" ".join(answer.text.splitlines()), flush=True)


@contextlib.contextmanager
def _cancelling_by_interrupts() -> Iterator[None]:
  """Has Ctrl-C cancel a line, as often as it is pressed."""

  def cancel(unused_number, unused_frame):
    raise _Cancelled

  handler = signal.signal(signal.SIGINT, cancel)
  # The program's watch would end it at the second one.
  descriptor = signal.set_wakeup_fd(-1)
  try:
    yield
  finally:
    signal.set_wakeup_fd(descriptor)
    signal.signal(signal.SIGINT, handler)
