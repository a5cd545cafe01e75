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

"""Values in gin of the wrong type, out of range, or of no use together."""

from collections.abc import Sequence

from tests.mistakes.mistake import Mistake

_COUNT = "must be a whole number of at least 1"
_COUNT_OR_ZERO = "must be a whole number of at least 0"
_DROPOUT = "must be a number of at least 0 and below 1"
_FLAG = "must be True or False"
_NOT_NEGATIVE = "must be a number of at least 0"
_PATH = "must be a text in quotes"
_POSITIVE = "must be a number above 0"
_STEPS = "must be a step, a list of steps, 'all', or None for the latest"
_STEP = "must be a whole number of at least 0, or None for the latest"
_FILES = ("--input_file=mine.gin", "--output_file=out")
_INFER = ("--mode=infer", *_FILES)


def _values(
    parameter: str,
    values: Sequence[str],
    allowed: str,
    name: str = "",
    flags: Sequence[str] = (),
) -> list[Mistake]:
  """Values of a parameter that are refused, each in a line with the value.

  Args:
    parameter: a parameter or a macro.
    values: in gin's syntax.
    allowed: what the line says of the values that are taken.
    name: the parameter that a macro sets.
    flags: further flags.

  Returns:
    a mistake for each value.
  """
  return [
      Mistake(
          [f"{name or parameter} = {value} {allowed}"],
          [f"{parameter} = {value}"],
          flags,
      )
      for value in values
  ]


def _unknown(parameter: str, value: str, name: str, names: str) -> Mistake:
  """A text that is none of those that a parameter takes."""
  return Mistake(
      [f"{name} = {value} is not known; use one of {names}"],
      [f"{parameter} = {value}"],
  )


def _refused(params: Sequence[str], *contains: str) -> Mistake:
  """Values that do not go together."""
  return Mistake(contains, params)


_TRAINING = [
    *_values(
        "train_steps",
        ["'60'", "10.5", "None", "0", "True", "[60]", str(10**25)],
        _COUNT,
        "train.steps",
    ),
    *_values("train.metrics_every", ["0"], _COUNT),
    *_values("train.keep_checkpoint_max", ["-1", "'5'"], _COUNT_OR_ZERO),
    *_values("train.save_checkpoints_steps", ["0", "1000.0"], _COUNT),
    *_values("train.steps_per_block", ["0"], _COUNT),
    *_values("train.eval_every", ["-3", "'x'"], _COUNT_OR_ZERO),
    *_values("train.eval_split", ["3"], _PATH),
    _unknown(
        "train.on_not_finite", "'stpo'", "train.on_not_finite", "stop, skip"
    ),
    _refused(
        ["train.eval_every = 1", "train.eval_split = 'x'"],
        "'toy_copy' has no 'x' split; it has train, validation.",
    ),
    _refused(
        ["learning_rate_schedule = None"],
        "Experiment.learning_rate_schedule is not set; add for example "
        "--gin_file=schedules/rsqrt_no_ramp_down.gin.",
    ),
    *_values(
        "learning_rate_schedule",
        ["'x'", "[]", "-0.1", "[1, 'x']", "@Adafactor"],
        "must be a number of at least 0, a function such as @truncated_rsqrt",
        "Experiment.learning_rate_schedule",
    ),
    *_values(
        "constant_learning_rate.learning_rate", ["-1", "'0.1'"], _NOT_NEGATIVE
    ),
    *_values("truncated_rsqrt.warmup_steps", ["0"], "must be a number of"),
    *_values(
        "optimizer",
        ["3", "@truncated_rsqrt"],
        "must be a function of learning_rate",
        "Experiment.optimizer",
    ),
    *_values("AdafactorOptimizer.beta1", ["1"], _DROPOUT),
    *_values("adafactor_decay_rate_pow.offset", ["3.5"], _COUNT_OR_ZERO),
]

