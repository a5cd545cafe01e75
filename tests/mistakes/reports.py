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

"""Directories of --mode=report that are wrong."""

from tests.mistakes.mistake import Mistake

_LINE = '{"step": 1, "kind": "train", "task": "t", "cross_entropy": 2.0}\n'
_RUN = {"a/metrics.jsonl": _LINE}


def _report(*flags: str, contains=(), files=_RUN) -> Mistake:
  """A report, and what its line must have."""
  return Mistake(
      contains, flags=["--mode=report", *flags], files=files, is_whole=True
  )


MISTAKES = [
    _report("--output_dir=out", contains=["--model_dir is missing"]),
    _report(
        *("--model_dir=a", "--model_dir=", "--output_dir=out"),
        contains=["--model_dir is missing"],
    ),
    _report("--model_dir=a", contains=["--mode=report needs --output_dir."]),
    _report(
        *("--model_dir=a", "--output_dir=mine.gin"),
        contains=["--output_dir=mine.gin", "Not a directory"],
    ),
    _report(
        *("--model_dir=a", "--model_dir=no", "--output_dir=out"),
        contains=["--model_dir=no does not exist"],
    ),
    _report(
        *("--model_dir=a", "--model_dir=empty", "--output_dir=out"),
        contains=["--model_dir=empty has no figures of a run in metrics.jsonl"],
        files={**_RUN, "empty/log.txt": ""},
    ),
    _report(
        *("--model_dir=a", "--model_dir=a/", "--output_dir=out"),
        contains=["--model_dir=a is given twice"],
    ),
    _report(
        *("--model_dir=a", "--output_dir=out"),
        contains=["a/model.json is not JSON"],
        files={**_RUN, "a/model.json": "{"},
    ),
    Mistake(
        ["--model_dir is given 2 times, and --mode=train takes one"],
        flags=["--model_dir=a", "--model_dir=b"],
    ),
]
