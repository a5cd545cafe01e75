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

"""From T5X: a checkpoint, its gin file and its vocabulary.

A checkpoint of T5X does not say what its model is; only its run's gin files do.
So gin says it here too, and the arrays must agree with it.
"""

from collections.abc import Callable, Sequence

import seqio

from mtf_switch import errors
from mtf_switch.conversion import account
from mtf_switch.conversion import architecture as architecture_lib
from mtf_switch.conversion import arrival
from mtf_switch.conversion import names
from mtf_switch.conversion import t5x_weights
from mtf_switch.conversion import vocabulary_files

_EMBEDDING = "token_embedder/embedding"
_SOFTMAX = "decoder/logits_dense/kernel"
_TIED = "Unitransformer.shared_embedding_and_softmax_weights"


def plan(
    architecture: architecture_lib.Architecture,
    vocabulary: seqio.Vocabulary,
    weights: t5x_weights.Weights,
    directory: str,
    left_out: Sequence[str] = (),
) -> arrival.Plan:
  """Returns what becomes of each array, and refuses what is not clear.

  Args:
    architecture: the model's, as gin describes it.
    vocabulary: the model's.
    weights: the checkpoint's.
    directory: the checkpoint's.
    left_out: names of arrays that may be left out.

  Raises:
    UserError: names what is missing, left over or of another shape.
  """
  tensors = weights.tensors
  _check_layers(tensors, directory)
  if _EMBEDDING in tensors:
    rows = tensors[_EMBEDDING].shape[0] if tensors[_EMBEDDING].shape else 0
    vocabulary_files.check_rows(vocabulary, rows, directory)
  pairs = names.pairs(architecture)
  used = {pair.t5x: pair.mesh_shape for pair in pairs}
  if (_SOFTMAX in tensors) != (_SOFTMAX in used) and _SOFTMAX not in left_out:
    has = "has" if _SOFTMAX in tensors else "has no"
    raise errors.UserError(
        f"{directory} {has} {_SOFTMAX}, and by the gin files {_TIED} = "
        f"{architecture.is_tied}; it is {not architecture.is_tied}."
    )
  arrival.check(
      used,
      tensors,
      t5x_weights.DTYPES,
      directory,
      "the gin files",
      "name those of its model",
  )
  unused = {*tensors, *weights.others} - set(used)
  arrival.check_left_over(unused - set(left_out), directory)
  entries = [
      account.Entry(
          (pair.t5x,),
          (pair.mesh,),
          pair.mesh_shape,
          (tensors[pair.t5x].dtype, "float32"),
      )
      for pair in pairs
  ]
  for name in sorted(unused & set(tensors)):
    of = tensors[name]
    entries.append(account.left_out(name, of.shape, of.dtype, "not used"))
  return arrival.Plan(architecture, pairs, entries, weights.step)


def write(
    plan_: arrival.Plan,
    vocabulary: seqio.Vocabulary,
    weights: t5x_weights.Weights,
    directory: str,
    output_dir: str,
    report: Callable[[int], None],
):
  """Writes the checkpoint, the gin file and the vocabulary.

  Args:
    plan_: of `plan`.
    vocabulary: the model's.
    weights: the checkpoint's.
    directory: the checkpoint's.
    output_dir: a new directory, or an empty one; it is complete or not there.
    report: is told the bytes that are written so far.

  Raises:
    UserError: an array is not whole, or the disk is too small.
  """
  arrival.write(
      plan_,
      lambda pair: weights.read(pair.t5x),
      vocabulary,
      arrival.source("T5X", directory),
      output_dir,
      report,
  )


def _check_layers(tensors, directory: str):
  """Refuses biases of positions in each layer, and layers that are scanned.

  T5X scans only layers that have such biases, so that these are other models.
  """
  for name in sorted(tensors):
    stack, *rest = name.split("/")
    if rest[:1] == [stack]:
      raise errors.UserError(
          f"{directory} has {name}: its layers are scanned, so that each has "
          "biases of positions of its own, and T5's models share one table; "
          "such models are not converted."
      )
    if rest[1:2] == ["relpos_bias"]:
      raise errors.UserError(
          f"{directory} has {name}: each layer has biases of positions of its "
          "own, and T5's models share one table; such models are not converted."
      )
