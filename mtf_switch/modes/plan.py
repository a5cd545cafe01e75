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

"""The mode that computes the cost of a run before it starts."""

from collections.abc import Iterator, Sequence
import os
import pathlib
import sys

import gin
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.modes import distill
from mtf_switch.planning import accounting
from mtf_switch.planning import chips
from mtf_switch.planning import evaluation_graph
from mtf_switch.planning import held_slices
from mtf_switch.planning import picture
from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import report
from mtf_switch.planning import table9
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import unread_bindings
from mtf_switch.training.experiment import Experiment


def plan(
    run: run_lib.Run,
    console: rich.console.Console,
    plan_chip: str = "tpu_v3",
    plan_chips_file: str | None = None,
    plan_compare: Sequence[str] = (),
    plan_format: str = "table",
    plan_picture: str | None = None,
    plan_table9: bool = False,
):
  """Prints the needs of a training step and of the modes after training.

  Of one layout or of several.

  Args:
    run: the run; its gin files are read once for each layout.
    console: the console for progress.
    plan_chip: the kind of the mesh's cores; a name in chips.csv, or "this_cpu".
    plan_chips_file: a table of further chips.
    plan_compare: layouts to compare, each a gin file and bindings, such as
      "layouts/model.gin,model_parallelism=4".
    plan_format: "table" or "json".
    plan_picture: a PNG file for a picture in the manner of Figure 9.
    plan_table9: whether to show Table 9 instead.

  Raises:
    UserError: a layout cannot work or be drawn, or a chip is not known.
  """
  output = rich.console.Console()
  if plan_table9:
    run.configure()  # Tells gin the directories of the project's files.
    table9.show(output)
    return
  chip = chips.find(plan_chip, plan_chips_file)
  if plan_picture:
    _check_directory(plan_picture)
  plans, pictures = [], []
  for name, experiment in _experiments(run, plan_compare):
    if plan_picture:
      picture.check_size(experiment.mesh)
    with (
        progress.Display(console) as display,
        display.working(f"planning {name}"),
    ):
      plans.append(
          plan_lib.plan(
              experiment,
              chip,
              name,
              evaluation_graph.MODES,
              distill.planned_teacher(run, experiment),
          )
      )
      unread_bindings.check(run.own_bindings, [unread_bindings.MODEL])
      if plan_picture:
        pictures.append(_picture(experiment, plans[-1]))
  if plan_picture:
    picture.draw(pictures, plan_picture)
  if plan_format == "json":
    sys.stdout.write(report.as_json(plans) + "\n")
  else:
    report.table(plans, output)


def _experiments(
    run: run_lib.Run, compared: Sequence[str]
) -> Iterator[tuple[str, Experiment]]:
  """The experiments to be planned, each with its name in the report."""
  for layout, name in zip(compared or [""], _names(compared) or ["this run"]):
    files, bindings = [], []
    if layout:
      file, *bindings = layout.split(",")
      files = [file]
      for binding in bindings:
        if "=" not in binding:
          raise errors.UserError(
              f"--plan_compare={layout}: {binding!r} is no binding, "
              "name=value; values with commas belong in a gin file."
          )
    gin.clear_config()
    run.configure(files, bindings)
    yield name, Experiment()


def _names(compared: Sequence[str]) -> list[str]:
  """The layouts' files, with the bindings where several have the same file."""
  files = [layout.split(",")[0] for layout in compared]
  return [
      pathlib.Path(file).stem + layout[len(file) :] * (files.count(file) > 1)
      for layout, file in zip(compared, files)
  ]


def _check_directory(path: str):
  """Refuses a file that could not be written in the end."""
  directory = os.path.dirname(path)
  if directory and not tf.io.gfile.isdir(directory):
    raise errors.UserError(
        f"--plan_picture={path}: there is no directory {directory}."
    )


def _picture(experiment: Experiment, plan_: plan_lib.Plan):
  """The held_slices.Layout of a plan."""
  try:
    size = accounting.size_of(experiment.build_model())
  except ValueError as error:
    raise errors.UserError(f"--plan_picture: {error}") from error
  if size.d_ff is None:
    raise errors.UserError("--plan_picture: linear experts have no d_ff.")
  return held_slices.Layout(
      plan_.name,
      plan_.mesh_shape,
      plan_.layout_rules,
      held_slices.Sizes(
          num_experts=size.num_experts,
          d_ff=size.d_ff,
          num_heads=size.num_heads,
          batch=experiment.sequences_per_batch,
          outer_batch=experiment.outer_batch_size,
          has_dense_layers=not size.num_experts or size.sparse_every > 1,
      ),
  )
