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

"""SentencePiece vocabularies that are trained on a task's own text."""

from collections.abc import Callable, Iterable, Iterator
import dataclasses
import functools
import io
import pathlib
import zlib

import gin
import sentencepiece
import seqio
import tensorflow.compat.v1 as tf

from tasks import cache
from tasks import errors
from tasks import prepared_text

# T5's number of sentinels, which follow the pieces.
NUM_SENTINELS = 100

# With the sentinels this is close below a multiple of 128, to which
# mesh_tensorflow.transformer pads the embedding.
DEFAULT_SIZE = 8000

# More text makes the training slower and the pieces hardly better.
SAMPLE_BYTES = 2_000_000

# The result depends on this, so it does not follow the number of cores.
_NUM_THREADS = 2

# In SentencePiece a longer line is skipped, with only a log line.
_MAX_LINE_BYTES = 1 << 20


class TextVocabulary(seqio.SentencePieceVocabulary):
  """A vocabulary whose model is found, or trained, when it is first used.

  Registering a task makes its vocabulary, but neither gin nor the text is
  there yet.
  """

  def __init__(self, text: Callable[[], prepared_text.PreparedText]):
    """Does no work.

    Args:
      text: returns the text to train on; a module's function, which pickles.
    """
    super().__init__("", extra_ids=NUM_SENTINELS)
    self._text = text

  def __getstate__(self):
    # What is found later is no part of what the vocabulary is; copies made
    # before and after are equal.
    return {**super().__getstate__(), "_sentencepiece_model_file": ""}

  @property
  def sentencepiece_model_file(self) -> str:
    """The path of the model, which is trained now if need be."""
    return model_file(self._text)

  def _model_context(self):
    path = self.sentencepiece_model_file
    if path != self._sentencepiece_model_file:
      self._sentencepiece_model_file = path
      self._model = None
    return super()._model_context()


@gin.configurable("vocabulary", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """What gin decides about the vocabulary.

  Attributes:
    size: pieces of a trained vocabulary, sentinels not counted. Little text
      makes fewer.
    path: a SentencePiece model to use instead of training one, for example
      T5's. Its ids of padding, end and unknown must be 0, 1 and 2.
  """

  size: int = DEFAULT_SIZE
  path: str | None = None


def model_file(text: Callable[[], prepared_text.PreparedText]) -> str:
  """Returns the path of the SentencePiece model that gin wants.

  Args:
    text: returns the text to train on; called only if a model is trained.

  Raises:
    DataError: there is no usable model at the path, or the text makes none.
  """
  options = Options()
  if options.path is None:
    return trained_on(text(), options.size)
  _check_model(options.path)
  return options.path


@functools.cache
def _check_model(path: str) -> None:
  """Raises a DataError unless T5 can use the model at a path."""
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      model = sentencepiece.SentencePieceProcessor(model_proto=file.read())
  except (tf.errors.OpError, RuntimeError) as error:
    raise errors.DataError(
        f"vocabulary.path = {path!r} is not a SentencePiece model that can be "
        "read."
    ) from error
  ids = (model.pad_id(), model.eos_id(), model.unk_id())
  if ids != (0, 1, 2):
    raise errors.DataError(
        f"vocabulary.path = {path!r} has {ids} as ids of padding, end and "
        "unknown; T5 needs (0, 1, 2)."
    )


def trained_on(text: prepared_text.PreparedText, size: int) -> str:
  """Returns the path of a model trained on a text, training it if need be.

  Args:
    text: its training split is used.
    size: pieces, sentinels not counted.

  Raises:
    DataError: the text makes no such vocabulary.
  """
  key = {
      "text": text.sha256("train"),
      "size": size,
      "sample_bytes": SAMPLE_BYTES,
      "threads": _NUM_THREADS,
      "sentencepiece": sentencepiece.__version__,
  }

  def build(directory: pathlib.Path):
    model = train(sample_lines(text, SAMPLE_BYTES), size)
    (directory / "sentencepiece.model").write_bytes(model)

  entry = cache.build_once("vocabulary", key, build)
  return str(entry / "sentencepiece.model")


def sample_lines(
    text: prepared_text.PreparedText, num_bytes: int
) -> Iterator[str]:
  """Yields about so many bytes of lines from all over the training split."""
  limit = 2**32 * num_bytes / max(1, text.num_bytes("train"))
  for document in text.documents("train"):
    for line in document.splitlines():
      if line and zlib.crc32(line.encode("utf-8")) < limit:
        yield line


def train(lines: Iterable[str], size: int) -> bytes:
  """Returns a SentencePiece model, the same bytes for the same arguments.

  Args:
    lines: text; the order matters.
    size: pieces at most; as T5's, a unigram model in which padding is 0, the
      end is 1 and the unknown is 2.

  Raises:
    DataError: the text makes no such vocabulary.
  """
  model = io.BytesIO()
  try:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        max_sentence_length=_MAX_LINE_BYTES,
        num_threads=_NUM_THREADS,
        minloglevel=2,
    )
  except RuntimeError as error:
    reason = str(error).rpartition("] ")[2]  # Without the place in the C++.
    raise errors.DataError(
        f"No vocabulary of {size} pieces can be trained on this text: {reason}"
    ) from error
  return model.getvalue()
