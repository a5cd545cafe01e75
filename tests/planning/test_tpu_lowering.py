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


"""The messages between the cores of a pod, read from lowered graphs."""

import collections
import math

import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import utils
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.tpu import tpu_function

from mtf_switch.mesh import placement_mesh
from mtf_switch.mesh import simd_mesh
from mtf_switch.training import experiment as experiment_lib
from mtf_switch.training import strict_gin
from mtf_switch.transformer import feed_forward
from tests import gin_files
from tests import graphs
from tests import lowered
from tests import toy_tasks  # noqa: F401

EXPERT_DATA = "batch:data,experts:data"
EXPERT_MODEL_DATA = "batch:data,experts:data,d_ff:model,heads:model,vocab:model"
D_MODEL, D_FF, LENGTH = 12, 20, 64


def switch_layer(
    mesh_shape,
    layout,
    dtype=tf.bfloat16,
    with_gradients=True,
    expert_dropout_rate=0.0,
    experts_per_core=1,
    **options,
):
  """Lowers a Switch layer in training: a sequence and a group for each core.

  Returns:
    the tf.Graph.
  """
  shape = mtf.convert_to_shape(mesh_shape)
  n = dict(zip(shape.dimension_names, shape.to_integer_list)).get("data", 1)

  def build(mesh):
    batch, length, d_model = (
        mtf.Dimension("batch", n),
        mtf.Dimension("length", LENGTH),
        mtf.Dimension("d_model", D_MODEL),
    )
    x = mtf.import_fully_replicated(
        mesh,
        tf.zeros([n, LENGTH, D_MODEL], dtype),
        mtf.Shape([batch, length, d_model]),
    )
    context = transformer.Context(
        graphs.Model(shape, mtf.convert_to_layout_rules(layout)),
        mesh,
        [batch],
        length,
        mtf.VariableDType(tf.float32, tf.float32, dtype),
        mode=tf.estimator.ModeKeys.TRAIN,
        losses=[],
    )
    layer = feed_forward.SwitchFeedForward(
        num_experts=n * experts_per_core,
        num_cores=n,
        hidden_size=D_FF,
        capacity_factor_train=1.0,
        min_expert_capacity=1,
        expert_dropout_rate=expert_dropout_rate,
        **options,
    )
    y = layer.call(context, x)
    loss = mtf.reduce_sum(mtf.cast(y, tf.float32))
    loss += mtf.cast(context.losses[0], tf.float32)
    if not with_gradients:
      return [loss]
    weights = [v.outputs[0] for v in mesh.graph.trainable_variables]
    return [loss, *mtf.gradients([loss], [x, *weights])]

  return lowered.graph(build, mesh_shape, layout)


def groups_of_axes(mesh_shape):
  """The cores that differ along an axis only, by its name, as sets."""
  shape = mtf.convert_to_shape(mesh_shape)
  _, mesh_impl = lowered.place(mesh_shape, "")
  cores = np.reshape(
      [mesh_impl.l2p(i) for i in range(shape.size)], shape.to_integer_list
  )
  return {
      name: sets(np.moveaxis(cores, i, -1).reshape(-1, cores.shape[i]))
      for i, name in enumerate(shape.dimension_names)
  }


def sets(groups):
  return {frozenset(map(int, group)) for group in groups}


def of_kind(collectives, kind):
  return [c for c in collectives if c.kind == kind]


