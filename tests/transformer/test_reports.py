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

"""Reports of layers, added up by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import math
import types

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.layer import routing as routing_lib
from mtf_switch.transformer import reports
from tests import graphs

# A group of four tokens; the last one is padding.
REAL = [[1, 1, 1, 0]]
PROBABILITIES = [[[0.75, 0.25], [0.75, 0.25], [0.5, 0.5], [0.4, 0.6]]]
# Each token's first and second expert.
EXPERTS = [[[0, 1], [0, 1], [1, 0], [1, 0]]]


def make_routing(mesh, routed, kept, experts=EXPERTS, probs=PROBABILITIES):
  """A router's decisions, without a router."""
  num_choices = np.shape(routed)[-1]
  tokens = [mtf.Dimension("num_cores", 1), mtf.Dimension("tokens", 4)]
  choices = tokens + [mtf.Dimension("choices", num_choices)]
  experts = np.array(experts, np.int32)[..., :num_choices]
  num_experts = mtf.Dimension("experts", np.shape(probs)[-1])

  def constant(x, dims):
    return graphs.constant(mesh, np.asarray(x, np.float32), dims)

  return routing_lib.Routing(
      expert_index=graphs.constant(mesh, experts, choices),
      expert_gate=None,
      position_in_expert=None,
      routed=constant(routed, choices),
      kept=constant(kept, choices),
      nonpadding=constant(REAL, tokens),
      router_probs=constant(probs, tokens + [num_experts]),
      aux_loss=None,
      z_loss=None,
  )


def sums_of(make, aux_loss=0.5, z_loss=0.25, layers=("a/layer",)):
  """The sums of layers that route alike."""
  names = []

  def build(mesh):
    model = graphs.Model()
    with reports.collecting(model) as collected:
      for layer in layers:
        reports.add_routing(
            model,
            layer,
            make(mesh),
            6,
            mtf.constant(mesh, aux_loss),
            mtf.constant(mesh, z_loss),
        )
    assert {x.dtype for x in collected.values()} == {tf.float32}
    names.extend(collected)
    return list(collected.values())

  values, _ = graphs.evaluate(build)
  return {k: v.tolist() for k, v in zip(names, values)}


def entropy(*probabilities):
  return -sum(p * math.log(p) for p in probabilities)


def approx(expected):
  """Numbers by name, and lists of them."""
  return {name: pytest.approx(value) for name, value in expected.items()}


def test_sums_are_of_real_tokens_and_of_what_was_asked_for():
  # The second token finds no slot and is still part of its expert's load.
  sums = sums_of(
      lambda mesh: make_routing(
          mesh,
          routed=[[[1], [1], [1], [0]]],
          kept=[[[1], [0], [1], [0]]],
      )
  )
  assert sums == approx(
      {
          "a/layer/tokens": 3,
          "a/layer/routed": 3,
          "a/layer/dropped": 1,
          "a/layer/entropy": 2 * entropy(0.75, 0.25) + math.log(2),
          "a/layer/gate": 0.75 + 0.75 + 0.5,
          "a/layer/expert_load": [2, 1],
          "a/layer/aux_loss": 0.5,
          "a/layer/z_loss": 0.25,
          "a/layer/slots": 6,
      }
  )


def test_second_choices_count_where_they_are_made():
  sums = sums_of(
      lambda mesh: make_routing(
          mesh,
          routed=[[[1, 1], [1, 0], [1, 1], [0, 0]]],
          kept=[[[1, 0], [1, 0], [1, 1], [0, 0]]],
      )
  )
  assert sums["a/layer/tokens"] == 3
  assert sums["a/layer/routed"] == 5
  assert sums["a/layer/dropped"] == 1
  assert sums["a/layer/gate"] == pytest.approx(0.75 + 0.25 + 0.75 + 0.5 + 0.5)
  assert sums["a/layer/expert_load"] == [3, 2]


def test_a_probability_of_zero_has_no_entropy():
  certain = [[[1.0, 0.0]] * 4]
  everyone = [[[1], [1], [1], [0]]]
  sums = sums_of(
      lambda mesh: make_routing(mesh, everyone, everyone, probs=certain)
  )
  assert sums["a/layer/entropy"] == pytest.approx(0, abs=1e-6)


