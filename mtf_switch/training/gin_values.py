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

"""The values that gin binds for others' configurables, checked after parsing.

Configurables of this project say in their annotations what they take, and check
it when they are called (values.py). For upstream's, which have none, a table
says it, or else the type of the default; so a table does for the bounds of
those of `tasks`, which imports nothing of this package.
"""

from collections.abc import Callable, Mapping, Sequence
import inspect
from typing import Annotated, Any, Literal

import gin
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import values
from mtf_switch.layer import experts

# The parameters of these modules' configurables, by name: upstream's meaning is
# the same wherever it uses a name. Those that only its own program calls are
# left out.
_UPSTREAM = (
    "Bitransformer.",
    "Unitransformer.",
    "mesh_tensorflow.beam_search.",
    "mesh_tensorflow.layers.",
    "mesh_tensorflow.ops.",
    "mesh_tensorflow.optimize.",
    "mesh_tensorflow.simd_mesh_impl.",
    "mesh_tensorflow.transformer.dataset.",
    "mesh_tensorflow.transformer.learning_rate_schedules.",
    "mesh_tensorflow.transformer.moe.",
    "mesh_tensorflow.transformer.transformer.",
    "mesh_tensorflow.transformer.transformer_layers.",
    "mesh_tensorflow.transformer.utils.clean_decodes",
    "mesh_tensorflow.transformer.utils.get_variable_dtype",
    "mesh_tensorflow.transformer.utils.serialize_num_microbatches",
    "t5.data.preprocessors.",
    "t5.data.utils.",
    "t5.models.mesh_transformer.",
)
# What is greater takes minutes to build, whatever the width.
_Layers = Annotated[int, values.at_least(1), values.at_most(1000)]
_Positions = Annotated[int, values.at_least(1), values.at_most(10**6)]
_Activation = experts.ActivationName | Callable | None
_Sublayer = Annotated[
    Callable, values.takes("x", "layer_stack", "context", by_position=True)
]
_Sublayers = Annotated[
    Sequence[_Sublayer], "a list of sublayers such as @sublayer_dropout"
]
_Dtype = Annotated[
    Any,
    "'float32', 'bfloat16' or 'float16'",
    values.Bound(
        "",
        lambda x: isinstance(x, (str, tf.DType))
        and getattr(x, "name", x) in ("float32", "bfloat16", "float16"),
    ),
]
_PARAMETERS = {
    # Models.
    "activation": (
        _Activation
        | Annotated[list[_Activation], values.NOT_EMPTY, "a list of such names"]
    ),
    "d_model": values.Count,
    "hidden_size": values.Count,
    "key_value_size": values.Count,
    "max_length": _Positions,
    "min_expert_capacity": values.CountOrZero,
    "moe_gating": Literal[
        "expert_selection", "ntlb", "switch", "switch_max", "top_2", "top_n"
    ],
    "num_experts": values.Count,
    "num_heads": values.Count,
    "num_layers": _Layers,
    "num_memory_heads": values.CountOrZero,
    # Half of them for each direction, and half of those for single distances.
    "relative_attention_num_buckets": Annotated[
        int, values.at_least(4), values.at_most(10**6)
    ],
    "vocab_divisor": values.Count,
    "dropout_rate": values.DropoutRate,
    "init_dropout_rate": values.DropoutRate,
    "switch_dropout": values.DropoutRate,
    "token_dropout_rate": values.DropoutRate,
    "switch_jitter": values.Share,
    "capacity_factor_eval": values.Positive,
    "capacity_factor_train": values.Positive,
    "loss_coef": values.NotNegative,
    "epsilon": values.Positive,
    "norm_epsilon": values.Positive,
    "scale": values.Positive,
    "get_vocab_embedding_cls.cls": Annotated[
        Callable,
        values.takes(
            "mesh",
            "vocab_dim",
            "output_dim",
            "variable_dtype",
            "name",
            "ensemble_dim",
        ),
    ],
    "layer_stack_cls": Annotated[Callable, values.takes("layers")],
    "layers": Annotated[
        Sequence[
            Annotated[Callable, values.takes()]
            | Sequence[Callable | str | Mapping[str, Any]]
        ],
        values.NOT_EMPTY,
        "a list of layers such as @SelfAttention",
    ],
    "sublayers_final": _Sublayers,
    "sublayers_initial": _Sublayers,
    "sublayers_per_layer": Annotated[
        Sequence[_Sublayer],
        values.NOT_EMPTY,
        "a list of sublayers such as @sublayer_call_layer",
    ],
    "ensemble": values.Count,
    "loss_denominator": values.Positive,
    "attention_func": Literal["hybrid"],
    "attention_kwargs": Annotated[
        Mapping[str, Any],
        "a dictionary of extra_logit and float32_logits",
        values.Bound("", lambda x: {*x} <= {"extra_logit", "float32_logits"}),
    ],
    "hyperprompt_hidden_dim": values.Count,
    "hyperprompt_length_decoder": values.Count,
    "hyperprompt_length_encoder": values.Count,
    "relative_attention_type": Literal["bias", "bias_shared", "contextual"],
    "radius": values.Count,
    "group_size": values.Count,
    "distribution": Literal["normal", "uniform"],
    "mode": Literal["fan_in", "fan_out", "fan_avg"],
    "activation_dtype": _Dtype,
    "master_dtype": _Dtype,
    "slice_dtype": _Dtype,
    # Losses.
    "loss_fn": Annotated[
        Callable,
        values.takes(
            "model",
            "context",
            "logits",
            "targets",
            "output_vocab_dim",
            by_position=True,
        ),
    ],
    "label_smoothing": values.DropoutRate,
    "z_loss": values.NotNegative | None,
    "z_loss_coeff": values.NotNegative,
    # Decoding.
    "alpha": values.NotNegative,
    "beam_size": Annotated[int, values.at_least(1), values.at_most(1000)],
    "decode_length_constant": values.NotNegative,
    "decode_length_multiplier": values.NotNegative,
    "max_decode_length": _Positions,
    "max_steps": _Positions,
    "num_prefilter": values.CountOrZero,
    "eos_id": values.CountOrZero,
    "bos_id": values.CountOrZero,
    "stop_at_token": Annotated[int, values.at_least(-1)],  # -1: none ends it.
    "sampling_keep_top_k": Annotated[
        Literal[-1] | values.Count,
        "a whole number of at least 1, or -1 for all tokens",
    ],
    "temperature": values.NotNegative,
    # Optimizers and schedules.
    "beta1": values.DropoutRate,
    "adafactor_decay_rate_pow.offset": values.CountOrZero,
    "clipping_threshold": values.Positive | None,
    "decay_rate": values.DropoutRate,
    "epsilon1": values.NotNegative,
    "epsilon2": values.NotNegative,
    "exponent": values.NotNegative,
    "exclude_from_parameter_scale": Sequence[str],
    "stacked_dim_names": Sequence[str],
    "min_dim_size_to_factor": values.CountOrZero,
    "weight_decay_rate": values.NotNegative,
    "beta_1": values.DropoutRate,
    "beta_2": values.DropoutRate,
    "momentum": values.DropoutRate,
    "constant.value": values.NotNegative,
    "cut_fraction": Annotated[float, values.above(0), values.below(1)],
    "factors": Annotated[
        Sequence[values.NotNegative | Callable], values.NOT_EMPTY
    ],
    "initial_lr": values.NotNegative,
    "learning_rate": values.NotNegative,
    "linear_decay_fraction": values.Share,
    "max_learning_rate": values.NotNegative,
    "multiplier": values.NotNegative,
    "offset": float,
    "ratio": values.Positive,
    "start_step": float,
    "steps_or_fraction": values.Positive,
    "warmup_steps": Annotated[float, values.at_least(1)],
    # The mesh, and parts of a batch.
    "max_combined_slice_size": values.CountOrZero,
    "max_combined_variable_size": values.CountOrZero,
    "model_parallelism": values.Count,
    "tokens_per_microbatch_per_replica": values.Count,
    # Span corruption.
    "extra_tokens_per_span_inputs": values.CountOrZero,
    "extra_tokens_per_span_targets": values.CountOrZero,
    "inputs_length": _Positions,
    "mean_noise_span_length": Annotated[float, values.at_least(1)],
    "noise_density": Annotated[float, values.above(0), values.at_most(1)],
    # Mixing rates.
    "maximum": values.Positive,
    "rate_num_examples.temperature": values.Positive,
}
# Although their default is None.
_NEVER_NONE = ("sublayers_final", "sublayers_initial", "sublayers_per_layer")
_DECODE = ("", "Bitransformer.decode")
_TASKS = {
    "tasks.broken_records.limit": values.CountOrZero,
    "tasks.cldr.languages": str | Sequence[str] | None,
    "tasks.docstrings.max_bytes": values.Count | None,
    "tasks.mc4.alpha": values.NotNegative,
    "tasks.mc4.languages": str | Sequence[str] | None,
    "tasks.pairs_files.validation_share": (
        Annotated[float, values.above(0), values.below(1)] | None
    ),
    "tasks.vocabulary.size": Annotated[
        int, values.at_least(1), values.at_most(1_000_000)
    ],
}


