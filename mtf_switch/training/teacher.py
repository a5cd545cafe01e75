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

"""The teacher of a distillation: another run's model, frozen.

Its variables are in the graph under "teacher/", read from its checkpoint in
each session, not trained and not saved.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import functools
from typing import Any
import warnings

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import layouts
from mtf_switch.mesh import splits
from mtf_switch.training import checkpoint_fit
from mtf_switch.training import gin_configuration
from mtf_switch.training import recorded_gin
from mtf_switch.training import strict_gin
from mtf_switch.transformer import distillation
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import reports

SCOPE = "teacher/"
_LOAD = "/expert_load"  # See transformer/reports.py.
# Macros of a run and not of its model: where the teacher's gin files leave one
# open, the student's value holds.
_OF_THE_RUN = (
    "activation_dtype",
    "batch_size",
    "data_parallelism",
    "layout_rules",
    "learning_rate_schedule",
    "mesh_shape",
    "model_parallelism",
    "num_cores",
    "optimizer",
    "sequence_length",
    "task",
    "train_steps",
)


class Teacher:
  """A model that gives the probabilities another one learns."""

  def __init__(
      self,
      experiment,
      gin_files: Sequence[str],
      gin_params: Sequence[str],
      gin_directories: Sequence[Sequence[str]],
      mix: distillation.Mix,
      path: str | None = None,
  ):
    """Reads the configuration.

    Args:
      experiment: the student's Experiment.
      gin_files: that describe the teacher's model.
      gin_params: bindings that override those of the files.
      gin_directories: where the files are looked for: the project's directories
        and the user's.
      mix: the mix of the loss.
      path: the teacher's checkpoint; None for a graph that is never run.

    Raises:
      UserError: the gin files do not describe a model of the student's type
        that the student's mesh can hold.
    """
    self._path = path
    self._experiment = experiment
    self._mix = mix
    self._files = gin_files
    of_student = strict_gin.macros()
    with self._named():
      self._configuration = gin_configuration.Configuration(
          functools.partial(
              strict_gin.parse,
              self._files,
              gin_params,
              *gin_directories,
              defaults={
                  x: of_student[x] for x in _OF_THE_RUN if x in of_student
              },
          )
      )
    self._check_fits_student()
    self._mode = evaluation_mode(self._build())
    with self._named():
      experiment.check_splits(self.layout_numbers)

  @property
  def layout_numbers(self) -> list[layouts.Number]:
    """The numbers of its model that set the sizes a layout splits."""
    numbers = layouts.numbers_of_model(
        self._build(), self._experiment.outer_batch_size
    )
    # Where it drops no tokens, they are in no groups.
    drops = self._mode != tf.estimator.ModeKeys.PREDICT
    return [x for x in numbers if drops or x.name != "num_cores"]

  def change_loss_at(self, step: tf.Tensor) -> loss_lib.ChangeLoss:
    """Returns the change of the loss of a step; see distillation.distill.

    Args:
      step: an integer scalar.
    """
    teacher = self._build()
    return self._mix.change_loss(
        step,
        functools.partial(
            distillation.lesson_of_logits,
            teacher_logits=functools.partial(self.logits, teacher),
        ),
    )

  def expert_loads(
      self, features: Mapping[str, mtf.Tensor]
  ) -> dict[str, mtf.Tensor]:
    """The real tokens that choose each expert, `[num_experts]`, by layer.

    Args:
      features: int32 `[batch, length]` by name.

    Returns:
      float32 by the layer's name, such as "encoder/block_000/layer_003".
    """
    teacher = self._build()
    with reports.collecting(teacher) as sums:
      self.logits(teacher, features, tf.estimator.ModeKeys.EVAL)
    return {
        name.removeprefix(SCOPE).removesuffix(_LOAD): load
        for name, load in sums.items()
        if name.endswith(_LOAD)
    }

  def logits(
      self, teacher, features: Mapping[str, mtf.Tensor], mode: str | None = None
  ) -> mtf.Tensor:
    """The teacher's logits, `[batch, length, vocab]`.

    Args:
      teacher: its model.
      features: int32 `[batch, length]` by name.
      mode: of tf.estimator.ModeKeys; None for that in which it teaches.

    Raises:
      UserError: the checkpoint does not fit the configuration, or the
        configuration the batch.
    """
    graph = features["targets"].mesh.graph
    known = set(graph.all_variables)
    restored = self._path and _Restored(self._path)
    with (
        self._named(),
        self._configuration.in_place(),
        tf.variable_scope(
            SCOPE[:-1], custom_getter=restored.get if restored else None
        ),
    ):
      logits = loss_lib.logits_of(
          teacher, features, mode or self._mode, utils.get_variable_dtype()
      )
    if restored:
      restored.check()
    graph.make_variables_untrainable(
        [v for v in graph.all_variables if v not in known]
    )
    return logits

  @contextlib.contextmanager
  def _named(self) -> Iterator[None]:
    """Says of a mistake that it is the teacher's, and where it is mended."""
    try:
      yield
    except errors.UserError as error:
      message, *_ = str(error).splitlines()  # Gin appends lines.
      raise errors.UserError(
          f"the teacher's gin files, {', '.join(self._files)}: {message} "
          "(distill.teacher_params takes bindings of the teacher's.)"
      ) from error

  def _build(self):
    """The teacher's model, on the student's mesh."""
    with self._configuration.in_place():
      try:
        return self._experiment.build_model()
      except (TypeError, ValueError, RuntimeError) as error:
        message = strict_gin.explain(error) or str(error).split("\n")[0]
        raise errors.UserError(
            f"distill.teacher_gin = {self._files} does not describe a model: "
            f"{message}"
        ) from error

  def _check_fits_student(self):
    """Refuses another type of model and other lengths than the student's."""
    experiment = self._experiment
    with self._configuration.in_place():
      model_type = strict_gin.value("model_type/gin.macro.value")
      lengths = strict_gin.value("Experiment.sequence_length")
    features = experiment.provider.output_features
    if isinstance(lengths, int):
      lengths = dict.fromkeys(features, lengths)
    # What a file leaves open is the student's.
    settings = {
        "model_type": (model_type, experiment.model_type),
        "sequence_length": (
            lengths and {x: lengths.get(x) for x in features},
            {x: experiment.lengths[x] for x in features},
        ),
    }
    for name, (found, expected) in settings.items():
      if found not in (None, expected):
        raise errors.UserError(
            f"distill.teacher_gin = {self._files} has {name} = {found!r} and "
            f"the student {expected!r}; they must be equal (distill."
            "teacher_params overrides the file)."
        )


