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

"""From a checkpoint to a directory that Hugging Face's library loads."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import os
from typing import Any

import numpy as np
import safetensors.numpy
import seqio
import tensorflow.compat.v1 as tf

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.conversion import account
from mtf_switch.conversion import architecture as architecture_lib
from mtf_switch.conversion import checkpoint_writer
from mtf_switch.conversion import from_huggingface
from mtf_switch.conversion import huggingface_config
from mtf_switch.conversion import huggingface_weights
from mtf_switch.conversion import names
from mtf_switch.conversion import output_directory
from mtf_switch.conversion import vocabulary_files
from mtf_switch.training import checkpoint_fit

_FLOAT32 = np.dtype(np.float32)
_EMBEDDING = "shared.weight"
# Without it, Hugging Face's library does not load a file.
_METADATA = {"format": "pt"}


@dataclasses.dataclass(frozen=True)
class Plan:
  """A conversion that has been found possible.

  Attributes:
    architecture: the model's.
    pairs: its variables, by their names here.
    targets: the names there, by those here.
    entries: of the account.
  """

  architecture: architecture_lib.Architecture
  pairs: dict[str, names.Pair]
  targets: dict[str, tuple[str, ...]]
  entries: list[account.Entry]

  @property
  def sizes(self) -> list[checkpoint_writer.Variable]:
    """What is written for each variable, as one."""
    return [
        checkpoint_writer.Variable(
            name,
            (
                len(self.targets[name]) // len(pair.huggingface),
                pair.num_values,
            ),
            _FLOAT32,
        )
        for name, pair in self.pairs.items()
    ]

  @property
  def num_bytes(self) -> int:
    """The size of all that is written."""
    return sum(x.num_bytes for x in self.sizes)


def plan(architecture: architecture_lib.Architecture, checkpoint: str) -> Plan:
  """Returns what becomes of each variable.

  Args:
    architecture: the model's.
    checkpoint: as tf.train.Saver expects it.

  Raises:
    UserError: the checkpoint is of another model.
  """
  pairs = {pair.mesh: pair for pair in names.pairs(architecture)}
  found = checkpoint_fit.variables_of(checkpoint)
  checkpoint_fit.check(
      checkpoint,
      {
          name: checkpoint_fit.Variable(
              # Weights of any dtype are widened.
              found[name].dtype if name in found else tf.float32,
              pair.mesh_shape,
          )
          for name, pair in pairs.items()
      },
  )
  targets, entries = {}, []
  for name, pair in pairs.items():
    targets[name] = pair.huggingface
    if pair.huggingface == (_EMBEDDING,):
      targets[name] += _copies_of_embedding(architecture)
    done = from_huggingface.done_to(pair)
    entries.append(
        account.Entry(
            (name,),
            targets[name],
            pair.mesh_shape,
            (found[name].dtype.name, _FLOAT32.name),
            tuple("unstacked" if x == "stacked" else x for x in done),
        )
    )
  return Plan(architecture, pairs, targets, entries)


def _copies_of_embedding(
    of: architecture_lib.Architecture,
) -> tuple[str, ...]:
  """Further names for the embedding.

  Hugging Face's SwitchTransformers without tie_word_embeddings take the three
  embeddings from three tensors.
  """
  is_needed = of.has_experts and not of.is_tied
  return names.COPIES_OF_EMBEDDING if is_needed else ()


def write(
    plan_: Plan,
    checkpoint: str,
    options: Mapping[str, Any],
    vocabulary: seqio.Vocabulary,
    output_dir: str,
    report: Callable[[int], None],
):
  """Writes config.json, the weights and the tokenizer.

  Args:
    plan_: of `plan`.
    checkpoint: as tf.train.Saver expects it.
    options: of config.json, beside the architecture.
    vocabulary: of inputs and targets.
    output_dir: a new directory, or an empty one; it is complete or not there.
    report: is told the bytes that are written so far.

  Raises:
    UserError: Hugging Face's classes have no such model or vocabulary, or the
      disk is too small.
  """
  config = huggingface_config.content(plan_.architecture, options)
  setting = f"--output_dir={output_dir}"
  output_directory.check_new(output_dir, setting)
  output_directory.check_space(output_dir, plan_.num_bytes, setting)
  reader = tf.train.load_checkpoint(checkpoint)
  groups = checkpoint_writer.groups(plan_.sizes)
  shards, num_written = {}, 0
  with output_directory.written(output_dir) as unfinished:
    vocabulary_files.write(
        unfinished, vocabulary, plan_.architecture.vocab_rows
    )
    for number, group in enumerate(groups, start=1):
      name = huggingface_weights.file_name(number, len(groups))
      tensors = {}
      for variable in group:
        tensors |= _tensors(plan_, variable.name, reader)
      safetensors.numpy.save_file(
          tensors, os.path.join(unfinished, name), _METADATA
      )
      shards[name] = list(tensors)
      num_written += sum(x.num_bytes for x in group)
      report(num_written)
    if len(shards) > 1:
      files.write_json(
          os.path.join(unfinished, huggingface_weights.INDEX),
          huggingface_weights.index(shards, plan_.num_bytes),
      )
    files.write_json(os.path.join(unfinished, huggingface_config.NAME), config)
    files.write_json(
        os.path.join(unfinished, "generation_config.json"),
        huggingface_config.generation(),
    )


def _tensors(plan_: Plan, name: str, reader) -> dict[str, np.ndarray]:
  """The tensors of a variable by their names there, each in one piece."""
  pair = plan_.pairs[name]
  values = reader.get_tensor(name)
  parts = list(values) if pair.has_experts else [values]
  parts *= len(plan_.targets[name]) // len(parts)
  return {
      target: np.ascontiguousarray(
          part.T if pair.is_transposed else part, _FLOAT32
      )
      for target, part in zip(plan_.targets[name], parts)
  }


def check_vocabularies(vocabularies: Sequence[seqio.Vocabulary]):
  """Refuses vocabularies of inputs and targets that differ.

  Args:
    vocabularies: of inputs and targets.

  Raises:
    UserError: they differ.
  """
  one, other = vocabularies
  if one != other:
    raise errors.UserError(
        "inputs and targets have different vocabularies, and Hugging Face's T5 "
        "has one tokenizer."
    )
