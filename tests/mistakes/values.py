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

"""Values in gin of the wrong type, or out of their range."""

from tests.mistakes.mistake import Mistake

_COUNT = "must be a whole number of at least 1"
_DROPOUT = "must be a number of at least 0 and below 1"
_POSITIVE = "must be a number above 0"


def _value(binding: str, *contains: str) -> Mistake:
  """A value that is refused; the line has at least the value itself."""
  return Mistake([f"= {binding.split(' = ')[1]} ", *contains], [binding])


MISTAKES = [
    *[
        _value(f"train_steps = {value}", "train.steps", _COUNT)
        for value in ("'60'", "10.5", "None", "0", "-5", "True", "[60]")
    ],
    *[
        _value(f"batch_size = {value}", "Experiment.batch_size", _COUNT)
        for value in ("'4'", "3.5", "0", "True", "['tokens_per_batch', 0]")
    ],
    *[
        _value(
            f"sequence_length = {value}", "Experiment.sequence_length", _COUNT
        )
        for value in ("'24'", "0", "{'targets': 'x'}", "[24, 16]")
    ],
    *[
        _value(f"d_model = {value}", "Unitransformer.d_model", _COUNT)
        for value in ("0", "-1", "'16'", "None", "2.5")
    ],
]
