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

"""Initial weights from a checkpoint: how they match, and that they are set."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import errors
import mtf_switch.modes  # noqa: F401  Its names are in gin/runs.
from mtf_switch.training import model_functions
from mtf_switch.training import run as run_lib
from mtf_switch.training import strict_gin
from mtf_switch.training import warm_start
from tests import gin_files
from tests import toy_tasks  # noqa: F401

# T5-Small's sizes.
SIZES = ["d_model = 512", "d_ff = 2048", "d_kv = 64", "num_heads = 8"]


def t5_small():
  """Returns the names and shapes of T5's first public small checkpoint."""
  attention = {x: (512, 512) for x in ("q", "k", "v", "o")}
  first = {"relative_attention_bias": (8, 32)}
  feed_forward = {"wi/kernel": (512, 2048), "wo/kernel": (2048, 512)}
  kinds = {
      "encoder": ["SelfAttention", "DenseReluDense"],
      "decoder": ["SelfAttention", "EncDecAttention", "DenseReluDense"],
  }
  shapes = {"global_step": (), "shared/embedding": (32128, 512)}
  for stack, layers in kinds.items():
    for block in range(6):
      for number, kind in enumerate(layers):
        prefix = f"{stack}/block_{block:03d}/layer_{number:03d}"
        shapes[f"{prefix}/layer_norm/scale"] = (512,)
        of_layer = feed_forward if kind == "DenseReluDense" else attention
        if block == 0 and kind != "DenseReluDense":
          of_layer = {**of_layer, **first}
        for name, shape in of_layer.items():
          shapes[f"{prefix}/{kind}/{name}"] = shape
    shapes[f"{stack}/final_layer_norm/scale"] = (512,)
  for name in list(shapes)[1:]:
    shapes[f"{name}_slot_vr"] = shapes[f"{name}_slot_vc"] = (1,)
  return shapes


def shapes_of(file, *params):
  gin_files.parse([file], params)
  return gin_files.variable_shapes(32128, 4, 16, 8)


def test_switch_model_from_dense_checkpoint():
  """Worked by hand: 6 layers in each stack, in 3 blocks of two."""
  model = shapes_of(
      "models/switch_tiny.gin", *SIZES, "num_blocks = 3", "num_cores = 1"
  )
  report = warm_start.match(model, t5_small())
  assert {
      name: report.matched[name]
      for name in (
          "encoder/block_001/layer_000/SelfAttention/q",
          "encoder/block_002/layer_002/SelfAttention/o",
          "encoder/block_001/layer_001/DenseReluDense/wi/kernel",
          "encoder/block_002/layer_002/rms_norm/scale",
          "encoder/rms_norm/scale",
          # Layer 10 of the decoder's 18 is the second of the fourth triple.
          "decoder/block_001/layer_004/EncDecAttention/k",
          "decoder/block_002/layer_002/DenseReluDense/wo/kernel",
          "decoder/block_000/layer_000/SelfAttention/relative_attention_bias",
      )
  } == {
      "encoder/block_001/layer_000/SelfAttention/q": (
          "encoder/block_002/layer_000/SelfAttention/q"
      ),
      "encoder/block_002/layer_002/SelfAttention/o": (
          "encoder/block_005/layer_000/SelfAttention/o"
      ),
      "encoder/block_001/layer_001/DenseReluDense/wi/kernel": (
          "encoder/block_002/layer_001/DenseReluDense/wi/kernel"
      ),
      "encoder/block_002/layer_002/rms_norm/scale": (
          "encoder/block_005/layer_000/layer_norm/scale"
      ),
      "encoder/rms_norm/scale": "encoder/final_layer_norm/scale",
      "decoder/block_001/layer_004/EncDecAttention/k": (
          "decoder/block_003/layer_001/EncDecAttention/k"
      ),
      "decoder/block_002/layer_002/DenseReluDense/wo/kernel": (
          "decoder/block_004/layer_002/DenseReluDense/wo/kernel"
      ),
      "decoder/block_000/layer_000/SelfAttention/relative_attention_bias": (
          "decoder/block_000/layer_000/SelfAttention/relative_attention_bias"
      ),
  }
  # The embedding; 18 attention layers of 5 weights and two biases; 6 dense
  # layers of 3; two final norms.
  assert len(report.matched) == 1 + 18 * 5 + 2 + 6 * 3 + 2
  assert not report.shape_differs
  # 6 Switch layers: norm, router and the experts' two matrices.
  assert len(report.not_in_checkpoint) == 6 * 4
  assert all(
      "layer_003/" in name or "layer_005/" in name
      for name in report.not_in_checkpoint
  )
  # The dense layers in their places; Switch models do not use the bias.
  assert len(report.not_in_model) == 6 * 3 + 1
  assert (
      "decoder/block_000/layer_001/EncDecAttention/relative_attention_bias"
      in report.not_in_model
  )
  assert not any("slot" in name for name in report.not_in_model)


