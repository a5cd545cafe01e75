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

"""The mode that trains a student with a teacher, configured by gin."""

import collections
from collections.abc import Callable, Sequence
import functools
import itertools
import os
from typing import Literal, NamedTuple

import gin
import numpy as np
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values
from mtf_switch.modes import finetune
from mtf_switch.modes import train
from mtf_switch.training import checkpoints
from mtf_switch.training import estimators
from mtf_switch.training import inputs
from mtf_switch.training import model_functions
from mtf_switch.training import prediction_functions
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches
from mtf_switch.training import strict_gin
from mtf_switch.training import student_weights
from mtf_switch.training import teacher as teacher_lib
from mtf_switch.training import teacher_cache as teacher_cache_lib
from mtf_switch.training import vocabulary_record
from mtf_switch.training import warm_start
from mtf_switch.transformer import distillation

_RECORD = "distillation.json"
# To find a teacher's most used experts.
_BATCHES_COUNTED = 10


@gin.configurable(module="mtf_switch.modes")
@values.checked
def distill(
    run: run_lib.Run,
    console: rich.console.Console,
    teacher_dir: str = gin.REQUIRED,
    teacher_cache: str | None = None,
    teacher_gin: str | Sequence[str] | None = None,
    teacher_params: Sequence[str] = (),
    teacher_step: checkpoints.Step = None,
    soft_fraction: values.Share = 0.25,
    temperature: values.Positive = 1.0,
    start_step: values.CountOrZero = 0,
    end_step: values.Count | None = None,
    initialize_from_teacher: bool = True,
    initialize_experts: Literal["fresh", "mean", "most_used"] = "fresh",
    evaluation: Literal["perplexity", "decoding"] = "perplexity",
):
  """Trains a student on labels and on a teacher's probabilities.

  Trains as `train` does, with its settings. The teacher is neither trained nor
  saved: the checkpoints are the student's alone, as if `train` had made them.
  Writes distillation.json and, where weights are taken from the teacher,
  initialization.json before the first step. If model_dir has a checkpoint of
  its own, training resumes from that.

  Args:
    run: the student's run.
    console: the console for progress.
    teacher_dir: the teacher's model_dir.
    teacher_cache: the directory that `teach` has written with this teacher; its
      probabilities are read, and the teacher is not asked again.
    teacher_gin: the gin file or files that describe the teacher's model; None
      for the operative_config.gin that its run left behind.
    teacher_params: gin bindings that override those of teacher_gin.
    teacher_step: the step of its checkpoint; None for the latest.
    soft_fraction: the share of the soft term in the loss (Table 6: 0.25).
    temperature: divides the logits of both in the soft term.
    start_step: the first step with the soft term.
    end_step: the first step without it again; None if it stays.
    initialize_from_teacher: whether a new student starts from the teacher's
      embeddings, attention, norms and dense layers (Table 6).
    initialize_experts: what its dense layers start from where the teacher has
      experts: nothing, the mean of the experts' weights, or the weights of the
      expert that most tokens of the first ten batches choose.
    evaluation: how train.eval_every evaluates: "perplexity" as in pre-training,
      or "decoding", with the tasks' metrics, as in fine-tuning.

  Raises:
    UserError: there is no such teacher, it does not fit its gin files, the
      student's vocabulary or its type, or model_dir has the checkpoints of
      another run.

  Source: section 4.2, Tables 6, 7 and 8.
  """
  model_dir = run.model_dir
  if os.path.realpath(teacher_dir) == os.path.realpath(model_dir):
    raise errors.UserError(
        f"distill.teacher_dir and --model_dir are both {model_dir!r}; the "
        "student needs a directory of its own."
    )
  if end_step is not None and end_step <= start_step:
    raise errors.UserError(
        f"distill.end_step = {end_step} must be greater than "
        f"distill.start_step = {start_step}."
    )
  is_new = not checkpoints.latest_step(model_dir)
  record = os.path.join(model_dir, _RECORD)
  if not is_new and not tf.io.gfile.exists(record):
    raise errors.UserError(
        f"{model_dir!r} has the checkpoints of a run that is no distillation; "
        "give --model_dir a new directory."
    )
  mix = distillation.Mix(soft_fraction, temperature, start_step, end_step)
  cached = None
  if teacher_cache:
    cached = _cached(run, teacher_cache, teacher_dir, teacher_step, mix)
    teacher_step = cached.step
  lessons, teacher, path = cached, None, None
  if not cached or (is_new and initialize_from_teacher):
    (teacher_step,) = checkpoints.select(
        teacher_dir, teacher_step, "distill.teacher_dir"
    )
    vocabulary_record.check(teacher_dir, run.experiment.vocabularies)
    path = checkpoints.path(teacher_dir, teacher_step)
  if not cached or (is_new and initialize_experts == "most_used"):
    teacher = teacher_lib.Teacher(
        run.experiment,
        teacher_lib.gin_files(teacher_dir, teacher_gin),
        teacher_params,
        run.gin_directories,
        mix,
        path,
    )
    lessons = lessons or _Lessons(teacher_step, teacher.change_loss_at)
  make_more_hooks = None
  if is_new:
    files.write_json(
        record,
        {
            "teacher_dir": teacher_dir,
            "step": teacher_step,
            "teacher_cache": teacher_cache,
            **mix._asdict(),
            "initialize_from_teacher": initialize_from_teacher,
            "initialize_experts": initialize_experts,
        },
    )
    if initialize_from_teacher:
      make_of_experts = None
      if initialize_experts == "mean":
        make_of_experts = student_weights.mean
      elif initialize_experts == "most_used":
        make_of_experts = functools.partial(
            student_weights.most_used, loads=_expert_loads(run, teacher, path)
        )
      make_more_hooks = functools.partial(
          _initialize, model_dir, path, make_of_experts, console
      )
  try:
    train.train(
        run,
        console,
        make_evaluate=(
            finetune.make_evaluate if evaluation == "decoding" else None
        ),
        make_more_hooks=make_more_hooks,
        change_loss_at=lessons.change_loss_at,
        change_batches=lessons.change_batches,
    )
  except tf.errors.InvalidArgumentError as error:
    if teacher_cache_lib.OTHER_BATCHES not in str(error):
      raise
    raise errors.UserError(
        f"distill.teacher_cache = {teacher_cache!r} "
        f"{teacher_cache_lib.OTHER_BATCHES}: the data has changed since; write "
        "it anew with --mode=teach."
    ) from error


