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

"""The mode that costs a run before it is paid for."""

from collections.abc import Callable, Iterator, Sequence
import os
import pathlib
import sys

import gin
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.planning import accounting
from mtf_switch.planning import chips
from mtf_switch.planning import picture
from mtf_switch.planning import plan as plan_lib
from mtf_switch.planning import report
from mtf_switch.planning import table9
from mtf_switch.training.experiment import Experiment
from mtf_switch.training.experiment import Tpu


def plan(
    console: rich.console.Console,
    configure: Callable[[Sequence[str], Sequence[str]], None],
    plan_chip: str = "tpu_v3",
    plan_chips_file: str | None = None,
    plan_compare: Sequence[str] = (),
    plan_format: str = "table",
    plan_picture: str | None = None,
    plan_table9: bool = False,
):
  """Says what a training step needs, of one layout or of several.

  Args:
    console: where progress is shown.
    configure: reads the command line's gin files and parameters, and those
      that it is called with.
    plan_chip: what the cores of the mesh are; a name in chips.csv, or
      "this_cpu".
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
    configure((), ())  # Gin knows where the project's files are from then on.
    table9.show(output)
    return
  chip = chips.find(plan_chip, plan_chips_file)
  if plan_picture:
    _check_directory(plan_picture)
  plans, pictures = [], []
  for name, experiment in _experiments(configure, plan_compare, chip):
    if plan_picture:
      picture.check_size(experiment.mesh)
    with console.status(f"planning {name}"):
      plans.append(plan_lib.plan(experiment, chip, name))
      if plan_picture:
        pictures.append(_picture(experiment, plans[-1]))
  if plan_picture:
    picture.draw(pictures, plan_picture)
  if plan_format == "json":
    sys.stdout.write(report.as_json(plans) + "\n")
  else:
    report.table(plans, output)


def _experiments(
    configure, compared: Sequence[str], chip: chips.Chip
) -> Iterator[tuple[str, Experiment]]:
  """What is to be planned, under the name that a report gives it."""
  tpu = Tpu(chip.name) if chip.kind == "tpu" else None
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
    configure(files, bindings)
    yield name, Experiment(model_dir="", seed=0, tpu=tpu)


def _names(compared: Sequence[str]) -> list[str]:
  """The layouts' files, with the bindings where several have the same file."""
  files = [layout.split(",")[0] for layout in compared]
  return [
      pathlib.Path(file).stem + layout[len(file) :] * (files.count(file) > 1)
      for layout, file in zip(compared, files)
  ]


def _check_directory(path: str):
  """Refuses a file that could not be written when all is done."""
  directory = os.path.dirname(path)
  if directory and not tf.io.gfile.isdir(directory):
    raise errors.UserError(
        f"--plan_picture={path}: there is no directory {directory}."
    )


def _picture(experiment: Experiment, plan_: plan_lib.Plan):
  """A picture.Layout of what was planned."""
  try:
    size = accounting.size_of(experiment.build_model())
  except ValueError as error:
    raise errors.UserError(f"--plan_picture: {error}") from error
  return picture.Layout(
      plan_.name,
      plan_.mesh_shape,
      plan_.layout_rules,
      picture.Sizes(
          num_experts=size.num_experts,
          d_ff=size.d_ff,
          num_heads=size.num_heads,
          batch=experiment.sequences_per_batch,
          outer_batch=experiment.outer_batch_size,
          has_dense_layers=not size.num_experts or size.sparse_every > 1,
      ),
  )
