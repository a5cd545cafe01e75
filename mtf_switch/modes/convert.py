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

"""The mode that brings weights here from elsewhere, and to Hugging Face."""

from collections.abc import Sequence
import os

import gin
from mesh_tensorflow.transformer import utils
import rich.console

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.conversion import account
from mtf_switch.conversion import architecture as architecture_lib
from mtf_switch.conversion import arrival
from mtf_switch.conversion import from_huggingface
from mtf_switch.conversion import huggingface_weights
from mtf_switch.conversion import model_architecture
from mtf_switch.conversion import output_directory
from mtf_switch.conversion import to_huggingface
from mtf_switch.conversion import vocabulary_files
from mtf_switch.training import checkpoints
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin

_EPSILON = "transformer.sublayer_rms_norm.epsilon"


@gin.configurable(module="mtf_switch.modes")
@values.checked
def convert(
    run: run_lib.Run,
    console: rich.console.Console,
    output_dir: str,
    huggingface_dir: str | None = None,
    t5x_dir: str | None = None,
    left_out: Sequence[str] = (),
    checkpoint_step: checkpoints.Step = None,
):
  """Converts a directory of Hugging Face or T5X, or a run into Hugging Face's.

  Args:
    run: the run that is converted; with t5x_dir, its gin files say what the
      model is.
    console: the console for progress.
    output_dir: a new directory, or an empty one.
    huggingface_dir: a directory of Hugging Face that is converted.
    t5x_dir: a checkpoint of T5X that is converted.
    left_out: names of its tensors that need not become anything.
    checkpoint_step: the step of the run's checkpoint; None for the latest.

  Raises:
    UserError: names what is missing or left over, or what the other side does
      not have.
  """
  output_directory.check_new(output_dir, f"--output_dir={output_dir}")
  if huggingface_dir is not None:
    _check_directory(huggingface_dir, f"--huggingface_dir={huggingface_dir}")
    entries = _bring(huggingface_dir, output_dir, left_out, console)
  elif t5x_dir is not None:
    _check_directory(t5x_dir, f"--t5x_dir={t5x_dir}")
    entries = _bring_from_t5x(t5x_dir, output_dir, left_out, console)
  else:
    entries = _take(run, output_dir, checkpoint_step, console)
  account.show(entries)
  terminal.say(console, f"wrote {output_dir}.")


def _check_directory(directory: str, setting: str):
  """Refuses what is no directory on a disk."""
  files.check_directory(directory, setting)
  if "://" in directory:
    raise errors.UserError(f"{setting} is remote; copy it to a disk first.")


def _bring(
    directory: str,
    output_dir: str,
    left_out: Sequence[str],
    console: rich.console.Console,
) -> list[account.Entry]:
  """Converts a directory of Hugging Face."""
  with progress.Display(console) as display:
    with display.working(f"reading {directory}"):
      stack = huggingface_weights.Weights(directory)
    with stack as weights:
      with display.working("comparing names and shapes"):
        plan = from_huggingface.plan(directory, weights, left_out)
      with display.working_through("converting", plan.num_bytes) as report:
        from_huggingface.write(plan, weights, directory, output_dir, report)
  _say_model(output_dir, console)
  return plan.entries


def _bring_from_t5x(
    directory: str,
    output_dir: str,
    left_out: Sequence[str],
    console: rich.console.Console,
) -> list[account.Entry]:
  """Converts a checkpoint of T5X, of the model that gin describes."""
  model_type = strict_gin.value("%model_type")
  if model_type is None:
    raise errors.UserError(
        "a checkpoint of T5X does not say what its model is; name a gin file "
        "that does, such as --gin_file=models/released/switch_base_8.gin."
    )
  vocabulary = vocabulary_files.of_gin()
  # Here, because loading JAX and TensorStore takes seconds.
  # pylint: disable=g-import-not-at-top
  from mtf_switch.conversion import from_t5x
  from mtf_switch.conversion import t5x_weights
  # pylint: enable=g-import-not-at-top

  size = vocabulary.vocab_size
  with progress.Display(console) as display:
    with display.working("building the model"):
      architecture = _architecture(
          utils.build_model(model_type, size, size, "", ""),
          model_architecture.T5X,
      )
    with display.working(f"reading {directory}"):
      weights = t5x_weights.Weights(directory)
    with display.working("comparing names and shapes"):
      plan = from_t5x.plan(
          architecture, vocabulary, weights, directory, left_out
      )
    with display.working_through("converting", plan.num_bytes) as report:
      from_t5x.write(plan, vocabulary, weights, directory, output_dir, report)
  if weights.num_slots:
    terminal.say(
        console, f"{weights.num_slots:,} arrays of the optimizer are left out."
    )
  _say_model(output_dir, console)
  return plan.entries


def _say_model(output_dir: str, console: rich.console.Console):
  """Says where the gin file of a model is that was brought here."""
  path = os.path.join(output_dir, arrival.GIN_FILE)
  terminal.say(console, f"the model is in {path}.")


def _architecture(
    model, other: model_architecture.Program
) -> architecture_lib.Architecture:
  """The architecture of a model that gin has described."""
  epsilon = strict_gin.value(_EPSILON)
  return model_architecture.architecture(
      model, 1e-6 if epsilon is None else epsilon, other
  )


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
  architecture = _architecture(model, model_architecture.HUGGING_FACE)
  options = model_architecture.options(model)
  if architecture.has_experts:
    # Nothing is dropped in decoding here; there, within this many tokens.
    options["expert_capacity"] = max(experiment.lengths.values())
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the checkpoint"):
      (step,) = run.select_checkpoints(checkpoint_step)
      path = checkpoints.path(run.model_dir, step)
      plan = to_huggingface.plan(architecture, path)
    with display.working_through("converting", plan.num_bytes) as report:
      to_huggingface.write(
          plan,
          path,
          options,
          experiment.vocabularies[0],
          output_dir,
          report,
      )
  return plan.entries