def check(bindings: Mapping[tuple[str, str], Mapping[str, Any]]):
  """Refuses bound values without meaning.

  Args:
    bindings: gin's, values by parameter for each scope and configurable.

  Raises:
    UserError: names the parameter, the value and what is allowed, or values
      that do not go together.
  """
  for (scope, selector), bound in bindings.items():
    if selector == "gin.macro":
      continue
    for parameter, value in bound.items():
      annotation = _annotation(selector, parameter)
      macro = _macro(value)
      values.check(
          name_of(scope, selector, parameter),
          _resolved(value, bindings),
          annotation,
          f"({macro} sets it.)" if macro else "",
      )

  _check_beams(bindings)


def _check_beams(bindings):
  """Refuses beams of samples, which upstream has not."""
  decode = {
      parameter: _resolved(value, bindings)
      for parameter, value in bindings.get(_DECODE, {}).items()
  }
  if decode.get("beam_size", 1) in (1, values.UNKNOWN):
    return
  for parameter, greedy in (("temperature", 0), ("sampling_keep_top_k", -1)):
    if decode.get(parameter, greedy) not in (greedy, values.UNKNOWN):
      raise errors.UserError(
          f"Bitransformer.decode.beam_size = {decode['beam_size']} and "
          f"{parameter} = {decode[parameter]} do not go together: beam search "
          f"draws no samples; use beam_size = 1 or {parameter} = {greedy}."
      )


