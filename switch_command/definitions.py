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

"""The flags of the program."""

from absl import flags

from switch_command import modes

flags.DEFINE_enum(
    "mode",
    "train",
    list(modes.MODES),
    "; ".join(f"{name}: {mode.does}" for name, mode in modes.MODES.items())
    + ".",
    allow_overwrite=False,
)
flags.DEFINE_multi_string(
    "model_dir",
    None,
    "Directory of checkpoints, metrics and logs; report: repeatable; routing: "
    "a second one is compared.",
)
flags.DEFINE_multi_string(
    "gin_file", [], "Gin file, in the working directory or in gin/; repeatable."
)
flags.DEFINE_multi_string(
    "gin_location_prefix",
    [],
    "Directory in which gin files are looked for last, as in T5; repeatable.",
)
flags.DEFINE_multi_string(
    "gin_param", [], "Gin binding that overrides the files'; repeatable."
)
flags.DEFINE_integer(
    "seed",
    0,
    "Decides initial weights, the examples' order and all noise.",
    lower_bound=0,
    upper_bound=2**31 - 1,
)
flags.DEFINE_bool(
    "watch",
    False,
    "eval, perplexity_eval: evaluate the checkpoints of a run as they come.",
)
flags.DEFINE_integer(
    "watch_minutes",
    None,
    "eval, perplexity_eval: end if no checkpoint has come for so long.",
    lower_bound=1,
)
flags.DEFINE_string(
    "input_file", None, "infer, score, routing: the inputs, one a line."
)
flags.DEFINE_string(
    "output_file", None, "infer, score: the outputs, one a line."
)
flags.DEFINE_string(
    "huggingface_dir",
    None,
    "convert: the directory of Hugging Face's that becomes a model's here; "
    "without it, --model_dir becomes one of Hugging Face's.",
)
flags.DEFINE_string(
    "t5x_dir",
    None,
    "convert: the checkpoint of T5X that becomes a model's here, the one that "
    "gin describes.",
)
flags.DEFINE_string(
    "saved_model", None, "serve: the directory that --mode=export has written."
)
flags.DEFINE_string(
    "host",
    None,
    "serve: the address to listen at, this machine alone if not given.",
)
flags.DEFINE_integer(
    "port",
    None,
    "serve: the port to listen at, 8500 if not given; 0 for one that is free.",
    lower_bound=0,
    upper_bound=2**16 - 1,
)
flags.DEFINE_string(
    "task",
    None,
    "inspect, cache, routing: the task or mixture, if gin does not say.",
)
flags.DEFINE_string(
    "split",
    None,
    "inspect: the split, train if not given; routing: validation if not.",
)
flags.DEFINE_integer(
    "num_examples",
    None,
    "inspect: how many, 3 if not given; routing: how many are shown, 200.",
    lower_bound=1,
)
flags.DEFINE_multi_string(
    "compare_dir", [], "compare_*: the model_dir of a run; repeatable."
)
flags.DEFINE_string(
    "output_dir",
    None,
    "cache, teach, prune, convert, export, compare_*, report, routing, "
    "reproduce: the directory for what is made; for reproduce, reproduction if "
    "not given.",
)
flags.DEFINE_list(
    "experiment",
    None,
    "reproduce: names of tables and figures (table3), or all.",
)
flags.DEFINE_string(
    "seeds",
    None,
    "reproduce: how many seeds (3), or which ones (3-7 or 0,2); a question's "
    "own if not given.",
)
flags.DEFINE_list(
    "rows",
    None,
    "reproduce: names of cards; all of --experiment's if not given.",
)
flags.DEFINE_enum(
    "scale",
    "small",
    ["small", "paper"],
    "reproduce: models of minutes on a CPU, or the paper's own with --tpu.",
)
flags.DEFINE_bool(
    "dry_run", False, "reproduce: say only how many runs and hours it takes."
)
flags.DEFINE_bool(
    "ask_remote",
    False,
    "doctor: ask the TPU, and look at remote directories and vocabularies.",
)
flags.DEFINE_string(
    "plan_chip",
    None,
    "plan: the cores of the mesh, tpu_v2 to tpu_v5p, a100, h100 or this_cpu; "
    "tpu_v3 if not given.",
)
flags.DEFINE_string(
    "plan_chips_file",
    None,
    "plan: a table of chips like mtf_switch/planning/chips.csv.",
)
flags.DEFINE_multi_string(
    "plan_compare",
    [],
    "plan: a layout to compare, a gin file and bindings with commas between "
    "them; repeatable.",
)
flags.DEFINE_enum(
    "plan_format", "table", ["table", "json"], "plan: how to print it."
)
flags.DEFINE_string(
    "plan_picture", None, "plan: PNG file for a picture as in Figure 9."
)
flags.DEFINE_bool(
    "plan_table9", False, "plan: show the paper's models beside these."
)
flags.DEFINE_multi_string(
    "module_import", [], "Module to import, with tasks or layers; repeatable."
)
flags.DEFINE_string(
    "t5_tfds_data_dir",
    None,
    "Directory of the datasets that TensorFlow Datasets has prepared.",
)
flags.DEFINE_list(
    "additional_task_cache_dirs", [], "Directories with cached seqio tasks."
)
flags.DEFINE_string("tpu", None, "Name or grpc:// address of a Cloud TPU.")
flags.DEFINE_string("tpu_zone", None, "The TPU's zone; detected if not given.")
flags.DEFINE_string(
    "gcp_project", None, "The TPU's project; detected if not given."
)
flags.DEFINE_string(
    "tpu_job_name", None, "The TPU worker's job, if it is not tpu_worker."
)
flags.DEFINE_string(
    "mesh_hosts",
    None,
    "Processes that the mesh is spread over: how many on this machine, or "
    "host0:port,host1:port,... with the same command on each of them.",
)
flags.DEFINE_integer(
    "mesh_task",
    None,
    "Which of --mesh_hosts this process is, where their names do not tell.",
    lower_bound=0,
)
