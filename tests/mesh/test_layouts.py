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

"""Which layouts are refused, in which words, and that nothing else is."""

import mtf_switch  # isort: skip  # noqa: F401
import itertools

import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch.mesh import layouts
from tests import gin_files
from tests import toy_tasks  # noqa: F401
from tests.mesh import test_expert_replication
from tests.training import test_experiment


def numbers(batch_size=12, outer_batch_size=1, num_cores=12, **others):
  sizes = {
      "experts": ("num_experts", 6),
      "heads": ("num_heads", 12),
      "d_ff": ("d_ff", 2048),
      "d_model": ("d_model", 768),
  }
  return [
      *layouts.numbers_of_batch(batch_size, outer_batch_size, [512, 114]),
      layouts.Number("num_cores", num_cores, "batch", outer_batch_size),
      *(
          layouts.Number(name, others.get(name, size), dimension)
          for dimension, (name, size) in sizes.items()
      ),
      layouts.Number("the vocabulary's rows", 32128, "vocab", can_change=False),
  ]


def check(mesh_shape, layout_rules, **kwargs):
  mesh = mtf.convert_to_shape(mesh_shape)
  layouts.check(
      {axis.name: axis.size for axis in mesh.dims},
      [tuple(rule.split(":")) for rule in layout_rules.split(",") if rule],
      numbers(**kwargs),
  )


EXPERT_DATA = "batch:data,experts:data"
MODEL = "d_ff:model,heads:model,vocab:model"
T5 = f"batch:batch,{MODEL},experts:batch"


@pytest.mark.parametrize(
    "mesh_shape, layout_rules",
    [
        ("", ""),
        ("data:12", "batch:data"),
        ("model:4", MODEL),
        ("data:3;model:2", f"batch:data,{MODEL}"),
        # Several experts on each core.
        ("data:3", EXPERT_DATA),
        ("data:6;model:4", f"{EXPERT_DATA},{MODEL}"),
        ("data:2;model:2;width:8", f"{EXPERT_DATA},{MODEL},d_model:width"),
        # One core splits nothing, whatever meets there.
        ("all:1", "batch:all,heads:all"),
        ("length:2", "length:length"),
        # T5's default layout is for any mesh.
        ("", T5),
        ("batch:1", T5),
        ("all:1", f"ensemble:ensemble,{T5}"),
        ("model:1,batch:1", f"ensemble:ensemble,{T5}"),
        ("model:2;batch:3", f"ensemble:ensemble,{T5}"),
        ("model:2;length:2", f"ensemble:ensemble,{T5},length:length"),
    ],
)
def test_these_work(mesh_shape, layout_rules):
  check(mesh_shape, layout_rules)


def test_replicas_work():
  check(
      "replica:2;data:3",
      f"outer_batch:replica,{EXPERT_DATA}",
      outer_batch_size=2,
  )


@pytest.mark.parametrize(
    "mesh_shape, layout_rules, sizes, message",
    [
        (
            "data:4",
            EXPERT_DATA,
            {},
            "num_experts = 6 cannot be split over the mesh axis data = 4 "
            "(layout rule experts:data); use data = 3 or 6, or num_experts = "
            "4 or 8.",
        ),
        (
            # Not 6, which divides the experts, but not the batch.
            "data:4",
            EXPERT_DATA,
            dict(batch_size=9),
            "batch_size = 9 cannot be split over the mesh axis data = 4 "
            "(layout rule batch:data); use data = 3, or batch_size = 8 or 12.",
        ),
        (
            "data:4",
            "batch:data",
            dict(num_cores=2),
            "num_cores = 2 cannot be split over the mesh axis data = 4 (layout "
            "rule batch:data); use data = 2, or num_cores = 4.",
        ),
        (
            "model:8",
            MODEL,
            {},
            "num_heads = 12 cannot be split over the mesh axis model = 8 "
            "(layout rule heads:model); use model = 4, or num_heads = 8 or 16.",
        ),
        (
            "model:4",
            MODEL,
            dict(d_ff=2050),
            "d_ff = 2050 cannot be split over the mesh axis model = 4 (layout "
            "rule d_ff:model); use model = 2, or d_ff = 2048 or 2052.",
        ),
        (
            "width:5",
            "d_model:width",
            {},
            "d_model = 768 cannot be split over the mesh axis width = 5 "
            "(layout rule d_model:width); use width = 4 or 6, or d_model = 765 "
            "or 770.",
        ),
        (
            "model:1000",
            "vocab:model",
            {},
            "the vocabulary's rows = 32128 cannot be split over the mesh axis "
            "model = 1000 (layout rule vocab:model); use model = 502 or 1004.",
        ),
        (
            "all:4",
            "batch:all,heads:all",
            {},
            "the layout rules batch:all and heads:all split two dimensions of "
            "queries over one mesh axis; use heads:heads on mesh_shape = "
            "'all:2;heads:2', or leave one of them out.",
        ),
        (
            "all:3",
            "batch:all,d_ff:all",
            {},
            "the layout rules batch:all and d_ff:all split two dimensions of "
            "the inner activations of feed-forward layers over one mesh axis; "
            "leave one of them out.",
        ),
        (
            # Not d_ff:model: 2050 is not divisible by 4.
            "data:3;model:4",
            "experts:data,d_ff:data",
            dict(d_ff=2050, num_experts=12),
            "the layout rules d_ff:data and experts:data split two dimensions "
            "of the experts' variables over one mesh axis; use experts:model, "
            "or leave one of them out.",
        ),
        (
            "data:3;model:2",
            "batch:data,batch:model",
            {},
            "the layout rules batch:data and batch:model split one dimension "
            "over two mesh axes; leave one of them out.",
        ),
        (
            "data:3",
            "batch:data,expert:data",
            {},
            "the layout rule expert:data names a dimension that models do not "
            "have; did you mean experts?",
        ),
        (
            "data:3",
            "batch:data,width:data",
            {},
            "the layout rule width:data names a dimension that models "
            "do not have; use batch, d_ff, d_kv, d_model, experts, heads, "
            "length, memory_length, outer_batch or vocab.",
        ),
        (
            "data:3;model:2",
            "batch:dat",
            {},
            "the layout rule batch:dat names an axis that mesh_shape = "
            "'data:3;model:2' does not have; did you mean data?",
        ),
        (
            "",
            "batch:data",
            {},
            "the layout rule batch:data names an axis that mesh_shape = '' "
            "does not have; leave it out.",
        ),
        (
            "replica:2;data:3",
            f"outer_batch:replica,{EXPERT_DATA}",
            {},
            "outer_batch_size = 1 cannot be split over the mesh axis replica = "
            "2 (layout rule outer_batch:replica); use replica = 1, or "
            "outer_batch_size = 2.",
        ),
        (
            # Not 6, which 4 copies cannot share.
            "replica:4;data:3",
            f"outer_batch:replica,{EXPERT_DATA}",
            dict(outer_batch_size=8, batch_size=24),
            "num_cores = 12 cannot be dealt out to outer_batch_size = 8 outer "
            "batches; use outer_batch_size = 4 or 12, or num_cores = 24.",
        ),
        (
            "replica:2;data:3",
            f"outer_batch:replica,{EXPERT_DATA}",
            dict(outer_batch_size=2, batch_size=8),
            "batch_size = 8 / 2 outer batches cannot be split over the mesh "
            "axis data = 3 (layout rule batch:data); use data = 2, or "
            "batch_size = 6 or 12.",
        ),
    ],
)
def test_what_cannot_work_is_refused(mesh_shape, layout_rules, sizes, message):
  with pytest.raises(errors.UserError) as error:
    check(mesh_shape, layout_rules, **sizes)
  assert str(error.value) == message


