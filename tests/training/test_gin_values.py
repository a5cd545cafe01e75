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

"""Values without meaning, refused where gin binds them or a call gets them."""

import mtf_switch  # isort: skip  # noqa: F401
import importlib.util
import io
import pathlib
import re

import gin
import pytest
import rich.console

from mtf_switch import errors
from mtf_switch.mesh import tpu
import mtf_switch.modes  # noqa: F401  Its names are in gin/runs.
from mtf_switch.modes import perplexity
from mtf_switch.modes import train
from mtf_switch.training import experiment
from mtf_switch.training import gin_values
from mtf_switch.training import strict_gin
from mtf_switch.transformer import feed_forward
from mtf_switch.transformer import optimizer  # noqa: F401
from mtf_switch.transformer import routers
from mtf_switch.transformer import switch_attention
import tasks  # noqa: F401
from tests import gin_files
from tests import toy_tasks  # noqa: F401

CONSOLE = rich.console.Console(file=io.StringIO())
DROPOUT = "a number of at least 0 and below 1"
COUNT = "a whole number of at least 1"


def parse(*params):
  strict_gin.parse([], params, [])


@pytest.mark.parametrize(
    "binding, allowed",
    [
        ("DenseReluDense.dropout_rate = 1.5", DROPOUT),
        ("transformer.sublayer_dropout.dropout_rate = -0.1", DROPOUT),
        ("SelfAttention.dropout_rate = 1.0", DROPOUT),
        ("HeadMajorSelfAttention.dropout_rate = '0.1'", DROPOUT),
        ("transformer.LayerStack.dropout_rate = True", DROPOUT),
        ("SelfAttention.key_value_size = '64'", COUNT),
        ("SelfAttention.num_heads = None", COUNT),
        ("SelfAttention.num_memory_heads = -1", "a whole number of at least 0"),
        ("encoder/DenseReluDense.hidden_size = 2.5", COUNT),
        ("Unitransformer.d_model = @relative_position_spans", COUNT),
        ("Unitransformer.z_loss = -1e-4", "a number of at least 0"),
        ("transformer.LayerStack.recompute_grads = 1", "True or False"),
        ("VarianceScalingInitializer.scale = 0", "a number above 0"),
        ("Bitransformer.decode.alpha = 'a'", "a number of at least 0"),
        (
            "Unitransformer.sample_autoregressive.sampling_keep_top_k = 0",
            f"{COUNT}, or -1 for all tokens",
        ),
        (
            "learning_rate_schedules.truncated_rsqrt.warmup_steps = 0",
            "a number",
        ),
        (
            "learning_rate_schedules.constant_learning_rate.learning_rate = -1",
            "a number of at least 0",
        ),
        ("Adafactor.clipping_threshold = 0", "a number above 0 or None"),
        (
            "utils.serialize_num_microbatches"
            ".tokens_per_microbatch_per_replica = 0",
            f"{COUNT} or None",
        ),
        ("tasks.vocabulary.size = 2_000_000_000", f"{COUNT} and of at most"),
        ("tasks.pairs_files.train = 5", "a text in quotes or a list of texts"),
        (
            "tasks.pairs_files.inputs = ['a', 'b']",
            "the name of a field, the number of a column, or a text with such "
            "fields in braces",
        ),
        (
            "tasks.pairs_files.labels = 'yes'",
            "a list of texts, or a dictionary from ids to texts",
        ),
        (
            "tasks.pairs_files.validation_share = 1",
            "a number above 0 and below 1 or None",
        ),
        ("tasks.docstrings.max_bytes = 0", f"{COUNT} or None"),
    ],
)
def test_bound_values_are_checked_after_parsing(binding, allowed):
  with pytest.raises(errors.UserError) as error:
    parse(binding)
  configurable, parameter = binding.split(" = ")[0].rsplit(".", 2)[-2:]
  assert re.fullmatch(
      rf".*{configurable}\.{parameter} = .+ must be {allowed}.*",
      str(error.value),
  )


def test_a_macro_is_named_that_sets_a_value():
  with pytest.raises(errors.UserError) as error:
    parse("DenseReluDense.dropout_rate = %rate", "rate = %base", "base = 1.5")
  assert str(error.value) == (
      f"DenseReluDense.dropout_rate = 1.5 must be {DROPOUT}. (rate sets it.)"
  )


@gin.configurable
def rate_of_a_function():
  return 2.0


