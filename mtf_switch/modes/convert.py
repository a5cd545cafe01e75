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

"""The mode that brings weights here from Hugging Face, and back."""

from collections.abc import Sequence
import os

import gin
import rich.console

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.conversion import account
from mtf_switch.conversion import from_huggingface
from mtf_switch.conversion import huggingface_weights
from mtf_switch.conversion import model_architecture
from mtf_switch.conversion import output_directory
from mtf_switch.conversion import to_huggingface
from mtf_switch.training import checkpoints
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin

_EPSILON = "transformer.sublayer_rms_norm.epsilon"
_MEGABYTE = 10**6


@gin.configurable(module="mtf_switch.modes")
@values.checked
def convert(
    run: run_lib.Run,
    console: rich.console.Console,
    output_dir: str,
    huggingface_dir: str | None = None,
    left_out: Sequence[str] = (),
    checkpoint_step: checkpoints.Step = None,
):
  """Converts a directory of Hugging Face, or a run into one.

  Args:
    run: the run that is converted, unless huggingface_dir is given.
    console: the console for progress.
    output_dir: a new directory, or an empty one.
    huggingface_dir: a directory of Hugging Face that is converted.
    left_out: names of its tensors that need not become anything.
    checkpoint_step: the step of the run's checkpoint; None for the latest.

  Raises:
    UserError: names what is missing or left over, or what the other side does
      not have.
  """
  output_directory.check_new(output_dir, f"--output_dir={output_dir}")
  if huggingface_dir is not None:
    entries = _bring(huggingface_dir, output_dir, left_out, console)
  else:
    entries = _take(run, output_dir, checkpoint_step, console)
  account.show(entries)
  terminal.say(console, f"wrote {output_dir}.")


def _bring(
    directory: str,
    output_dir: str,
    left_out: Sequence[str],
    console: rich.console.Console,
) -> list[account.Entry]:
  """Converts a directory of Hugging Face."""
  files.check_directory(directory, f"--huggingface_dir={directory}")
  if "://" in directory:
    raise errors.UserError(
        f"--huggingface_dir={directory} is remote; copy it to a disk first."
    )
  with progress.Display(console) as display:
    with display.working(f"reading {directory}"):
      stack = huggingface_weights.Weights(directory)
    with stack as weights:
      with display.working("comparing names and shapes"):
        plan = from_huggingface.plan(directory, weights, left_out)
      with display.working(
          "converting", plan.num_bytes // _MEGABYTE, "MB"
      ) as report:
        from_huggingface.write(
            plan,
            weights,
            directory,
            output_dir,
            lambda done: report(done // _MEGABYTE),
        )
  path = os.path.join(output_dir, from_huggingface.GIN_FILE)
  terminal.say(console, f"the model is in {path}.")
  return plan.entries


def _take(
    run: run_lib.Run,
    output_dir: str,
    checkpoint_step: checkpoints.Step,
    console: rich.console.Console,
) -> list[account.Entry]:
  """Converts a run."""
  experiment = run.experiment
  to_huggingface.check_vocabularies(experiment.vocabularies)
  model = experiment.build_model()
  epsilon = strict_gin.value(_EPSILON)
  architecture = model_architecture.architecture(
      model, 1e-6 if epsilon is None else epsilon
  )
  options = model_architecture.options(model)
  if architecture.has_experts:
    # Nothing is dropped in decoding here; there, within this many tokens.
    options["expert_capacity"] = max(experiment.lengths.values())
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the checkpoint"):
      (step,) = run.select_checkpoints(checkpoint_step)
      path = checkpoints.path(run.model_dir, step)
      plan = to_huggingface.plan(architecture, path)
    total = sum(x.num_bytes for x in plan.sizes)
    with display.working("converting", total // _MEGABYTE, "MB") as report:
      to_huggingface.write(
          plan,
          path,
          options,
          experiment.vocabularies[0],
          output_dir,
          lambda done: report(done // _MEGABYTE),
      )
  return plan.entries
