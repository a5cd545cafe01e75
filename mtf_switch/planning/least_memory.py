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

"""The least memory that a run takes, from its sizes alone.

What no machine could hold is refused before it is built, which would take hours
or the machine's memory. Plans count everything; this counts the weights once,
of all cores together, and of the activations what the gradients cannot do
without.
"""

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer_layers
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.planning import chips
from mtf_switch.planning import units
from mtf_switch.training import experiment as experiment_lib
from mtf_switch.training import run as run_lib
from mtf_switch.transformer import layer_stack
from mtf_switch.transformer import reports

# Upstream derives them from attention over the whole sequence.
_OTHER_ATTENTION = (
    transformer_layers.EncDecAttention,
    transformer_layers.LocalSelfAttention,
)
_BYTES_OF_WEIGHT = 4
_BYTES_OF_ACTIVATION = 2  # bfloat16, or float32.


def check(run: run_lib.Run, trains: bool = False):
  """Refuses a model or a batch that this machine cannot hold.

  Of TPUs and GPUs nothing is known here.

  Args:
    run: the run.
    trains: whether gradients are computed.

  Raises:
    UserError: says what is needed at least, and what there is.
  """
  if run.tpu or tf.config.list_physical_devices("GPU"):
    return
  experiment = run.experiment
  model = experiment.build_model()
  weights = least_weights(model)
  needed = {
      f"the {units.count(weights)} weights": weights * _BYTES_OF_WEIGHT,
      f"a batch of {units.count(experiment.positions_per_batch)} positions": (
          _least_activations(experiment, model, trains)
      ),
  }
  machines = len(run.cluster.hosts) if run.cluster else 1
  available = machines * chips.memory_of_this_machine()
  total = sum(needed.values())
  if total > available:
    parts = " and ".join(
        f"{units.bytes_(size)} for {name}" for name, size in needed.items()
    )
    has = "this machine has" if machines == 1 else f"{machines} hosts have"
    raise errors.UserError(
        f"the run needs at least {units.bytes_(total)} of memory, {parts}, but "
        f"{has} {units.bytes_(available)}; make the model or the batch smaller."
    )


def least_weights(model) -> int:
  """The weights of a model's matrices; those of unknown layers are left out.

  Args:
    model: a Bitransformer or Unitransformer. Only attributes are read.
  """
  parts = reports.unitransformers(model)
  columns = parts[0].input_vocab_dim.size
  if not parts[-1].shared_embedding_and_softmax_weights:
    columns += parts[-1].output_vocab_dim.size
  return parts[0].model_dim.size * columns + sum(
      part.model_dim.size * _columns(layer)
      for part in parts
      for layer in part.layer_stack.layers
  )


def _columns(layer) -> int:
  """How many weights a layer has for each element of its input."""
  switches = getattr(layer, "switches", ())
  heads = getattr(layer, "num_heads", 0) * getattr(layer, "key_value_size", 0)
  projections = 1 if switches else 3 if getattr(layer, "shared_kv", 0) else 4
  columns = projections * heads
  for feed_forward in switches or [layer]:
    activation = getattr(feed_forward, "activation", "linear")
    factors = len(activation) if isinstance(activation, (list, tuple)) else 1
    d_ff = getattr(feed_forward, "hidden_size", 0) or 0
    experts = getattr(feed_forward, "num_experts", 0)
    columns += experts + max(1, experts) * (1 + factors) * d_ff
  return columns


def _least_activations(
    experiment: experiment_lib.Experiment, model, trains: bool
) -> int:
  """The bytes of a batch's tokens: between layers, and in attention."""
  lengths = experiment.lengths
  sequences = experiment.sequences_per_batch
  parts = reports.unitransformers(model)
  ids = 4 * experiment.positions_per_batch
  if not trains:
    # Decoding has one token at a time, but an encoder all of them.
    length = lengths.get("inputs", lengths["targets"])
    elements = length * parts[0].model_dim.size
    if len(parts) > 1:
      elements += _attention_logits(parts[0], length)
    return ids + _BYTES_OF_ACTIVATION * elements * sequences
  microbatches = utils.serialize_num_microbatches(
      mtf.Dimension("batch", sequences),
      lengths,
      experiment.mesh,
      experiment.layout,
  )
  elements = 0
  recomputes = layer_stack.recomputes_gradients(model)
  for part, feature in zip(parts[::-1], ("targets", "inputs")):
    kept = 1 if recomputes else len(part.layer_stack.layers)
    elements += lengths[feature] * part.model_dim.size * kept
    elements += _attention_logits(part, lengths[feature])
  return ids + _BYTES_OF_ACTIVATION * elements * sequences // microbatches


def _attention_logits(part, length: int) -> int:
  """The logits of one layer's attention, of one sequence to itself."""
  heads = [
      layer.num_heads
      for layer in part.layer_stack.layers
      if isinstance(layer, transformer_layers.SelfAttention)
      and not isinstance(layer, _OTHER_ATTENTION)
  ]
  return max(heads, default=0) * length**2
