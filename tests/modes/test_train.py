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

"""When training opens and closes its sessions; failing numbers."""

import mtf_switch  # isort: skip  # noqa: F401
import functools
import io

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
import pytest
import rich.console
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import files
from mtf_switch.modes import train
from mtf_switch.training import metrics_file
from mtf_switch.training import run as run_lib
from mtf_switch.training import skipped_batches
from mtf_switch.training import strict_gin
from tests import gin_files


@pytest.mark.parametrize(
    "first_step, steps, lengths, skipped, expected",
    [
        (0, 12, [5], [], [5, 10, 12]),
        (5, 12, [5], [], [10, 12]),
        (6, 12, [5], [], [10, 12]),
        (0, 10, [5], [], [5, 10]),
        (0, 4, [5], [], [4]),
        # On a TPU, evaluations end sessions too.
        (0, 12, [5, 6], [], [5, 6, 10, 12]),
        (12, 12, [5], [], []),
        (13, 12, [5], [], []),
        # Blocks of which batches are left out have fewer steps.
        (0, 12, [5], [2], [4, 9, 12]),
        (4, 12, [5], [2, 6, 7], [7, 12]),
        (0, 8, [5], [2, 7], [4, 8]),
    ],
)
def test_session_ends(first_step, steps, lengths, skipped, expected):
  steps_per_block, session_length = (*lengths, None)[:2]
  ends = train.session_ends(
      first_step, steps, steps_per_block, session_length, skipped
  )
  assert ends == expected


LONG = "a" * 30


def _texts(split, shuffle_files=False, seed=None):
  del split, shuffle_files, seed
  texts = [chr(ord("b") + i) * (i % 7 + 2) for i in range(23)]
  return tf.data.Dataset.from_tensor_slices({"targets": texts + [LONG]})


if "one_long_text" not in seqio.TaskRegistry.names():
  seqio.TaskRegistry.add(
      "one_long_text",
      source=seqio.FunctionDataSource(_texts, ["train"]),
      preprocessors=[
          functools.partial(
              seqio.preprocessors.rekey, key_map={"targets": "targets"}
          ),
          seqio.preprocessors.tokenize,
          seqio.preprocessors.append_eos_after_trim,
      ],
      output_features={"targets": seqio.Feature(seqio.ByteVocabulary(0))},
  )


@gin.configurable(module="tests")
class Trap(transformer.TransformerLayer):
  """A layer whose loss is infinite if an example has more than 20 tokens."""

  def call(self, context, x, losses=None):
    # Rows consist of examples, numbered from 1.
    examples = mtf.Dimension("examples", 40)
    members = mtf.one_hot(context.sequence_id - 1, examples)
    sizes = mtf.reduce_sum(members, reduced_dim=context.length_dim)
    is_long = mtf.cast(mtf.greater(mtf.reduce_max(sizes), 20.0), tf.float32)
    context.losses.append(mtf.exp(1000 * is_long))
    return x


def ready_run(model_dir, *params):
  """A run of a small model, with gin read."""
  gin_files.clear()
  strict_gin.parse(
      [
          "models/t5_tiny.gin",
          "layouts/single.gin",
          "schedules/constant_0_001.gin",
          "runs/pretrain.gin",
      ],
      [
          "task = 'one_long_text'",
          "sequence_length = {'targets': 40}",
          "model_type = 'lm'",
          "num_layers = 1",
          "make_layer_stack.layers ="
          " [@transformer_layers.SelfAttention, @tests.Trap,"
          " @transformer_layers.DenseReluDense]",
          "batch_size = 1",
          "train_steps = 6",
          "d_model = 16",
          "d_ff = 32",
          "d_kv = 8",
          "num_heads = 2",
          "train.save_checkpoints_steps = 2",
          "train.metrics_every = 1",
          *params,
      ],
      [],
  )
  return run_lib.Run(model_dir=str(model_dir))


def trained(model_dir, *params):
  """Trains and returns what the terminal says."""
  console = rich.console.Console(file=io.StringIO(), width=1000)
  train.train(ready_run(model_dir, *params), console)
  return console.file.getvalue()


def lines(model_dir):
  """The losses in metrics.jsonl, in order."""
  return [
      (record["step"], record["cross_entropy"])
      for record in metrics_file.read(str(model_dir))
      if record["kind"] != "warning"
  ]


def test_a_batch_is_skipped(tmp_path):
  """The loss of one batch is infinite, and its gradient is not."""
  model_dir = tmp_path / "run"
  output = trained(model_dir, "train.on_not_finite = 'skip'")
  assert (
      "step 3: Inf first in transformer/block_000/layer_001/Trap; see "
      f"{model_dir}/not_finite.json. Batch 2 is left out (1 of at most 10); "
      "going on from step 2"
  ) in output
  (report,) = files.read_json(f"{model_dir}/not_finite.json")
  assert report["seen"] == "the loss is infinite"
  assert report["batch"] == report["last_good_checkpoint"] == 2
  assert report["place"]["phase"] == "forward"
  assert report["examples"][0] == {"targets": LONG}
  # A run that knows from the start what to leave out is the same.
  other_dir = tmp_path / "other"
  skipped_batches.add(str(other_dir), 2, 3)
  assert files.read_json(f"{model_dir}/skipped_batches.json") == (
      files.read_json(f"{other_dir}/skipped_batches.json")
  )
  trained(other_dir)
  assert lines(model_dir) == lines(other_dir)
  assert [step for step, _ in lines(model_dir)] == list(range(1, 7))
