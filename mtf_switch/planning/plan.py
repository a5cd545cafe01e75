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

"""The plan of a training step: its needs of each core, before anything runs.

All figures are read off the shapes of the step's Mesh TensorFlow graph.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses

import mesh_tensorflow as mtf

from mtf_switch.mesh import layouts
from mtf_switch.planning import accounting
from mtf_switch.planning import alternatives
from mtf_switch.planning import chips
from mtf_switch.planning import communication
from mtf_switch.planning import cost
from mtf_switch.planning import evaluation
from mtf_switch.planning import memory
from mtf_switch.planning import slices as slices_lib
from mtf_switch.planning import step_graph as step_graph_lib
from mtf_switch.planning import switch_layers
from mtf_switch.training import teacher as teacher_lib


@dataclasses.dataclass(frozen=True)
class Plan:
  """The costs of a training step; bytes and times are those of one core.

  Bytes sent are those of the operands: no factors of rings are applied, and a
  core's own share is not deducted.

  Attributes:
    name: the plan's name, in the user's words.
    mesh_shape: for example "data:4;model:2".
    layout_rules: for example "batch:data;experts:data".
    num_cores: the cores of the mesh.
    parameters: all trainable parameters.
    expert_parameters: the experts' parameters.
    parameters_per_core: the parameters that a core holds.
    flops_per_sequence: FLOPs of the forward pass, counted as in Table 9; None
      if its rule does not cover the model's layers.
    train_flops_per_step: three times as many, for each sequence of the batch.
    executed_flops_per_core: FLOPs of all matrix products of a step, including
      empty slots, dispatch by einsum and recomputation.
    weight_bytes_per_core: bytes of the weights as they are stored.
    optimizer_bytes_per_core: bytes of the optimizer's state.
    gradient_bytes_per_core: bytes of gradients at the peak of memory.
    activation_bytes_per_core: bytes of all other tensors at the peak.
    activation_bytes_variants: the same with recomputation, with microbatches of
      one sequence for each part of the batch, and with both; variants whose
      microbatches do not fit the groups are left out.
    host_bytes: bytes of the variables' masters, on the hosts of a mesh of
      several cores.
    switch_layers: the Switch layers.
    all_to_all_bytes_per_step: bytes of tokens to their experts and back.
    all_reduce_bytes_per_step: bytes of model parallelism and of gradients.
    other_bytes_per_step: bytes of all other messages.
    collectives: all messages.
    chip: the kind of core.
    compute_seconds: least time of the matrix products.
    memory_seconds: least time of reading and writing the above once.
    network_seconds: least time of the messages, one after the other.
    limited_by: the longest of the three: "compute", "memory" or "network".
    fits: whether the chip has enough memory.
    smallest_mesh: the smallest mesh with these axes that fits; None if no mesh
      does.
    evaluations: a batch of each mode of evaluation_graph.MODES that was asked
      for; None for one that cannot work.
    teacher_bytes_per_core: bytes of the weights of a teacher (--mode=distill),
      which are read once; 0 without one.
  """

  name: str
  mesh_shape: str
  layout_rules: str
  num_cores: int
  parameters: int
  expert_parameters: int
  parameters_per_core: int
  flops_per_sequence: int | None
  train_flops_per_step: int | None
  executed_flops_per_core: int
  weight_bytes_per_core: int
  optimizer_bytes_per_core: int
  gradient_bytes_per_core: int
  activation_bytes_per_core: int
  activation_bytes_variants: Mapping[str, int]
  host_bytes: int
  switch_layers: Sequence[switch_layers.SwitchLayer]
  all_to_all_bytes_per_step: int
  all_reduce_bytes_per_step: int
  other_bytes_per_step: int
  collectives: Sequence[communication.Collective]
  chip: chips.Chip
  compute_seconds: float
  memory_seconds: float
  network_seconds: float
  limited_by: str
  fits: bool
  smallest_mesh: str | None
  evaluations: Mapping[str, evaluation.Evaluation | None] = dataclasses.field(
      default_factory=dict
  )
  teacher_bytes_per_core: int = 0

  @property
  def memory_bytes_per_core(self) -> int:
    """Bytes of all that a core holds at the peak of memory."""
    return (
        self.weight_bytes_per_core
        + self.optimizer_bytes_per_core
        + self.gradient_bytes_per_core
        + self.activation_bytes_per_core
        + self.teacher_bytes_per_core
    )


def plan(
    experiment,
    chip: chips.Chip,
    name: str,
    evaluation_modes: Iterable[str] = (),
    teacher: teacher_lib.Teacher | None = None,
) -> Plan:
  """Costs a training step.

  Args:
    experiment: the Experiment, with the mesh.
    chip: the kind of core of the mesh.
    name: the plan's name, in the user's words.
    evaluation_modes: which of evaluation_graph.MODES to cost too.
    teacher: the teacher that the step asks; None for none.

  Returns:
    the plan.

  Raises:
    UserError: the layout cannot work, or the chip's table lacks a figure.
  """
  experiment.check_layout()
  on_tpu = chip.kind == "tpu"
  step_graph = step_graph_lib.StepGraph(experiment, on_tpu, teacher=teacher)
  graph, step = step_graph.graph, step_graph.step
  slices = slices_lib.Slices(experiment.mesh, experiment.layout)
  collectives = step_graph.collectives(experiment.mesh, experiment.layout)
  trainable = graph.trainable_variables
  of_teacher, others = [], []
  for variable in graph.all_variables:
    if not variable.trainable:
      is_teachers = variable.name.startswith(teacher_lib.SCOPE)
      (of_teacher if is_teachers else others).append(variable)
  teacher_bytes = slices.bytes_of_variables(of_teacher)
  weight_bytes = slices.bytes_of_variables(trainable)
  optimizer_bytes = slices.bytes_of_variables(others)
  schedule = memory.Schedule(graph.operations, step.gradients, on_tpu)
  peak = schedule.peak(slices.bytes)
  flops = accounting.flops_of_model(step.model, experiment.lengths)
  executed_flops = cost.executed_flops(step_graph.operations(), slices.size)
  memory_traffic = cost.memory_traffic(
      weight_bytes,
      optimizer_bytes,
      sum(slices.bytes(x) for x in step.gradients if x is not None),
      peak.activations,
  )
  memory_traffic += teacher_bytes
  dtype = step_graph.activation_dtype.name
  seconds = {
      "compute": executed_flops / chip.peak_flops(dtype),
      "memory": memory_traffic / chip.memory_bandwidth,
      "network": cost.network_traffic(collectives) / chip.network_bandwidth,
  }
  needed = weight_bytes + optimizer_bytes + teacher_bytes + sum(peak)
  by_purpose = {
      purpose: sum(c.bytes for c in collectives if c.purpose == purpose)
      for purpose in ("experts", "model_parallelism", "gradients", "other")
  }
  return Plan(
      name=name,
      mesh_shape=layouts.text(layouts.sizes_of_axes(experiment.mesh)),
      layout_rules=";".join(
          f"{dim}:{axis}" for dim, axis in sorted(experiment.layout._pairs)  # pylint: disable=protected-access
      ),
      num_cores=experiment.mesh.size,
      parameters=sum(v.size for v in trainable),
      expert_parameters=sum(v.size for v in trainable if "/experts/" in v.name),
      parameters_per_core=sum(slices.size(v.shape.dims) for v in trainable),
      flops_per_sequence=flops,
      train_flops_per_step=flops and 3 * flops * experiment.sequences_per_batch,
      executed_flops_per_core=executed_flops,
      weight_bytes_per_core=weight_bytes,
      optimizer_bytes_per_core=optimizer_bytes,
      gradient_bytes_per_core=peak.gradients,
      activation_bytes_per_core=peak.activations,
      activation_bytes_variants=alternatives.activation_bytes_variants(
          experiment, step, peak.activations, on_tpu, slices, teacher
      ),
      host_bytes=_host_bytes(experiment.mesh, graph.all_variables),
      switch_layers=switch_layers.describe(step.model, collectives),
      all_to_all_bytes_per_step=by_purpose["experts"],
      all_reduce_bytes_per_step=(
          by_purpose["model_parallelism"] + by_purpose["gradients"]
      ),
      other_bytes_per_step=by_purpose["other"],
      collectives=collectives,
      chip=chip,
      compute_seconds=seconds["compute"],
      memory_seconds=seconds["memory"],
      network_seconds=seconds["network"],
      limited_by=max(seconds, key=seconds.get),
      fits=needed <= chip.memory_bytes,
      smallest_mesh=alternatives.smallest_mesh(
          experiment,
          graph.all_variables,
          schedule,
          chip.memory_bytes,
          teacher,
      ),
      evaluations={
          mode: evaluation.evaluate(experiment, chip, mode)
          for mode in evaluation_modes
      },
      teacher_bytes_per_core=teacher_bytes,
  )


def _host_bytes(mesh: mtf.Shape, variables: Iterable[mtf.Variable]) -> int:
  """Bytes of the variables' masters; none on one core, which has no copies."""
  if mesh.size == 1:
    return 0
  return sum(v.size * v.master_dtype.size for v in variables)