@pytest.mark.parametrize(
    "params",
    [
        ["DenseReluDense.dropout_rate = @rate_of_a_function()"],
        ["DenseReluDense.dropout_rate = %rate", "rate = @rate_of_a_function()"],
        ["Bitransformer.decode.max_decode_length = None"],
        ["Unitransformer.sample_autoregressive.sampling_keep_top_k = -1"],
        ["Unitransformer.sample_autoregressive.stop_at_token = -1"],
        ["learning_rate_schedules.truncated_rsqrt.warmup_steps = 1e4"],
        ["DenseReluDense.dropout_rate = 0"],
        # Of a mode, which checks it when it is called: several share a macro.
        ["infer.checkpoint_step = %step", "step = 'all'"],
    ],
)
def test_other_values_are_left_alone(params):
  parse(*params)


@pytest.mark.parametrize("package, folder", [
    ("t5", "models/gin"),
    ("mesh_tensorflow", "transformer/gin"),
])  # fmt: skip
def test_files_of_t5_have_values_with_meaning(package, folder):
  root = pathlib.Path(importlib.util.find_spec(package).origin).parent / folder
  files = sorted(root.rglob("*.gin"))
  assert files
  for file in files:
    gin.clear_config()
    gin.add_config_file_search_path(str(root))
    gin.parse_config_file(str(file), skip_unknown=True)
    gin_values.check(gin.config._CONFIG)


LAYER = (
    "SwitchFeedForward.num_experts = 4",
    "SwitchFeedForward.hidden_size = 8",
)
# The call that takes the parameters of a gin name, and others that it needs.
CALLS = {
    "Experiment": (
        experiment.Experiment,
        [
            "Experiment.task = 'toy_copy'",
            "Experiment.sequence_length = 24",
            "Experiment.batch_size = 4",
        ],
    ),
    "SwitchFeedForward": (feed_forward.SwitchFeedForward, LAYER),
    "SwitchSelfAttention": (
        switch_attention.SwitchSelfAttention,
        ["SwitchSelfAttention.experts = @SwitchFeedForward", *LAYER],
    ),
    "no_token_left_behind_router": (routers.NoTokenLeftBehindRouter, []),
    "perplexity_eval": (lambda: perplexity.perplexity_eval(None, None), []),
    "switch_router": (routers.SwitchRouter, []),
    "top_2_router": (routers.Top2Router, []),
    "top_n_router": (routers.TopNRouter, []),
    "tpu_data_parallelism": (tpu.tpu_data_parallelism, []),
    "train": (lambda: train.train(None, None), ["train.steps = 1"]),
}


@pytest.mark.parametrize(
    "binding, allowed",
    [
        ("train.steps = -5", COUNT),
        (
            "train.keep_checkpoint_max = -1",
            "a whole number of at least 0 or None",
        ),
        ("train.iterations_per_loop = 0", COUNT),
        ("Experiment.batch_size = ('tokens_per_batch', 0)", COUNT),
        ("Experiment.learning_rate_schedule = [1, '2']", "a number of at"),
        ("Experiment.optimizer = 'adafactor'", "a function"),
        ("SwitchFeedForward.hidden_size = 2.5", f"{COUNT} or None"),
        ("SwitchFeedForward.z_loss_coefficient = 1e999", "a number of at"),
        ("SwitchFeedForward.min_expert_capacity = -1", "a whole number of at"),
        ("SwitchFeedForward.initializer_scale = 0", "a number above 0"),
        ("SwitchSelfAttention.initializer_scale = -1", "a number above 0"),
        ("switch_router.jitter = -1", "a number of at least 0"),
        ("switch_router.dropout_rate = 1", DROPOUT),
        ("top_n_router.num_choices = 0", COUNT),
        ("no_token_left_behind_router.max_stages = 0", f"{COUNT} or None"),
        ("top_2_router.second_threshold_train = 2", "a number of at least 0"),
        ("tpu_data_parallelism.model_parallelism = 0", COUNT),
        ("perplexity_eval.checkpoint_step = '3'", "a step, a list of steps"),
    ],
)
def test_calls_check_what_they_get(binding, allowed):
  name, parameter = binding.split(" = ")[0].split(".")
  call, params = CALLS[name]
  parse(*params, binding)
  with pytest.raises(errors.UserError) as error:
    call()
  # The routers have some options in common, by the name "router".
  option = rf"({name}\.|router\.){parameter} = .+ must be {allowed}.*"
  assert re.fullmatch(option, str(error.value).split("\n")[0])


@pytest.mark.parametrize("value", ["3", "-1", "'all'", "None", "[1, 2]", "0"])
def test_checkpoints_are_selected_in_many_ways(value):
  parse(f"perplexity_eval.checkpoint_step = {value}")
  with pytest.raises(AttributeError, match="select_checkpoints"):
    perplexity.perplexity_eval(None, CONSOLE)  # After the check.


def test_a_models_size_is_checked_by_its_macro():
  gin_files.clear()
  with pytest.raises(errors.UserError, match=r"0 must be .*num_blocks sets it"):
    strict_gin.parse(
        ["models/switch_tiny.gin"], ["num_cores = 1", "num_blocks = 0"], []
    )
