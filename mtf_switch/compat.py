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

"""Version shims, in one place; imported before the rest of the project.

Each shim names its symptom and the versions that need it. No other module of
the project assigns to another package's attributes.
"""

from collections.abc import Callable, Sequence
import importlib.abc
import importlib.machinery
import importlib.util
import os
import runpy
import sys
import threading
import types
from typing import Any
import warnings

# Symptom: ten lines about CUDA and CPU features from TensorFlow's C++ code on
# every import. A value that the user has set takes precedence.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Symptom: "UserWarning: pkg_resources is deprecated as an API".
# mesh-tensorflow 0.1.21 imports it, setuptools 67 to 81 warn (82 removed it).
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")

# Symptom: every start takes two seconds longer. Keras 2.15 imports pandas and
# scipy.ndimage, tensorflow-text 2.15.0 tensorflow_hub, seqio 0.0.18 pyglove and
# t5 0.9.4 rouge_scorer (and with it nltk), scipy.stats and scikit-learn, for
# functions that a run may never call. With each module come the functions whose
# names are looked up on import: t5 asks whether there are these two.
_LOADED_ON_FIRST_USE = {
    "pandas": (),
    "pyglove": (),
    "rouge_score.rouge_scorer": (),
    "scipy.ndimage": (),
    "scipy.stats": (),
    "sklearn": (),
    "sklearn.metrics": ("fbeta_score", "matthews_corrcoef"),
    "tensorflow_hub": (),
}


_loading = threading.RLock()


class _LazyModule(types.ModuleType):
  """A module that is loaded when one of its attributes is first read.

  A module of importlib.util.LazyLoader does not stay lazy: in Python 3.11 its
  second import loads it.
  """

  def __getattr__(self, name):
    _load(self)
    return types.ModuleType.__getattribute__(self, name)


def _load(module: types.ModuleType | None):
  """Executes a _LazyModule once; other threads wait until it is loaded."""
  if not isinstance(module, _LazyModule):
    return
  with _loading:
    if module.__spec__.loader is not module.__loader__:
      _load(_parent(module.__name__))
      module.__spec__.loader = module.__loader__
      module.__loader__.exec_module(module)
      module.__class__ = types.ModuleType


def _parent(name: str) -> types.ModuleType | None:
  """The package of a module, if it is imported."""
  return sys.modules.get(name.rpartition(".")[0])


class _LazyLoader(importlib.abc.Loader):
  """Turns a module into a _LazyModule, which another loader then executes."""

  def __init__(self, loader: importlib.abc.Loader, functions: Sequence[str]):
    self._loader = loader
    self._functions = functions

  def exec_module(self, module):
    module.__loader__ = self._loader
    module.__class__ = _LazyModule
    for name in self._functions:
      setattr(module, name, _lazy_function(module, name))


def _lazy_function(module: _LazyModule, name: str) -> Callable[..., Any]:
  """A function that stands for one of a module until that is loaded."""

  def call(*args, **kwargs):
    _load(module)
    return getattr(module, name)(*args, **kwargs)

  return call


class _LazyFinder(importlib.abc.MetaPathFinder):
  """Finds the modules of _LOADED_ON_FIRST_USE where Python would find them."""

  def find_spec(self, fullname, path, target=None):
    if fullname not in _LOADED_ON_FIRST_USE:
      _load(_parent(fullname))
      return None
    spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
    if spec is not None:
      spec.loader = _LazyLoader(spec.loader, _LOADED_ON_FIRST_USE[fullname])
    return spec


sys.meta_path.insert(0, _LazyFinder())

# pylint: disable=wrong-import-position
from gin import resource_reader  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402
from tensorflow.python.framework import ops  # noqa: E402
from tensorflow.python.framework import tensor_conversion_registry  # noqa: E402

# Symptom: "AttributeError: module 'tensorflow.python.framework.ops' has no
# attribute 'register_tensor_conversion_function'" on `import mesh_tensorflow`.
# mesh-tensorflow 0.1.21 with TensorFlow >= 2.13, which moved the function.
if not hasattr(ops, "register_tensor_conversion_function"):
  ops.register_tensor_conversion_function = (
      tensor_conversion_registry.register_tensor_conversion_function
  )

# Symptom: "ModuleNotFoundError: No module named 'torch'" on `import t5.models`.
# t5 0.9.4 imports its PyTorch model along with the Mesh TensorFlow one.
if importlib.util.find_spec("torch") is None:
  _hf_model = types.ModuleType("t5.models.hf_model")
  _hf_model.HfPyTorchModel = None
  sys.modules.setdefault("t5.models.hf_model", _hf_model)

# Symptom: "TypeError: expected str, bytes or os.PathLike object, not NoneType"
# for a gin file named `models/x.gin` if the working directory has a folder
# `models`. gin-config 0.5.0 also searches the Python package of that name, and
# a folder passes for a package without a file.
_parse_config_path = resource_reader._parse_config_path  # pylint: disable=protected-access


def _parse_path_in_package(config_path: str) -> str:
  try:
    return _parse_config_path(config_path)
  except TypeError as error:
    raise ValueError(f"{config_path} is in no package") from error


resource_reader._parse_config_path = _parse_path_in_package  # pylint: disable=protected-access

# Symptom: the losses of a run differ each time it is started.
# mesh-tensorflow 0.1.21 creates reference variables, which Adafactor updates
# while the backward pass still reads them. The mesh reads each variable once a
# step, and a value read from a resource variable does not change.
tf.enable_resource_variables()


def replace_beam_search(beam_search):
  """Has Mesh TensorFlow's models call another beam search.

  Symptom: beam search returns sequences that score below greedy decoding's.
  mesh-tensorflow 0.1.21; see transformer/beam_search.py.

  Args:
    beam_search: a function with the arguments of upstream's.
  """
  import mesh_tensorflow  # pylint: disable=g-import-not-at-top

  mesh_tensorflow.beam_search.beam_search = beam_search


def replace_sampling(sample_with_temperature):
  """Has Mesh TensorFlow's models choose tokens by another function.

  Symptom: greedy decoding transposes the logits of the vocabulary in each step.
  mesh-tensorflow 0.1.21; see transformer/sampling.py.

  Args:
    sample_with_temperature: a function with the arguments of upstream's.
  """
  import mesh_tensorflow  # pylint: disable=g-import-not-at-top

  mesh_tensorflow.sample_with_temperature = sample_with_temperature


def use_graph_mode():
  """Switches the process to TF1 graphs, as T5's own programs do.

  TPUEstimator and Mesh TensorFlow build graphs. `disable_v2_behavior` also
  disables resource variables, so they are enabled again.
  """
  tf.disable_v2_behavior()
  tf.enable_resource_variables()


def t5_mesh_transformer():
  """Runs T5's program `t5_mesh_transformer` with the shims in place.

  T5's own console script fails on import with TensorFlow >= 2.13, before
  `--module_import` can help; the script of this project replaces it.
  """
  from absl import app  # pylint: disable=g-import-not-at-top
  from t5.models import mesh_transformer_main  # pylint: disable=g-import-not-at-top

  use_graph_mode()
  tf.logging.set_verbosity(tf.logging.INFO)
  app.run(mesh_transformer_main.main)


if __name__ == "__main__":
  # python -m mtf_switch.compat PROGRAM ARGS...: runs any module, shims first.
  if len(sys.argv) < 2:
    sys.exit(
        "usage: python -m mtf_switch.compat MODULE|t5_mesh_transformer ..."
    )
  sys.argv = sys.argv[1:]
  if sys.argv[0] == "t5_mesh_transformer":
    t5_mesh_transformer()
  else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
