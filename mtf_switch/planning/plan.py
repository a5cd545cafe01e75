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

"""What a training step needs of each core, before anything runs.

The Mesh TensorFlow graph of the step is built as for a run, by the same gin
configuration, but its variables are placeholders and it is never lowered to
TensorFlow: everything is read off the shapes of its tensors.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import itertools
import math
import re
from typing import NamedTuple
import warnings

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_function

from mtf_switch import errors
from mtf_switch.mesh import layouts
from mtf_switch.mesh import placement
from mtf_switch.planning import accounting
from mtf_switch.planning import chips
from mtf_switch.planning import communication
from mtf_switch.planning import memory
from mtf_switch.training import training_step
from mtf_switch.transformer import feed_forward as layers_lib
from mtf_switch.transformer import layer_stack

# Axes of meshes that are looked at.
_POWERS_OF_2 = [2**i for i in range(13)]


class SwitchLayer(NamedTuple):
  """A Switch layer in training.

  Attributes:
    name: the scope of its variables.
    num_groups: the groups in which tokens compete, num_cores in gin.
    tokens_per_group: the tokens of one of them.
    num_experts: the experts.
    expert_capacity: the slots of an expert in a group.
    capacity_factor: as asked for.
    capacity_factor_in_force: slots for each token of a group.
    all_to_all_bytes: of a core in a step, both ways, gradients included.
    all_reduce_bytes: the same of model parallelism's all-reduces.
  """

  name: str
  num_groups: int
  tokens_per_group: int
  num_experts: int
  expert_capacity: int
  capacity_factor: float
  capacity_factor_in_force: float
  all_to_all_bytes: int
  all_reduce_bytes: int


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a training step needs; bytes and times are those of one core.

  Bytes that are sent are those of the operands, without the factors of rings
  and without deducting what a core keeps.

  Attributes:
    name: what is planned, in the user's words.
    mesh_shape: for example "data:4;model:2".
    layout_rules: for example "batch:data;experts:data".
    num_cores: of the mesh.
    parameters: all trainable ones.
    expert_parameters: those that are in experts.
    parameters_per_core: those that a core holds.
    flops_per_sequence: of the forward pass, as Table 9 counts; None if its rule
      does not know the model's layers.
    train_flops_per_step: three times as many, for each sequence of the batch.
    executed_flops_per_core: of all matrix products of a step, those of empty
      slots, of dispatch by einsums and of recomputation included.
    weight_bytes_per_core: the weights as they are stored.
    optimizer_bytes_per_core: the optimizer's state.
    gradient_bytes_per_core: gradients, when most memory is taken.
    activation_bytes_per_core: all other tensors at that moment.
    activation_bytes_variants: the same with recomputation, with microbatches of
      a sequence for each part of the batch, and with both; without those whose
      microbatches have no such groups.
    host_bytes: variables' masters, on the hosts of a mesh of several cores.
    switch_layers: the Switch layers.
    all_to_all_bytes_per_step: of tokens to their experts and back.
    all_reduce_bytes_per_step: of model parallelism and of gradients.
    other_bytes_per_step: of all else.
    collectives: every message.
    chip: what the cores are.
    compute_seconds: at least, for the matrix products.
    memory_seconds: at least, for reading and writing the above once.
    network_seconds: at least, for the messages, one after the other.
    limited_by: "compute", "memory" or "network", which takes longest.
    fits: whether the chip has enough memory.
    smallest_mesh: the smallest mesh of these axes that fits; None if none does.
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
  switch_layers: Sequence[SwitchLayer]
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

  @property
  def memory_bytes_per_core(self) -> int:
    """Everything that a core holds when most memory is taken."""
    return (
        self.weight_bytes_per_core
        + self.optimizer_bytes_per_core
        + self.gradient_bytes_per_core
        + self.activation_bytes_per_core
    )


class StepGraph:
  """The Mesh TensorFlow graph of a training step, on no devices.

  Attributes:
    graph: the mtf.Graph.
    step: the training_step.TrainingStep.
    activation_dtype: of the activations.
  """

  def __init__(
      self,
      experiment,
      on_tpu: bool,
      recompute: bool = False,
      num_microbatches: int | None = None,
  ):
    """Builds the graph.

    Args:
      experiment: the Experiment.
      on_tpu: whether as for a TPU, where layers multiply by one-hot matrices.
      recompute: whether the layers' activations are made again for gradients,
        also if gin does not say so.
      num_microbatches: of a step; None for what gin says.
    """
    self._tf_graph = tf.Graph()
    self._on_tpu = on_tpu
    with self._building():
      mesh = mtf.Mesh(mtf.Graph(), "mesh")
      self.graph = mesh.graph
      features = {
          name: tf.placeholder(tf.int32, [experiment.sequences_per_batch, n])
          for name, n in experiment.lengths.items()
      }
      features = placement.import_features(
          mesh,
          features,
          experiment.sequences_per_batch,
          experiment.lengths,
          experiment.outer_batch_size,
      )
      self.activation_dtype = utils.get_variable_dtype().activation_dtype
      model = experiment.build_model()
      if recompute:
        layer_stack.recompute_gradients(model)
      self.step = training_step.build(
          experiment,
          mesh,
          features,
          learning_rate=1.0,
          model=model,
          num_microbatches=num_microbatches,
      )

  @contextlib.contextmanager
  def _building(self) -> Iterator[None]:
    """TensorFlow's default graph, as a TPU's if need be."""
    with contextlib.ExitStack() as stack:
      stack.enter_context(self._tf_graph.as_default())
      stack.enter_context(placement.placeholders_for_variables())
      if self._on_tpu:
        stack.enter_context(tpu_function.tpu_shard_context(1))
      yield

  def collectives(
      self, mesh_shape: mtf.Shape, layout: mtf.LayoutRules
  ) -> list[communication.Collective]:
    """What the cores of a mesh send each other in the step."""
    with self._building():
      return communication.collectives(
          self.graph,
          mesh_shape,
          layout,
          self._on_tpu,
          self.step.gradients,
          self.step.totals.values(),
          self.step.num_microbatches,
      )

  def operations(self) -> Iterator[tuple[mtf.Operation, int]]:
    """All operations, and how often each runs in a step."""
    for operation in self.graph.operations:
      yield operation, 1
      if isinstance(operation, mtf.WhileLoopOperation):
        for inner in operation._body_ops:  # pylint: disable=protected-access
          yield inner, self.step.num_microbatches


class Slices:
  """How large the slices of a layout are."""

  def __init__(self, mesh_shape: mtf.Shape, layout: mtf.LayoutRules):
    """Records the layout; see Experiment.mesh and Experiment.layout."""
    self._mesh_shape = mesh_shape
    self._layout = layout
    self._sizes = {}

  def of(self, dim: mtf.Dimension) -> int:
    """The size of a slice of a dimension."""
    if dim not in self._sizes:
      self._sizes[dim] = mtf.tensor_dim_to_size_per_split(
          self._layout, self._mesh_shape, dim
      )
    return self._sizes[dim]

  def size(self, dims) -> int:
    """The entries of a slice of a tensor with such dimensions."""
    return math.prod(self.of(dim) for dim in dims)

  def bytes(self, tensor: mtf.Tensor) -> int:
    """The bytes of a slice of a tensor."""
    return self.size(tensor.shape.dims) * tensor.dtype.size

  def bytes_of_variables(self, variables) -> int:
    """The bytes of the slices that a core stores."""
    return sum(
        self.size(variable.shape.dims) * variable.slice_dtype.size
        for variable in variables
    )


def plan(experiment, chip: chips.Chip, name: str) -> Plan:
  """Costs a training step.

  Args:
    experiment: the Experiment, with the mesh.
    chip: what the mesh's cores are.
    name: what is planned, in the user's words.

  Returns:
    the plan.

  Raises:
    UserError: the layout cannot work, or the chip's table lacks a figure.
  """
  experiment.check_layout()
  on_tpu = chip.kind == "tpu"
  step_graph = StepGraph(experiment, on_tpu)
  graph, step = step_graph.graph, step_graph.step
  slices = Slices(experiment.mesh, experiment.layout)
  collectives = step_graph.collectives(experiment.mesh, experiment.layout)
  trainable = graph.trainable_variables
  others = [v for v in graph.all_variables if not v.trainable]
  weight_bytes = slices.bytes_of_variables(trainable)
  optimizer_bytes = slices.bytes_of_variables(others)
  schedule = memory.Schedule(graph.operations, step.gradients, on_tpu)
  peak = schedule.peak(slices.bytes)
  flops = accounting.flops_of_model(step.model, experiment.lengths)
  executed_flops = sum(
      count * products(operation, slices.size)
      for operation, count in step_graph.operations()
  )
  seconds = {
      "compute": (
          executed_flops / chip.peak_flops(step_graph.activation_dtype.name)
      ),
      # Weights are read forward, backward and by the optimizer, which writes
      # them; all else is written once and read once.
      "memory": (
          (
              4 * weight_bytes
              + 2 * optimizer_bytes
              + 2
              * sum(slices.bytes(x) for x in step.gradients if x is not None)
              + 2 * peak.activations
          )
          / chip.memory_bandwidth
      ),
      "network": (
          sum(map(bytes_over_links, collectives)) / chip.network_bandwidth
      ),
  }
  needed = weight_bytes + optimizer_bytes + sum(peak)
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
      activation_bytes_variants=_variants(
          experiment, step, peak.activations, on_tpu, slices
      ),
      host_bytes=_host_bytes(experiment.mesh, graph.all_variables),
      switch_layers=_switch_layers(step_graph, collectives),
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
      smallest_mesh=_smallest_mesh(
          experiment, graph.all_variables, schedule, chip.memory_bytes
      ),
  )


def bytes_over_links(collective: communication.Collective) -> float:
  """The least number of bytes that a core must send for a collective.

  Args:
    collective: along a group of k cores.

  Returns:
    (k - 1) / k of the operand for an all-to-all, twice as many for an
    all-reduce, k - 1 operands for an all-gather, and the operand itself for a
    permutation.
  """
  k = collective.group_size
  factor = {
      "all_to_all": (k - 1) / k,
      "all_reduce": 2 * (k - 1) / k,
      "all_gather": k - 1,
      "permute": 1,
  }[collective.kind]
  return factor * collective.bytes


# The products of operations that are written as functions of slices, each as
# the number of multiplications from the operation and the size of a slice.
def _attention(operation, size, products_of_each):
  weights = next(
      x for x in (*operation.outputs, *operation.inputs) if _is_weights(x)
  )
  q, _, v = operation.inputs[:3]
  return (
      size(weights.shape.dims)
      * products_of_each
      * (q.shape.dims[-1].size + v.shape.dims[-1].size)
  )


def _is_weights(tensor) -> bool:
  return tensor.dtype == tf.float32 and tensor.shape.dims[-1].name.startswith(
      "memory_length"
  )


def _ragged(operation, size):
  # A row times the matrix of its expert, or the outer product of two rows.
  x, y, _ = operation.inputs
  rows = x.shape.dims[:-1]
  widths = [t.shape.dims[-1].size for t in (x, y)]
  if operation.outputs[0].shape.dims[:-1] == rows:
    widths[1] = operation.outputs[0].shape.dims[-1].size
  return size(rows) * math.prod(widths)


_SLICEWISE_PRODUCTS = {
    "attend": functools.partial(_attention, products_of_each=1),
    "attend_gradient": functools.partial(_attention, products_of_each=2),
    "ragged_matmul": _ragged,
    "ragged_matmul_inputs": _ragged,
    "ragged_matmul_weights": _ragged,
}


def products(operation: mtf.Operation, size) -> int:
  """FLOPs of the matrix products of an operation on one core.

  Args:
    operation: any operation; most have none.
    size: a function from dimensions to the entries of a slice.

  Returns:
    two for each multiplication.
  """
  if isinstance(operation, mtf.EinsumOperation):
    tensors = [*operation.inputs, *operation.outputs]
    dims = {dim for x in operation.inputs for dim in x.shape.dims}
    # Where a tensor has all dimensions, entries are multiplied one by one.
    if any(len(x.shape.dims) == len(dims) for x in tensors):
      return 0
    return 2 * size(dims)
  kind = re.sub(r"_\d+$", "", operation.name.rsplit("/", 1)[-1])
  if isinstance(operation, mtf.SlicewiseOperation):
    multiplications = _SLICEWISE_PRODUCTS.get(kind)
    if multiplications:
      return 2 * multiplications(operation, size)
  return 0


def _variants(
    experiment, step, activation_bytes: int, on_tpu: bool, slices: Slices
) -> dict[str, int]:
  """Bytes of activations if they were made again, or fewer at a time.

  Args:
    experiment: the Experiment.
    step: its TrainingStep.
    activation_bytes: of the step.
    on_tpu: whether the step is as for a TPU.
    slices: of the experiment's layout.

  Returns:
    bytes by the name of the variant.
  """
  inner_batch = experiment.sequences_per_batch // experiment.outer_batch_size
  sequences_per_part = slices.of(mtf.Dimension("batch", inner_batch))
  recomputes = layer_stack.recomputes_gradients(step.model)
  # A graph takes seconds to build; the run itself may be one of the variants.
  found = {(recomputes, step.num_microbatches): activation_bytes}
  variants = {}
  for name, recompute, num_microbatches in (
      ("recomputed", True, step.num_microbatches),
      ("microbatched", recomputes, sequences_per_part),
      ("recomputed and microbatched", True, sequences_per_part),
  ):
    options = recompute, num_microbatches
    if options not in found:
      try:
        with warnings.catch_warnings():
          # What they say of capacity is of microbatches nobody asks for.
          warnings.simplefilter("ignore")
          variant = StepGraph(experiment, on_tpu, *options)
      except errors.UserError:
        continue  # Groups that a microbatch cannot be dealt out to.
      schedule = memory.Schedule(
          variant.graph.operations, variant.step.gradients, on_tpu
      )
      found[options] = schedule.peak(slices.bytes).activations
    variants[name] = found[options]
  return variants


def _host_bytes(mesh: mtf.Shape, variables) -> int:
  """Masters of the variables; on one core they are what the core has."""
  if mesh.size == 1:
    return 0
  return sum(v.size * v.master_dtype.size for v in variables)


def _switch_layers(step_graph, collectives) -> list[SwitchLayer]:
  """The Switch layers in the order of their variables."""
  suffix = "/router/kernel"
  names = [
      v.name.removesuffix(suffix)
      for v in step_graph.graph.trainable_variables
      if v.name.endswith(suffix)
  ]
  shapes = {name: [] for name in names}
  for operation, _ in step_graph.operations():
    # What has experts lies in the layer's scope, gradients too.
    for name in names:
      if operation.name.startswith(f"{name}/"):
        shapes[name] += [x.shape for x in operation.outputs]

  def sizes(name, having):
    """The sizes of the dimensions of a tensor that has a certain one."""
    for shape in shapes[name]:
      by_name = {dim.name: dim.size for dim in shape}
      if having in by_name:
        return by_name
    raise AssertionError(f"{name} has no {having}")

  def sent(name, purpose):
    return sum(
        c.bytes
        for c in collectives
        if c.purpose == purpose and c.operation.startswith(f"{name}/")
    )

  result = []
  switches = layers_lib.switches(step_graph.step.model)
  for name, switch in zip(names, switches, strict=True):
    groups = sizes(name, "tokens_per_core")
    tokens = groups["tokens_per_core"]
    capacity = sizes(name, "expert_capacity")["expert_capacity"]
    result.append(
        SwitchLayer(
            name=name,
            num_groups=groups["batch"] * groups.get("outer_batch", 1),
            tokens_per_group=tokens,
            num_experts=switch.num_experts,
            expert_capacity=capacity,
            capacity_factor=switch.capacity_factor_train,
            capacity_factor_in_force=capacity * switch.num_experts / tokens,
            all_to_all_bytes=sent(name, "experts"),
            all_reduce_bytes=sent(name, "model_parallelism"),
        )
    )
  return result


def _smallest_mesh(
    experiment, variables, schedule: memory.Schedule, memory_bytes: int
) -> str | None:
  """The smallest mesh of the same axes on which a step fits into memory."""
  names = [axis.name for axis in experiment.mesh]
  sizes = [sorted({*_POWERS_OF_2, axis.size}) for axis in experiment.mesh]
  meshes = sorted(
      itertools.product(*sizes),
      key=lambda mesh: (math.prod(mesh), mesh[::-1]),
  )
  for mesh in meshes:
    axes = dict(zip(names, mesh))
    try:
      layouts.check(axes, experiment.rules, experiment.layout_numbers)
    except errors.UserError:
      continue
    slices = Slices(
        mtf.Shape([mtf.Dimension(*axis) for axis in axes.items()]),
        mtf.LayoutRules(layouts.rules_in_force(axes, experiment.rules)),
    )
    needed = slices.bytes_of_variables(variables)
    if needed <= memory_bytes:
      needed += sum(schedule.peak(slices.bytes))
    if needed <= memory_bytes:
      return layouts.text(axes)
  return None
