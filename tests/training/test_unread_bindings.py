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

"""Bindings that nothing reads, of the user's and in the project's files."""

import mtf_switch  # isort: skip  # noqa: F401
import warnings

import gin
import pytest

from mtf_switch import errors
import mtf_switch.modes  # noqa: F401  The parameters of all modes.
from mtf_switch.training import strict_gin
from mtf_switch.training import unread_bindings
from tests import gin_files

FILES = ["models/switch_tiny.gin", "initial_values/truncated_normal.gin"]
TRAINING = (unread_bindings.MODEL, unread_bindings.TRAINING)


def parse(params, files=FILES):
  """Parses as run_switch does; returns the user's bindings."""
  gin_files.clear()
  return strict_gin.parse(
      [*files],
      [*(x for x in gin_files.SHRUNK if "num_layers" not in x), *params],
      [str(gin_files.ROOT)],
  )


def build():
  gin_files.variable_shapes(200, 4, 16, 8)


def note(own, built=(unread_bindings.MODEL,)):
  """The note about bindings that nothing reads, or None."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    unread_bindings.check(own, built)
  notes = [x for x in caught if x.category is errors.UserNotice]
  assert len(notes) <= 1
  return str(notes[0].message) if notes else None


@pytest.mark.parametrize(
    "binding, told",
    [
        (
            "encoder/EncDecAttention.num_heads = 3",
            "encoder/EncDecAttention.num_heads (did you mean "
            "encoder/SelfAttention.num_heads or "
            "decoder/SelfAttention.num_heads?)",
        ),
        # The caller gives it.
        ("Unitransformer.name = 'a'", "Unitransformer.name"),
        # Of a layer, and of a stack, that the model does not have.
        ("MoE1D.num_experts = 3", "MoE1D.num_experts"),
        (
            "student/SwitchFeedForward.num_cores = 3",
            "student/SwitchFeedForward.num_cores (did you mean "
            "encoder/SwitchFeedForward.num_cores or "
            "decoder/SwitchFeedForward.num_cores?)",
        ),
    ],
)
def test_the_users_bindings_are_named(binding, told):
  own = parse([binding])
  build()
  assert note(own) == f"nothing reads {told}."


@pytest.mark.parametrize(
    "binding",
    [
        "decoder/SwitchFeedForward.capacity_factor_train = 3.0",
        "SelfAttention.num_heads = 2",
        # Of a class that a layer's class is made from.
        "decoder/SelfAttention.dropout_rate = 0.1",
        # A scope of a reference.
        "mine/switch_router.jitter = 0.1\n"
        "SwitchFeedForward.router = @mine/switch_router",
        # A narrower binding takes its place here.
        "SwitchFeedForward.min_expert_capacity = 1\n"
        "encoder/SwitchFeedForward.min_expert_capacity = 2\n"
        "decoder/SwitchFeedForward.min_expert_capacity = 3",
        # Other modes read it.
        "train.steps = 10",
        "evaluate.split = 'test'",
        "finetune.pretrained_dir = 'a'",
        "Bitransformer.decode.beam_size = 2",
        "beam_search.alpha = 0.5",
        "Unitransformer.sample_autoregressive.temperature = 1.0",
        "AdafactorOptimizer.beta1 = 0.1",
        "truncated_rsqrt.warmup_steps = 10",
        "serialize_num_microbatches.tokens_per_microbatch_per_replica = 8",
        "mesh_train_dataset_fn.use_cached = True",
        "random_spans_helper.noise_density = 0.3",
        "SimdMeshImpl.allreduce_in_bfloat16_max_group_size = 4",
    ],
)
def test_what_a_mode_reads_is_not_named(binding):
  own = parse(["import t5.data.preprocessors", binding])
  build()
  assert note(own) is None


def test_a_mode_is_judged_by_what_it_builds():
  own = parse(
      ["AdafactorOptimizer.beta1 = 0.1", "Bitransformer.decode.beam_size = 2"]
  )
  build()
  assert note(own) is None
  assert note(own, TRAINING) == "nothing reads AdafactorOptimizer.beta1."
  assert note(own, (unread_bindings.MODEL, unread_bindings.DECODING)) == (
      "nothing reads Bitransformer.decode.beam_size."
  )


def test_without_a_model_only_what_no_mode_reads_is_named():
  own = parse(
      ["mesh_inference_dataset_fn.use_cached = True", "MoE1D.num_experts = 3"]
  )
  assert note(own, ()) == "nothing reads mesh_inference_dataset_fn.use_cached."


@pytest.mark.parametrize(
    "binding, advice",
    [
        (
            "deccoder/SwitchFeedForward.capacity_factor_train = 0.01",
            "'deccoder'; did you mean decoder or encoder?",
        ),
        (
            "decoder/mid/SelfAttention.num_heads = 2",
            "'mid'; known ones are encoder, decoder.",
        ),
    ],
)
def test_scopes_that_do_not_exist_are_refused(binding, advice):
  own = parse([binding])
  build()
  name = binding.split(" = ")[0]
  with pytest.raises(errors.UserError) as error:
    unread_bindings.check(own, (unread_bindings.MODEL,))
  assert str(error.value) == (
      f"{name} is in a scope that nothing enters, {advice}"
  )


def test_a_scope_of_the_users_own_code_is_known_once_it_is_entered():
  own = parse(["mine/SelfAttention.num_heads = 2"])
  # Until then nobody can tell: this test's modules are the user's.
  unread_bindings.check_scopes(own)
  with gin.config_scope("mine"):
    build()
  assert note(own) is None


def test_a_macro_of_the_users_that_only_unread_bindings_take():
  own = parse(
      ["capacity_factor_train = 2.0"],
      [
          "models/switch_tiny.gin",
          "objectives/text_to_text.gin",
      ],
  )
  assert ("capacity_factor_train", "gin.macro", "value") in own
  build()
  assert note(own) is None
  own = parse(
      [
          "transformer.make_layer_stack.layers = [@DenseReluDense]",
          "encoder/transformer.make_layer_stack.layers = [@DenseReluDense]",
          "decoder/transformer.make_layer_stack.layers = [@DenseReluDense]",
          "capacity_factor_train = 2.0",
      ]
  )
  build()
  assert "capacity_factor_train" in note(own)


def test_files_of_the_project_are_not_the_users(tmp_path):
  every_file = [
      str(path.relative_to(gin_files.ROOT))
      for path in gin_files.ROOT.rglob("*.gin")
  ]
  for name in every_file:
    gin_files.clear()
    gin.parse_config_file(name)
    missing = gin_files.macros()[1]
    gin_files.clear()
    values = {"activation": "'relu'"}
    params = [f"{macro} = {values.get(macro, 1)}" for macro in sorted(missing)]
    own = strict_gin.parse([name], params, [str(gin_files.ROOT)])
    assert own == {(macro, "gin.macro", "value") for macro in missing}
  mine = tmp_path / "mine.gin"
  mine.write_text(
      "include 'models/switch_tiny.gin'\nimport mtf_switch.modes\n"
      "num_cores = 2\ndecoder/Experiment.batch_size = 3\n"
      "SwitchFeedForward:\n  group_size = None\n"
  )
  gin_files.clear()
  own = strict_gin.parse([str(mine)], [], [str(gin_files.ROOT)])
  assert own == {
      ("num_cores", "gin.macro", "value"),
      ("decoder", "mtf_switch.experiment.Experiment", "batch_size"),
      ("", "mtf_switch.layers.SwitchFeedForward", "group_size"),
  }