_BATCHES = [
    *_values(
        "batch_size",
        ["'4'", "3.5", "0", "True", "['tokens_per_batch', 0]"],
        _COUNT,
        "Experiment.batch_size",
    ),
    *_values(
        "sequence_length",
        ["'24'", "0", "{'targets': 'x'}", "[24, 16]"],
        _COUNT,
        "Experiment.sequence_length",
    ),
    _refused(
        ["sequence_length = {'inputs': 24}"],
        "Experiment.sequence_length = {'inputs': 24} has no length for "
        "'targets'.",
    ),
    *_values("Experiment.outer_batch_size", ["0"], _COUNT),
    _refused(
        ["Experiment.outer_batch_size = 5"],
        "must be between 1 and the 4 sequences of a batch.",
    ),
    *_values("task", ["3"], _PATH, "Experiment.task"),
    _refused(
        ["task = 'toy_copi'"],
        "Task or mixture 'toy_copi' is not registered; did you mean "
        "toy_copy? Tasks of your own come in with --module_import.",
    ),
    *_values("use_cached", ["'no'"], _FLAG, "mesh_train_dataset_fn.use_cached"),
    _refused(
        ["serialize_num_microbatches.tokens_per_microbatch_per_replica = 0"],
        f"tokens_per_microbatch_per_replica = 0 {_COUNT}",
    ),
]

_MODELS = [
    *_values(
        "d_model", ["0", "-1", "'16'", "None"], _COUNT, "Unitransformer.d_model"
    ),
    *_values("d_ff", ["0", "'32'"], _COUNT, "DenseReluDense.hidden_size"),
    *_values("num_heads", ["0", "2.0"], _COUNT, "SelfAttention.num_heads"),
    *_values("d_kv", ["0", "'8'"], _COUNT, "SelfAttention.key_value_size"),
    *_values(
        "num_blocks",
        ["0", "'1'", "1000000"],
        f"{_COUNT} and of at most 1,000",
        "make_layer_stack.num_layers",
    ),
    *_values(
        "num_experts", ["0", "'4'"], _COUNT, "SwitchFeedForward.num_experts"
    ),
    *_values(
        "num_cores", ["'x'", "0", "1.5"], _COUNT, "SwitchFeedForward.num_cores"
    ),
    *_values(
        "dropout_rate",
        ["'0.1'", "1.0"],
        _DROPOUT,
        "sublayer_dropout" ".dropout_rate",
    ),
    *_values("Unitransformer.label_smoothing", ["1"], _DROPOUT),
    *_values("Unitransformer.z_loss", ["-1", "'x'"], _NOT_NEGATIVE),
    Mistake(
        [f"Unitransformer.z_loss = inf {_NOT_NEGATIVE}"],
        ["Unitransformer.z_loss = 1e999"],
    ),
    *_values("LayerStack.recompute_grads", ["1"], _FLAG),
    *_values(
        "Unitransformer.loss_fn",
        ["3", "@truncated_rsqrt"],
        "must be a function of model",
    ),
    *_values("make_bitransformer.encoder_name", ["4"], _PATH),
    *_values(
        "encoder/make_layer_stack.layers",
        ["[]", "3", "[@truncated_rsqrt]", "[[@SelfAttention, 3]]"],
        "must be a list of layers such as @SelfAttention.",
    ),
    *_values(
        "make_layer_stack.layer_stack_cls",
        ["@SelfAttention"],
        "must be a function of layers.",
    ),
    *_values(
        "SelfAttention.relative_attention_num_buckets",
        ["1", "3"],
        "must be a whole number of at least 4",
    ),
    _unknown(
        "SelfAttention.relative_attention_type",
        "'x'",
        "SelfAttention.relative_attention_type",
        "bias, bias_shared, contextual",
    ),
    *_values(
        "get_variable_dtype.activation_dtype",
        ["'float'", "3"],
        "must be 'float32', 'bfloat16' or 'float16'.",
    ),
    _refused(
        ["Unitransformer.input_full_attention = True"],
        "the model cannot be built: input_full_attention only makes sense with "
        "autoregressive",
    ),
    _refused(
        ["SelfAttention.num_memory_heads = 3"],
        "the model cannot be built: num_memory_heads must divide num_heads",
    ),
    *_values(
        "LayerStack.sublayers_per_layer",
        ["[]", "[3]"],
        "must be a list of sublayers such as @sublayer_call_layer",
    ),
    _unknown(
        "model_type", "'lmm'", "Experiment.model_type", "bitransformer, lm."
    ),
    _refused(
        ["model_type = 'lm'"],
        "Experiment.model_type = 'lm' needs a task with targets, but "
        "'toy_copy' has inputs and targets.",
    ),
]

