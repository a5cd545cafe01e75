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

"""The mode that writes a run's checkpoint as SavedModels."""

from collections.abc import Mapping, Sequence
import os
import sys
from typing import Annotated

import gin
import rich.console

from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.conversion import output_directory
from mtf_switch.planning import units
from mtf_switch.serving import decodings as decodings_lib
from mtf_switch.serving import functions as functions_lib
from mtf_switch.serving import saved_model
from mtf_switch.serving import signatures as signatures_lib
from mtf_switch.serving import texts
from mtf_switch.training import checkpoints
from mtf_switch.training import counted_lowering
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib

_COLUMNS = ("signature", "takes", "gives")
_Decodings = Annotated[
    Mapping[str, Mapping[str, float]] | None,
    "T5's parameters for each decoding, as in {'greedy': {}, 'beam': "
    "{'beam_size': 4}}",
]
# The one on ids is written with weights of its own first.
_COPIES = 2


@gin.configurable(module="mtf_switch.decoding")
@values.checked
def export(
    run: run_lib.Run,
    console: rich.console.Console,
    output_dir: str,
    decodings: _Decodings = None,
    checkpoint_step: checkpoints.Step = None,
):
  """Writes SavedModels that decode and score without this package.

  output_dir/text/<step> takes texts, output_dir/ids/<step> takes ids and needs
  TensorFlow alone.

  Args:
    run: the run.
    console: the console for progress.
    output_dir: a new directory, or an empty one.
    decodings: T5's parameters for one or more of "greedy", "beam" and
      "sample", the first as the default, such as {"greedy": {}, "beam":
      {"beam_size": 4}}; None for the decoding of --mode=infer.
    checkpoint_step: the step of the checkpoint; None for the latest.

  Raises:
    UserError: the checkpoint is missing, a text would depend on others, or
      output_dir is not new.
  """
  setting = f"--output_dir={output_dir}"
  output_directory.check_new(output_dir, setting)
  functions_lib.check(run)
  experiment = run.experiment
  chosen = decodings_lib.chosen(decodings, experiment.model_type == "lm")
  with progress.Display(console) as display, functions_lib.eagerly():
    with display.working("checking the vocabulary and the checkpoint"):
      (step,) = run.select_checkpoints(checkpoint_step)
      vocabularies = texts.all_of(experiment.vocabularies)
    with display.working(f"reading the weights of step {step}"):
      of_checkpoint = functions_lib.Functions(run, step)
    output_directory.check_space(
        output_dir, _COPIES * of_checkpoint.weights.num_bytes, setting
    )
    functions = signatures_lib.Functions(
        of_checkpoint, chosen, counted_lowering.shown_by(display)
    )
    with (
        display.working(f"writing {output_dir}"),
        output_directory.written(output_dir) as directory,
    ):
      records = saved_model.write(directory, run, step, functions, vocabularies)
  output = rich.console.Console(file=sys.stdout)
  for name, record in records.items():
    path = os.path.join(output_dir, name)
    size = units.bytes_(saved_model.num_bytes(path))
    print(f"{path}, {size}:\n")
    terminal.table(output, _COLUMNS, _rows(record["signatures"]), num_left=3)
  size = units.bytes_(saved_model.num_bytes(output_dir))
  print(f"Together {size}: the weights are there once.\n")
  path = os.path.join(output_dir, saved_model.TEXT, str(step))
  default = records[saved_model.TEXT]["default"]
  print("\n".join(saved_model.example(path, default, vocabularies)))
  terminal.say(console, f"step {step}: wrote {output_dir}.")


def _rows(signatures) -> list[Sequence[str]]:
  def said(tensors):
    return ", ".join(f"{name} {x}" for name, x in tensors.items())

  return [
      (name, said(signature["inputs"]), said(signature["outputs"]))
      for name, signature in signatures.items()
  ]
