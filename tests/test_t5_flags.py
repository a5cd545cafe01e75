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

"""The flags of T5's program, which this one has or answers."""

import pytest

from tests import programs


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["--use_model_api", "--mode=train"],
            "--use_model_api of T5's program is not a flag here: --mode "
            "chooses a mode without it.",
        ),
        (
            ["--mode", "export_predict"],
            "--mode=export_predict is a mode of T5's program: it is "
            "--mode=export here.",
        ),
        (
            ["--mode=export", "--export_dir=a"],
            "--export_dir of T5's program is not a flag here: --mode=export "
            "writes to --output_dir.",
        ),
        (
            ["-dataset_dir=a"],
            "--dataset_dir of T5's program is not a flag here: a task knows "
            "its data; TFDS's is in --t5_tfds_data_dir.",
        ),
        (
            ["--gin_location_prefix=a,b", "--gin_file=no.gin"],
            "--gin_file=no.gin is neither in the working directory nor in "
            f"{programs.PROJECT}/gin nor in a nor in b.",
        ),
    ],
)
def test_what_stands_here_for_a_flag_of_t5s(tmp_path, arguments, message):
  result = programs.run_alone(
      [programs.PROGRAM, "--model_dir=m", *arguments], tmp_path
  )
  assert result.returncode == 1
  assert result.stderr == f"run_switch: {message}\n"


def test_a_value_that_reads_like_a_flag_of_t5s(tmp_path):
  arguments = ["--gin_param=a = '--mode=export'", "--", "--use_model_api"]
  result = programs.run_alone([programs.PROGRAM, *arguments], tmp_path)
  assert "T5" not in result.stderr
