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

"""The shims: each symptom is gone."""

import sys

import gin
import mesh_tensorflow as mtf
import pytest
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from tests import gin_files


def test_a_folder_of_the_same_name_does_not_hide_a_gin_file(
    tmp_path, monkeypatch
):
  (tmp_path / "models").mkdir()
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(tmp_path)
  gin_files.parse(["models/t5_tiny.gin"])
  assert gin_files.macro("d_model") == 128
  with pytest.raises(OSError, match="models/none.gin"):
    gin.parse_config_file("models/none.gin")


def test_variables_are_read_once_in_a_step():
  with tf.Graph().as_default():
    mesh = mtf.Mesh(mtf.Graph(), "mesh")
    variable = mtf.get_variable(mesh, "v", mtf.Shape([]))
    assert "Resource" in type(variable.operation.get_master()).__name__


def test_t5_models_import_without_torch():
  import t5.models  # pylint: disable=g-import-not-at-top

  assert t5.models.MtfModel
  assert issubclass(compat.UserError, ValueError)
  assert "torch" not in sys.modules