def test_the_same_layers_match_name_by_name():
  model = shapes_of("models/switch_tiny.gin", "num_cores = 1")
  checkpoint = {**model, **{f"{x}_slot_v": model[x] for x in model}}
  report = warm_start.match(model, checkpoint)
  assert report.matched == {name: name for name in model}
  assert not any(report[1:])


def test_other_shapes_are_reported_with_both():
  report = warm_start.match(
      {"a/block_000/layer_000/DenseReluDense/wi/kernel": (4, 8), "b": (2,)},
      {"a/block_000/layer_000/DenseReluDense/wi/kernel": (4, 16), "b": (2,)},
  )
  assert report == warm_start.Report(
      matched={"b": "b"},
      shape_differs={
          "a/block_000/layer_000/DenseReluDense/wi/kernel": ([4, 8], [4, 16])
      },
      not_in_checkpoint=[],
      not_in_model=[],
  )
  assert report.summary == (
      "1 of 2 variables taken, 1 of another shape, 0 not in the checkpoint, 0 "
      "only there"
  )
  warm_start.check(report, "there")


@pytest.mark.parametrize(
    "checkpoint, message",
    [
        (
            {"shared/embedding": (512, 16), "c": (2,)},
            "shared/embedding is 512 x 16 in there and 384 x 16 in this model; "
            "fine-tuning needs the vocabulary and the d_model of the "
            "pre-trained model.",
        ),
        (
            {"d": (2,), "global_step": ()},
            "no variable of this model is in there; fine-tuning needs the "
            "layers and the sizes of the pre-trained model.",
        ),
    ],
)
def test_checkpoints_without_use_are_refused(checkpoint, message):
  model = {"shared/embedding": (384, 16), "c": (2,)}
  with pytest.raises(errors.UserError) as error:
    warm_start.check(warm_start.match(model, checkpoint), "there")
  assert str(error.value) == message


def test_a_router_makes_a_model_sparse():
  assert warm_start.is_sparse(
      shapes_of("models/switch_tiny.gin", "num_cores = 1")
  )
  assert not warm_start.is_sparse(t5_small())


def test_settings_of_fine_tuning_change_no_variable():
  """Checkpoints match with any capacity and any dropout."""
  changed = [
      "capacity_factor_train = 2.0",
      "capacity_factor_eval = 3.0",
      "dropout_rate = 0.1",
      "expert_dropout_rate = 0.4",
  ]
  file = "models/switch_tiny.gin"
  assert shapes_of(file, "num_cores = 1", *changed) == shapes_of(
      file, "num_cores = 1"
  )


# In a session.