def shapes(collectives):
  """Returns the number of messages of each shape, without scalars."""
  return collections.Counter(c.shape for c in collectives if c.shape)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize(
    "mesh_shape, layout, n, m",
    [
        ("data:4", EXPERT_DATA, 4, 1),
        ("data:16", EXPERT_DATA, 16, 1),
        ("data:4;model:2", EXPERT_MODEL_DATA, 4, 2),
        ("data:8;model:4", EXPERT_MODEL_DATA, 8, 4),
    ],
)
def test_a_switch_layer_sends_tokens_to_experts_and_back(
    mesh_shape, layout, n, m, dtype
):
  """Section 5.4: twice num_experts x capacity x d_model, and again back."""
  capacity = LENGTH // n
  groups = groups_of_axes(mesh_shape)
  for with_gradients in (False, True):
    tf_graph = switch_layer(mesh_shape, layout, dtype, with_gradients)
    collectives = lowered.collectives(tf_graph)
    all_to_alls = of_kind(collectives, "AllToAll")
    assert len(all_to_alls) == (4 if with_gradients else 2)
    for c in all_to_alls:
      assert math.prod(c.shape) == n * capacity * D_MODEL
      assert c.dtype == dtype
      assert sets(c.groups) == groups["data"]

    # The rest: scalars of the losses, and sums that every layer needs.
    all_reduces = of_kind(collectives, "CrossReplicaSum")
    assert len(all_to_alls) + len(all_reduces) == len(collectives)
    expected = collections.Counter()
    if m > 1:  # Sections 5.2 and 5.3: d_ff is summed over, forth and back.
      expected[1, n, capacity, D_MODEL] = 2 if with_gradients else 1
    if with_gradients:  # The router's weights are the same everywhere.
      expected[D_MODEL, n] = 1
    assert shapes(all_reduces) == expected
    for c in all_reduces:
      of_slots = len(c.shape) == 4
      assert sets(c.groups) == groups["model" if of_slots else "data"]
      assert c.dtype == (dtype if of_slots else tf.float32)
    assert not [
        op.name for op in lowered.operations(tf_graph) if "Concat" in op.type
    ]


def test_bfloat16_is_made_before_the_all_to_all():
  tf_graph = switch_layer("data:4", EXPERT_DATA)
  for op in lowered.operations(tf_graph):
    if op.type == "AllToAll":
      neighbours = [op.inputs[0].op, *op.outputs[0].consumers()]
      assert "Cast" not in {neighbour.type for neighbour in neighbours}


def test_several_experts_of_a_core_travel_together():
  tf_graph = switch_layer("data:4", EXPERT_DATA, experts_per_core=2)
  all_to_alls = of_kind(lowered.collectives(tf_graph), "AllToAll")
  assert len(all_to_alls) == 4
  # 8 experts, each with 64 / 8 slots for the group of a core.
  assert {math.prod(c.shape) for c in all_to_alls} == {8 * 8 * D_MODEL}


def test_data_parallelism_sends_nothing_but_gradients():
  tf_graph = switch_layer("data:4", "batch:data")
  collectives = lowered.collectives(tf_graph)
  assert shapes(collectives) == {
      (D_MODEL, 4): 1,
      (4, D_MODEL, D_FF): 1,
      (4, D_FF, D_MODEL): 1,
  }


