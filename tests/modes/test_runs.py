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

"""The gin files of gin/runs."""

import mtf_switch  # isort: skip  # noqa: F401
import gin
import pytest

from mtf_switch import errors
import mtf_switch.modes  # noqa: F401  Its names are in gin/runs.
from mtf_switch.modes import decode  # noqa: F401
from mtf_switch.modes import finetune  # noqa: F401
from mtf_switch.training import strict_gin
from tests import gin_files

FILES = gin_files.names("runs")
VALUES = dict(
    batch_size="4",
    layout_rules="''",
    learning_rate_schedule="0.01",
    mesh_shape="''",
    model_parallelism="2",
    model_type="'bitransformer'",
    optimizer="@AdafactorOptimizer",
    pretrained_dir="'a_directory'",
    sequence_length="16",
    task="'a_task'",
    teacher_dir="'a_directory'",
    train_steps="10",
)


def parse(name, values):
  gin_files.clear()
  strict_gin.parse([name], [f"{k} = {v}" for k, v in values.items()], [])


@pytest.mark.parametrize("name", FILES)
def test_header_names_what_a_file_provides_and_requires(name):
  header = gin_files.header(name)
  required = gin_files.names_in_header(header["Requires"])
  parse(name, {macro: VALUES[macro] for macro in required})
  provided, missing = gin_files.macros()
  assert not missing
  assert provided - required == gin_files.names_in_header(header["Provides"])
  if required:
    with pytest.raises(errors.UserError) as error:
      parse(name, {})
    for macro in required:
      assert macro in str(error.value)


def parse_complete(name):
  required = gin_files.names_in_header(gin_files.header(name)["Requires"])
  parse(name, {macro: VALUES[macro] for macro in required})


def test_fine_tuning_has_the_settings_of_the_paper():
  """Section 4.1."""
  parse_complete("runs/finetune.gin")
  assert gin.query_parameter("train.eval_every") == 200
  for macro, value in dict(
      train_steps=16000, dropout_rate=0.1, expert_dropout_rate=0.4
  ).items():
    assert gin_files.macro(macro) == value


def test_checkpoints_keep_all_digits():
  parse_complete("runs/pretrain.gin")
  for dtype in ("master_dtype", "slice_dtype"):
    name = f"mesh_tensorflow.transformer.utils.get_variable_dtype.{dtype}"
    assert gin.query_parameter(name) == "float32"