def test_an_axis_that_nobody_uses_is_worth_a_note():
  with pytest.warns(errors.UserNotice) as notes:
    layouts.warn_of_idle_axes(
        {"data": 2, "model": 4, "one": 1}, [("batch", "data")]
    )
  assert [str(note.message) for note in notes] == [
      "no layout rule uses the mesh axis model = 4: its cores all do the same "
      "work."
  ]


def pairs(names):
  return set(itertools.combinations(sorted(names), 2))


def test_the_pairs_are_those_that_meet_in_tensors():
  """Of all models' training graphs, gradients included."""
  found = set()
  for model, bindings in (
      ("models/switch_base_attention.gin", []),
      # The variables of attention with dimensions of their own.
      (
          "models/switch_tiny.gin",
          ["TruncatedNormalSelfAttention.combine_dims = False"],
      ),
  ):
    gin_files.parse([model], [*gin_files.SHRUNK, "num_cores = 4", *bindings])
    with tf.Graph().as_default():
      graph = mtf.Graph()
      # Where no rule splits the experts they stay beside the batch.
      test_expert_replication.sums_and_gradients(
          mtf.Mesh(graph, "mesh"), 2, "data:2", EXPERT_DATA
      )
    for operation in graph.operations:
      for tensor in operation.outputs:
        names = {dim.name for dim in tensor.shape.dims}
        found |= pairs(names & set(layouts.DIMENSIONS))
  # pylint: disable-next=protected-access
  tensors = layouts._TENSORS.values()
  table = set().union(*map(pairs, tensors))
  assert (found - table, table - found) == (set(), set())


@pytest.mark.parametrize(
    "layout, sizes, bindings, message",
    [
        ("expert_data", "2", [], None),
        ("expert_data", "1", [], None),
        ("expert_model_data", "2", [], None),
        ("expert_data_replicated", "2", [], None),
        ("expert_data", "4", ["num_experts = 6"], "num_experts = 6 "),
        ("model", "4", [], "num_heads = 2 "),
        ("model", "64", ["num_heads = 64"], "d_ff = 32 "),
        ("data", "4", ["num_cores = 2"], "num_cores = 2 "),
        ("expert_data_replicated", "2", ["num_cores = 2"], "num_cores = 2 / 2"),
        ("data", "8", ["num_cores = 8"], "batch_size = 4 "),
    ],
)
def test_the_model_is_read(layout, sizes, bindings, message):
  file = f"layouts/{layout}.gin"
  required = gin_files.names_in_header(gin_files.header(file)["Requires"])
  gin_files.parse(
      ["models/switch_tiny.gin", file],
      [
          *gin_files.SHRUNK,
          "num_cores = 4",
          *bindings,
          *(f"{name} = {sizes}" for name in required),
      ],
  )
  record = test_experiment.experiment(
      mesh_shape=gin_files.macro("mesh_shape"),
      layout_rules=gin_files.macro("layout_rules"),
  )
  with tf.Graph().as_default() as graph:
    if message:
      with pytest.raises(errors.UserError, match=message):
        record.check_layout()
    else:
      record.check_layout()
    assert not graph.get_operations()


def test_rules_of_axes_with_one_core_are_not_upstreams_business():
  record = test_experiment.experiment(
      mesh_shape="data:1;model:2", layout_rules=f"{EXPERT_DATA},heads:model"
  )
  layout = record.layout.tensor_layout(
      mtf.Shape([mtf.Dimension(x, 2) for x in ("batch", "experts", "heads")]),
      record.mesh,
  )
  assert layout.tensor_axis_to_mesh_axis == (None, None, 1)