def test_draws_send_no_more_than_the_numbers_of_choices():
  """B27: jitter sends nothing; experts are told whose row is in a slot."""

  def sent(**options):
    return lowered.collectives(
        switch_layer("data:4;model:2", EXPERT_MODEL_DATA, **options)
    )

  quiet = sent(router_jitter=0.0, expert_dropout_rate=0.0)
  noisy = sent(router_jitter=0.1, expert_dropout_rate=0.1)
  numbers = [c for c in noisy if c.dtype == tf.int32]
  assert [(c.kind, math.prod(c.shape)) for c in numbers] == [
      ("AllToAll", 4 * LENGTH // 4)
  ]
  noisy.remove(*numbers)
  assert [c._replace(name="") for c in noisy] == [
      c._replace(name="") for c in quiet
  ]


def test_a_layer_on_2048_cores():
  tf_graph = switch_layer("data:2048", EXPERT_DATA)
  collectives = lowered.collectives(tf_graph)
  all_to_alls = of_kind(collectives, "AllToAll")
  assert len(all_to_alls) == 4
  assert {math.prod(c.shape) for c in all_to_alls} == {2048 * D_MODEL}
  assert {len(c.groups[0]) for c in collectives} == {2048}
  # A number for each core, once, tells it which one it is.
  few = switch_layer("data:8", EXPERT_DATA)
  more = len(list(lowered.operations(tf_graph))) - len(
      list(lowered.operations(few))
  )
  assert 2048 - 8 <= more < 2048 + 8


@pytest.mark.parametrize("reduction, expected", [("MAX", 6.0), ("MIN", -5.0)])
@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_maxima_over_cores(size, reduction, expected):
  """As on TPU cores, on CPU devices; an infinite entry stays one."""
  columns = np.arange(size)
  values = np.stack([(columns * 7) % 8 - 5.0, np.full(size, -np.inf)])
  values[0, -1] = 6.0
  values[0, 0] = -5.0
  mesh_impl = placement_mesh.PlacementMeshImpl(
      f"data:{size}", "", [f"cpu:{i}" for i in columns]
  )
  config = tf.ConfigProto(device_count={"CPU": size})
  with tf.Graph().as_default(), tf.Session(config=config) as session:
    slices = [tf.constant(values[:, i]) for i in columns]
    reduced = simd_mesh.reduce_by_shifts(
        mesh_impl, mesh_impl.LaidOutTensor(slices), [0], reduction
    )
    for x in session.run(reduced.tensor_list):
      np.testing.assert_array_equal(x, [expected, -np.inf])


def test_a_maximum_over_cores_costs_log_n_slices():
  x = mtf.Dimension("vocab", 32)

  def build(mesh):
    return [mtf.reduce_max(mtf.mtf_range(mesh, x, tf.int32), output_shape=[])]

  collectives = lowered.collectives(
      lowered.graph(build, "data:8", "vocab:data")
  )
  assert {c.kind for c in collectives} == {"CollectivePermute"}
  assert [(c.shape, c.dtype) for c in collectives] == [((), tf.int32)] * 3


def experiment(n, m, *params, files=("models/switch_base.gin",)):
  """A model with n experts, a sequence and a group for each, on n x m cores."""
  gin_files.clear()
  strict_gin.parse(
      [
          *files,
          "layouts/expert_model_data.gin",
          "schedules/constant_0_001.gin",
          "runs/pretrain.gin",
      ],
      [
          "train_steps = 10",
          f"batch_size = {n}",
          f"num_experts = {n}",
          f"num_cores = {n}",
          f"data_parallelism = {n}",
          f"model_parallelism = {m}",
          *params,
      ],
      [],
  )
  return experiment_lib.Experiment()


def gradients_over_data(tf_graph):
  """Returns the number of variables of each shape along the data axis."""
  expected = collections.Counter()
  for v in tf_graph.get_collection("TPU_VAR"):
    name, shape = v.op.name, tuple(v.shape.as_list())
    if not v.trainable or not name.endswith("_slice_0") or "/experts/" in name:
      continue
    if "relative_attention_bias" in name:
      continue  # Summed over the data before it gets there, see below.
    if name.startswith("stacked/"):  # Small variables in one.
      expected[shape[1:]] += shape[0]
    else:
      expected[shape] += 1
  return expected


@pytest.mark.parametrize("n, m, with_all_slices", [(2, 4, True), (8, 4, False)])
def test_what_a_training_step_of_switch_base_sends(n, m, with_all_slices):
  """One block of encoder and decoder, of full width."""
  switch_base = experiment(
      n,
      m,
      "task = 'toy_copy'",
      "sequence_length = {'inputs': 48, 'targets': 40}",
      "num_blocks = 1",
  )
  tf_graph = lowered.training_step(switch_base, with_all_slices)
  collectives = lowered.collectives(tf_graph)
  # Inputs are 48 tokens of a group, targets 40, and the factor is 1.25.
  capacities = [int(length * 1.25 / n) for length in (48, 40)]
  # Two Switch layers, there and back, forward and backward; by default in
  # bfloat16 on a TPU.
  assert collections.Counter(
      (math.prod(c.shape), c.dtype) for c in of_kind(collectives, "AllToAll")
  ) == {(n * capacity * 768, tf.bfloat16): 4 for capacity in capacities}

  all_reduces = collections.defaultdict(list)
  for c in of_kind(collectives, "CrossReplicaSum"):
    all_reduces[len(c.groups[0])].append(c)
  assert set(all_reduces) == {n, m, n * m}
  # Over all cores, the optimizer's scalars.
  assert not shapes(all_reduces[n * m])

  # Sections 5.2 and 5.3: activations forward and backward, of each attention,
  # dense layer and experts, of the embedding, and of logits and memory.
  activations = [c for c in all_reduces[m] if len(c.shape) > 2]
  assert shapes(activations) == {
      (1, 48, 768): 2 * (3 + 1),
      (1, 40, 768): 2 * (5 + 1),
      **{(1, n, capacity, 768): 2 for capacity in capacities},
  }
  assert {c.dtype for c in activations} == {tf.bfloat16}
  others = set(shapes(all_reduces[m])) - set(shapes(activations))
  # The softmax over the vocabulary; what Adafactor keeps of a matrix.
  assert others == {(1, 40), (768,), (1, 768)}

  # A gradient for each variable, float32 where it adds many or the router's.
  assert shapes(all_reduces[n]) == gradients_over_data(
      tf_graph
  ) + collections.Counter(
      {
          (n,): 2,  # The load of the experts, for the figures.
          (
              48,
              48,
              3,
          ): 2,  # Upstream's gradient of a bias for each two positions.
          (40, 40, 3): 2,
      }
  )


def step_of_lm(n, m, *params):
  """A training step of a decoder with one Switch layer, shrunk."""
  return lowered.training_step(
      experiment(
          n,
          m,
          "task = 'toy_lm'",
          "sequence_length = {'targets': 40}",
          *gin_files.SHRUNK[:4],
          *params,
          files=["models/switch_lm_tiny.gin"],
      )
  )


def test_a_graph_grows_by_what_tells_cores_apart():
  """And by what copies variables, which upstream makes for each core."""
  small, large = step_of_lm(4, 2), step_of_lm(16, 2)
  assert [c.kind for c in lowered.collectives(small)] == [
      c.kind for c in lowered.collectives(large)
  ]
  sizes = [len(list(lowered.operations(g))) for g in (small, large)]
  # TensorFlow makes some dozens where a shape is 1.
  assert sizes[1] - sizes[0] < 100


@pytest.mark.parametrize(
    "params, count",
    [
        ([], 4),
        # The layer's two are sent again before they are sent back.
        (["transformer.LayerStack.recompute_grads = True"], 6),
        # Once in the body of a loop.
        (
            [
                "batch_size = 4",
                "num_cores = 2",
                "serialize_num_microbatches.tokens_per_microbatch_per_replica"
                " = 40",
            ],
            4,
        ),
    ],
)
def test_recomputation_sends_again_and_microbatches_send_in_a_loop(
    params, count
):
  tf_graph = step_of_lm(2, 2, *params)
  all_to_alls = of_kind(lowered.collectives(tf_graph), "AllToAll")
  assert len(all_to_alls) == count
  in_loop = len(all_to_alls) - sum(
      op.type == "AllToAll" for op in tf_graph.get_operations()
  )
  assert in_loop == (count if len(params) == 3 else 0)


@pytest.mark.parametrize(
    "choice, on_tpu, elsewhere",
    [
        ([], "bfloat16", "float32"),
        (["activation_dtype = 'float32'"], "float32", "float32"),
        (["activation_dtype = 'bfloat16'"], "bfloat16", "bfloat16"),
    ],
)
def test_activations_are_bfloat16_on_a_tpu_unless_chosen(
    choice, on_tpu, elsewhere
):
  lm = ["task = 'toy_lm'", "sequence_length = 8", "model_type = 'lm'"]
  experiment(2, 2, *lm, *choice)
  dtypes = utils.get_variable_dtype()
  assert dtypes.activation_dtype == elsewhere
  with tpu_function.tpu_shard_context(4):
    dtypes = utils.get_variable_dtype()
  assert dtypes.activation_dtype == on_tpu
  assert dtypes.master_dtype == dtypes.slice_dtype == "float32"
