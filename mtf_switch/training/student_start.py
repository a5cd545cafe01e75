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

"""How a student begins: with weights of its teacher's checkpoint."""

import collections
from collections.abc import Callable, Mapping
import functools
import itertools
import os

import numpy as np
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch.training import estimators
from mtf_switch.training import inputs
from mtf_switch.training import model_functions
from mtf_switch.training import prediction_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import student_weights
from mtf_switch.training import teacher as teacher_lib
from mtf_switch.training import warm_start
from mtf_switch.transformer import feed_forward

MakeOfExperts = Callable[[Mapping[str, str]], dict[str, student_weights.Make]]

# To find a teacher's most used experts.
_BATCHES_COUNTED = 10


def make_of_experts(
    run: run_lib.Run,
    make_teacher: Callable[[], teacher_lib.Teacher],
    path: str,
    source: str,
    console: rich.console.Console,
) -> MakeOfExperts | None:
  """Returns how a student's dense layers are made of experts.

  Args:
    run: the student's run.
    make_teacher: makes its teacher.
    path: of the teacher's checkpoint.
    source: distill.initialize_experts.
    console: the console for progress.

  Returns:
    from the teacher's names by the student's to functions of the values; None
    if the layers start fresh.

  Raises:
    UserError: the teacher has no experts, or the student has some.
  """
  if source == "fresh":
    return None
  subject = f"distill.initialize_experts = {source!r} makes dense layers of "
  if not warm_start.is_sparse(dict(tf.train.list_variables(path))):
    raise errors.UserError(f"{subject}experts, and {path} has none.")
  if feed_forward.switches(run.experiment.build_model()):
    raise errors.UserError(
        f"{subject}experts, but this student has experts of its own; they can "
        "only start fresh."
    )
  if source == "mean":
    return student_weights.mean
  loads = _expert_loads(run, make_teacher(), path, console)
  return functools.partial(student_weights.most_used, loads=loads)


def _expert_loads(
    run: run_lib.Run,
    teacher: teacher_lib.Teacher,
    path: str,
    console: rich.console.Console,
) -> dict[str, np.ndarray]:
  """The tokens of the first batches that choose each of a teacher's experts.

  Args:
    run: the student's run.
    teacher: its teacher.
    path: of the teacher's checkpoint, from which only the step is restored.
    console: the console for progress.

  Returns:
    `[num_experts]` by the layer's name.
  """
  experiment = run.experiment
  rows = estimators.make(
      run, prediction_functions.loads_model_fn(run, teacher)
  ).predict(
      lambda params: inputs.training_batches(
          experiment.task,
          experiment.lengths,
          experiment.sequences_per_batch,
          run.seed,
          0,
          _BATCHES_COUNTED,
      ),
      checkpoint_path=path,
  )
  loads = collections.Counter()
  with (
      progress.Display(console) as display,
      display.working(
          "asking which of the teacher's experts are used most",
          _BATCHES_COUNTED,
          "batches",
      ) as report,
  ):
    # Each row has the numbers of its whole batch.
    of_batches = itertools.islice(rows, 0, None, experiment.sequences_per_batch)
    for done, row in enumerate(of_batches, start=1):
      loads.update(row)
      report(done)
  return dict(loads)


def initialize(
    run: run_lib.Run,
    path: str,
    of_experts: MakeOfExperts | None,
    console: rich.console.Console,
    graph: model_functions.TrainingGraph,
) -> list[tf.train.SessionRunHook]:
  """Records where a student's weights come from, for a new run.

  Args:
    run: the student's run.
    path: of the teacher's checkpoint.
    of_experts: see `make_of_experts`.
    console: the console for progress.
    graph: of which TensorFlow's default graph is a part.

  Returns:
    the hook that sets them.
  """
  del graph
  report = student_weights.match(
      {
          name: variable.shape.as_list()
          for name, variable in warm_start.weights().items()
      },
      dict(tf.train.list_variables(path)),
      take_experts=of_experts is not None,
  )
  files.write_json(
      os.path.join(run.model_dir, "initialization.json"), report._asdict()
  )
  terminal.say(
      console,
      f"initial weights from the teacher, {path}: {report.summary}; see "
      "initialization.json",
  )
  return [
      warm_start.InitializationHook(
          path,
          {**report.copied, **report.of_experts},
          of_experts and of_experts(report.of_experts),
      )
  ]