def build(model_dir, seed, make_hooks, *params):
  """Builds a training graph of a small sparse model."""
  gin_files.clear()
  strict_gin.parse(
      [
          "models/switch_tiny.gin",
          "layouts/single.gin",
          "schedules/constant_0_001.gin",
          "runs/pretrain.gin",
      ],
      [
          "task = 'toy_lm'",
          "sequence_length = {'targets': 8}",
          "model_type = 'lm'",
          "make_layer_stack.layers ="
          " [@transformer_layers.SelfAttention, @SwitchFeedForward]",
          *("batch_size = 4", "train_steps = 10", "num_cores = 2"),
          *("d_model = 16", "d_ff = 32", "d_kv = 8", "num_heads = 2"),
          *params,
      ],
      [],
  )
  tf.set_random_seed(seed)
  tf.train.create_global_step()
  graphs = []

  def make_and_look(graph):
    graphs.append(graph)
    return make_hooks(graph)

  run = run_lib.Run(model_dir=str(model_dir), seed=seed)
  spec = model_functions.training_model_fn(run, 10, make_and_look)(
      {"targets": tf.ones([4, 8], tf.int32)},
      None,
      tf.estimator.ModeKeys.TRAIN,
      {},
  )
  return spec, graphs[0].lowering


def start(session, hooks):
  session.run(tf.global_variables_initializer())
  for hook in hooks:
    hook.after_create_session(session, None)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
  """A checkpoint after one step on one device, and its content."""
  directory = tmp_path_factory.mktemp("pretrained")
  with tf.Graph().as_default(), tf.Session() as session:
    spec, _ = build(directory, 0, lambda graph: [])
    for hook in spec.training_hooks:
      hook.begin()
    start(session, spec.training_hooks)
    session.run(spec.train_op)
    path = tf.train.Saver().save(session, str(directory / "model.ckpt"))
    return path, session.run({v.op.name: v for v in tf.global_variables()})


@pytest.mark.parametrize(
    "mesh",
    [
        [],
        ["mesh_shape = 'all:2'", "layout_rules = 'batch:all,experts:all'"],
    ],
    ids=["one device", "two devices"],
)
def test_a_session_starts_from_the_checkpoint(pretrained, mesh, tmp_path):
  path, expected = pretrained

  def make_hooks(graph):
    del graph
    report = warm_start.match(
        {k: v.shape.as_list() for k, v in warm_start.weights().items()},
        dict(tf.train.list_variables(path)),
    )
    assert not any(report[1:])
    return [warm_start.InitializationHook(path, report.matched)]

  two_cpus = tf.ConfigProto(device_count={"CPU": 2})
  with tf.Graph().as_default(), tf.Session(config=two_cpus) as session:
    spec, lowering = build(tmp_path, 1, make_hooks, *mesh)
    for hook in spec.training_hooks:
      hook.begin()
    to_masters = lowering.copy_slices_to_masters()
    start(session, spec.training_hooks)
    # From the slices, which training reads.
    session.run(to_masters)
    actual = session.run({v.op.name: v for v in tf.global_variables()})
  assert set(actual) == set(expected)
  slots = {name for name in expected if "_slot_" in name}
  assert slots
  for name, value in expected.items():
    if name in slots or name == "global_step":
      assert np.any(value) and not np.any(actual[name])
    else:
      np.testing.assert_array_equal(actual[name], value)


def assign_in_session(path, step):
  """Returns the value of a weight of 0 after initialization at a step."""
  with tf.Graph().as_default(), tf.Session() as session:
    global_step = tf.train.create_global_step()
    weight = tf.get_variable("w", [2], initializer=tf.zeros_initializer())
    hook = warm_start.InitializationHook(path, {"w": "w"})
    hook.begin()
    session.run(tf.global_variables_initializer())
    session.run(global_step.assign(step))
    hook.after_create_session(session, None)
    return session.run(weight).tolist()


def test_only_new_runs_are_initialized_and_from_any_dtype(tmp_path):
  with tf.Graph().as_default(), tf.Session() as session:
    tf.get_variable("w", initializer=tf.constant([1.5, -2.0], tf.bfloat16))
    session.run(tf.global_variables_initializer())
    path = tf.train.Saver().save(session, str(tmp_path / "rounded"))
  assert assign_in_session(path, step=0) == [1.5, -2.0]
  assert assign_in_session(path, step=3) == [0.0, 0.0]
