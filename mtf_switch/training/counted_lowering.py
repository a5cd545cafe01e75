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

"""The lowering of a model's graph, most of what building it takes, counted."""

from collections.abc import Callable, Mapping

import mesh_tensorflow as mtf

from mtf_switch.training import progress

# A report of each would take longer than some of them.
_TENSORS_BETWEEN_REPORTS = 100


def count(graph: mtf.Graph) -> int:
  """Returns the number of a graph's tensors, each of which is lowered.

  Variables that the lowering combines make it differ by a few.

  Args:
    graph: the graph, before it is lowered.
  """
  return sum(len(operation.outputs) for operation in graph.operations)


def lower(
    report: Callable[[int], None],
    graph: mtf.Graph,
    mesh_to_impl: Mapping[mtf.Mesh, mtf.MeshImpl],
) -> mtf.Lowering:
  """Returns what mtf.Lowering does, and reports how far it is.

  Args:
    report: takes the number of tensors that are lowered, up to `count`.
    graph: the graph.
    mesh_to_impl: the implementation of each mesh.
  """
  return _Lowering(report, graph, mesh_to_impl)


def shown_by(display: progress.Display) -> Callable[..., mtf.Lowering]:
  """Returns a function like mtf.Lowering, of which a display shows the work.

  Args:
    display: the display.
  """

  def lower_and_show(graph, mesh_to_impl):
    total = count(graph)
    with display.working("lowering the graph", total, "tensors") as report:
      return lower(report, graph, mesh_to_impl)

  return lower_and_show


class _Lowering(mtf.Lowering):
  """Counts the tensors that it lowers."""

  def __init__(self, report, graph, mesh_to_impl):
    self._report = report
    self._done = 0
    self._total = count(graph)
    super().__init__(graph, mesh_to_impl)

  def set_tensor_lowering(self, x, laid_out_tensor):
    """See base class, which calls this once for each tensor."""
    super().set_tensor_lowering(x, laid_out_tensor)
    self._done += 1
    if self._done % _TENSORS_BETWEEN_REPORTS == 0:
      self._report(min(self._done, self._total))