_SWITCH_LAYERS = [
    Mistake(
        ["= 'rellu' is not known; use one of linear, relu, ", "mean relu"],
        ["activation = 'rellu'"],
    ),
    Mistake(
        ["activation = ['gelu', 'x'] is not known; use one of linear, relu, "],
        ["activation = ['gelu', 'x']"],
    ),
    *_values(
        "SwitchFeedForward.activation", ["3", "[]"], "must be 'linear' or "
    ),
    *_values(
        "SwitchFeedForward.capacity_factor_train", ["0", "'1.25'"], _POSITIVE
    ),
    *_values("SwitchFeedForward.capacity_factor_eval", ["-1"], _POSITIVE),
    *_values(
        "SwitchFeedForward.aux_loss_coefficient", ["-1", "'x'"], _NOT_NEGATIVE
    ),
    *_values("SwitchFeedForward.z_loss_coefficient", ["-1"], _NOT_NEGATIVE),
    *_values("SwitchFeedForward.router_jitter", ["1.5"], _NOT_NEGATIVE),
    *_values("SwitchFeedForward.expert_dropout_rate", ["1.0"], _DROPOUT),
    *_values("SwitchFeedForward.strict_groups", ["'no'"], _FLAG),
    *_values("SwitchFeedForward.router", ["3"], "must be a function"),
    _unknown(
        "SwitchFeedForward.capacity_rounding",
        "'flor'",
        "SwitchFeedForward.capacity_rounding",
        "floor, round, ceil. Did you mean floor?",
    ),
    _unknown(
        "SwitchFeedForward.exploration", "'x'", "router.exploration", "argmax"
    ),
    _refused(
        ["SwitchFeedForward.group_size = 3"],
        "num_cores = 2 and group_size = 3: set one of the two",
    ),
    _refused(
        ["num_experts = 100"],
        "the expert capacity is 48 tokens_per_core x 1.25 capacity_factor / "
        "100 num_experts = 0.6, less than one slot; use at least 80 tokens in "
        "a group (fewer num_cores or a larger batch), fewer experts, or "
        "min_expert_capacity = 1.",
    ),
]

_MESHES = [
    *_values(
        "mesh_shape",
        [
            "3", "None", "True", "['all:2']", "[3]", "'all'", "':2'", "'all:x'",
            "'all:0'", "'all:2,all:3'",
        ],
        "cannot be read; write it for example as 'data:2,model:4'.",
        "Experiment.mesh_shape",
    ),
    *_values(
        "layout_rules",
        ["3", "None", "['batch:all']", "[3]", "'batch'"],
        "cannot be read; write it for example as 'batch:data,experts:data",
        "Experiment.layout_rules",
    ),
    *_values(
        "Experiment.mesh_devices", ["'cpu:0'"], "must be a list in which each"
    ),
    _refused(
        ["layout_rules = 'batch:x'"],
        "the layout rule batch:x names an axis that mesh_shape = '' does not",
    ),
    _refused(
        [
            "batch_size = 3",
            "mesh_shape = 'all:2'",
            "layout_rules = 'batch:all'",
        ],
        "batch_size = 3 cannot be split over the mesh axis all = 2 (layout "
        "rule batch:all); use all = 1, or batch_size = 2 or 4.",
    ),
    _refused(
        [
            "num_experts = 5",
            "mesh_shape = 'all:2'",
            "layout_rules = 'batch:all,experts:all'",
        ],
        "num_experts = 5 cannot be split over the mesh axis all = 2 (layout "
        "rule experts:all); use all = 1, or num_experts = 4 or 6.",
    ),
    _refused(
        ["mesh_shape = 'all:1000000000'"],
        "mesh_shape has 1000000000 processors, which needs 1000000000 CPUs "
        "here, but there are 1024; use a smaller mesh.",
    ),
]  # fmt: skip

# More than any machine has.
_TOO_LARGE = [
    Mistake(["the run needs at least ", " of memory, ", what], [binding])
    for binding, what in (
        ("d_model = 1000000000", "T weights"),
        ("d_ff = 10000000000", "T weights"),
        ("num_experts = 1000000000", "T weights"),
        ("num_heads = 10000000000", "T weights"),
        ("Unitransformer.vocab_divisor = 1000000000000", "T weights"),
        ("batch_size = 1000000000000", "a batch of 40T positions"),
        ("sequence_length = 100000000000", "a batch of 800B positions"),
    )
]

