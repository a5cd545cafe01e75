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

"""Directories that --mode=convert cannot convert.

Broken checkpoints of T5X are in tests/conversion: each costs a start of JAX.
"""

import json

from safetensors import numpy as safetensors_numpy

from tests.conversion import peers
from tests.mistakes.mistake import Mistake
from tests.peers import draws

_FIXTURE = peers.fixture("t5")
_WEIGHTS = draws.weights(_FIXTURE["shapes"])
_WHOLE = safetensors_numpy.save(_WEIGHTS)
_GOOD = {
    "hf/config.json": json.dumps(_FIXTURE["config"]),
    "hf/model.safetensors": _WHOLE,
    "hf/spiece.model": (peers.FIXTURES / "spiece.model").read_bytes(),
}
_T5X = {"t5x/checkpoint": b""}
_INDEX = json.dumps(
    {"weight_map": {name: "part.safetensors" for name in _WEIGHTS}}
)


def _without(*names: str) -> dict[str, str | bytes]:
  return {key: x for key, x in _GOOD.items() if key not in names}


def _convert(*flags: str, contains=(), params=(), files=_GOOD) -> Mistake:
  """The mode, and what its line must have."""
  if not any(x.startswith("--output_dir") for x in flags):
    flags = (*flags, "--output_dir=out")
  return Mistake(
      contains,
      flags=[
          "--mode=convert",
          *flags,
          *(f"--gin_param={param}" for param in params),
      ],
      files=files,
      is_whole=True,
  )


def _bad(contains, files, params=()) -> Mistake:
  """A directory that is wrong."""
  return _convert(
      "--huggingface_dir=hf", contains=contains, files=files, params=params
  )


MISTAKES = [
    _convert(
        contains=["--model_dir is missing", "or --huggingface_dir or --t5x_dir"]
    ),
    _convert(
        *("--huggingface_dir=hf", "--t5x_dir=t5x"),
        contains=["--huggingface_dir and --t5x_dir do not go together"],
    ),
    _convert(
        "--t5x_dir=no", contains=["--t5x_dir=no does not exist"], files={}
    ),
    _convert(
        "--t5x_dir=t5x",
        contains=["does not say what its model is", "--gin_file=models/"],
        files=_T5X,
    ),
    _convert(
        *("--t5x_dir=t5x", "--gin_file=models/t5_small.gin"),
        contains=["has no vocabulary", "vocabulary.path"],
        files=_T5X,
    ),
    _convert(
        *("--huggingface_dir=hf", "--model_dir=m"),
        contains=["--model_dir and --huggingface_dir do not go together"],
    ),
    _convert(
        "--huggingface_dir=no",
        contains=["--huggingface_dir=no does not exist"],
    ),
    _convert(
        *("--huggingface_dir=hf", "--output_dir=full"),
        contains=["--output_dir=full is not empty: it has a_file"],
        files={**_GOOD, "full/a_file": "x"},
    ),
    _convert(
        *("--huggingface_dir=hf", "--output_dir=mine.gin"),
        contains=["--output_dir=mine.gin", "Not a directory"],
    ),
    _bad(["hf/config.json is missing"], _without("hf/config.json")),
    _bad(["hf/config.json is not JSON"], {**_GOOD, "hf/config.json": "{"}),
    _bad(
        ["model_type = 'bert'", "switch_transformers"],
        {**_GOOD, "hf/config.json": '{"model_type": "bert"}'},
    ),
    _bad(
        ["hf/model.safetensors is not whole"],
        {**_GOOD, "hf/model.safetensors": _WHOLE[:-100]},
    ),
    _bad(
        ["hf has neither model.safetensors nor"],
        _without("hf/model.safetensors"),
    ),
    _bad(
        ["hf/pytorch_model.bin is a pickle", "save_pretrained"],
        {**_without("hf/model.safetensors"), "hf/pytorch_model.bin": b"x"},
    ),
    _bad(
        ["hf/part.safetensors is missing"],
        {
            **_without("hf/model.safetensors"),
            "hf/model.safetensors.index.json": _INDEX,
        },
    ),
    _bad(
        ["model.safetensors.index.json does not say", "another directory"],
        {
            **_without("hf/model.safetensors"),
            "hf/model.safetensors.index.json": _INDEX.replace(
                "part.s", "../part.s"
            ),
        },
    ),
    _bad(
        ["encoder.block.0.layer.0.SelfAttention.q.weight", "8 x 8", "16 x 8"],
        {
            **_GOOD,
            "hf/config.json": json.dumps({**_FIXTURE["config"], "d_kv": 8}),
        },
    ),
    _bad(["hf has no spiece.model"], _without("hf/spiece.model")),
    _bad(
        ["its tokenizer is a BertTokenizer", "SentencePiece"],
        {
            **_without("hf/spiece.model"),
            "hf/tokenizer_config.json": '{"tokenizer_class": "BertTokenizer"}',
        },
    ),
    _bad(
        ["hf/spiece.model", "is not a SentencePiece model"],
        {**_GOOD, "hf/spiece.model": b"x"},
    ),
    _bad(
        ["convert.left_out = 3", "a list"],
        _GOOD,
        params=["convert.left_out = 3"],
    ),
    Mistake(
        ["there is no checkpoint in 'm'"],
        flags=["--mode=convert", "--output_dir=out"],
        params=[
            "Unitransformer.positional_embedding = False",
            "encoder/transformer.make_layer_stack.layers ="
            " [@transformer_layers.SelfAttention, @SwitchFeedForward]",
            "decoder/transformer.make_layer_stack.layers ="
            " [@transformer_layers.SelfAttention,"
            " @transformer_layers.EncDecAttention, @SwitchFeedForward]",
        ],
    ),
    Mistake(
        ["the model has EncDecAttention, SwitchFeedForward as a layer"],
        flags=["--mode=convert", "--output_dir=out"],
    ),
]
