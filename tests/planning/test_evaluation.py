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


"""The plans of modes that do not train."""

import mtf_switch  # isort: skip  # noqa: F401
import dataclasses
import warnings

import pytest

from mtf_switch import errors
from mtf_switch.planning import chips
from mtf_switch.planning import evaluation
from mtf_switch.planning import evaluation_graph
from mtf_switch.planning import report
from mtf_switch.training import experiment as experiment_lib
import tasks  # noqa: F401  Registers them.
from tests import gin_files
from tests import lowered
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.
from tests.planning import test_communication
from tests.planning import test_report

INFER = "SwitchFeedForward.capacity_factor_infer = 2.0"
SPARSE = (
    "decoder/transformer.make_layer_stack.layers = ["
    "@TruncatedNormalSelfAttention, @TruncatedNormalEncDecAttention, "
    "@SwitchFeedForward]",
)
SHIPPED = "experiments/finetune_super_glue_switch_base.gin"


def graph_of(experiment_, mode):
  return evaluation_graph.EvaluationGraph(experiment_, True, mode)


@pytest.mark.parametrize(
    "mode, layout, params",
    [
        ("perplexity_eval", "expert_data", ["data_parallelism = 4"]),
        ("score", "expert_data", ["data_parallelism = 4"]),
        ("infer", "expert_data", ["data_parallelism = 4"]),
        (
            "score",
            "expert_data_replicated",
            ["data_parallelism = 4", "expert_replicas = 2"],
        ),
        (
            "infer",
            "expert_model_data",
            ["data_parallelism = 4", "model_parallelism = 2", INFER, *SPARSE],
        ),
    ],
)
def test_every_message_of_a_lowered_graph_is_planned(mode, layout, params):
  """Those of results, not of what upstream builds and nothing reads."""
  experiment_ = plans.toy(
      "switch_tiny", layout, *test_communication.ENCODER_DECODER, *params
  )
  planned = graph_of(experiment_, mode)
  messages = planned.collectives(experiment_.mesh, experiment_.layout)
  counts = {c.count for c in messages}
  # As many steps as positions of the inputs, upstream's default.
  assert counts == ({1, 24} if mode == "infer" else {1})
  once = [c._replace(count=1) for c in messages]
  assert test_communication.as_planned(once) == test_communication.as_lowered(
      lowered.evaluation(experiment_, mode)
  )


def dense():
  return plans.on_one_cpu(
      "t5_tiny",
      "num_layers = 1",
      "Bitransformer.decode.max_decode_length = 10",
      sizes=[*plans.DENSE_SIZES, "batch_size = 3"],
  )


def test_products_by_hand():
  """Every weight forward; in decoding, of the decoder once a step."""
  d_model, heads, d_ff, vocabulary, steps = 32, 4 * 8, 64, 384, 10
  projection = d_model * heads
  feed_forward = 2 * d_model * d_ff
  inputs = 3 * 24
  encoder = inputs * (
      4 * projection + feed_forward + 2 * 24 * heads + 2 * projection
  )

  def decoder(rows, length):
    return rows * (
        6 * projection
        + feed_forward
        + 2 * (length + 24) * heads
        + d_model * vocabulary
    )

  experiment_ = dense()
  for mode, forward, passes in (
      ("score", decoder(3 * 16, 16), 1),
      ("infer", steps * decoder(3, steps), steps),
  ):
    planned = evaluation.evaluate(experiment_, plans.CHIP, mode)
    assert planned.steps == passes
    assert planned.executed_flops_per_core == 2 * (encoder + forward)
    assert planned.compute_seconds == planned.executed_flops_per_core / 1e9
    assert planned.network_seconds == planned.bytes_sent == 0
    assert planned.seconds == max(
        planned.compute_seconds, planned.memory_seconds
    )


