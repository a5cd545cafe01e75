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

"""The graphs of evaluation, scoring and decoding, on no devices."""

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from mtf_switch.planning import graph_optimizer
from mtf_switch.planning import step_graph
from mtf_switch.training import inference
from mtf_switch.transformer import loss as loss_lib

PERPLEXITY, SCORING, DECODING = "perplexity_eval", "score", "infer"
# By the mode of run_switch; --mode=eval decodes as "infer" does.
MODES = (PERPLEXITY, SCORING, DECODING)


class EvaluationGraph(step_graph.PlannedGraph):
  """The graph of a batch in a mode that does not train.

  The iterations of decoding are those of the longest text.
  """

  def __init__(self, experiment, on_tpu: bool, mode: str):
    """Builds the graph, without what its results do not need.

    Args:
      experiment: the Experiment.
      on_tpu: as PlannedGraph's.
      mode: one of MODES.

    Raises:
      UserError: the mode cannot work.
    """
    super().__init__(on_tpu)
    with self.building():
      if mode == PERPLEXITY:
        _, sums = loss_lib.loss_and_sums(
            experiment.build_model(),
            self.features(experiment, experiment.outer_batch_size),
            tf.estimator.ModeKeys.EVAL,
            utils.get_variable_dtype(),
        )
        self.exported = list(sums.values())
      else:
        features = self.features(experiment)
        if mode == SCORING:
          inferred = inference.score(experiment, features)
        else:
          # An "lm" continues a text as long as its targets.
          inputs = features.get("inputs", features["targets"])
          inferred = inference.decode(experiment, {"inputs": inputs})
        self.exported = [inferred.results, *inferred.drops.values()]
        if mode == DECODING:
          self.iterations = inferred.results.shape.dims[-1].size
    graph_optimizer.leave_out_unused(self.graph.operations, self.exported)

  @property
  def loops(self) -> list[mtf.WhileLoopOperation]:
    """The graph's loops: that of decoding."""
    return [
        x
        for x in self.graph.operations
        if isinstance(x, mtf.WhileLoopOperation)
    ]
