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

"""Every gin file; the models when small, the layouts, the schedules."""

import mtf_switch  # isort: skip  # noqa: F401
import collections
import importlib.util
import math
import os

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import utils
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import layouts as layouts_lib
from mtf_switch.planning import accounting
from mtf_switch.training import gin_values
from mtf_switch.training import unread_bindings
from mtf_switch.transformer import routers
from tests import gin_files
from tests import graphs


def complete(folder):
  """The files of a folder that are not only a base for others."""
  return [name for name in gin_files.names(folder) if "defaults" not in name]


MODELS = complete("models")
# Their settings are in tests/conversion/test_released.py.
RELEASED = complete("models/released")
EXPERIMENTS = complete("experiments")
LAYOUTS = gin_files.names("layouts")
FILES = [
    name
    for folder in (
        "models",
        "models/released",
        "layouts",
        "objectives",
        "precision",
        "schedules",
        "initial_values",
        "runs",
    )
    for name in gin_files.names(folder)
]
VOCABULARY = 200


def values_for(required):
  """A placeholder for each macro; parsing and finalizing do not evaluate it."""
  return [f"{name} = 1" for name in sorted(required)]


@pytest.mark.parametrize("name", FILES)
def test_parses_from_any_directory_with_what_it_requires(
    name, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  header = gin_files.header(name)
  gin_files.parse_unfinished(name)
  provided, required = gin_files.macros()
  assert provided == gin_files.names_in_header(header["Provides"])
  assert required == gin_files.names_in_header(header["Requires"])
  gin_files.parse([name], values_for(required))
  for missing in required:
    with pytest.raises(ValueError, match=missing):
      gin_files.parse([name], values_for(required - {missing}))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_requires_nothing_more(name):
  gin_files.parse([name])


@pytest.mark.parametrize(
    "binding, message",
    [
        ("SwitchFeedForward.num_expert = 4", "num_expert'"),
        ("SwitchFeedforward.num_experts = 4", "SwitchFeedforward"),
        ("SelfAttention.num_head = 4", "num_head'"),
        ("SwitchFeedForward.num_experts = %num_expert", "num_expert"),
    ],
)
def test_misspelt_names_fail(binding, message):
  gin_files.parse(["models/switch_tiny.gin"], ["num_cores = 2"])
  with pytest.raises(ValueError, match=message):
    gin_files.parse(["models/switch_tiny.gin"], ["num_cores = 2", binding])


def loss_of(mesh, mesh_shape="", layout_rules=""):
  """The training loss of the model in gin's configuration, on fixed tokens."""
  generator = np.random.default_rng(0)
  batch = mtf.Dimension("batch", 4)

  def tokens(length):
    return graphs.constant(
        mesh,
        generator.integers(1, VOCABULARY, [batch.size, length], np.int32),
        [batch, mtf.Dimension("length", length)],
    )

  model = gin_files.build_model(VOCABULARY, mesh_shape, layout_rules)
  return gin_files.call_model(model, tokens(16), tokens(8))


shrunk_losses = {}
# The files that models share set these.
FOR_OTHER_MODELS = {
    "DenseReluDense.activation",
    "DenseReluDense.dropout_rate",
    "DenseReluDense.hidden_size",
    "HeadMajorEncDecAttention.initializer_scale",
    "HeadMajorSelfAttention.initializer_scale",
    "TruncatedNormalEncDecAttention.initializer_scale",
    "TruncatedNormalSelfAttention.initializer_scale",
    "decoder/make_layer_stack.layers",
    "encoder/make_layer_stack.layers",
}


def unread():
  """The bindings of gin's configuration that the model has not read."""
  keys = [
      (scope, selector, parameter)
      for (scope, selector), bound in gin.config._CONFIG.items()
      for parameter in bound
  ]
  found = unread_bindings.find(keys, [unread_bindings.MODEL])
  return {gin_values.name_of(*key) for key in found}


@pytest.mark.parametrize("name", [*MODELS, *RELEASED])
def test_model_runs_when_shrunk(name):
  gin_files.parse([name], gin_files.SHRUNK)
  # Models that differ only in sizes are one when shrunk, and run once.
  config = gin.config_str()
  if config not in shrunk_losses:
    (loss,), _ = graphs.evaluate(lambda mesh: [loss_of(mesh)])
    shrunk_losses[config] = loss
    assert unread() <= FOR_OTHER_MODELS
  loss = shrunk_losses[config]
  # Untrained weights know nothing: near the entropy of a uniform guess. Tied
  # embeddings of unit variance give logits of about unit variance, which add
  # about a half to it, and the auxiliary losses a few hundredths.
  assert math.log(VOCABULARY) - 0.5 < loss < math.log(VOCABULARY) + 1.5


@pytest.mark.parametrize("name", [name for name in MODELS if "switch" in name])
def test_switch_layers_are_where_the_paper_has_them(name):
  gin_files.parse([name], gin_files.SHRUNK)
  shapes = gin_files.variable_shapes(VOCABULARY, 4, 16, 8)
  # Stack to the feed-forward layers in order.
  layers = collections.defaultdict(dict)
  for variable in shapes:
    parts = variable.split("/")
    for kind in ("SwitchFeedForward", "DenseReluDense"):
      if kind in parts:
        layers[parts[0]][tuple(parts[1:3])] = kind
  stacks = ["encoder", "decoder"]
  if name == "models/switch_lm_tiny.gin":
    stacks = ["transformer"]
  assert sorted(layers) == sorted(stacks)
  if name == "models/switch_c.gin":
    expected = ["SwitchFeedForward"]
  else:
    expected = ["DenseReluDense", "SwitchFeedForward"]
  for stack in stacks:
    assert [layers[stack][key] for key in sorted(layers[stack])] == expected


@pytest.mark.parametrize("name", [name for name in MODELS if "switch" in name])
def test_switch_layers_get_the_settings_of_the_paper(name):
  gin_files.parse([name], ["num_cores = 2", "expert_dropout_rate = 0.4"])
  model = gin_files.build_model(VOCABULARY)
  stack = getattr(model, "decoder", model).layer_stack
  switch_layer = stack.layers[-1]
  # The paper gives no capacity factors for these two; the released code does.
  capacity_factors = {
      "models/switch_c.gin": (1.0, 2.0),
      "models/switch_xxl.gin": (1.25, 4.0),
      "models/switch_xxl_table9.gin": (1.25, 4.0),
  }.get(name, (1.25, 2.0))
  settings = {
      attribute: value
      for attribute, value in vars(switch_layer).items()
      if not attribute.startswith("_")
  }
  assert settings == dict(
      num_experts=gin_files.macro("num_experts"),
      num_cores=2,
      group_size=None,
      strict_groups=True,
      hidden_size=gin_files.macro("d_ff"),
      activation=gin_files.macro("activation"),
      router=routers.SwitchRouter(
          exploration="input_jitter",
          jitter=0.01,
          dropout_rate=0.1,
          priority="position",
          loss_scope="group",
          dtype="float32",
          gate="probability",
      ),
      dispatch=None,
      capacity_factor_train=capacity_factors[0],
      capacity_factor_eval=capacity_factors[1],
      capacity_factor_infer=None,
      capacity_rounding="floor",
      min_expert_capacity=0,
      aux_loss_coefficient=0.01,
      z_loss_coefficient=0.0,
      loss_over_layers="sum",
      expert_dropout_rate=0.4,
      expert_dtype=None,
      initializer_scale=0.1,
      num_removed_experts=0,
      switch_layers_in_model=None,
      dims_of_scope={},
  )


@pytest.mark.parametrize(
    "name, activations, router",
    [
        ("float32", tf.float32, tf.float32),
        ("selective", tf.bfloat16, tf.float32),
        ("bfloat16", tf.bfloat16, tf.bfloat16),
    ],
)
def test_precision_modes_are_the_rows_of_table_2(name, activations, router):
  gin_files.parse(
      [
          "models/switch_tiny.gin",
          "runs/defaults.gin",
          f"precision/{name}.gin",
      ],
      [
          *gin_files.SHRUNK,
          "task = 'none'",
          "batch_size = 1",
          "sequence_length = 1",
          "mesh_shape = ''",
          "layout_rules = ''",
      ],
  )
  variable_dtype = utils.get_variable_dtype()
  assert variable_dtype.master_dtype == variable_dtype.slice_dtype == tf.float32

  def build(mesh):
    dims = [mtf.Dimension("batch", 4), mtf.Dimension("length", 16)]
    tokens = mtf.ones(mesh, dims, dtype=tf.int32)
    _, loss = gin_files.build_model(VOCABULARY).call_simple(
        tokens, tokens, compute_loss=True, variable_dtype=variable_dtype
    )
    return [mtf.to_float(loss)]

  operations = []

  def build_and_look(mesh):
    results = build(mesh)
    operations.extend(mesh.graph.operations)
    return results

  (loss,), _ = graphs.evaluate(build_and_look)
  assert np.isfinite(loss)

  def dtypes(condition):
    found = {
        t.dtype
        for op in operations
        if isinstance(op, (mtf.EinsumOperation, mtf.SlicewiseOperation))
        for t in op.outputs
        if condition([d.name for d in op.inputs[-1].shape.dims], t)
    }
    return found

  # The router's logits.
  assert dtypes(
      lambda weights, _: weights == ["d_model", "experts_unsplit"]
  ) == {router}
  # The experts, and their inputs after the all-to-all.
  assert dtypes(lambda weights, _: weights[:1] == ["experts"]) == {activations}
  # Gates and losses are float32 in any case.
  assert dtypes(
      lambda _, t: t.shape.dimension_names == ["batch", "experts_unsplit"]
  ) == {tf.float32}


def description(model):
  """The arguments of a Bitransformer's constructors, as plain values."""

  def plain(values):
    return {
        name: vars(value) if hasattr(value, "__dict__") else value
        for name, value in values.items()
        # The loss is T5's, computed in another way; a scale of None leaves the
        # initial values to upstream.
        if name not in ("layer_stack", "_layers", "_loss_fn")
        and (name, value) != ("initializer_scale", None)
    }

  def names_of_functions(stack):
    return {
        name: [function.__name__ for function in value]
        for name, value in vars(stack).items()
        if name.startswith("_sublayers")
    }

  return [
      (
          plain(vars(transformer)),
          names_of_functions(transformer.layer_stack),
          [
              (type(layer).__name__, plain(vars(layer)))
              for layer in transformer.layer_stack.layers
          ],
      )
      for transformer in (model.encoder, model.decoder)
  ]


@pytest.mark.parametrize(
    "file, size, tied",
    [
        ("t5_small", "small", True),
        ("t5_base", "base", True),
        ("t5_large", "large", True),
        ("t5_xxl", "xxl", False),
        ("mt5_base", "base", False),
    ],
)
def test_dense_models_are_those_of_t5(file, size, tied):
  """T5's own files describe them, except for the differences in our headers."""
  row = {"large": ["d_ff = 2816", 'activation = ["gelu", "linear"]']}
  gin_files.parse([f"models/{file}.gin"], row.get(size, []))
  ours = gin_files.build_model(VOCABULARY)
  dropout = gin_files.macro("dropout_rate")
  gin_files.parse(
      [f"models/{file}.gin"], [*row.get(size, []), "num_layers = 2"]
  )
  our_variables = gin_files.variable_shapes(VOCABULARY, 1, 16, 8)

  t5_gin, mesh_gin = (
      os.path.join(os.path.dirname(importlib.util.find_spec(package).origin), d)
      for package, d in (
          ("t5", "models/gin"),
          ("mesh_tensorflow", "transformer/gin"),
      )
  )
  gin_files.clear()
  gin.add_config_file_search_path(t5_gin)
  gin.parse_config_files_and_bindings(
      [f"{mesh_gin}/defaults.gin", f"models/t5.1.1.{size}.gin"],
      [
          f"Unitransformer.shared_embedding_and_softmax_weights = {tied}",
          'model_type = "bitransformer"',
      ],
      print_includes_and_imports=False,
  )
  theirs = gin_files.build_model(VOCABULARY)
  assert description(ours) == description(theirs)
  assert dropout == gin_files.macro("dropout_rate")
  with gin.unlock_config():
    # All layers are alike, so that two are enough to compare names.
    gin.parse_config("num_layers = 2")
  assert our_variables == gin_files.variable_shapes(VOCABULARY, 1, 16, 8)


def test_multilingual_models_by_hand():
  """mT5-Base's released checkpoint has as many; its sparse twin as many FLOPs.

  The two tables have 250112 rows of 768. Of the 12 feed-forward layers of the
  encoder and of the decoder 6 each are sparse: 127 more experts of three
  matrices, and a router.
  """
  gin_files.parse(["models/mt5_base.gin"])
  dense = accounting.size_of(gin_files.build_model(250100))
  gin_files.parse(["models/mswitch_base.gin"], ["num_cores = 128"])
  sparse = accounting.size_of(gin_files.build_model(250100))
  assert dense.vocabulary_rows == sparse.vocabulary_rows == 250112
  assert accounting.num_parameters(dense) == 582_401_280
  more = 12 * (127 * 3 * 768 * 2048 + 768 * 128)
  assert accounting.num_parameters(sparse) == 582_401_280 + more
  lengths = 1024, 229
  assert accounting.flops_per_sequence(
      dense, *lengths
  ) == accounting.flops_per_sequence(sparse, *lengths)


@pytest.mark.parametrize("model", ["dense", "switch"])
def test_multilingual_runs_have_the_scale_of_the_paper(model):
  gin_files.parse([f"experiments/multilingual_{model}.gin"])
  scale = ["task", "train_steps", "batch_size", "sequence_length"]
  assert [gin_files.macro(name) for name in scale] == [
      "mc4",
      10**6,
      1024,
      {"inputs": 1024, "targets": 229},
  ]


# The dimensions that the name of a layout says are split.
SPLIT = {
    "single": {},
    "data": {"batch": 2},
    "model": {"d_ff": 2, "heads": 2, "vocab": 2},
    "model_data": {"batch": 2, "d_ff": 2, "heads": 2, "vocab": 2},
    "expert_data": {"batch": 2, "experts": 2},
    "expert_model_data": {
        "batch": 2, "experts": 2, "d_ff": 2, "heads": 2, "vocab": 2
    },
    "expert_data_replicated": {"outer_batch": 2, "batch": 2, "experts": 2},
    "expert_model_data_replicated": {
        "outer_batch": 2, "batch": 2, "experts": 2,
        "d_ff": 2, "heads": 2, "vocab": 2,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_splits_what_its_name_says(name):
  required = gin_files.names_in_header(gin_files.header(name)["Requires"])
  gin_files.parse([name], [f"{ways} = 2" for ways in required])
  mesh_shape = gin_files.macro("mesh_shape")
  layout_rules = gin_files.macro("layout_rules")
  split = {}
  for dimension in layouts_lib.DIMENSIONS:
    size = mtf.tensor_dim_to_mesh_dim_size(
        layout_rules, mesh_shape, mtf.Dimension(dimension, 8)
    )
    if size > 1:
      split[dimension] = size
  assert split == SPLIT[os.path.basename(name)[: -len(".gin")]]


def test_a_layout_that_splits_everything_changes_nothing():
  gin_files.parse(
      ["models/switch_lm_tiny.gin", "layouts/expert_model_data.gin"],
      (
          *gin_files.SHRUNK,
          "data_parallelism = 2",
          "model_parallelism = 2",
      ),
  )
  mesh_shape = gin_files.macro("mesh_shape")
  layout_rules = gin_files.macro("layout_rules")
  (split,), _ = graphs.evaluate(
      lambda mesh: [loss_of(mesh, mesh_shape, layout_rules)],
      mesh_shape,
      layout_rules,
  )
  (whole,), _ = graphs.evaluate(lambda mesh: [loss_of(mesh)])
  # float32 sums in another order.
  np.testing.assert_allclose(split, whole, rtol=1e-5)


def test_span_corruption_has_the_lengths_of_the_paper():
  gin_files.parse(["objectives/span_corruption.gin"])
  assert gin_files.macro("sequence_length") == {"inputs": 512, "targets": 114}


def test_span_corruption_targets_follow_the_inputs():
  """Worked by hand.

  120 tokens lose 18 (15%) in 6 spans of 3: 102 + 6 sentinels + end of sequence
  are 109 inputs, and 18 + 6 + 1 are 25 targets.
  """
  gin_files.parse(["objectives/span_corruption.gin"], ["inputs_length = 109"])
  assert gin_files.macro("sequence_length") == {"inputs": 109, "targets": 25}


def test_text_to_text_decodes_as_far_as_the_targets_go():
  gin_files.parse(["objectives/text_to_text.gin"], ["targets_length = 64"])
  assert gin_files.macro("sequence_length") == {"inputs": 512, "targets": 64}
  name = "Bitransformer.decode.max_decode_length"
  assert str(gin.query_parameter(name)) == "%targets_length"


def test_lm_has_targets_only():
  gin_files.parse(["objectives/lm.gin"], ["targets_length = 64"])
  assert gin_files.macro("sequence_length") == {"targets": 64}


def learning_rates(schedule, steps):
  factors = schedule if isinstance(schedule, list) else [schedule]
  with tf.Graph().as_default(), tf.Session() as session:
    return [
        math.prod(
            session.run(tf.convert_to_tensor(f(tf.constant(step), 1 << 19)))
            if callable(f)
            else f
            for f in factors
        )
        for step in steps
    ]


@pytest.mark.parametrize(
    "name, bindings, expected",
    [
        (
            "rsqrt_no_ramp_down",
            [],
            {0: 0.01, 10_000: 0.01, 40_000: 0.005, 524_287: 524_287**-0.5},
        ),
        ("constant_0_001", [], {0: 0.001, 10: 0.001, 524_287: 0.001}),
        (
            "linear_warmup_rsqrt",
            ["warmup_steps = 100", "learning_rate_multiplier = 0.5"],
            {0: 0.0, 1: 0.0005, 50: 0.025, 100: 0.05, 400: 0.025},
        ),
    ],
)
def test_schedule(name, bindings, expected):
  gin_files.parse([f"schedules/{name}.gin"], bindings)
  rates = learning_rates(gin_files.macro("learning_rate_schedule"), expected)
  # float32.
  np.testing.assert_allclose(rates, list(expected.values()), rtol=1e-6)


def test_optimizer_is_t5s_adafactor():
  """The settings that the file states are upstream's defaults, as T5's."""
  gin_files.parse(["schedules/adafactor.gin"])
  with tf.Graph().as_default():
    stated = gin_files.macro("optimizer")(learning_rate=1.0, decay_rate=0.5)
    gin.clear_config()
    default = mtf.optimize.AdafactorOptimizer(learning_rate=1.0, decay_rate=0.5)
  assert vars(stated) == vars(default)
  assert isinstance(stated, mtf.optimize.AdafactorOptimizer)
