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

"""A SavedModel whose signatures take texts, as --mode=export writes them.

It is loaded with TensorFlow and TensorFlow Text alone: nothing here knows how
the model was made.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import os
from typing import Any

from google.protobuf import message
import tensorflow.compat.v1 as tf
import tensorflow_text  # noqa: F401  Registers the operations of tokenizers.

from mtf_switch import errors
from mtf_switch import files
from mtf_switch.serving import saved_model
from mtf_switch.serving import signatures as signatures_lib

# TensorFlow Serving's.
_TAGS = [tf.saved_model.tag_constants.SERVING]
_FILE = "saved_model.pb"
# The names of --mode=export.
INPUTS, TARGETS = "inputs", "targets"
_OUTPUTS, _LENGTHS = "outputs", "lengths"


@dataclasses.dataclass(frozen=True)
class Signature:
  """A signature from texts to texts or numbers.

  Attributes:
    inputs: the names of its inputs, each a vector of texts.
    output: the name of its output, a vector of texts or of numbers.
  """

  inputs: tuple[str, ...]
  output: str


class ServedModel:
  """A SavedModel in memory.

  Attributes:
    directory: that of its saved_model.pb.
    signatures: its signatures from texts to texts or numbers, by name.
    decodings: those that write texts, the default one first.
    facts: what --mode=export has recorded of it; nothing if another program
      has made it.
    most_tokens: the tokens that it takes of a text; None if it does not say.
  """

  def __init__(self, directory: str):
    """Loads a SavedModel.

    Args:
      directory: the directory of saved_model.pb, or of numbered versions, of
        which the last is taken, or what --mode=export has written.

    Raises:
      UserError: there is none, or it has no signature of texts.
    """
    self.directory = _find(directory)
    self.facts = saved_model.read_record(self.directory) or {}
    self._session, definitions = _load(self.directory)
    self.signatures = _text_signatures(definitions, self.facts)
    if not self.signatures:
      names = ", ".join(sorted(definitions)) or "none at all"
      raise errors.UserError(
          f"{self.directory} has no signature that takes texts, only {names}; "
          "serve a model that --mode=export has written."
      )
    first = self.facts.get("default", signatures_lib.DEFAULT)
    self.decodings = sorted(
        (
            name
            for name, signature in self.signatures.items()
            if signature == Signature((INPUTS,), _OUTPUTS)
        ),
        key=lambda name: name != first,
    )
    self._functions = {
        name: self._function(definitions[name], signature)
        for name, signature in self.signatures.items()
    }
    self.most_tokens: int | None = None
    if signatures_lib.TOKENIZE in definitions and self.facts:
      self.most_tokens = self.facts["lengths"][INPUTS]
      self._count = self._function(
          definitions[signatures_lib.TOKENIZE], Signature((INPUTS,), _LENGTHS)
      )

  def _function(self, definition: Any, signature: Signature):
    """The function of a signature from columns to its output."""
    return self._session.make_callable(
        definition.outputs[signature.output].name,
        [definition.inputs[name].name for name in signature.inputs],
    )

  def warm_up(self):
    """Runs each signature once, so that no request waits for optimizations.

    Raises:
      UserError: one of them fails.
    """
    for name, signature in self.signatures.items():
      try:
        self.run(name, [["a"] * len(signature.inputs)])
      except tf.errors.OpError as error:
        raise errors.UserError(
            f"the signature {name} of {self.directory} fails: "
            f"{errors.shown(error.message)}"
        ) from error
    if self.most_tokens is not None:
      self.count_tokens(["a"])

  def run(
      self, signature: str, examples: Sequence[Sequence[str]]
  ) -> list[str] | list[float]:
    """Runs a signature on a batch.

    Args:
      signature: its name.
      examples: a text for each input of the signature, for each example.

    Returns:
      a text or a number for each example.
    """
    columns = [[x.encode() for x in column] for column in zip(*examples)]
    results = self._functions[signature](*columns).tolist()
    return [
        x.decode(errors="replace") if isinstance(x, bytes) else x
        for x in results
    ]

  def count_tokens(self, texts: Sequence[str]) -> list[int]:
    """Returns the tokens of inputs, where `most_tokens` is known."""
    return self._count([text.encode() for text in texts]).tolist()


def _find(directory: str) -> str:
  """The directory of a saved_model.pb, here or below."""
  for place in (directory, os.path.join(directory, saved_model.TEXT)):
    if tf.io.gfile.exists(os.path.join(place, _FILE)):
      return place
    if not tf.io.gfile.isdir(place):
      continue
    names = [x.rstrip("/") for x in tf.io.gfile.listdir(place)]
    numbers = sorted((x for x in names if x.isdecimal()), key=int)
    for name in reversed(numbers):
      if tf.io.gfile.exists(os.path.join(place, name, _FILE)):
        return os.path.join(place, name)
  raise errors.UserError(
      f"{directory} is not a SavedModel: it has no {_FILE}, and neither have "
      "directories of versions in it; name what --mode=export has written."
  )


def _load(directory: str) -> tuple[tf.Session, Mapping[str, Any]]:
  """Loads a SavedModel; returns its session and its signatures by name."""
  path = os.path.join(directory, _FILE)
  files.check_readable(path, path)
  graph = tf.Graph()
  session = tf.Session(graph=graph)
  try:
    with graph.as_default():
      loaded = tf.saved_model.loader.load(session, _TAGS, directory)
  except (
      *(OSError, RuntimeError, ValueError, KeyError, TypeError),
      *(tf.errors.OpError, message.DecodeError),
  ) as error:
    reason, *_ = str(error).strip("'\"").splitlines() or [repr(error)]
    raise errors.UserError(
        f"{directory} cannot be loaded as a SavedModel: {errors.shown(reason)}"
    ) from error
  return session, loaded.signature_def


def _text_signatures(
    definitions: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Signature]:
  """The signatures from texts alone to one output, by name."""
  found = {}
  for name, definition in sorted(definitions.items()):
    # Where it is known what the default stands for, it has its own name.
    if name == signatures_lib.DEFAULT and facts:
      continue
    inputs, outputs = definition.inputs, definition.outputs
    # TensorFlow keeps the inputs in no order.
    names = tuple(x for x in (INPUTS, TARGETS) if x in inputs)
    if (
        names
        and len(names) == len(inputs)
        and len(outputs) == 1
        and all(x.dtype == tf.string.as_datatype_enum for x in inputs.values())
    ):
      found[name] = Signature(names, *outputs)
  return found
