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
"""The mode that makes a Switch model of a dense one, configured by gin."""

import os

import gin
import numpy as np
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import terminal
from mtf_switch import values
from mtf_switch.conversion import account
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import output_directory
from mtf_switch.conversion import saved_variables
from mtf_switch.conversion import upcycling
from mtf_switch.training import checkpoints
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import vocabulary_record


@gin.configurable(module="mtf_switch.modes")
@values.checked
def upcycle(
    run: run_lib.Run,
    console: rich.console.Console,
    dense_dir: str = gin.REQUIRED,
    dense_step: checkpoints.Step = None,
    noise: values.NotNegative = 0.0,
):
  """Writes a Switch model's first checkpoint, of a dense model's weights.

  Its step is that of the dense model's checkpoint. The optimizer's slots are
  fresh, and so are the routers. Writes initialization.json and upcycled.json
  beside it.

  Args:
    run: the Switch model's run; its model_dir has no checkpoint.
    console: the console for progress.
    dense_dir: the dense model's directory, ours or T5's.
    dense_step: the step of its checkpoint; None for the latest.
    noise: the standard deviation of what is added to each expert's weights,
      relative to that of the dense weights; 0 for equal experts.

  Raises:
    UserError: there is no such checkpoint, it does not fit the model or the
      vocabulary, or model_dir has checkpoints.
  """
  model_dir = run.model_dir
  check_new(model_dir, f"--model_dir={model_dir}")
  files.check_directory(
      dense_dir, f"upcycle.dense_dir = {dense_dir!r}", to_be_made=True
  )
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the checkpoint"):
      (step,) = checkpoints.select(dense_dir, dense_step, "upcycle.dense_dir")
      vocabulary_record.check(dense_dir, run.experiment.vocabularies)
    path = checkpoints.path(dense_dir, step)
    with display.working("building the model"):
      variables = saved_variables.SavedVariables(run)
    dense = checkpoint_writer.variables_in(path)
    sources = upcycling.match(
        checkpoint_writer.shapes(variables.weights),
        checkpoint_writer.shapes(dense),
        path,
    )
    output_directory.check_space(
        model_dir, variables.num_bytes, f"--model_dir={model_dir}"
    )
    reader = tf.train.load_checkpoint(path)

    def value_of(variable: checkpoint_writer.Variable) -> np.ndarray:
      name = variable.name
      if name in sources.copied:
        value = reader.get_tensor(sources.copied[name])
        return value.astype(variable.dtype, copy=False)
      if name in sources.of_experts:
        return upcycling.experts_of(
            reader.get_tensor(sources.of_experts[name]),
            name,
            variable.shape[0],
            noise,
            run.seed,
            variable.dtype,
        )
      return variables.initial_value(name)

    vocabulary_record.keep(model_dir, run.experiment.vocabularies)
    files.write_json(
        os.path.join(model_dir, "initialization.json"), sources._asdict()
    )
    files.write_json(
        os.path.join(model_dir, "upcycled.json"),
        {
            "dense_dir": dense_dir,
            "step": step,
            "noise": noise,
            "seed": run.seed,
        },
    )
    write(model_dir, step, variables, value_of, display)
  account.show(
      upcycling.entries(sources, variables.weights.values(), dense, noise)
  )
  terminal.say(
      console,
      f"wrote {checkpoints.path(model_dir, step)}, with fresh slots of the "
      f"optimizer: to train on at step {step}, add "
      f'--gin_param="adafactor_decay_rate_pow.offset = {step}".',
  )


def check_new(directory: str, setting: str):
  """Refuses a directory that has checkpoints.

  Args:
    directory: the directory, there or not.
    setting: the flag and its value.

  Raises:
    UserError: it has some.
  """
  if checkpoints.saved_steps(directory):
    raise errors.UserError(
        f"{setting} has checkpoints already; name a new directory."
    )


def write(
    model_dir: str,
    step: int,
    variables: saved_variables.SavedVariables,
    value_of,
    display: progress.Display,
):
  """Writes a checkpoint of a model that has been made of another one.

  Args:
    model_dir: the directory.
    step: the step.
    variables: what it has.
    value_of: see checkpoint_writer.write.
    display: the display for progress.
  """
  with display.working_through(
      "writing the checkpoint", variables.num_bytes
  ) as report:
    checkpoint_writer.write(model_dir, step, variables.all, value_of, report)
