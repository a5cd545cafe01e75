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

"""What stands here for flags and modes that only T5's program has."""

from collections.abc import Sequence

_MODEL_API = "of T5's model API; here gin has it"

# What stands here for the flags of T5's program that this one does not have.
_FLAGS = {
    "additional_deprecated_gin_references": "delete the names from the file",
    "batch_size": f'{_MODEL_API}: --gin_param="batch_size = ..."',
    "beam_size": f"{_MODEL_API}: --gin_file=runs/beam_search.gin",
    "checkpoint_mode": f'{_MODEL_API}: --gin_param="checkpoint_step = ..."',
    "checkpoint_steps": f'{_MODEL_API}: --gin_param="checkpoint_step = ..."',
    "dataset_dir": "a task knows its data; TFDS's is in --t5_tfds_data_dir",
    "eval_split": f'{_MODEL_API}: --gin_param="split = ..."',
    "eval_summary_dir": "evaluations are in the --model_dir",
    "export_dir": "--mode=export writes to --output_dir",
    "input_sequence_length": f'{_MODEL_API}: "inputs_length = ..."',
    "keep_top_k": f"{_MODEL_API}: Unitransformer's and Bitransformer's names",
    "mixture_or_task": f'{_MODEL_API}: --gin_param="task = ..."',
    "model_parallelism": f'{_MODEL_API}: --gin_param="model_parallelism = ..."',
    "pretrained_model_dir": f'{_MODEL_API}: "pretrained_dir = ..."',
    "skip_all_gin_unknowns": "names that gin does not know are mistakes here",
    "target_file": "--mode=score has inputs and targets in --input_file",
    "target_sequence_length": f'{_MODEL_API}: "targets_length = ..."',
    "temperature": f"{_MODEL_API}: --gin_file=runs/sample_decode.gin",
    "tpu_topology": f'{_MODEL_API}: "utils.tpu_mesh_shape.tpu_topology = ..."',
    "train_steps": f'{_MODEL_API}: --gin_param="train_steps = ..."',
    "use_model_api": "--mode chooses a mode without it",
}

_MODES = {
    "export_infer": "it is --mode=export here",
    "export_predict": "it is --mode=export here",
    "export_score": "it is --mode=export here, which decodes and scores",
    "predict": "it is --mode=infer here",
    "score_eval": "it is --mode=eval or --mode=score here",
    "score_from_dataset": "it is --mode=score here, of a file",
    "score_from_strings": "it is --mode=score here",
}


def answer(arguments: Sequence[str]) -> str | None:
  """Says what stands here for the first flag or mode that only T5 has.

  Args:
    arguments: of the program.

  Returns:
    a sentence; None if no argument is T5's alone.
  """
  for argument, following in zip(arguments, [*arguments[1:], ""]):
    if argument == "--":
      return None
    name, equals, value = argument.removeprefix("-").partition("=")
    if not argument.startswith("-"):
      continue
    name = name.removeprefix("-")
    if answer := _FLAGS.get(name.removeprefix("no")) or _FLAGS.get(name):
      return f"--{name} of T5's program is not a flag here: {answer}."
    mode = value if equals else following
    if name == "mode" and mode in _MODES:
      return f"--mode={mode} is a mode of T5's program: {_MODES[mode]}."
  return None
