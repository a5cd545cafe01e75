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

"""Routing that is made up, with names that would be HTML."""

import types

import numpy as np

from mtf_switch.pages import pieces
from mtf_switch.pages import routing_record as record_lib
from mtf_switch.training import token_routing

EVIL = "<img src=http://localhost/a onerror=alert(1)><script>alert(2)</script>"
TEXTS = ["<pad>", "</s>", "<unk>", "\u2581the", "ing", "\u258112", EVIL, "'\"&"]
LAYERS = [
    token_routing.Layer("encoder/block_000/layer_001", "inputs", 4, 1),
    token_routing.Layer("decoder/block_000/layer_001", "targets", 3, 2),
    token_routing.Layer(f"decoder/{EVIL}", "inputs", 2, 1),
]


def vocabulary():
  """A vocabulary of TEXTS, and two sentinels."""
  return types.SimpleNamespace(
      unk_id=2,
      eos_id=1,
      vocab_size=len(TEXTS) + 2,
      extra_ids=2,
      tokenizer=types.SimpleNamespace(
          IdToPiece=lambda i: TEXTS[i], GetPieceSize=lambda: len(TEXTS)
      ),
  )


def tokens(
    length: int, layer: token_routing.Layer, rng
) -> token_routing.Tokens:
  """Decisions that fit each other, a third of which find no slot."""
  probs = rng.dirichlet(np.ones(layer.num_experts), length).astype(np.float32)
  order = np.argsort(-probs, axis=1)
  experts = order[:, : layer.num_choices]
  asked = np.ones(experts.shape, bool)
  asked[::2, 1:] = False
  best = order[:, : layer.num_choices + 1]
  return token_routing.Tokens(
      is_real=np.ones(length, bool),
      experts=experts,
      probabilities=np.take_along_axis(probs, experts, axis=1),
      gates=np.take_along_axis(probs, experts, axis=1),
      asked=asked,
      kept=asked & (rng.rand(*experts.shape) > 0.33),
      best=best,
      best_probabilities=np.take_along_axis(probs, best, axis=1),
  )


def kept(x: token_routing.Tokens) -> token_routing.Tokens:
  """The same where nothing is dropped, as in inference."""
  return x._replace(kept=x.asked)


def routing(num_examples=9, num_shown=7, num_readings=2) -> record_lib.Routing:
  """Routing of a model with an encoder, with two tasks."""
  rng = np.random.RandomState(0)
  examples = []
  for number in range(num_examples):
    ids = {
        name: np.append(rng.randint(2, len(TEXTS) + 2, rng.randint(1, 9)), 1)
        for name in ("inputs", "targets")
    }
    task = "other" if number % 3 else EVIL
    examples.append(record_lib.Example(number + 1, task, ids, number == 0))

  def read():
    return [
        [tokens(len(x.ids[layer.feature]), layer, rng) for layer in LAYERS]
        for x in examples
    ]

  readings = []
  for number in range(num_readings):
    found = read()
    readings.append(
        record_lib.Reading(
            f"model/{EVIL}",
            100 * number,
            LAYERS,
            [[kept(x) for x in layers] for layers in found[:num_shown]],
            [np.concatenate([y.experts for y in x]) for x in zip(*found)],
            [np.concatenate([y.asked for y in x]) for x in zip(*found)],
        )
    )
  in_training = record_lib.InTraining(
      batch=0,
      seed=3,
      asked=[100, 200, 100],
      dropped=[10, 30, 0],
      rows=list(range(num_shown)),
      shown=read()[:num_shown],
  )
  texts = pieces.Pieces(vocabulary())
  return record_lib.Routing(
      source=f"{EVIL}.txt",
      task=EVIL,
      pieces={"inputs": texts, "targets": texts},
      examples=examples,
      readings=readings,
      main=num_readings - 1,
      in_training=in_training,
  )
