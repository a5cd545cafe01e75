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

"""Values that describe a model or its mesh, wrong or of no use together."""

from tests.mistakes.mistake import Mistake
from tests.mistakes.mistake import refused
from tests.mistakes.mistake import unknown
from tests.mistakes.mistake import values_of

_COUNT = "must be a whole number of at least 1"
_DROPOUT = "must be a number of at least 0 and below 1"
_FLAG = "must be True or False"
_NOT_NEGATIVE = "must be a number of at least 0"
_PATH = "must be a text in quotes"
_POSITIVE = "must be a number above 0"

_MODELS = [
    *values_of(
        "d_model", ["0", "-1", "'16'", "None"], _COUNT, "Unitransformer.d_model"
    ),
    *values_of("d_ff", ["0", "'32'"], _COUNT, "DenseReluDense.hidden_size"),
    *values_of("num_heads", ["0", "2.0"], _COUNT, "SelfAttention.num_heads"),
    *values_of("d_kv", ["0", "'8'"], _COUNT, "SelfAttention.key_value_size"),
    *values_of(
        "num_blocks",
        ["0", "'1'", "1000000"],
        f"{_COUNT} and of at most 1,000",
        "make_layer_stack.num_layers",
    ),
    *values_of(
        "num_experts", ["0", "'4'"], _COUNT, "SwitchFeedForward.num_experts"
    ),
    *values_of(
        "num_cores", ["'x'", "0", "1.5"], _COUNT, "SwitchFeedForward.num_cores"
    ),
    *values_of(
        "dropout_rate",
        ["'0.1'", "1.0"],
        _DROPOUT,
        "sublayer_dropout" ".dropout_rate",
    ),
    *values_of("Unitransformer.label_smoothing", ["1"], _DROPOUT),
    *values_of("Unitransformer.z_loss", ["-1", "'x'"], _NOT_NEGATIVE),
    Mistake(
        [f"Unitransformer.z_loss = inf {_NOT_NEGATIVE}"],
        ["Unitransformer.z_loss = 1e999"],
    ),
    *values_of("LayerStack.recompute_grads", ["1"], _FLAG),
    *values_of(
        "Unitransformer.loss_fn",
        ["3", "@truncated_rsqrt"],
        "must be a function of model",
    ),
    *values_of("make_bitransformer.encoder_name", ["4"], _PATH),
    *values_of(
        "encoder/make_layer_stack.layers",
        ["[]", "3", "[@truncated_rsqrt]", "[[@SelfAttention, 3]]"],
        "must be a list of layers such as @SelfAttention.",
    ),
    *values_of(
        "make_layer_stack.layer_stack_cls",
        ["@SelfAttention"],
        "must be a function of layers.",
    ),
    *values_of(
        "SelfAttention.relative_attention_num_buckets",
        ["1", "3"],
        "must be a whole number of at least 4",
    ),
    unknown(
        "SelfAttention.relative_attention_type",
        "'x'",
        "SelfAttention.relative_attention_type",
        "bias, bias_shared, contextual",
    ),
    *values_of(
        "get_variable_dtype.activation_dtype",
        ["'float'", "3"],
        "must be 'float32', 'bfloat16' or 'float16'.",
    ),
    refused(
        ["Unitransformer.input_full_attention = True"],
        "the model cannot be built: input_full_attention only makes sense with "
        "autoregressive",
    ),
    refused(
        ["SelfAttention.num_memory_heads = 3"],
        "the model cannot be built: num_memory_heads must divide num_heads",
    ),
    *values_of(
        "LayerStack.sublayers_per_layer",
        ["[]", "[3]"],
        "must be a list of sublayers such as @sublayer_call_layer",
    ),
    unknown(
        "model_type", "'lmm'", "Experiment.model_type", "bitransformer, lm."
    ),
    refused(
        ["model_type = 'lm'"],
        "Experiment.model_type = 'lm' needs a task with targets, but "
        "'toy_copy' has inputs and targets; take an encoder and a decoder, ",
    ),
]

