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

from mtf_switch import compat  # isort: skip
from collections.abc import Callable, Iterator, Sequence
import sys

import gin
import rich.console

from mtf_switch import chips
from mtf_switch import layout_picture
from mtf_switch import layouts
from mtf_switch import plan_report
from mtf_switch import planning
from mtf_switch import table9
from mtf_switch.experiment import Experiment
from mtf_switch.experiment import Tpu

_FORMATS = {"table": plan_report.table, "json": plan_report.as_json}


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
    configure: reads the command line's gin files and parameters again, and
      then those that it is called with.
    plan_chip: what the cores of the mesh are; a name in chips.csv, or
      "this_cpu".
    plan_chips_file: a table of further chips.
    plan_compare: layouts to compare, each a gin file and bindings, such as
      "layouts/model.gin,model_parallelism=4".
    plan_format: "table" or "json".
    plan_picture: a PNG file for a picture in the manner of Figure 9.
    plan_table9: whether to show Table 9 instead.

  Raises:
    UserError: a layout cannot work, or a chip is not known.
  """
  output = rich.console.Console()
  if plan_table9:
    table9.show(output)
    return
  if plan_format not in ("table", "json"):
    raise compat.UserError(
        f"--plan_format={plan_format} is not known; use table or json."
    )
  chip = chips.find(plan_chip, plan_chips_file)
  plans, pictures = [], []
  for name, experiment in _experiments(configure, plan_compare, chip):
    with console.status(f"planning {name}"):
      plans.append(planning.plan(experiment, chip, name))
      pictures.append(_picture(experiment, name))
  if plan_picture:
    layout_picture.draw(pictures, plan_picture)
  if plan_format == "json":
    sys.stdout.write(plan_report.as_json(plans) + "\n")
  else:
    plan_report.table(plans, output)


def _experiments(
    configure, compared: Sequence[str], chip: chips.Chip
) -> Iterator[tuple[str, Experiment]]:
  """What is to be planned, under the name that a report gives it."""
  for layout in compared or [None]:
    if layout is not None:
      file, *bindings = layout.split(",")
      gin.clear_config()
      configure([file], bindings)
    experiment = Experiment(
        model_dir="", seed=0, tpu=Tpu(chip.name) if chip.kind == "tpu" else None
    )
    yield layout or "this run", experiment


def _picture(experiment: Experiment, name: str) -> layout_picture.Layout:
  """What a picture says of a layout."""
  sizes = layouts.sizes(experiment.layout_numbers)