def planned_teacher(run: run_lib.Run, experiment) -> teacher_lib.Teacher | None:
  """Returns the teacher of a distillation that is planned, by gin's bindings.

  Args:
    run: the student's run.
    experiment: its Experiment.

  Returns:
    a teacher for graphs that are never run; None where gin names none, and for
    a cached one, which costs the student nothing but its file.
  """
  directory = strict_gin.value("distill.teacher_dir")
  if directory is None or strict_gin.value("distill.teacher_cache"):
    return None
  return teacher_lib.Teacher(
      experiment,
      teacher_lib.gin_files(directory, strict_gin.value("distill.teacher_gin")),
      strict_gin.value("distill.teacher_params") or (),
      run.gin_directories,
      distillation.Mix(),
  )


class _Lessons(NamedTuple):
  """What training needs of a teacher.

  Attributes:
    step: of the teacher's checkpoint.
    change_loss_at: see train.train.
    change_batches: see train.train.
  """

  step: int
  change_loss_at: model_functions.ChangeLossAt
  change_batches: train.ChangeBatches | None = None


def _cached(
    run: run_lib.Run,
    directory: str,
    teacher_dir: str,
    teacher_step: int | None,
    mix: distillation.Mix,
) -> _Lessons:
  """The teacher of a cache, which must be of teacher_dir and of this run."""
  record = teacher_cache_lib.check(
      run,
      directory,
      strict_gin.value("train.steps")
      + len(skipped_batches.read(run.model_dir)),
      mix.temperature,
      strict_gin.value("train.steps_per_block") or train.STEPS_PER_BLOCK,
  )
  step = record["teacher_step"]
  if os.path.realpath(teacher_dir) != os.path.realpath(
      record["teacher_dir"]
  ) or teacher_step not in (None, -1, step):
    raise errors.UserError(
        f"distill.teacher_cache = {directory!r} is of the teacher "
        f"{record['teacher_dir']!r} at step {step}, but distill.teacher_dir = "
        f"{teacher_dir!r} and teacher_step = {teacher_step}."
    )

  def change_batches(batches, first_batch, skipped):
    return teacher_cache_lib.add_lessons(
        batches, directory, record, first_batch, skipped
    )

  return _Lessons(
      step,
      functools.partial(distillation.distill_by_cache, mix),
      change_batches,
  )


def _expert_loads(
    run: run_lib.Run, teacher: teacher_lib.Teacher, path: str
) -> dict[str, np.ndarray]:
  """The tokens of the first batches that choose each of a teacher's experts.

  Args:
    run: the student's run.
    teacher: its teacher.
    path: of the teacher's checkpoint, from which only the step is restored.

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
  # Each row has the numbers of its whole batch.
  for row in itertools.islice(rows, 0, None, experiment.sequences_per_batch):
    for layer, load in row.items():
      loads[layer] = loads[layer] + load
  return dict(loads)


def _initialize(
    model_dir: str,
    path: str,
    make_of_experts: Callable[..., dict[str, student_weights.Make]] | None,
    console: rich.console.Console,
    unused_graph: model_functions.TrainingGraph,
) -> list[tf.train.SessionRunHook]:
  """Records where the student's weights come from; returns the hook for them.

  Later sessions of the same run start from its own checkpoints.
  """
  if checkpoints.latest_step(model_dir):
    return []
  report = student_weights.match(
      {
          name: variable.shape.as_list()
          for name, variable in warm_start.weights().items()
      },
      dict(tf.train.list_variables(path)),
      take_experts=make_of_experts is not None,
  )
  files.write_json(
      os.path.join(model_dir, "initialization.json"), report._asdict()
  )
  console.print(
      f"initial weights from the teacher, {path}: {report.summary}; see "
      "initialization.json",
      markup=False,
      highlight=False,
      soft_wrap=True,
  )
  return [
      warm_start.InitializationHook(
          path,
          {**report.copied, **report.of_experts},
          make_of_experts and make_of_experts(report.of_experts),
      )
  ]
