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

"""Parses the project's gin files, and builds their models."""

import mtf_switch  # isort: skip  # noqa: F401
from collections.abc import Sequence
import os
import pathlib
import re

import gin
import mesh_tensorflow as mtf
from mesh_tensorflow.transformer import transformer
from mesh_tensorflow.transformer import utils
import tensorflow.compat.v1 as tf

from mtf_switch.mesh import placement

ROOT = pathlib.Path(__file__).resolve().parent.parent / "gin"

# Shrinks a model of any size to one that a test can run.
SHRUNK = (
    "d_model = 16",
    "d_ff = 32",
    "d_kv = 8",
    "num_heads = 2",
    "num_layers = 2",
    "num_blocks = 1",
    "num_experts = 4",
    "num_cores = 2",
)


def names(folder: str) -> list[str]:
  """Returns the gin files of a folder, named as on the command line."""
  return sorted(
      f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.gin")
  )


def parse(files: Sequence[str], bindings: Sequence[str] = ()):
  """Replaces gin's configuration by files and bindings, and finalizes it."""
  clear()
  gin.parse_config_files_and_bindings(
      list(files), list(bindings), print_includes_and_imports=False
  )


def parse_unfinished(file: str):
  """Replaces gin's configuration by a file, without finalizing it."""
  clear()
  gin.parse_config_file(file)


def clear():
  """Clears gin's configuration, and the search paths of other tests."""
  gin.clear_config()
  gin.config._LOCATION_PREFIXES[:] = [""]  # pylint: disable=protected-access
  gin.add_config_file_search_path(os.fspath(ROOT))


def macros() -> tuple[set[str], set[str]]:
  """Returns the names of the macros with a value, and of those without."""
  config = gin.config._CONFIG  # pylint: disable=protected-access
  macro_fn = gin.get_configurable("gin.macro")
  required = {
      reference.scopes[0]
      for reference in gin.config.iterate_references(config, to=macro_fn)
  }
  provided = set()
  for (scope, selector), bindings in config.items():
    if selector == "gin.macro":
      if str(bindings["value"]) == "%gin.REQUIRED":
        required.add(scope)
      else:
        provided.add(scope)
  return provided, required - provided


def header(file: str) -> dict[str, str]:
  """Returns the first comment of a file: "text", "Provides", "Requires"."""
  lines = []
  for line in (ROOT / file).read_text().splitlines():
    if not line.startswith("#"):
      break
    lines.append(line[1:].strip())
  text, provides, requires = re.fullmatch(
      r"-\*-Python-\*- (.*) Provides: (.*) Requires: (.*)", " ".join(lines)
  ).groups()
  return {"text": text, "Provides": provides, "Requires": requires}


def names_in_header(text: str) -> set[str]:
  """Returns the names in a list such as "a (comment), b; comment"."""
  in_parentheses = 1
  while in_parentheses:  # From the innermost outward.
    text, in_parentheses = re.subn(r"\([^()]*\)", "", text)
  listed = text.split(";")[0]
  return {name.strip() for name in listed.split(",")} - {"nothing"}


@gin.configurable
def value_of(macro=gin.REQUIRED):
  return macro


def macro(name: str):
  """Returns the value of a macro, with its references resolved."""
  with gin.unlock_config():
    gin.parse_config(f"value_of.macro = %{name}")
  return value_of()


def build_model(vocabulary: int, mesh_shape="", layout_rules=""):
  """Builds the transformer of gin's configuration."""
  return utils.build_model(
      macro("model_type"), vocabulary, vocabulary, layout_rules, mesh_shape
  )


def call_model(model, inputs: mtf.Tensor, targets: mtf.Tensor) -> mtf.Tensor:
  """Returns the training loss of a model; language models ignore the inputs."""
  if isinstance(model, transformer.Bitransformer):
    return model.call_simple(inputs, targets, compute_loss=True)[1]
  return model.call_simple(
      transformer.autoregressive_inputs(targets), targets, compute_loss=True
  )[1]


def variable_shapes(
    vocabulary: int, batch: int, inputs_length: int, targets_length: int
) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of the trainable variables of gin's model by name.

  The Mesh TensorFlow graph is never lowered, and placeholders replace the
  TensorFlow variables, so that models of any size need little memory and time.
  """
  with tf.Graph().as_default(), placement.placeholders_for_variables():
    graph = mtf.Graph()
    mesh = mtf.Mesh(graph, "mesh")

    def tokens(length):
      dims = [mtf.Dimension("batch", batch), mtf.Dimension("length", length)]
      return mtf.zeros(mesh, dims, dtype=tf.int32)

    call_model(
        build_model(vocabulary), tokens(inputs_length), tokens(targets_length)
    )
    return {
        variable.name: tuple(variable.shape.to_integer_list)
        for variable in graph.trainable_variables
    }