def test_decoding_keeps_keys_and_values_and_reads_them_in_every_step():
  """One layer: keys and values of 3 sequences of 10 positions, and of 24."""
  experiment_ = dense()
  graph = evaluation_graph.EvaluationGraph(experiment_, False, "infer")
  (loop,) = graph.loops
  kept = [x for x in loop.inputs if len(x.shape) == 4]
  assert sum(x.size for x in kept) == 2 * 3 * 10 * 32
  planned = evaluation.evaluate(experiment_, plans.CHIP, "infer")
  weights = sum(v.size * 4 for v in graph.graph.trainable_variables)
  assert planned.memory_bytes_per_core == (
      weights + planned.activation_bytes_per_core
  )
  assert planned.activation_bytes_per_core > 4 * 2 * 3 * (10 + 24) * 32
  # Of the weights a step reads all but the encoder's and the memory's.
  encoder = sum(
      v.size * 4
      for v in graph.graph.trainable_variables
      if v.name.startswith("encoder")
      or v.name.endswith(("EncDecAttention/k", "EncDecAttention/v"))
  )
  kept_bytes = 4 * 2 * 3 * (10 + 24) * 32
  least = weights + 10 * (weights - encoder + kept_bytes)
  traffic = planned.memory_seconds * plans.CHIP.memory_bandwidth
  assert least < traffic < 1.3 * least


def shipped(*bindings):
  gin_files.parse(
      [SHIPPED],
      ["pretrained_dir = ''", "vocabulary.name = 'embedded'", *bindings],
  )
  return experiment_lib.Experiment()


def test_the_shipped_fine_tuning_is_evaluated_on_its_cores():
  """One group a core, with einsum's masks, took 80 GiB."""
  chip = chips.find("tpu_v3")
  whole = evaluation.evaluate(shipped(), chip, "score")
  assert whole.fits and 12 * 2**30 < whole.memory_bytes_per_core < 2**34
  # A layer's slots for 8192 tokens of 128 cores, in bfloat16: at the peak the
  # two projections of a GEGLU expert and their product.
  tokens = 8192 * 128
  peak = 2 * tokens * 3 * 2048
  assert peak < whole.activation_bytes_per_core < 1.05 * peak
  # All layers are alike; the memory is that of one.
  all_slots, few_slots = (
      evaluation.evaluate(shipped("num_blocks = 1", *params), chip, "infer")
      for params in ([], [INFER])
  )
  assert all_slots.fits and peak < all_slots.activation_bytes_per_core
  assert few_slots.memory_bytes_per_core < all_slots.memory_bytes_per_core / 6
  assert (
      few_slots.executed_flops_per_core < all_slots.executed_flops_per_core / 7
  )


def test_a_mode_that_cannot_work_is_named():
  experiment_ = plans.on_one_cpu(
      "switch_lm_tiny",
      *plans.LM,
      "capacity_factor_eval = 0.01",
      "SwitchFeedForward.min_expert_capacity = 0",
  )
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert not evaluation.evaluate(experiment_, plans.CHIP, "perplexity_eval")
    # A text as long as the targets, and as much again.
    assert evaluation.evaluate(experiment_, plans.CHIP, "infer").steps == 48
  (notice,) = [x.message for x in caught if x.category is errors.UserNotice]
  assert str(notice).startswith(
      "--mode=perplexity_eval cannot work: the expert capacity is "
  )


def test_modes_are_rows_and_what_does_not_fit_is_said():
  fits = evaluation.Evaluation(
      steps=1,
      executed_flops_per_core=5 * 10**12,
      memory_bytes_per_core=2**33,
      activation_bytes_per_core=2**32,
      bytes_sent=3,
      compute_seconds=0.03,
      memory_seconds=0.02,
      network_seconds=0.01,
      limited_by="compute",
      fits=True,
  )
  too_large = fits._replace(memory_bytes_per_core=2**35, fits=False)
  plan = dataclasses.replace(
      test_report.PLAN,
      evaluations={
          "perplexity_eval": fits,
          "score": None,
          "infer": too_large,
      },
  )
  lines = test_report.printed(plan)
  for line in (
      "memory of a core, perplexity_eval 8 GiB",
      "memory of a core, score impossible",
      "fits, perplexity_eval yes",
      "fits, infer, eval no",
      "executed by a core, perplexity_eval 5T",
      "time, at least, perplexity_eval 30 ms",
  ):
    assert line in lines
  assert lines[-1] == (
      "expert_data: --mode=infer does not fit, 32 GiB of 16 GiB; use a smaller"
      " batch_size or more cores, or let it drop tokens"
      " (SwitchFeedForward.capacity_factor_infer)."
  )
  (line,) = report.too_large(dataclasses.replace(plan, switch_layers=()))
  assert line.endswith("or more cores.")
  # Beside other plans too.
  other = dataclasses.replace(plan, name="other", evaluations={})
  lines = test_report.printed(plan, other)
  assert "fits, infer, eval no impossible" in lines
  assert lines[-1].startswith("expert_data: --mode=infer does not fit")
