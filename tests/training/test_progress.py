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

"""The display of a run's progress."""

import io

import rich.console

from mtf_switch.training import progress


def show(is_terminal):
  """What a display writes in the course of a short run."""
  console = rich.console.Console(
      file=io.StringIO(), force_terminal=is_terminal, width=100
  )
  with progress.Display(console) as display:
    display.status("building the model")
    display.steps("step", 1, 400, "loss 9.1234")
    display.steps("step", 2, 400, "loss 8.1234")  # Too soon for a line.
    display.note("step 2  evaluated")
    display.steps("step", 400, 400, "loss 1.5000  1,234 tokens/s  0:00:00 left")
    if is_terminal:
      display._bar.refresh()
  return console.file.getvalue()


def test_plain_lines_where_there_is_no_terminal():
  assert show(is_terminal=False).splitlines() == [
      "building the model",
      "step 1/400  loss 9.1234",
      "step 2  evaluated",
      "step 400/400  loss 1.5000  1,234 tokens/s  0:00:00 left",
  ]


def test_bar_on_a_terminal():
  shown = show(is_terminal=True)
  assert "━" in shown
  assert "step 400/400" in shown
  assert "step 2  evaluated" in shown
  # The bar goes, its last figures stay.
  last = "step 400/400  loss 1.5000  1,234 tokens/s  0:00:00 left"
  assert shown.splitlines()[-1].endswith(last)


def test_duration():
  assert progress.duration(3725.4) == "1:02:05"
