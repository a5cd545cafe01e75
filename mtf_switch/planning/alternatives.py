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

"""Alternatives to a planned step that need less memory of a core."""

import itertools
import math
import warnings

import mesh_tensorflow as mtf

from mtf_switch import errors
from mtf_switch.mesh import layouts
from mtf_switch.planning import memory
from mtf_switch.planning import slices as slices_lib
from mtf_switch.planning import step_graph
from mtf_switch.transformer import layer_stack

# Sizes of the axes of meshes that are tried.
_POWERS_OF_2 = [2**i for i in range(13)]


def activation_bytes_variants(
    experiment,
    step,
    activation_bytes: int,
    on_tpu: bool,
    slices: slices_lib.Slices,
    teacher=None,
) -> dict[str, int]:
  """Bytes of activations with recomputation, and with microbatches.

  Args:
    experiment: the Experiment.
    step: its TrainingStep.
    activation_bytes: bytes of activations of the step itself.
    on_tpu: whether the step is built as for a TPU.
    slices: the slices of the experiment's layout.
    teacher: see StepGraph.

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
          # Notices on the capacity of microbatches that nobody asked for.
          warnings.simplefilter("ignore")
          variant = step_graph.StepGraph(experiment, on_tpu, *options, teacher)
      except errors.UserError:
        continue  # A microbatch does not fill the groups.
      schedule = memory.Schedule(
          variant.graph.operations, variant.step.gradients, on_tpu
      )
      found[options] = schedule.peak(slices.bytes).activations
    variants[name] = found[options]
  return variants


def smallest_mesh(
    experiment,
    variables,
    schedule: memory.Schedule,
    memory_bytes: int,
    teacher=None,
) -> str | None:
  """Finds the smallest mesh with the same axes that has enough memory.

  Args:
    experiment: the Experiment.
    variables: all variables of the step's graph.
    schedule: the step's schedule.
    memory_bytes: the memory of a core.
    teacher: the teacher that the step asks; None for none.

  Returns:
    a mesh such as "data:4;model:2"; None if no mesh up to 4096 cores along each
    axis has enough memory.
  """
  numbers = experiment.layout_numbers
  if teacher:
    numbers += teacher.layout_numbers
  names = [axis.name for axis in experiment.mesh]
  sizes = [sorted({*_POWERS_OF_2, axis.size}) for axis in experiment.mesh]
  meshes = sorted(
      itertools.product(*sizes),
      key=lambda mesh: (math.prod(mesh), mesh[::-1]),
  )
  for mesh in meshes:
    axes = dict(zip(names, mesh))
    try:
      layouts.check(axes, experiment.rules, numbers)
    except errors.UserError:
      continue
    slices = slices_lib.Slices(
        mtf.Shape([mtf.Dimension(*axis) for axis in axes.items()]),
        mtf.LayoutRules(layouts.rules_in_force(axes, experiment.rules)),
    )
    needed = slices.bytes_of_variables(variables)
    if needed <= memory_bytes:
      needed += sum(schedule.peak(slices.bytes))
    if needed <= memory_bytes:
      return layouts.text(axes)
  return None
