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
"""Models that cannot be made of others: --mode=upcycle and --mode=prune."""

from tests.mistakes.mistake import Mistake
from tests.mistakes.mistake import values_of

_UPCYCLE = ("--mode=upcycle",)
_PRUNE = ("--mode=prune", "--output_dir=new")
_DENSE = (
    "encoder/transformer.make_layer_stack.layers ="
    " [@transformer_layers.SelfAttention]",
    "decoder/transformer.make_layer_stack.layers ="
    " [@transformer_layers.EncDecAttention]",
)


def _made(*contains: str, params=(), flags=_PRUNE, files=None) -> Mistake:
  """A command, and what its line must have."""
  return Mistake(contains, params, flags=flags, files=files or {})


MISTAKES = [
    *values_of("upcycle.dense_dir", ["3"], "must be a text", flags=_UPCYCLE),
    _made(
        "upcycle.noise = -0.1 must be a number of at least 0",
        params=["upcycle.dense_dir = 'a'", "upcycle.noise = -0.1"],
        flags=_UPCYCLE,
    ),
    _made(
        "there is no checkpoint in 'a'",
        "or correct upcycle.dense_dir",
        params=["upcycle.dense_dir = 'a'"],
        flags=_UPCYCLE,
    ),
    _made(
        "--model_dir=m has checkpoints already; name a new directory.",
        params=["upcycle.dense_dir = 'a'"],
        flags=_UPCYCLE,
        files={"m/model.ckpt-2.index": b""},
    ),
    _made("--mode=prune needs --output_dir.", flags=["--mode=prune"]),
    *values_of("prune.keep", ["0"], "must be a whole number", flags=_PRUNE),
    _made(
        "prune.keep = 4 must be below the 4 experts of the model.",
        params=["prune.keep = 4"],
    ),
    _made("prune.keep = None and prune.merging = None: set one of the two"),
    _made(
        "prune.new_gin is not set",
        params=["prune.merging = 'mean'"],
    ),
    _made(
        "prune.merging = 'most'",
        params=["prune.merging = 'most'"],
    ),
    _made(
        "the model has no Switch layers, so that it has no experts to remove",
        params=[*_DENSE, "prune.keep = 2"],
    ),
    _made(
        "there is no checkpoint in 'm'; train first",
        params=["prune.keep = 2"],
    ),
    _made(
        "--output_dir=new has checkpoints already",
        params=["prune.keep = 2"],
        files={"new/model.ckpt-2.index": b""},
    ),
    _made(
        "'toy_copy' has no 'x' split",
        params=["prune.keep = 2", "prune.split = 'x'"],
    ),
    _made(
        "router.gate = 'one' is for one expert a token",
        params=[
            "SwitchFeedForward.router = @top_2_router",
            "top_2_router.gate = 'one'",
        ],
        flags=["--mode=train"],
    ),
    _made("gate = 'two'", params=["switch_router.gate = 'two'"], flags=[]),
]
