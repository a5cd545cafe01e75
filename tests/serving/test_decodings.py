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

"""The decodings that gin describes, and those that it may not."""

import mtf_switch  # isort: skip  # noqa: F401
import gin
import pytest

from mtf_switch import errors
from mtf_switch.serving import decodings


def test_without_a_choice_it_is_the_decoding_of_infer():
  assert list(decodings.chosen(None, is_lm=False)) == ["greedy"]
  gin.parse_config("Bitransformer.decode.beam_size = 4")
  (beam,) = decodings.chosen(None, is_lm=False).values()
  assert (beam.beam_size, beam.kind) == (4, "beam")
  with pytest.raises(errors.UserError, match="no beam search for an 'lm'"):
    decodings.chosen(None, is_lm=True)
  gin.clear_config()
  gin.parse_config("Unitransformer.sample_autoregressive.temperature = 0.5")
  assert list(decodings.chosen(None, is_lm=False)) == ["greedy"]
  (sample,) = decodings.chosen(None, is_lm=True).values()
  assert (sample.temperature, sample.kind) == (0.5, "sample")


def test_several_are_chosen_by_their_names():
  given = {
      "sample": {"temperature": 1.0, "sampling_keep_top_k": 5},
      "greedy": {},
  }
  chosen = decodings.chosen(given, is_lm=False)
  assert list(chosen) == ["sample", "greedy"]
  assert chosen["sample"].sampling_keep_top_k == 5
  assert "Bitransformer.decode.sampling_keep_top_k = 5" in (
      chosen["sample"].bindings(is_lm=False)
  )
  assert not any("beam" in x for x in chosen["sample"].bindings(is_lm=True))


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "export.decodings is empty"),
        ({"best": {}}, "export.decodings = 'best' is not known; use one of"),
        ({"beam": {"beams": 2}}, "'beams' is not known; use one of beam_size"),
        ({"beam": {}}, "is 'greedy': 'beam' has a beam_size above 1"),
        ({"greedy": {"temperature": 0.5}}, "is 'sample'"),
        ({"beam": {"beam_size": 2, "temperature": 1.0}}, "does not sample"),
        ({"beam": {"beam_size": 0}}, "beam_size = 0 must be at least 1"),
        ({"beam": {"beam_size": 2.5}}, "beam_size = 2.5 must be a whole"),
        ({"sample": {"temperature": -1.0}}, "temperature = -1.0 must be a num"),
        (
            {"sample": {"temperature": 1.0, "sampling_keep_top_k": 0}},
            "sampling_keep_top_k = 0 must be at least 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(given, message):
  with pytest.raises(errors.UserError, match=message):
    decodings.chosen(given, is_lm=False)