def gin_files(
    directory: str, given: str | Sequence[str] | None
) -> Sequence[str]:
  """Returns the names of the gin files that describe a teacher's model.

  Args:
    directory: its model_dir.
    given: those that the user names, if any; by default it is the
      operative_config.gin that its run has left behind.

  Raises:
    UserError: what the run has left behind is more than a configuration.
  """
  if isinstance(given, str):
    return [given]
  if given:
    return given
  left_behind = f"{directory}/operative_config.gin"
  recorded_gin.check(left_behind)
  return [left_behind]


def evaluation_mode(model) -> str:
  """The mode in which a teacher is asked, see tf.estimator.ModeKeys.

  Args:
    model: a Bitransformer or Unitransformer.

  Returns:
    PREDICT, in which no token is dropped, or where the layout splits the
    experts EVAL, which is noted.
  """
  split = [
      switch
      for switch in feed_forward.switches(model)
      if splits.ways(
          reports.unitransformers(model)[-1],
          mtf.Dimension("experts", switch.num_experts),
      )
      > 1
  ]
  if not split:
    return tf.estimator.ModeKeys.PREDICT
  warnings.warn(
      "the layout splits the teacher's experts, so that it drops tokens as in "
      f"evaluation: capacity_factor_eval = {split[0].capacity_factor_eval}.",
      errors.UserNotice,
      stacklevel=2,
  )
  return tf.estimator.ModeKeys.EVAL


class _Restored:
  """Variables whose initial values are a checkpoint's, as tf.get_variable's."""

  def __init__(self, path: str):
    self._path = path
    self._saved = checkpoint_fit.variables_of(path)
    self._made: dict[str, checkpoint_fit.Variable] = {}

  def get(self, getter, name: str, shape: Sequence[int], **kwargs: Any):
    """Creates a variable, which no Saver saves; see tf.variable_scope."""
    source = name.removeprefix(SCOPE)
    saved = self._saved.get(source)
    # A checkpoint may be of bfloat16, which is read as the variable's type.
    dtype = saved.dtype if saved else kwargs["dtype"]
    self._made[source] = checkpoint_fit.Variable(dtype, tuple(shape))

    def restore(shape, dtype, **unused_kwargs):
      (value,) = tf.raw_ops.RestoreV2(
          prefix=self._path,
          tensor_names=[source],
          shape_and_slices=[""],
          dtypes=[saved.dtype],
      )
      return tf.ensure_shape(tf.cast(value, dtype), shape)

    if saved:
      kwargs["initializer"] = restore
    kwargs["trainable"] = False
    kwargs["collections"] = [tf.GraphKeys.LOCAL_VARIABLES]
    return getter(name, shape=shape, **kwargs)

  def check(self):
    """Refuses a checkpoint of another model; see checkpoint_fit.check."""
    checkpoint_fit.check(self._path, self._made)
