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

"""Training steps with and without all that watches them."""

from benchmarks.contenders import tensorflow_graphs as graphs  # isort: skip  # noqa: F401
import os

import rich.console

from benchmarks.contenders import runs
from benchmarks.contenders import worker
from mtf_switch.modes import train
from mtf_switch.training import progress


def steps(count: int, are_watched: bool, **sizes: int) -> worker.Work:
  """A number of training steps, of which the last is recorded.

  Args:
    count: the steps.
    are_watched: whether a terminal, metrics.jsonl and TensorBoard show them, as
      --mode=train does, and warnings are looked for.
    **sizes: of the model and its batch.

  Returns:
    the run "steps".
  """
  run = runs.make(
      ["models/switch_tiny.gin", *runs.TRAINING_FILES],
      [*runs.bindings(sizes), "train_steps = 1"],
  )
  if not are_watched:
    return _repeated(runs.training_work(run), count)
  display = progress.Display(
      rich.console.Console(
          file=open(os.devnull, "w"), force_terminal=True, width=80
      )
  )
  display.__enter__()  # Until the process ends.

  def make_hooks(graph):
    return [
        train.make_progress_hook(
            run, graph, display, run.metrics_file, 10**6, count
        )
    ]

  return _repeated(
      runs.training_work(run, make_more_hooks=make_hooks, norms_every=count),
      count,
  )


def _repeated(work: worker.Work, count: int) -> worker.Work:
  """A work that makes its step several times."""

  def run():
    for _ in range(count):
      work.runs["step"]()

  return work._replace(runs={"steps": run})
