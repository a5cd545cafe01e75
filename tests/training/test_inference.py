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


"""What decoding and scoring drop, against a count by hand."""

import mtf_switch  # isort: skip  # noqa: F401
import types

import mesh_tensorflow as mtf
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch.training import estimators
from mtf_switch.training import inference
from mtf_switch.training import prediction
from mtf_switch.transformer import attention
from tests import graphs
from tests import plans
from tests import toy_tasks  # noqa: F401  Registers them.

BATCH, LENGTH, PROMPT, GROUPS, EXPERTS = 8, 12, 5, 2, 4
# Without attention the router's choice follows from the token alone.
SIZES = (
    "task = 'toy_lm'",
    f"batch_size = {BATCH}",
    f"sequence_length = {{'targets': {LENGTH}}}",
    "d_model = 16",
    "d_ff = 8",
    "d_kv = 8",
    "num_heads = 2",
    "num_blocks = 1",
    f"num_experts = {EXPERTS}",
    f"num_cores = {GROUPS}",
    "transformer.make_layer_stack.layers = [@SwitchFeedForward]",
    # Text that varies, and ends now and then.
    "Unitransformer.sample_autoregressive.temperature = 2.0",
)


def infer(infer_fn, ids, *bindings):
  """The results and the drops of a batch, and the expert of each token id."""
  experiment_ = plans.on_one_cpu("switch_lm_tiny", *bindings, sizes=SIZES)
  names = []

  def build(mesh):
    dims = [mtf.Dimension("batch", BATCH), mtf.Dimension("length", LENGTH)]
    features = {
        name: graphs.constant(mesh, ids, dims) for name in ("inputs", "targets")
    }
    inferred = infer_fn(experiment_, features)
    variables = {v.name: v.value for v in mesh.graph.trainable_variables}
    (embedding,) = [v for n, v in variables.items() if "embedding" in n]
    (router,) = [v for n, v in variables.items() if "router" in n]
    names.extend(inferred.drops)
    return [inferred.results, embedding, router, *inferred.drops.values()]

  (results, embedding, router, *drops), _ = graphs.evaluate(build)
  # Norms have no influence: they are positive.
  return results, dict(zip(names, drops)), np.argmax(embedding @ router, axis=1)


def count(experts, real, factor):
  """Drops by hand: the tokens of a group in order, slots while there are any.

  Args:
    experts: the expert of each token, [batch, length].
    real: which tokens ask for a slot.
    factor: the capacity factor.
  """
  groups = np.reshape(experts, [GROUPS, -1])
  capacity = max(1, int(groups.shape[1] * factor / EXPERTS))
  asked = np.reshape(real, groups.shape)
  loads = [
      np.bincount(group[is_real], minlength=EXPERTS)
      for group, is_real in zip(groups, asked)
  ]
  return np.array(
      [np.sum(real), np.maximum(np.array(loads) - capacity, 0).sum()]
  )


def prompts():
  ids = np.random.RandomState(0).randint(2, 100, [BATCH, LENGTH])
  ids[:, PROMPT:] = 0
  return ids.astype(np.int32)


@pytest.mark.parametrize("factor", [0.25, 1.0])
def test_decoding_counts_its_drops_in_the_prompt_and_in_every_step(factor):
  ids = prompts()
  results, drops, expert_of = infer(
      inference.decode,
      ids,
      f"SwitchFeedForward.capacity_factor_infer = {factor}",
  )
  total = 2 * LENGTH
  texts = np.concatenate(
      [ids[:, :PROMPT], results[:, : total - PROMPT]], axis=1
  )
  # The inputs, of which the loop's first step takes the last one again.
  inputs = np.pad(texts, [(0, 0), (1, 0)])[:, :total]
  is_prompt = np.broadcast_to(np.arange(total) <= PROMPT, inputs.shape)
  with_prompt = inputs * is_prompt
  expected = count(expert_of[with_prompt], is_prompt, factor)
  steps = 0
  for position in range(PROMPT, total):
    if (texts[:, PROMPT:position] == 1).any(axis=1).all():
      break
    column = inputs[:, position : position + 1]
    expected += count(expert_of[column], np.ones_like(column, bool), factor)
    steps += 1
  assert steps > 3
  assert (drops["routed"], drops["dropped"]) == tuple(expected)
  assert 0 < drops["dropped"] < drops["routed"]


def test_scoring_counts_its_drops_and_padding_takes_no_slot():
  ids = prompts()
  ids[0] = np.arange(2, 2 + LENGTH)
  _, drops, expert_of = infer(
      inference.score, ids, "SwitchFeedForward.capacity_factor_infer = 0.5"
  )
  real = ids > 0
  inputs = np.pad(ids, [(0, 0), (1, 0)])[:, :-1] * real
  routed, dropped = count(expert_of[inputs], real, 0.5)
  assert (drops["routed"], drops["dropped"]) == (routed, dropped)
  assert dropped


def test_without_a_factor_nothing_is_dropped_or_counted():
  _, drops, _ = infer(inference.score, prompts())
  assert not drops


@pytest.mark.parametrize("beam_size", [1, 2])
def test_decoding_writes_all_that_it_keeps_in_place(beam_size):
  experiment_ = plans.on_one_cpu(
      "switch_tiny", f"Bitransformer.decode.beam_size = {beam_size}"
  )
  length = experiment_.lengths["inputs"]
  dims = [mtf.Dimension("batch", BATCH), mtf.Dimension("length", length)]
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    inputs = graphs.constant(mesh, np.ones([BATCH, length], np.int32), dims)
    decoded = inference.decode(experiment_, {"inputs": inputs})
    copies = [x for x in mesh.graph.operations if "own_copy" in x.name]
  decoder = decoded.model.decoder.layer_stack.layers
  layers = [x for x in decoder if isinstance(x, attention.SelfAttention)]
  # EncDecAttention is one too, and keeps what does not change.
  layers = [x for x in layers if not isinstance(x, attention.EncDecAttention)]
  assert len(copies) == 2 * len(layers) > 0


def test_the_share_of_drops_is_said_once_for_all_batches(monkeypatch):
  """Each row of a batch has the batch's sums, the rows that fill it up too."""
  rows = [(10.0, 1.0)] * 4 + [(6.0, 3.0)] * 4
  predictions = [
      {"score": i, "routed": routed, "dropped": dropped}
      for i, (routed, dropped) in enumerate(rows)
  ]
  estimator = types.SimpleNamespace(predict=lambda *_, **__: predictions)
  monkeypatch.setattr(estimators, "make", lambda *_: estimator)
  notes = []
  display = types.SimpleNamespace(
      note=notes.append, status=lambda *_: None, steps=lambda *_: None
  )
  run = types.SimpleNamespace(
      experiment=types.SimpleNamespace(sequences_per_batch=4), model_dir="m"
  )
  scored = prediction.predict(
      run, None, {"targets": np.zeros([6, 3])}, 1, display, "scored"
  )
  assert [x["score"] for x in scored] == list(range(6))
  (note,) = notes
  assert note.startswith("25.00% of the tokens' choices")
