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
says it; so it does for the bounds of those of `tasks`, which imports nothing of
this package.
"""

from collections.abc import Mapping, Sequence
import inspect
from typing import Annotated, Any, Literal

import gin

from mtf_switch import values

# The parameters of these modules' configurables, by name: upstream's meaning is
# the same wherever it uses a name.
_UPSTREAM = (
    "Bitransformer.",
    "Unitransformer.",
    "mesh_tensorflow.",
    "t5.data.preprocessors.",
)
_PARAMETERS = {
    # Models.
    "d_model": values.Count,
    "hidden_size": values.Count,
    "key_value_size": values.Count,
    "max_length": values.Count,
    "min_expert_capacity": values.CountOrZero,
    "num_experts": values.Count,
    "num_heads": values.Count,
    "num_layers": values.Count,
    "num_memory_heads": values.CountOrZero,
    "relative_attention_num_buckets": values.Count,
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
    "block_scope": bool,
    "positional_embedding": bool,
    "recompute_grads": bool,
    "shared_embedding_and_softmax_weights": bool,
    "use_bias": bool,
    # Losses.
    "label_smoothing": values.DropoutRate,
    "z_loss": values.NotNegative | None,
    "z_loss_coeff": values.NotNegative,
    # Decoding.
    "alpha": values.NotNegative,
    "beam_size": values.Count,
    "decode_length_constant": values.NotNegative,
    "decode_length_multiplier": values.NotNegative,
    "max_decode_length": values.Count,
    "max_steps": values.Count,
    "num_prefilter": values.CountOrZero,
    "sampling_keep_top_k": Annotated[
        Literal[-1] | values.Count,
        "a whole number of at least 1, or -1 for all tokens",
    ],
    "temperature": values.NotNegative,
    # Optimizers and schedules.
    "beta1": values.DropoutRate,
    "clipping_threshold": values.Positive | None,
    "decay_rate": values.DropoutRate,
    "epsilon1": values.NotNegative,
    "epsilon2": values.NotNegative,
    "exponent": values.NotNegative,
    "factored": bool,
    "min_dim_size_to_factor": values.CountOrZero,
    "multiply_by_parameter_scale": bool,
    "initial_lr": values.NotNegative,
    "learning_rate": values.NotNegative,
    "linear_decay_fraction": values.Share,
    "max_learning_rate": values.NotNegative,
    "multiplier": values.NotNegative,
    "steps_or_fraction": values.Positive,
    "warmup_steps": Annotated[float, values.at_least(1)],
    # The mesh, and parts of a batch.
    "model_parallelism": values.Count,
    "tokens_per_microbatch_per_replica": values.Count,
    # Span corruption.
    "extra_tokens_per_span_inputs": values.CountOrZero,
    "extra_tokens_per_span_targets": values.CountOrZero,
    "inputs_length": values.Count,
    "mean_noise_span_length": Annotated[float, values.at_least(1)],
    "noise_density": Annotated[float, values.above(0), values.at_most(1)],
}
_TASKS = {
    "tasks.broken_records.limit": values.CountOrZero,
    "tasks.cldr.languages": str | Sequence[str] | None,
    "tasks.docstrings.max_bytes": values.Count | None,
    "tasks.mc4.alpha": values.NotNegative,
    "tasks.mc4.languages": str | Sequence[str] | None,
    "tasks.vocabulary.size": Annotated[
        int, values.at_least(1), values.at_most(1_000_000)
    ],
}


def check(bindings: Mapping[tuple[str, str], Mapping[str, Any]]):
  """Refuses bound values without meaning.

  Args:
    bindings: gin's, values by parameter for each scope and configurable.

  Raises:
    UserError: names the parameter, the value and what is allowed.
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
  annotation = _PARAMETERS.get(parameter, Any)
  signature = inspect.signature(made).parameters
  if parameter in signature and signature[parameter].default is None:
    return annotation | None
  return annotation


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
