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

"""From Hugging Face: a checkpoint, its gin file and its vocabulary."""

from collections.abc import Callable, Iterable, Sequence
import os

import numpy as np

from mtf_switch import errors
from mtf_switch.conversion import account
from mtf_switch.conversion import arrival
from mtf_switch.conversion import huggingface_config
from mtf_switch.conversion import huggingface_weights
from mtf_switch.conversion import names
from mtf_switch.conversion import vocabulary_files

_EMBEDDING = "shared.weight"
_SOFTMAX = "lm_head.weight"


def plan(
    directory: str,
    weights: huggingface_weights.Weights,
    left_out: Sequence[str] = (),
) -> arrival.Plan:
  """Returns what becomes of each tensor, and refuses what is not clear.

  Args:
    directory: Hugging Face's.
    weights: its tensors.
    left_out: names of tensors that may be left out.

  Raises:
    UserError: names what is missing, left over or of another shape, or what
      Mesh TensorFlow cannot do.
  """
  config = huggingface_config.read(directory)
  where = os.path.join(directory, huggingface_config.NAME)
  tensors = weights.tensors
  copies = [
      name
      for name in (*names.COPIES_OF_EMBEDDING, _SOFTMAX)
      if name in tensors and name not in left_out
  ]
  copies = [x for x in copies if _is_copy(weights, x)]
  architecture = huggingface_config.architecture(
      config,
      _SOFTMAX in tensors and _SOFTMAX not in (*copies, *left_out),
      where,
  )
  pairs = names.pairs(architecture)
  used = {
      name: pair.huggingface_shape
      for pair in pairs
      for name in pair.huggingface
  }
  arrival.check(
      used,
      tensors,
      huggingface_weights.DTYPES,
      directory,
      huggingface_config.NAME,
      "get them again",
  )
  unused = set(tensors) - set(used) - set(copies)
  _check_left_over(unused - {*names.NOT_READ, *left_out}, directory)
  entries = [
      account.Entry(
          pair.huggingface,
          (pair.mesh,),
          pair.mesh_shape,
          (tensors[pair.huggingface[0]].dtype, "F32"),
          done_to(pair),
      )
      for pair in pairs
  ]
  for name in sorted({*unused, *copies}):
    of = tensors[name]
    why = f"equals {_EMBEDDING}" if name in copies else "not used"
    entries.append(account.left_out(name, of.shape, of.dtype, why))
  return arrival.Plan(architecture, pairs, entries)


def done_to(pair: names.Pair) -> tuple[str, ...]:
  """What is done to the values of a variable, for the account.

  Args:
    pair: the variable.
  """
  done = ["transposed"] if pair.is_transposed else []
  return (*done, *(["stacked"] if pair.has_experts else []))


def write(
    plan_: arrival.Plan,
    weights: huggingface_weights.Weights,
    directory: str,
    output_dir: str,
    report: Callable[[int], None],
):
  """Writes the checkpoint, the gin file and the vocabulary.

  Args:
    plan_: of `plan`.
    weights: the tensors.
    directory: Hugging Face's.
    output_dir: a new directory, or an empty one; it is complete or not there.
    report: is told the bytes that are written so far.

  Raises:
    UserError: the vocabulary does not fit the model, or the disk is too small.
    DataError: the vocabulary is damaged.
  """
  vocabulary = vocabulary_files.read(directory)
  vocabulary_files.check_rows(
      vocabulary, plan_.architecture.vocab_rows, directory
  )

  arrival.write(
      plan_,
      lambda pair: _values(weights, pair),
      vocabulary,
      arrival.source("Hugging Face", directory),
      output_dir,
      report,
  )


def _values(
    weights: huggingface_weights.Weights, pair: names.Pair
) -> np.ndarray:
  """The values of a variable, float32, read tensor by tensor."""
  values = np.empty(pair.mesh_shape, np.float32)
  places = values if pair.has_experts else [values]
  for place, name in zip(places, pair.huggingface):
    tensor = weights.read(name)
    place[...] = tensor.T if pair.is_transposed else tensor
  return values


def _is_copy(weights: huggingface_weights.Weights, name: str) -> bool:
  """Whether a tensor is the embedding again."""
  tensors = weights.tensors
  if _EMBEDDING not in tensors or (
      tensors[name].shape != tensors[_EMBEDDING].shape
  ):
    return False
  return np.array_equal(weights.read(name), weights.read(_EMBEDDING))


def _check_left_over(found: Iterable[str], directory: str):
  """Refuses tensors that no variable is made of."""
  found = sorted(found)
  copies = [x for x in found if x in names.COPIES_OF_EMBEDDING]
  if copies:
    raise errors.UserError(
        f"{copies[0]} in {directory} is not {_EMBEDDING}, and Mesh "
        "TensorFlow's models have one embedding for encoder and decoder; if "
        "the model never trained it apart, leave it out with "
        f'--gin_param="convert.left_out = [{copies[0]!r}]".'
    )
  arrival.check_left_over(found, directory)
