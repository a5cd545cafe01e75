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

from collections.abc import Callable, Iterable, Mapping
import functools
from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from mtf_switch.training import warm_start

Make = Callable[[tf.Tensor], tf.Tensor]

_EXPERTS = "/SwitchFeedForward/experts/"
_DENSE = "/DenseReluDense/"
_ROUTER = "/router/"


class Report(NamedTuple):
  """The weights that a student takes from its teacher.

  Attributes:
    copied: the teacher's names by the student's.
    of_experts: the same for dense weights that are made of experts'.
    shape_differs: the shapes in student and teacher by the student's names, for
      weights of different shapes, which start fresh.
    fresh: the student's names of weights that start fresh where the teacher has
      experts or a router.
    not_in_teacher: the student's names of other weights that start fresh.
    not_in_student: the teacher's names of weights that are left out.
  """

  copied: dict[str, str]
  of_experts: dict[str, str]
  shape_differs: dict[str, tuple[list[int], list[int]]]
  fresh: list[str]
  not_in_teacher: list[str]
  not_in_student: list[str]

  @property
  def summary(self) -> str:
    """The counts, in one line."""
    counts = {
        "copied": self.copied,
        "made of experts": self.of_experts,
        "fresh in place of experts": self.fresh,
        "fresh for their shape": self.shape_differs,
        "fresh otherwise": self.not_in_teacher,
    }
    return ", ".join(f"{len(x)} {name}" for name, x in counts.items() if x)


class OfOneExpert(NamedTuple):
  """A sparse model's weights, as if each layer had one expert and no router.

  Attributes:
    names: its own names by those that dense layers would have.
    shapes: the shapes by the same names.
    routers: its own names of what belongs to routers.
  """

  names: dict[str, str]
  shapes: Mapping[str, warm_start.Shape]
  routers: list[str]


def with_one_expert(weights: Mapping[str, warm_start.Shape]) -> OfOneExpert:
  """Returns the weights of a model under the names of a dense one.

  Args:
    weights: the shapes by name.
  """
  names, shapes, routers = {}, {}, []
  for name, shape in weights.items():
    if _ROUTER in name:
      routers.append(name)
    elif _EXPERTS in name:
      dense_name = name.replace(_EXPERTS, _DENSE)
      names[dense_name] = name
      shapes[dense_name] = shape[1:]
    else:
      names[name] = name
      shapes[name] = shape
  return OfOneExpert(names, shapes, routers)


def match(
    student: Mapping[str, warm_start.Shape],
    teacher: Mapping[str, warm_start.Shape],
    take_experts: bool,
) -> Report:
  """Finds the weights of a student in its teacher's checkpoint.

  Layers match by their place in the stack, see warm_start.match; a dense layer
  also matches a layer of experts, with its norm. Experts and routers are not
  copied.

  Args:
    student: the shapes of its weights by name.
    teacher: the shapes of all variables of the checkpoint.
    take_experts: whether dense layers are made of experts.
  """
  is_dense = not warm_start.is_sparse(student)
  of_one_expert = OfOneExpert({name: name for name in teacher}, teacher, [])
  if is_dense:
    of_one_expert = with_one_expert(teacher)
  names, shapes, routers = of_one_expert
  found = warm_start.match(student, shapes)
  copied, of_experts, fresh = {}, {}, []
  for name, match_ in found.matched.items():
    source = names[match_]
    if _EXPERTS not in source and _ROUTER not in source:
      copied[name] = source
    elif is_dense and take_experts:
      of_experts[name] = source
    else:
      fresh.append(name)
  return Report(
      copied,
      of_experts,
      found.shape_differs,
      fresh,
      found.not_in_checkpoint,
      [
          *(names[name] for name in found.not_in_model),
          *warm_start.weights_among(routers),
      ],
  )


def mean(names: Iterable[str]) -> dict[str, Make]:
  """Returns for each weight the mean over its experts, the first dimension."""
  return dict.fromkeys(names, functools.partial(tf.reduce_mean, axis=0))


def most_used(
    sources: Mapping[str, str], loads: Mapping[str, np.ndarray]
) -> dict[str, Make]:
  """Returns for each weight the choice of the expert that has most tokens.

  Args:
    sources: the teacher's names by the student's, see Report.of_experts.
    loads: the number of tokens of each expert, `[num_experts]`, by the name of
      the layer, such as "encoder/block_000/layer_003".
  """
  makes = {}
  for name, source in sources.items():
    layer, _, _ = source.partition(_EXPERTS)
    makes[name] = functools.partial(
        tf.gather, indices=int(np.argmax(loads[layer]))
    )
  return makes
