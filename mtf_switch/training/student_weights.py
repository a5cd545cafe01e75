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

"""A student's initial weights, from its teacher's checkpoint (Table 6)."""

from collections.abc import Mapping
from typing import NamedTuple

from mtf_switch.training import warm_start

_EXPERTS = "/SwitchFeedForward/experts/"
_DENSE = "/DenseReluDense/"
_ROUTER = "/router/"


class Report(NamedTuple):
  """The weights that a student takes from its teacher.

  Attributes:
    copied: the teacher's names by the student's.
    averaged: the same for dense weights that are the mean of experts'.
    shape_differs: the shapes in student and teacher by the student's names, for
      weights of different shapes, which start fresh.
    of_experts: the student's names of weights that start fresh where the
      teacher has experts or a router.
    not_in_teacher: the student's names of other weights that start fresh.
    not_in_student: the teacher's names of weights that are left out.
  """

  copied: dict[str, str]
  averaged: dict[str, str]
  shape_differs: dict[str, tuple[list[int], list[int]]]
  of_experts: list[str]
  not_in_teacher: list[str]
  not_in_student: list[str]

  @property
  def summary(self) -> str:
    """The counts, in one line."""
    counts = {
        "copied": self.copied,
        "the mean of experts": self.averaged,
        "fresh in place of experts": self.of_experts,
        "fresh for their shape": self.shape_differs,
        "fresh otherwise": self.not_in_teacher,
    }
    return ", ".join(f"{len(x)} {name}" for name, x in counts.items() if x)


def match(
    student: Mapping[str, warm_start.Shape],
    teacher: Mapping[str, warm_start.Shape],
    average: bool,
) -> Report:
  """Finds the weights of a student in its teacher's checkpoint.

  Layers match by their place in the stack, see warm_start.match; a dense layer
  also matches a layer of experts, with its norm. Experts and routers are not
  copied.

  Args:
    student: the shapes of its weights by name.
    teacher: the shapes of all variables of the checkpoint.
    average: whether dense layers become the mean of the experts.
  """
  is_dense = not warm_start.is_sparse(student)
  # The teacher's names by those of a teacher with one dense expert.
  names = {name: name for name in teacher}
  shapes = dict(teacher)
  if is_dense:
    for name in teacher:
      if _EXPERTS in name:
        dense_name = name.replace(_EXPERTS, _DENSE)
        names[dense_name] = names.pop(name)
        shapes[dense_name] = shapes.pop(name)[1:]
      elif _ROUTER in name:
        del names[name], shapes[name]
  found = warm_start.match(student, shapes)
  copied, averaged, of_experts = {}, {}, []
  for name, match_ in found.matched.items():
    source = names[match_]
    if _EXPERTS not in source and _ROUTER not in source:
      copied[name] = source
    elif is_dense and average:
      averaged[name] = source
    else:
      of_experts.append(name)
  return Report(
      copied,
      averaged,
      found.shape_differs,
      of_experts,
      found.not_in_checkpoint,
      [names[name] for name in found.not_in_model],
  )
