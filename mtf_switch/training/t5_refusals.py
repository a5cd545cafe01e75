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

"""What T5's configurations ask for and no mode here does."""

from collections.abc import Callable
from typing import Any

import gin

from mtf_switch import errors
from mtf_switch.training import t5_configs
from mtf_switch.training import t5_counterparts as counterparts

# By T5's modes.
_MODES = {
    "eval": "--mode=eval",
    "infer": "--mode=infer, with --input_file and --output_file",
    "perplexity_eval": "--mode=perplexity_eval",
    "score_eval": "--mode=eval or --mode=score",
    "score_from_dataset": "--mode=score, with --input_file and --output_file",
    "score_from_strings": "--mode=score, with --input_file and --output_file",
}
_REFUSED = {
    "ensemble_inputs": "there are no ensembles here",
    "variable_filter": "all variables are trained here",
}


def check_mode(mode: str | None, mode_of_t5: str | None):
  """Refuses to train where the configuration is one for something else.

  Args:
    mode: the program's mode; None for any.
    mode_of_t5: the configuration's; None if it has none.

  Raises:
    UserError: says which mode to give.
  """
  if mode in counterparts.TRAINING_MODES and mode_of_t5 not in (None, "train"):
    advice = _MODES.get(mode_of_t5, "one of the modes of --help")
    raise errors.UserError(
        f"run.mode = {mode_of_t5!r} of T5's configuration is not "
        f"--mode={mode}; give {advice}, or set run.mode = 'train'."
    )


def check_steps(mode: str | None, steps: Callable[[], Any]):
  """Refuses to train for the steps that only T5's program has by default.

  Args:
    mode: the program's mode; None for any.
    steps: returns what train.steps is bound to; only called if need be.

  Raises:
    UserError: a configuration of T5's leaves them out.
  """
  has_run = gin.get_bindings(t5_configs.RUN, resolve_references=False)
  if mode in counterparts.TRAINING_MODES and has_run and steps() is None:
    raise errors.UserError(
        "run.train_steps is not set, and T5's default, 2^36 tokens, is none "
        'here; add for example --gin_param="run.train_steps = 524288".'
    )


def check_use(mode: str | None, parameter: str, value: Any):
  """Refuses a value of one of `run`'s parameters that changes what is trained.

  Args:
    mode: the program's mode; None for any.
    parameter: the parameter.
    value: its value.

  Raises:
    UserError: no mode here does what the value asks for.
  """
  if mode not in (*counterparts.TRAINING_MODES, None):
    return
  name = f"run.{parameter}"
  if parameter == "init_checkpoint" and value and mode == "train":
    raise errors.UserError(
        f"{name} = {value!r} starts from the weights of another run, which "
        f"is --mode=finetune here; or set {name} = None."
    )
  if value and parameter in _REFUSED:
    why = _REFUSED[parameter]
    raise errors.UserError(f"{name} = {value!r}: {why}; set it to None.")
  if parameter == "train_dataset_fn" and value is not None:
    selector = getattr(value, "config_key", ("", None))[1]
    if selector != counterparts.TASKS[0][1]:
      raise errors.UserError(
          f"{name} = {value!r}: data comes from a task here; docs/data.md "
          "says how files become one."
      )
