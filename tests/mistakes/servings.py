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

"""Models that cannot be served: --mode=export and --mode=interactive."""

from tests.mistakes.mistake import Mistake
from tests.mistakes.mistake import values_of

_EXPORT = ("--mode=export", "--output_dir=out")


def _served(*contains: str, params=(), flags=_EXPORT, files=None) -> Mistake:
  """A command, and what its line must have."""
  return Mistake(contains, params, flags=flags, files=files or {})


MISTAKES = [
    _served("--mode=export needs --output_dir.", flags=["--mode=export"]),
    _served(
        "--output_dir=out is not empty: it has a; name a new directory.",
        files={"out/a": "text"},
    ),
    _served("there is no checkpoint in 'm'"),
    _served("there is no checkpoint in 'm'", flags=["--mode=interactive"]),
    *values_of(
        "export.decodings",
        ["['greedy', 'beam']", "{'beam': {'beam_size': '4'}}"],
        "must be T5's parameters for each decoding, as in {'greedy': {}, ",
        flags=_EXPORT,
    ),
    _served(
        "export.decodings = 'best' is not known; use one of greedy, beam, samp",
        params=["export.decodings = {'best': {}}"],
    ),
    _served(
        "export.decodings['beam'] = {} is 'greedy'",
        params=["export.decodings = {'beam': {}}"],
    ),
    _served(
        "a served model runs on one core",
        "layouts/single.gin",
        params=[
            "Experiment.mesh_shape = 'data:2'",
            "Experiment.layout_rules = 'batch:data'",
        ],
    ),
    *(
        _served(
            "SwitchFeedForward.capacity_factor_infer = 2.0 would have a text "
            "depend on those beside it",
            params=["SwitchFeedForward.capacity_factor_infer = 2.0"],
            flags=flags,
        )
        for flags in (_EXPORT, ["--mode=interactive"])
    ),
]
