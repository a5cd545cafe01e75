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

"""Checkpoints that lack files, or whose files are something else."""

from tests.mistakes.mistake import Mistake

_STATE = 'model_checkpoint_path: "model.ckpt-2"\n'
_DATA = "m/model.ckpt-2.data-00000-of-00001"

MISTAKES = [
    Mistake(
        ["m/model.ckpt-2 has no index file; no other checkpoint is there."],
        flags=["--mode=eval"],
        files={"m/checkpoint": _STATE, _DATA: b""},
    ),
    Mistake(
        ["m/model.ckpt-2 has a damaged index file; no other checkpoint is"],
        flags=["--mode=perplexity_eval"],
        files={
            "m/checkpoint": _STATE,
            "m/model.ckpt-2.index": b"\x00" * 100,
            _DATA: b"",
        },
    ),
    Mistake(
        ["there is no checkpoint in 'm'; train first, or correct --model_dir."],
        flags=["--mode=perplexity_eval", "--gin_file=runs/beam_search.gin"],
        files={"m/checkpoint": b"\xff\xfe\x00"},
    ),
]
