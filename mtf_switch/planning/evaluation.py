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

"""The needs of each core in a mode that does not train."""

from typing import NamedTuple
import warnings

from mtf_switch import errors
from mtf_switch.planning import chips
from mtf_switch.planning import cost
from mtf_switch.planning import evaluation_graph
from mtf_switch.planning import memory
from mtf_switch.planning import slices as slices_lib


class Evaluation(NamedTuple):
  """The costs of a batch that is evaluated, scored or decoded, of one core.

  Attributes:
    steps: the passes of the decoder: 1, or the positions of the longest text
      that is decoded.
    executed_flops_per_core: FLOPs of all matrix products.
    memory_bytes_per_core: bytes of weights and activations.
    activation_bytes_per_core: bytes of all tensors but the weights, at the peak
      of memory; the keys and values that decoding keeps are among them.
    bytes_sent: bytes of all messages, as in a Plan.
    compute_seconds: least time of the matrix products.
    memory_seconds: least time of reading and writing the above once, in
      decoding once more in each step.
    network_seconds: least time of the messages, one after the other.
    limited_by: the longest of the three: "compute", "memory" or "network".
    fits: whether the chip has enough memory.
  """

  steps: int
  executed_flops_per_core: int
  memory_bytes_per_core: int
  activation_bytes_per_core: int
  bytes_sent: int
  compute_seconds: float
  memory_seconds: float
  network_seconds: float
  limited_by: str
  fits: bool

  @property
  def seconds(self) -> float:
    """The least time of a batch, if all resources work at the same time."""
    return max(self.compute_seconds, self.memory_seconds, self.network_seconds)


def evaluate(experiment, chip: chips.Chip, mode: str) -> Evaluation | None:
  """Costs a batch.

  Args:
    experiment: the Experiment, with the mesh.
    chip: the kind of core of the mesh.
    mode: one of evaluation_graph.MODES.

  Returns:
    the costs; None, and a notice with the reason, for a mode that cannot work.

  Raises:
    UserError: the chip's table lacks a figure.
  """
  on_tpu = chip.kind == "tpu"
  try:
    with warnings.catch_warnings():
      # Notices on capacities, which the modes themselves will give.
      warnings.simplefilter("ignore")
      planned = evaluation_graph.EvaluationGraph(experiment, on_tpu, mode)
  except errors.UserError as error:
    warnings.warn(
        f"--mode={mode} cannot work: {error}", errors.UserNotice, stacklevel=2
    )
    return None
  slices = slices_lib.Slices(experiment.mesh, experiment.layout)
  operations = planned.graph.operations
  schedule = memory.Schedule(
      operations, on_tpu=on_tpu, results=planned.exported
  )
  activation_bytes = sum(schedule.peak(slices.bytes))
  weight_bytes = slices.bytes_of_variables(planned.graph.trainable_variables)
  executed_flops = cost.executed_flops(planned.operations(), slices.size)
  collectives = planned.collectives(experiment.mesh, experiment.layout)
  memory_traffic = cost.memory_traffic_of_evaluation(
      weight_bytes,
      activation_bytes,
      planned.loops,
      planned.iterations,
      slices.bytes,
  )
  peak_flops = chip.peak_flops(planned.activation_dtype.name)
  seconds = {
      "compute": executed_flops / peak_flops,
      "memory": memory_traffic / chip.memory_bandwidth,
      "network": cost.network_traffic(collectives) / chip.network_bandwidth,
  }
  memory_bytes = weight_bytes + activation_bytes
  return Evaluation(
      steps=planned.iterations,
      executed_flops_per_core=executed_flops,
      memory_bytes_per_core=memory_bytes,
      activation_bytes_per_core=activation_bytes,
      bytes_sent=sum(x.bytes for x in collectives),
      compute_seconds=seconds["compute"],
      memory_seconds=seconds["memory"],
      network_seconds=seconds["network"],
      limited_by=max(seconds, key=seconds.get),
      fits=memory_bytes <= chip.memory_bytes,
  )
