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

"""The symptom of each shim is gone."""

import importlib
import inspect
import sys

import gin
import mesh_tensorflow as mtf
import pytest
from t5.evaluation import metrics
import tensorflow.compat.v1 as tf

from mtf_switch import compat
from mtf_switch import errors
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
  assert issubclass(errors.UserError, ValueError)
  assert "torch" not in sys.modules


@pytest.fixture
def lazy_package(tmp_path, monkeypatch):
  """A package that is loaded on first use, and the file that loading writes."""
  package = tmp_path / "package_of_test"
  package.mkdir()
  (package / "__init__.py").write_text(
      "import pathlib\n"
      "from package_of_test import child\n"
      "load = child.VALUE\n"
      "def function(x, by=1): return by * x\n"
      "with open(pathlib.Path(__file__).parent / 'loaded', 'a') as file:\n"
      "  file.write('once ')\n"
  )
  (package / "child.py").write_text("VALUE = 3\n")
  monkeypatch.syspath_prepend(tmp_path)
  lazy = {"package_of_test": ("function",)}
  monkeypatch.setattr(compat, "_LOADED_ON_FIRST_USE", lazy)
  yield package / "loaded"
  for name in ("package_of_test", "package_of_test.child"):
    sys.modules.pop(name, None)


def test_lazy_module_is_loaded_by_its_first_attribute(lazy_package):
  import package_of_test  # pylint: disable=g-import-not-at-top

  importlib.import_module("package_of_test")  # Nor does a second import load.
  assert inspect.getmodule(compat) is not package_of_test
  assert not lazy_package.exists()
  assert package_of_test.load == 3
  with pytest.raises(AttributeError, match="no attribute 'none'"):
    _ = package_of_test.none
  importlib.import_module("package_of_test.child")
  assert lazy_package.read_text() == "once "
  assert type(package_of_test) is type(sys)
  assert package_of_test.__spec__.loader is package_of_test.__loader__


def test_lazy_module_is_loaded_before_its_children(lazy_package):
  importlib.import_module("package_of_test")
  importlib.import_module("package_of_test.child")
  assert lazy_package.read_text() == "once "


def test_lazy_child_is_loaded_after_its_package(lazy_package, monkeypatch):
  lazy = {"package_of_test": (), "package_of_test.child": ()}
  monkeypatch.setattr(compat, "_LOADED_ON_FIRST_USE", lazy)
  child = importlib.import_module("package_of_test.child")
  assert not lazy_package.exists()
  assert child.VALUE == 3
  assert lazy_package.read_text() == "once "


def test_lazy_function_is_there_before_its_module_is_loaded(lazy_package):
  package = importlib.import_module("package_of_test")
  function = package.function
  assert not lazy_package.exists()
  assert function(3, by=2) == 6
  assert lazy_package.read_text() == "once "
  assert package.function is not function


def test_metrics_of_lazy_packages():
  assert metrics.rouge(["a b"], ["a b"])["rouge1"] == pytest.approx(100)
  matthews = metrics.sklearn_metrics_wrapper("matthews_corrcoef")
  assert matthews([0, 1, 1], [0, 1, 1])["matthews_corrcoef"] == 1
  assert metrics.spearman_corrcoef([1, 2, 3], [1, 2, 4])[
      "spearman_corrcoef"
  ] == pytest.approx(100)
  with pytest.raises(ValueError, match="does not have: no_metric"):
    metrics.sklearn_metrics_wrapper("no_metric")
