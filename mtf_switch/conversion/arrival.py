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

"""What is brought here from another program, whichever it is."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
import dataclasses
import os

import numpy as np
import seqio

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.conversion import account
from mtf_switch.conversion import architecture as architecture_lib
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import model_gin
from mtf_switch.conversion import names
from mtf_switch.conversion import output_directory
from mtf_switch.training import vocabulary_record

GIN_FILE = "model.gin"

_FLOAT32 = np.dtype(np.float32)


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor in a file.

  Attributes:
    file: the path, or that of its directory.
    shape: its shape.
    dtype: its type, in the words of the file.
  """

  file: str
  shape: tuple[int, ...]
  dtype: str


@dataclasses.dataclass(frozen=True)
class Plan:
  """A conversion that has been found possible.

  Attributes:
    architecture: the model's.
    pairs: its variables.
    entries: of the account.
    step: that of the checkpoint.
  """

  architecture: architecture_lib.Architecture
  pairs: list[names.Pair]
  entries: list[account.Entry]
  step: int = 0

  @property
  def num_bytes(self) -> int:
    """Of the checkpoint."""
    return sum(x.num_values for x in self.pairs) * _FLOAT32.itemsize


def write(
    plan: Plan,
    value_of: Callable[[names.Pair], np.ndarray],
    vocabulary: seqio.Vocabulary,
    source: str,
    output_dir: str,
    report: Callable[[int], None],
):
  """Writes the checkpoint, the gin file and the vocabulary.

  Args:
    plan: what becomes of each variable.
    value_of: returns the values of a variable, float32 in its shape here.
    vocabulary: of inputs and targets, which fits the embedding.
    source: what it was, and from where, for the gin file.
    output_dir: a new directory, or an empty one; it is complete or not there.
    report: is told the bytes that are written so far.

  Raises:
    UserError: the directory is not empty, or the disk is too small.
  """
  setting = f"--output_dir={output_dir}"
  output_directory.check_new(output_dir, setting)
  output_directory.check_space(output_dir, plan.num_bytes, setting)
  by_name = {pair.mesh: pair for pair in plan.pairs}
  with output_directory.written(output_dir) as unfinished:
    checkpoint_writer.write(
        unfinished,
        plan.step,
        [
            checkpoint_writer.Variable(pair.mesh, pair.mesh_shape, _FLOAT32)
            for pair in plan.pairs
        ],
        lambda variable: value_of(by_name[variable.name]),
        report,
    )
    path = vocabulary_record.bring(
        unfinished, vocabulary, os.path.abspath(output_dir)
    )
    files.write_lines(
        os.path.join(unfinished, GIN_FILE),
        model_gin.text(
            plan.architecture,
            {"vocabulary.path": path} if path else {"vocabulary.name": "bytes"},
            _comments(source, plan.architecture),
        ),
    )


def _comments(source: str, of: architecture_lib.Architecture) -> Iterator[str]:
  """What the gin file says of itself."""
  yield f"A model of {source},"
  yield "in the place of a file of models/."
  yield ""
  macros = ["d_model", "d_ff", "d_kv", "num_heads"]
  macros.append("num_blocks" if of.has_experts else "num_layers")
  yield f"Provides: {', '.join([*macros, *(['num_experts'] * of.has_experts)])}"
  yield f"Requires: {'num_cores' if of.has_experts else 'nothing'}"


def source(program: str, directory: str) -> str:
  """Returns what `write` calls a source.

  Args:
    program: whose directory it is.
    directory: the directory.
  """
  name = os.path.basename(os.path.abspath(directory))
  return f"{program}, converted from a directory {errors.shown(name)}"


def check(
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Tensor],
    dtypes: Collection[str],
    directory: str,
    said_by: str,
    advice: str,
):
  """Refuses tensors that are missing or have another shape or type.

  Args:
    shapes: the shapes that are expected, by name.
    tensors: all that are there.
    dtypes: those that float32 holds unchanged.
    directory: where they are.
    said_by: what says which are expected.
    advice: what to do where some are missing.

  Raises:
    UserError: names them.
  """
  missing = [name for name in shapes if name not in tensors]
  if missing:
    raise errors.UserError(
        f"the weights in {directory} lack {errors.some(missing)}, which the "
        f"model has by {said_by}; {advice}."
    )
  for name, shape in shapes.items():
    tensor = tensors[name]
    if tensor.shape != shape:
      there, here = map(errors.sizes, (tensor.shape, shape))
      raise errors.UserError(
          f"{name} is {there} in {tensor.file}, and {here} by {said_by}: the "
          "two are not of the same model."
      )
    if tensor.dtype not in dtypes:
      raise errors.UserError(
          f"{errors.shown(name)} is {tensor.dtype} in {tensor.file}; what is "
          f"converted is {', '.join(dtypes)}."
      )


def check_left_over(found: Iterable[str], directory: str):
  """Refuses tensors that nothing becomes of.

  Args:
    found: their names.
    directory: where they are.

  Raises:
    UserError: names them, and how they may be left out.
  """
  found = sorted(found)
  if found:
    raise errors.UserError(
        f"nothing becomes of {errors.some(found)} in {directory}; what may be "
        f'left out is named: --gin_param="convert.left_out = [{found[0]!r}]".'
    )
