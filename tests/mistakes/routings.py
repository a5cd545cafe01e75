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

"""What --mode=routing cannot show."""

from tests.mistakes.mistake import Mistake

_DENSE = (
    "encoder/transformer.make_layer_stack.layers ="
    " [@transformer_layers.SelfAttention]",
    "decoder/transformer.make_layer_stack.layers ="
    " [@transformer_layers.EncDecAttention]",
)
_FILES = {
    "text.txt": "a\tb\n",
    "empty.txt": "\n \n",
    "wide.txt": "a\n\nb\tc\td",
}


def _routing(*flags: str, contains=(), params=()) -> Mistake:
  """The mode, and what its line must have."""
  if not any(x.startswith("--output_dir") for x in flags):
    flags = (*flags, "--output_dir=out")
  return Mistake(
      contains, params, flags=["--mode=routing", *flags], files=_FILES
  )


MISTAKES = [
    Mistake(
        ["--mode=routing needs --output_dir."],
        flags=["--mode=routing", "--input_file=text.txt"],
        files=_FILES,
    ),
    _routing(
        "--output_dir=mine.gin",
        contains=["--output_dir=mine.gin", "Not a directory"],
    ),
    _routing(
        "--input_file=no.txt", contains=["--input_file=no.txt does not exist"]
    ),
    _routing(
        "--input_file=empty.txt",
        contains=["--input_file=empty.txt has no text"],
    ),
    _routing(
        "--input_file=wide.txt",
        contains=[
            "wide.txt:3: 3 columns where inputs and targets are expected"
        ],
    ),
    _routing(
        *("--input_file=text.txt", "--split=train"),
        contains=["--input_file and --split do not go together"],
    ),
    _routing(
        contains=["the model has no Switch layers", "SwitchFeedForward"],
        params=_DENSE,
    ),
    _routing("--split=no", contains=["'toy_copy' has no 'no' split"]),
    _routing("--task=toy_copi", contains=["did you mean toy_copy?"]),
    _routing(
        "--task=toy_sentinels",
        contains=["--task=toy_sentinels has another vocabulary", "'toy_copy'"],
    ),
    _routing(
        "--task=toy_lm", contains=["needs a task with inputs and targets"]
    ),
    _routing(contains=["there is no checkpoint in 'm'"]),
    _routing(
        *("--model_dir=m", "--model_dir=a", "--model_dir=b"),
        contains=["--model_dir is given 3 times, and --mode=routing takes two"],
    ),
    _routing(
        *("--model_dir=m", "--model_dir=no"),
        contains=["--model_dir=no does not exist"],
    ),
    _routing(
        contains=["routing.training_batch = -1", "whole number"],
        params=["routing.training_batch = -1"],
    ),
]
