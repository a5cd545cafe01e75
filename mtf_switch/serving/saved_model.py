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

"""SavedModels of a checkpoint: one on ids and one on texts, weights once.

A SavedModel is loaded as a whole. The one on ids needs TensorFlow alone; the
other one may have operations of TensorFlow Text, and is a model by itself.
"""

from collections.abc import Iterable, Mapping
import os
import shutil
from typing import Any

import tensorflow.compat.v2 as tf

from mtf_switch import files
from mtf_switch.serving import signatures as signatures_lib
from mtf_switch.serving import texts
from mtf_switch.training import run as run_lib
from mtf_switch.training import vocabulary_record

RECORD = "serving.json"
TEXT = "text"
IDS = "ids"

_SHAPE = {
    "step": int,
    "model_type": str,
    "default": str,
    "decodings": {
        str: {
            "beam_size": int,
            "temperature": float,
            "sampling_keep_top_k": int,
        }
    },
    "lengths": {str: int},
    "batch_size": int,
    "signatures": {str: {"inputs": {str: str}, "outputs": {str: str}}},
    "vocabularies": vocabulary_record.SHAPE,
}


class _Model(tf.Module):
  """What a SavedModel keeps."""

  def __init__(self, weights, vocabularies=()):
    super().__init__()
    self.weights = dict(weights)
    # After the weights, so that a checkpoint of both is one of the weights.
    self.vocabularies = list(vocabularies)


def write(
    directory: str,
    run: run_lib.Run,
    step: int,
    functions: signatures_lib.Functions,
    vocabularies: list[texts.Vocabulary],
) -> dict[str, dict[str, Any]]:
  """Writes both SavedModels as TensorFlow Serving finds them.

  That is in `text/<step>` and `ids/<step>`, whose files of weights are the same
  files, where the disk can link them. Each has a record, serving.json.

  Args:
    directory: where to write.
    run: the run.
    step: the checkpoint's step.
    functions: the functions.
    vocabularies: of inputs and targets.

  Returns:
    the records of both by their names, "text" and "ids".
  """
  weights = functions.of_checkpoint.weights.variables
  records = {}
  for name, model, made in (
      (
          TEXT,
          _Model(weights, vocabularies),
          functions.on_texts(vocabularies),
      ),
      (IDS, _Model(weights), functions.on_ids()),
  ):
    path = os.path.join(directory, name, str(step))
    concrete = {k: x.get_concrete_function() for k, x in made.items()}
    tf.saved_model.save(model, path, signatures=concrete)
    records[name] = _record(run, step, functions, concrete)
    files.write_json(os.path.join(path, RECORD), records[name])
  _share(
      *(
          os.path.join(directory, name, str(step), "variables")
          for name in (TEXT, IDS)
      )
  )
  return records


def read_record(path: str) -> dict[str, Any] | None:
  """Returns the record of a SavedModel, or None if it has none.

  Args:
    path: the SavedModel's directory.

  Raises:
    UserError: the record has been damaged.
  """
  return files.read_json(os.path.join(path, RECORD), _SHAPE)


def num_bytes(directory: str) -> int:
  """Returns the size of the files below a directory, shared ones once.

  Args:
    directory: the directory.
  """
  found = {}
  for place, _, names in os.walk(directory):
    for name in names:
      status = os.stat(os.path.join(place, name))
      found[status.st_dev, status.st_ino] = status.st_size
  return sum(found.values())


def example(
    path: str, default: str, vocabularies: Iterable[texts.Vocabulary]
) -> list[str]:
  """Returns the lines of a program that calls a SavedModel on texts.

  Args:
    path: the SavedModel's directory.
    default: the signature that is called.
    vocabularies: of inputs and targets.
  """
  needed = sorted({x.needs for x in vocabularies if x.needs})
  return [
      "import tensorflow as tf",
      *(f"import {name}  # Has the text's operations." for name in needed),
      f"model = tf.saved_model.load({os.path.abspath(path)!r})",
      f'decode = model.signatures["{default}"]',
      'outputs = decode(inputs=tf.constant(["a text", "another one"]))',
      'print([x.decode() for x in outputs["outputs"].numpy()])',
  ]


def _record(run, step, functions, concrete) -> dict[str, Any]:
  """What a program that serves a SavedModel has to know of it."""
  of_checkpoint = functions.of_checkpoint
  return {
      "step": step,
      "model_type": run.experiment.model_type,
      "default": next(iter(functions.decodings)),
      "decodings": {
          name: {
              "beam_size": x.beam_size,
              "temperature": float(x.temperature),
              "sampling_keep_top_k": x.sampling_keep_top_k,
          }
          for name, x in functions.decodings.items()
      },
      "lengths": of_checkpoint.lengths,
      "batch_size": run.experiment.sequences_per_batch,
      "signatures": {
          name: {
              "inputs": _described(
                  {spec.name: spec for spec in x.structured_input_signature[0]}
              ),
              "outputs": _described(x.structured_outputs),
          }
          for name, x in concrete.items()
      },
      "vocabularies": vocabulary_record.describe_all(
          run.experiment.vocabularies
      ),
  }


def _described(specs: Mapping[str, Any]) -> dict[str, str]:
  """Types and shapes by name, "int32[n, 24]"."""

  def described(spec):
    sizes = [
        unknown if size is None else str(size)
        for size, unknown in zip(spec.shape.as_list(), ("n", "length"))
    ]
    return f"{spec.dtype.name}[{', '.join(sizes)}]"

  return {name: described(spec) for name, spec in specs.items()}


def _share(kept: str, other: str):
  """Has the second directory's files be those of the first.

  A checkpoint of weights and vocabularies is one of the weights too.
  """
  links = other + ".new"
  os.mkdir(links)
  try:
    for name in os.listdir(kept):
      os.link(os.path.join(kept, name), os.path.join(links, name))
  except OSError:  # The disk has no links: there are two copies.
    shutil.rmtree(links)
    return
  shutil.rmtree(other)
  os.rename(links, other)
