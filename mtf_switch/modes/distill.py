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

from collections.abc import Mapping, Sequence
import functools
import os
from typing import Any, Literal

import gin
import rich.console
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch import values
from mtf_switch.modes import finetune
from mtf_switch.modes import train
from mtf_switch.training import cached_teacher
from mtf_switch.training import checkpoints
from mtf_switch.training import model_functions
from mtf_switch.training import progress
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches
from mtf_switch.training import strict_gin
from mtf_switch.training import student_start
from mtf_switch.training import teacher as teacher_lib
from mtf_switch.training import teacher_cache as teacher_cache_lib
from mtf_switch.training import vocabulary_record
from mtf_switch.transformer import distillation

_RECORD = "distillation.json"
# As files.read_json takes it: what a resumed run needs.
_SHAPE = {"teacher_dir": str, "step": int, "teacher_sha256": str}


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
    teacher_step: the step of its checkpoint; None for the latest, or for that
      with which a run that goes on has begun.
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
      student's vocabulary, lengths or type, the cache is another one's or
      damaged, or model_dir has the checkpoints of another run.

  Source: section 4.2, Tables 6, 7 and 8.
  """
  model_dir = run.model_dir
  _check_settings(
      model_dir,
      teacher_dir,
      start_step,
      end_step,
      initialize_from_teacher,
      initialize_experts,
  )
  is_new = not checkpoints.latest_step(model_dir)
  begun = {} if is_new else _begun(model_dir)
  if teacher_step in (None, -1) and begun:
    teacher_step = begun["step"]  # The teacher may have been trained further.
  mix = distillation.Mix(soft_fraction, temperature, start_step, end_step)
  cached = path = None
  with (
      progress.Display(console) as display,
      display.working("checking the teacher"),
  ):
    if teacher_cache:
      cached = _cached(run, teacher_cache, teacher_dir, teacher_step, mix)
      teacher_step, sha256 = cached.step, cached.sha256
    if not cached or (is_new and initialize_from_teacher):
      path, teacher_step = _checkpoint(run, teacher_dir, teacher_step)
      sha256 = teacher_cache_lib.sha256_of(teacher_dir, teacher_step)
  record = {
      "teacher_dir": teacher_dir,
      "step": teacher_step,
      "teacher_sha256": sha256,
      "teacher_cache": teacher_cache,
      **mix._asdict(),
      "initialize_from_teacher": initialize_from_teacher,
      "initialize_experts": initialize_experts,
  }
  if begun:
    _check_same_teacher(model_dir, begun, record)

  @functools.cache
  def make_teacher():
    return teacher_lib.Teacher(
        run.experiment,
        teacher_lib.gin_files(teacher_dir, teacher_gin),
        teacher_params,
        (run.gin_directories, run.gin_location_prefixes),
        mix,
        path,
    )

  lessons = cached or make_teacher()
  make_initial = None
  if is_new and initialize_from_teacher:
    make_initial = functools.partial(
        student_start.initialize,
        run,
        path,
        student_start.make_of_experts(
            run, make_teacher, path, initialize_experts, console
        ),
        console,
    )
  try:
    train.train(
        run,
        console,
        make_evaluate=(
            finetune.make_evaluate if evaluation == "decoding" else None
        ),
        make_more_hooks=functools.partial(
            _begin, model_dir, record, make_initial
        ),
        change_loss_at=lessons.change_loss_at,
        change_batches=cached and cached.change_batches,
    )
  except tf.errors.OpError as error:
    reason = cached and cached.explain(error)
    if not reason:
      raise
    raise errors.UserError(reason) from error


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
      (run.gin_directories, run.gin_location_prefixes),
      distillation.Mix(),
  )


def _check_settings(
    model_dir: str,
    teacher_dir: str,
    start_step: int,
    end_step: int | None,
    initialize_from_teacher: bool,
    initialize_experts: str,
):
  """Refuses settings that contradict one another."""
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
  if initialize_experts != "fresh" and not initialize_from_teacher:
    raise errors.UserError(
        f"distill.initialize_experts = {initialize_experts!r} needs "
        "distill.initialize_from_teacher = True."
    )


def _begun(model_dir: str) -> dict[str, Any]:
  """What a distillation that is resumed has recorded when it began."""
  record = files.read_json(os.path.join(model_dir, _RECORD), _SHAPE)
  if record is None:
    raise errors.UserError(
        f"{model_dir!r} has the checkpoints of a run that is no distillation; "
        "give --model_dir a new directory."
    )
  return record


def _check_same_teacher(
    model_dir: str, begun: Mapping[str, Any], record: Mapping[str, Any]
):
  """Refuses to resume with another teacher than a run has begun with."""
  if begun["teacher_sha256"] != record["teacher_sha256"]:
    raise errors.UserError(
        f"{model_dir!r} has the checkpoints of a distillation from "
        f"{begun['teacher_dir']!r} at step {begun['step']}, but the teacher is "
        f"now another checkpoint, of {record['teacher_dir']!r} at step "
        f"{record['step']}; give --model_dir a new directory."
    )


def _checkpoint(
    run: run_lib.Run, directory: str, step: int | None
) -> tuple[str, int]:
  """The path and the step of a teacher's checkpoint."""
  files.check_directory(
      directory, f"distill.teacher_dir = {directory!r}", to_be_made=True
  )
  (step,) = checkpoints.select(directory, step, "distill.teacher_dir")
  vocabulary_record.check(directory, run.experiment.vocabularies)
  return checkpoints.path(directory, step), step


def _cached(
    run: run_lib.Run,
    directory: str,
    teacher_dir: str,
    teacher_step: int | None,
    mix: distillation.Mix,
) -> cached_teacher.CachedTeacher:
  """The teacher of a cache, which must be of teacher_dir and of this run."""
  record = teacher_cache_lib.check(
      run,
      directory,
      teacher_dir,
      teacher_step,
      strict_gin.value("train.steps")
      + len(skipped_batches.read(run.model_dir)),
      mix.temperature,
      strict_gin.value("train.steps_per_block") or train.STEPS_PER_BLOCK,
  )
  return cached_teacher.CachedTeacher(directory, record, mix)


def _begin(
    model_dir: str,
    record: Mapping[str, Any],
    make_initial: model_functions.MakeHooks | None,
    graph: model_functions.TrainingGraph,
) -> Sequence[tf.train.SessionRunHook]:
  """Records what a run begins with; returns the hooks of its first weights.

  Later sessions of the same run start from its own checkpoints.
  """
  if checkpoints.latest_step(model_dir):
    return []
  files.write_json(os.path.join(model_dir, _RECORD), record)
  return make_initial(graph) if make_initial else []