# Functions and options of upstream's layers that do not fit.
_FUNCTIONS = [
    *values_of(
        "LayerStack.sublayers_final",
        ["None", "3"],
        "must be a list of sublayers such as @sublayer_dropout.",
    ),
    *values_of(
        "SelfAttention.attention_kwargs",
        ["{'x': 1}", "{'dropout_rate': 0.1}", "3"],
        "must be a dictionary of extra_logit and float32_logits or None.",
    ),
    *values_of(
        "get_vocab_embedding_cls.cls",
        ["@truncated_rsqrt", "@SelfAttention", "3"],
        "must be a function of mesh and vocab_dim and ",
    ),
    refused(
        ["Unitransformer.loss_fn = @cross_entropy_loss()"],
        "@cross_entropy_loss in gin stands where it does not fit: "
        "cross_entropy_loss() missing 5 required positional arguments",
    ),
    refused(
        ["SelfAttention.keep_query_heads_dims = True"],
        "the model cannot be built: Specified reduced_dims and output_shape do "
        "not match.",
    ),
    refused(
        ["LayerStack.sublayers_initial = [@truncated_rsqrt]"],
        "the model cannot be built: TypeError: ",
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
    *values_of(
        "SwitchFeedForward.activation", ["3", "[]"], "must be 'linear' or "
    ),
    *values_of(
        "SwitchFeedForward.capacity_factor_train", ["0", "'1.25'"], _POSITIVE
    ),
    *values_of("SwitchFeedForward.capacity_factor_eval", ["-1"], _POSITIVE),
    *values_of(
        "SwitchFeedForward.aux_loss_coefficient", ["-1", "'x'"], _NOT_NEGATIVE
    ),
    *values_of("SwitchFeedForward.z_loss_coefficient", ["-1"], _NOT_NEGATIVE),
    *values_of("SwitchFeedForward.router_jitter", ["1.5"], _NOT_NEGATIVE),
    *values_of("SwitchFeedForward.expert_dropout_rate", ["1.0"], _DROPOUT),
    *values_of("SwitchFeedForward.strict_groups", ["'no'"], _FLAG),
    *values_of("SwitchFeedForward.router", ["3"], "must be a function"),
    unknown(
        "SwitchFeedForward.capacity_rounding",
        "'flor'",
        "SwitchFeedForward.capacity_rounding",
        "floor, round, ceil. Did you mean floor?",
    ),
    unknown(
        "SwitchFeedForward.exploration", "'x'", "router.exploration", "argmax"
    ),
    refused(
        ["SwitchFeedForward.group_size = 3"],
        "num_cores = 2 and group_size = 3: set one of the two",
    ),
    refused(
        ["num_experts = 100"],
        "the expert capacity is 48 tokens_per_core x 1.25 capacity_factor / "
        "100 num_experts = 0.6, less than one slot; use at least 80 tokens in "
        "a group (fewer num_cores or a larger batch), fewer experts, or "
        "min_expert_capacity = 1.",
    ),
]

_MESHES = [
    *values_of(
        "mesh_shape",
        [
            "3", "None", "True", "['all:2']", "[3]", "'all'", "':2'", "'all:x'",
            "'all:0'", "'all:2,all:3'",
        ],
        "cannot be read; write it for example as 'data:2,model:4'.",
        "Experiment.mesh_shape",
    ),
    *values_of(
        "layout_rules",
        ["3", "None", "['batch:all']", "[3]", "'batch'"],
        "cannot be read; write it for example as 'batch:data,experts:data",
        "Experiment.layout_rules",
    ),
    *values_of(
        "Experiment.mesh_devices", ["'cpu:0'"], "must be a list in which each"
    ),
    refused(
        ["layout_rules = 'batch:x'"],
        "the layout rule batch:x names an axis that mesh_shape = '' does not",
    ),
    refused(
        [
            "batch_size = 3",
            "mesh_shape = 'all:2'",
            "layout_rules = 'batch:all'",
        ],
        "batch_size = 3 cannot be split over the mesh axis all = 2 (layout "
        "rule batch:all); use all = 1, or batch_size = 2 or 4.",
    ),
    refused(
        [
            "num_experts = 5",
            "mesh_shape = 'all:2'",
            "layout_rules = 'batch:all,experts:all'",
        ],
        "num_experts = 5 cannot be split over the mesh axis all = 2 (layout "
        "rule experts:all); use all = 1, or num_experts = 4 or 6.",
    ),
    refused(
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

MISTAKES = [
    *_MODELS,
    *_FUNCTIONS,
    *_SWITCH_LAYERS,
    *_MESHES,
    *_TOO_LARGE,
]