def test_outputs_do_not_grow_with_the_number_of_experts():
  def outputs_of(num_experts):
    """Their shapes, and how many operations of the graph they take."""
    shapes, operations = {}, []

    def build(mesh):
      everyone = [[[1], [1], [1], [0]]]
      probs = np.full([1, 4, num_experts], 1 / num_experts)
      routing = make_routing(mesh, everyone, everyone, probs=probs)
      loss = mtf.constant(mesh, 1.0)
      model = graphs.Model()
      before = len(mesh.graph.operations)
      with reports.collecting(model) as collected:
        reports.add_routing(model, "a/layer", routing, 6, loss, loss)
      operations.append(len(mesh.graph.operations) - before)
      shapes.update({k: v.shape.to_integer_list for k, v in collected.items()})
      return list(collected.values())

    graphs.evaluate(build)
    return shapes, operations

  few, operations = outputs_of(2)
  many, same_operations = outputs_of(64)
  assert operations == same_operations
  assert few.pop("a/layer/expert_load") == [2]
  assert many.pop("a/layer/expert_load") == [64]
  assert few == many
  assert not any(many.values())  # Scalars.


def test_layers_are_told_apart_and_calls_of_one_layer_add_up():
  everyone = [[[1], [1], [1], [0]]]
  sums = sums_of(
      lambda mesh: make_routing(mesh, everyone, everyone),
      layers=("first", "second", "first"),
  )
  assert sums["first/tokens"] == 6
  assert sums["first/expert_load"] == [4, 2]
  assert sums["first/aux_loss"] == 1.0
  assert sums["first/slots"] == 12
  assert sums["second/tokens"] == 3


def test_nothing_is_computed_without_a_collector():
  def build(mesh):
    everyone = [[[1], [1], [1], [0]]]
    routing = make_routing(mesh, everyone, everyone)
    loss = mtf.constant(mesh, 1.0)
    before = len(mesh.graph.operations)
    reports.add(graphs.Model(), "a_name", loss)
    reports.add_routing(graphs.Model(), "a/layer", routing, 6, loss, loss)
    assert len(mesh.graph.operations) == before
    return [loss]

  graphs.evaluate(build)


def test_reports_send_no_gradient_to_the_router():
  def build(mesh):
    everyone = [[[1], [1], [1], [0]]]
    routing = make_routing(mesh, everyone, everyone)
    loss = mtf.constant(mesh, 1.0)
    model = graphs.Model()
    with reports.collecting(model) as collected:
      reports.add_routing(model, "a/layer", routing, 6, loss, loss)
    total = collected["a/layer/entropy"] + collected["a/layer/gate"]
    (gradient,) = mtf.gradients([total], [routing.router_probs])
    assert gradient is None
    return [total]

  graphs.evaluate(build)


def test_a_collection_apart_keeps_from_the_one_around_it():
  def build(mesh):
    model, one = graphs.Model(), mtf.constant(mesh, 1.0)
    with reports.collecting(model) as outer:
      reports.add(model, "x", one)
      with reports.collecting_apart(model) as inner:
        reports.add(model, "x", one + 1.0)
      reports.add(model, "x", one + 3.0)
    return [outer["x"], inner["x"]]

  (outer, inner), _ = graphs.evaluate(build)
  assert (outer, inner) == (5, 2)


def test_a_collection_apart_opens_none():
  model = graphs.Model()
  with reports.collecting_apart(model) as collected:
    reports.add(model, "x", 1.0)
  assert not collected


def test_a_collection_that_fails_is_closed():
  model = graphs.Model()
  with pytest.raises(KeyError), reports.collecting(model):
    raise KeyError
  assert not reports.are_collected(model)


def test_reports_of_two_models_do_not_mix():
  """As those of a student and of its teacher."""
  encoder, decoder = graphs.Model(), graphs.Model()
  student = types.SimpleNamespace(encoder=encoder, decoder=decoder)
  teacher, third = graphs.Model(), graphs.Model()
  with (
      reports.collecting(student) as of_student,
      reports.collecting(teacher) as of_teacher,
  ):
    reports.add(encoder, "x", 1.0)
    reports.add(teacher, "x", 10.0)
    reports.add(decoder, "x", 2.0)
    reports.add(third, "x", 100.0)
  assert of_student == {"x": 3.0}
  assert of_teacher == {"x": 10.0}