def registry():
  """Returns gin's configurables by name; it has no public function for it."""
  return gin.config._REGISTRY  # pylint: disable=protected-access


def name_of(scope: str, selector: str, parameter: str) -> str:
  """Returns the name of a parameter as one would write it.

  Args:
    scope: for example "encoder", or "".
    selector: the configurable's full name.
    parameter: the parameter's name.
  """
  name = f"{registry().minimal_selector(selector)}.{parameter}"
  return f"{scope}/{name}" if scope else name


def _annotation(selector: str, parameter: str) -> Any:
  """What a configurable's parameter takes."""
  name = f"{selector}.{parameter}"
  if name in _TASKS:
    return _TASKS[name]
  made = registry()[selector].wrapped
  if selector.startswith("tasks."):
    return values.annotations_of(made).get(parameter, Any)
  if made.__module__.startswith("mtf_switch."):
    if parameter in values.annotations_of(made):
      return Any  # Checked when it is called.
    # An option that it hands on to upstream.
  elif not selector.startswith(_UPSTREAM):
    return Any
  of_call = f"{selector.split('.')[-1]}.{parameter}"
  annotation = _PARAMETERS.get(of_call, _PARAMETERS.get(parameter))
  signature = inspect.signature(made).parameters
  if parameter not in signature:
    return Any if annotation is None else annotation
  default = signature[parameter].default
  if annotation is None:
    return _type_of(default)
  if default is None and parameter not in _NEVER_NONE:
    return annotation | None
  return annotation


def _type_of(default: Any) -> Any:
  """What a parameter takes that has a default and no other description."""
  if default is inspect.Parameter.empty:
    return Any
  if callable(default):
    return Callable
  return next((t for t in (bool, int, float, str) if type(default) is t), Any)


def _macro(value: Any) -> str | None:
  """The name of the macro that a value consists of, if it is one."""
  text = repr(value)
  is_macro = isinstance(value, gin.config.ConfigurableReference)
  return text[1:] if is_macro and text.startswith("%") else None


def _resolved(value: Any, bindings) -> Any:
  """A bound value with macros' values; what is to be made later is UNKNOWN."""
  if isinstance(value, gin.config.ConfigurableReference):
    macro = _macro(value)
    bound = bindings.get((macro, "gin.macro"), {})
    if "value" in bound:
      return _resolved(bound["value"], bindings)
    return values.UNKNOWN if value.evaluate else value.scoped_configurable_fn
  if isinstance(value, (list, tuple)):
    return type(value)(_resolved(x, bindings) for x in value)
  if isinstance(value, dict):
    return {k: _resolved(x, bindings) for k, x in value.items()}
  return value
