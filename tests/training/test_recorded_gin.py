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

"""Gin files that come with a model run nobody's code."""

import mtf_switch  # isort: skip  # noqa: F401
import sys

import pytest

from mtf_switch import errors
from mtf_switch import modes  # noqa: F401  Registers what acts.
from mtf_switch.training import recorded_gin
from mtf_switch.training import teacher

_RECORD = """\
import mesh_tensorflow.transformer.utils as mesh_tensorflow5
import mtf_switch
import t5.data.preprocessors
import tasks
import json

encoder/make_layer_stack.layers = [@SwitchFeedForward]
make_bitransformer.stack = @make_layer_stack()
run.mesh_shape = @utils.tpu_mesh_shape()
train.steps = 3
"""


def checked(directory, line):
  file = directory / "operative_config.gin"
  file.write_text(_RECORD + line)
  return teacher.gin_files(str(directory), None)


@pytest.mark.parametrize("line", ["", "this is not gin"])
def test_a_record_may_configure(tmp_path, line):
  assert checked(tmp_path, line) == [f"{tmp_path}/operative_config.gin"]


def test_a_record_that_is_missing_is_left_to_gin(tmp_path):
  assert len(teacher.gin_files(str(tmp_path), None)) == 1


@pytest.mark.parametrize(
    "line, problem",
    [
        ("import their_module", "imports 'their_module'"),
        ("import os.their_module", "imports 'os.their_module'"),
        ("from their_module import layers", "imports 'their_module.layers'"),
        (
            "from __gin__ import dynamic_registration",
            "imports '__gin__.dynamic_registration'",
        ),
        ("include '/etc/their.gin'", "includes '/etc/their.gin'"),
        ("a = @infer()", "calls 'infer'"),
        ("a.b = {'c': [@x/utils.decode]}", "calls 'x/utils.decode'"),
        ("a.b = (1, @save_scores)", "calls 'save_scores'"),
        ("a/gin.singleton.constructor = @mtf_switch.modes.train", "calls"),
    ],
)
def test_a_record_may_not_act(tmp_path, line, problem):
  with pytest.raises(errors.UserError) as raised:
    checked(tmp_path, line)
  message = str(raised.value)
  assert message.startswith(f"{tmp_path}/operative_config.gin:11: it {problem}")
  assert "distill.teacher_gin" in message and "\n" not in message


def test_what_the_user_names_is_the_users(tmp_path):
  file = tmp_path / "mine.gin"
  file.write_text("import their_module")
  assert teacher.gin_files(str(tmp_path), str(file)) == [str(file)]


def test_modules_that_are_loaded_may_be_imported(tmp_path, monkeypatch):
  with pytest.raises(errors.UserError):
    checked(tmp_path, "import my_layers")
  monkeypatch.setitem(sys.modules, "my_layers", errors)
  recorded_gin.check(f"{tmp_path}/operative_config.gin")
