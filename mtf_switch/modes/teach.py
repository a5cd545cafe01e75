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

"""The mode that asks a teacher once for many students, configured by gin."""

from typing import Annotated

import gin
import rich.console

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.modes import train
from mtf_switch.planning import units
from mtf_switch.training import checkpoints
from mtf_switch.training import data_checks
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import teacher_cache
from mtf_switch.training import teacher_cache_writing


@gin.configurable(module="mtf_switch.modes")
@values.checked
def teach(
    run: run_lib.Run,
    console: rich.console.Console,
    output_dir: str,
    steps: values.Count = gin.REQUIRED,
    choices: values.Count = 16,
    temperature: values.Positive = 1.0,
    checkpoint_step: checkpoints.Step = None,
    steps_per_block: values.Count = train.STEPS_PER_BLOCK,
    steps_per_file: Annotated[values.Count, values.at_most(100_000)] = 100,
):
  """Writes a teacher's most probable tokens for the batches of a training.

  The batches are those of `train` with the same task, seed, sequence_length and
  batch_size. An interrupted run goes on after its last whole file.

  Args:
    run: the teacher's run.
    console: the console for progress.
    output_dir: the directory of the cache, for distill.teacher_cache.
    steps: the batches, as many as the students' training takes.
    choices: the tokens for each target, the most probable ones; the rest of the
      probability counts as one more. At most the rows of the softmax, which
      Mesh TensorFlow rounds up.
    temperature: divides the teacher's logits.
    checkpoint_step: the step of the checkpoint; None for the latest.
    steps_per_block: the students' train.steps_per_block.
    steps_per_file: the batches in a file.

  Raises:
    UserError: there is no checkpoint, choices are more than the vocabulary has,
      or output_dir has another cache.
  """
  model = run.experiment.build_model()
  rows = getattr(model, "decoder", model).output_vocab_dim.size
  if choices > rows:
    raise errors.UserError(
        f"teach.choices = {choices:,} is more than the {rows:,} rows of the "
        "vocabulary."
    )
  with progress.Display(console) as display:
    with display.working("checking the vocabulary and the data"):
      data_checks.check_split(
          run.experiment.provider, "train", "mesh_train_dataset_fn"
      )
      (step,) = run.select_checkpoints(checkpoint_step)
      record = teacher_cache.describe(
          run,
          run.model_dir,
          step,
          steps=steps,
          choices=choices,
          temperature=temperature,
          steps_per_block=steps_per_block,
          steps_per_file=steps_per_file,
      )
    size = units.bytes_(teacher_cache.num_bytes(record))
    display.note(f"up to {size} for {steps:,} batches in {output_dir}")
    teacher_cache_writing.write(run, output_dir, record, display)
