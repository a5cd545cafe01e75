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

"""The Mesh TensorFlow graphs of decoding and scoring, on any mesh."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import splits
from mtf_switch.transformer import caches
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import loss as loss_lib
from mtf_switch.transformer import reports

_SUMS = ("routed", "dropped")


class Inference(NamedTuple):
  """The results for a batch.

  Attributes:
    model: the transformer.
    results: decoded ids, `[batch, length]` int32, or scores, `[batch]` float32;
      not split.
    drops: "routed" and "dropped", float32 scalars: how many choices of real
      tokens asked for a slot, and how many of them got none, over all Switch
      layers. Empty where nothing can be dropped.
  """

  model: Any
  results: mtf.Tensor
  drops: Mapping[str, mtf.Tensor]


def decode(experiment, features: Mapping[str, mtf.Tensor]) -> Inference:
  """Decodes a batch.

  How is set with T5's gin names: Bitransformer.decode and, for an "lm",
  Unitransformer.sample_autoregressive.

  Args:
    experiment: the Experiment.
    features: "inputs", int32 [batch, length].
  """
  inputs = features["inputs"]
  is_lm = experiment.model_type == "lm"

  def ids(model):
    variable_dtype = utils.get_variable_dtype()
    if not is_lm:
      return mtf.anonymize(model.decode(inputs, variable_dtype=variable_dtype))
    samples = model.sample_autoregressive(
        mtf.pad(inputs, [0, experiment.lengths["targets"]], "length"),
        variable_dtype=variable_dtype,
        remove_partial_sequences=True,
    )
    return mtf.anonymize(samples)

  # An encoder-decoder's text begins in the loop; what comes before it is not
  # computed.
  modes = ["first_part" if is_lm else tf.estimator.ModeKeys.PREDICT]
  inferred = _infer(experiment, ids, [*modes, "incremental"])
  if not splits.is_on_tpu():
    caches.write_in_place(inferred.results.graph)
  return inferred


def score(experiment, features: Mapping[str, mtf.Tensor]) -> Inference:
  """The logarithm of the probability of each sequence of targets.

  Args:
    experiment: the Experiment.
    features: int32 [batch, length] by name.
  """
  mode = tf.estimator.ModeKeys.PREDICT
  return _infer(
      experiment,
      lambda model: loss_lib.log_likelihood(
          model, features, mode, utils.get_variable_dtype()
      ),
      [mode],
  )


def _infer(experiment, infer: Callable, modes) -> Inference:
  """Calls a model; counts what its layers drop in some modes of a context."""
  model = experiment.build_model()
  if all(
      switch.capacity_factor_infer is None
      for switch in feed_forward.switches(model)
  ):
    return Inference(model, infer(model), {})
  with reports.collecting(model) as sums:
    results = infer(model)
  drops = {}
  for name in _SUMS:
    parts = [sums[f"{x}/{name}"] for x in modes if f"{x}/{name}" in sums]
    drops[name] = mtf.add_n([_over_iterations(x) for x in parts])
  return Inference(model, results, drops)


def _over_iterations(x: mtf.Tensor) -> mtf.Tensor:
  """The sum of a tensor over the iterations of the loop that it is in, if any.

  Upstream's loops of decoding return nothing but the texts.
  """
  # pylint: disable=protected-access
  for loop in x.graph.operations:
    if (
        isinstance(loop, mtf.WhileLoopOperation)
        and x.operation in loop._body_ops
    ):
      # As with has_accumulators.
      total = mtf.Tensor(loop, x.shape, x.dtype, index=len(loop._outputs))
      loop._body_outputs = [*loop._body_outputs, x]
      loop._outputs = [*loop._outputs, total]
      return total
  return x