_DECODING = [
    *_values(
        "Bitransformer.decode.beam_size", ["0", "'4'", "1000000000"], _COUNT
    ),
    *_values("Bitransformer.decode.max_decode_length", ["0", "2.5"], _COUNT),
    *_values("Bitransformer.decode.alpha", ["-1", "'x'"], _NOT_NEGATIVE),
    *_values("Bitransformer.decode.temperature", ["-1", "None"], _NOT_NEGATIVE),
    *_values("Bitransformer.decode.sampling_keep_top_k", ["0"], _COUNT),
    _refused(
        [
            "Bitransformer.decode.beam_size = 2",
            "Bitransformer.decode.temperature = 1.0",
        ],
        "beam_size = 2 and temperature = 1.0 do not go together",
        "use beam_size = 1 or temperature = 0.",
    ),
    *_values("infer.checkpoint_step", ["'all'", "[2]"], _STEP, flags=_INFER),
    *_values(
        "score.checkpoint_step",
        ["3.0", "'3'"],
        _STEP,
        flags=("--mode=score", *_FILES),
    ),
    *_values(
        "evaluate.checkpoint_step",
        ["[]", "'3'", "3.0"],
        _STEPS,
        flags=["--mode=eval"],
    ),
    *_values("evaluate.split", ["None"], _PATH, flags=["--mode=eval"]),
    *_values(
        "perplexity_eval.checkpoint_step",
        ["[True]", "3.0"],
        _STEPS,
        flags=["--mode=perplexity_eval"],
    ),
    *_values(
        "finetune.pretrained_dir", ["3"], _PATH, flags=["--mode=finetune"]
    ),
    Mistake(
        [f"finetune.pretrained_step = 'latest' {_STEP}"],
        [
            "finetune.pretrained_dir = 'a'",
            "finetune.pretrained_step = 'latest'",
        ],
        ["--mode=finetune"],
    ),
    Mistake(
        ["there is no checkpoint in 'a'", "or correct finetune.pretrained_dir"],
        ["finetune.pretrained_dir = 'a'"],
        ["--mode=finetune"],
    ),
]

_DATA = [
    *_values("vocabulary.size", ["'8000'", "None", "2000000000"], _COUNT),
    *_values("vocabulary.path", ["3"], _PATH),
    *_values("text_files.path", ["['a', 'b']", "3"], _PATH),
    *_values("broken_records.limit", ["-1", "0.5"], _COUNT_OR_ZERO),
    *_values("docstrings.max_bytes", ["'1'"], _COUNT),
    *_values("mc4.alpha", ["'0.3'"], _NOT_NEGATIVE),
    *_values("c4.remove_repeated_lines", ["'no'"], _FLAG),
    *_values("super_glue.directory", ["[]"], _PATH),
    *_values("squad.train_file", ["None"], _PATH),
    *_values(
        "random_spans_helper.noise_density", ["0", "1.5"], "must be a number"
    ),
    Mistake(
        ["There is no text in empty.txt."],
        [
            "task = 'text_files_span_corruption'",
            "text_files.path = 'empty.txt'",
        ],
        files={"empty.txt": "\n"},
    ),
    *_values(
        "sequence_length",
        ["'x'", "0"],
        _COUNT,
        flags=["--mode=inspect", "--task=toy_copy"],
    ),
    *_values("task", ["3"], _PATH, flags=["--mode=cache", "--output_dir=c"]),
]

_NAMES = [
    Mistake(
        [
            "--gin_param='SwitchFeedForward.num_expert = 4': Configurable "
            "'SwitchFeedForward' doesn't have a parameter named 'num_expert'. "
            "Did you mean num_experts?"
        ],
        ["SwitchFeedForward.num_expert = 4"],
    ),
    Mistake(
        [
            "misspelt.gin:2: No configurable matching 'Experimnt'. Did you "
            "mean Experiment?"
        ],
        flags=["--gin_file=misspelt.gin"],
        files={"misspelt.gin": "\nExperimnt.task = 'toy_copy'\n"},
    ),
    Mistake(
        [
            "deccoder/SwitchFeedForward.num_cores is in a scope that nothing "
            "enters, 'deccoder'; did you mean decoder or encoder?"
        ],
        ["deccoder/SwitchFeedForward.num_cores = 2"],
    ),
    Mistake(["must be set", "train_steps"], ["train_steps = %gin.REQUIRED"]),
    Mistake(["this is not gin"], ["train_steps = = 3"]),
]

MISTAKES = [
    *_TRAINING,
    *_BATCHES,
    *_MODELS,
    *_SWITCH_LAYERS,
    *_MESHES,
    *_TOO_LARGE,
    *_DECODING,
    *_DATA,
    *_NAMES,
]
