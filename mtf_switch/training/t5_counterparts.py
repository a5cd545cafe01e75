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

"""Tables of the counterparts here of the parameters of T5's program."""

from mtf_switch.training import t5_configs

# What stands here for the parameters of T5's `run`.
OF_RUN = {
    "batch_size": "Experiment.batch_size",
    "dataset_split": "evaluate.split",
    "eval_checkpoint_step": "evaluate.checkpoint_step",
    "init_checkpoint": "finetune.pretrained_dir",
    "iterations_per_loop": "train.iterations_per_loop",
    "keep_checkpoint_max": "train.keep_checkpoint_max",
    "layout_rules": "Experiment.layout_rules",
    "learning_rate_schedule": "Experiment.learning_rate_schedule",
    "mesh_devices": "Experiment.mesh_devices",
    "mesh_shape": "Experiment.mesh_shape",
    "mode": "--mode",
    "model_dir": "--model_dir",
    "model_type": "Experiment.model_type",
    "optimizer": "Experiment.optimizer",
    "outer_batch_size": "Experiment.outer_batch_size",
    "save_checkpoints_steps": "train.save_checkpoints_steps",
    "sequence_length": "Experiment.sequence_length",
    "tpu": "--tpu",
    "train_steps": "train.steps",
}
# Those of them that the files in gin/runs set by a macro, with its name.
MACROS = {
    "batch_size": "batch_size",
    "dataset_split": "split",
    "eval_checkpoint_step": "checkpoint_step",
    "init_checkpoint": "pretrained_dir",
    "layout_rules": "layout_rules",
    "learning_rate_schedule": "learning_rate_schedule",
    "mesh_shape": "mesh_shape",
    "model_type": "model_type",
    "optimizer": "optimizer",
    "sequence_length": "sequence_length",
    "train_steps": "train_steps",
}
_UTILS = "mesh_tensorflow.transformer.utils."
_DATA = "t5.models.mesh_transformer."

# Parameters that name the task, those of training first.
TASKS = (
    ("", f"{_DATA}mesh_train_dataset_fn", "mixture_or_task_name"),
    ("", f"{_DATA}mesh_eval_dataset_fn", "mixture_or_task_name"),
    ("", f"{_DATA}mesh_inference_dataset_fn", "mixture_or_task_name"),
    ("", f"{_DATA}get_vocabulary", "mixture_or_task_name"),
)
TPU_MESH = f"{_UTILS}tpu_mesh_shape"
DTYPES = f"{_UTILS}get_variable_dtype"
OUTER_BATCH = ("", f"{_UTILS}tpu_estimator_model_fn", "outer_batch_size")
PACKING = (
    "",
    "mesh_tensorflow.transformer.dataset.pack_dataset",
    "use_custom_ops",
)
_FILE_FLAGS = "files are --input_file and --output_file"
_OF_TASK = "a task has its vocabulary"
# What has no counterpart, and why if that is short. The longest beginning of a
# parameter's full name counts.
_IGNORED = {
    f"{t5_configs.RUN}.eval_dataset_fn": "data comes from the task",
    f"{t5_configs.RUN}.perplexity_eval_steps": "whole splits are evaluated",
    f"{t5_configs.RUN}.total_run_steps": "schedules go by train.steps",
    f"{t5_configs.RUN}.train_dataset_fn": "data comes from the task",
    f"{t5_configs.RUN}.vocabulary": _OF_TASK,
    ".".join(PACKING[1:]): "it needs tensor2tensor; packing works without",
    "mesh_tensorflow.ops.rewrite_stack_variables": "",
    f"{_UTILS}decode_from_": _FILE_FLAGS,
    f"{_UTILS}infer_model": _FILE_FLAGS,
    f"{_UTILS}init_checkpoint_variable_mapping": "",
    f"{_UTILS}save_scores": _FILE_FLAGS,
    f"{_UTILS}score_": _FILE_FLAGS,
    f"{_UTILS}tpu_estimator_model_fn": "",
    f"{_DATA}mesh_inference_dataset_fn": "",
    f"{_DATA}tsv_dataset_fn": "",
}
# The modes here that train.
TRAINING_MODES = ("finetune", "train")


def is_ignored(name: str) -> bool:
  """Returns whether a parameter, by its full name, has no counterpart."""
  return name.startswith(tuple(_IGNORED))


def reason_to_ignore(name: str, otherwise: str | None = None) -> str:
  """Returns why a parameter, by its full name, is left out, or "".

  Args:
    name: the full name.
    otherwise: the reason if it is not always left out.
  """
  beginnings = [x for x in _IGNORED if name.startswith(x)]
  return otherwise or _IGNORED.get(max(beginnings, key=len, default=""), "")
