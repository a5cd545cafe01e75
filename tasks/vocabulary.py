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

"""Vocabularies: T5's, mT5's, bytes, and those trained on a task's text."""

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
from tasks import corpus
from tasks import errors
from tasks import prepared_text

# The number of sentinels in T5; their ids follow those of the pieces.
NUM_SENTINELS = 100

# The published models of T5 and mT5.
PUBLISHED = {
    "t5": "gs://t5-data/vocabs/cc_all.32000/sentencepiece.model",
    "mt5": "gs://t5-data/vocabs/mc4.250000.100extra/sentencepiece.model",
}

# Their sizes, sentinels included, to plan runs without the files.
PUBLISHED_SIZES = {"t5": 32_100, "mt5": 250_100}

# With the sentinels just below a multiple of 128, to which
# mesh_tensorflow.transformer pads the embedding.
DEFAULT_SIZE = 8000

# More text makes training slower and the pieces hardly better.
SAMPLE_BYTES = 2_000_000

# Fixed, whatever the number of cores, because the result depends on it.
_NUM_THREADS = 2

# SentencePiece skips longer lines, and only logs that it does.
_MAX_LINE_BYTES = 1 << 20


class LateVocabulary(seqio.Vocabulary):
  """A vocabulary that is loaded or trained on first use.

  A task's vocabulary is created when the task is registered, before gin is
  parsed and the text is available. Its methods are those of the vocabulary that
  gin selects.
  """

  def __init__(self, default: str | Callable[[], prepared_text.PreparedText]):
    """Does no work.

    Args:
      default: the vocabulary unless gin selects another: a name from `Options`,
        or a function of a module, which can be pickled, that returns the text
        to train on.
    """
    super().__init__()
    self._default = default

  def __eq__(self, other) -> bool:
    return isinstance(other, LateVocabulary) and self._default == other._default

  def __getattr__(self, name: str):
    """Returns attributes of some vocabularies only, such as the tokenizer."""
    if name.startswith("_"):
      raise AttributeError(name)
    return getattr(self.found, name)

  @property
  def found(self) -> seqio.Vocabulary:
    """The vocabulary that gin selects; trained now if missing."""
    return _find(self._default)

  @property
  def bos_id(self) -> int | None:
    """See base class."""
    return self.found.bos_id

  @property
  def eos_id(self) -> int:
    """See base class."""
    return self.found.eos_id

  @property
  def pad_id(self) -> int:
    """See base class."""
    return self.found.pad_id

  @property
  def unk_id(self) -> int:
    """See base class."""
    return self.found.unk_id

  @property
  def extra_ids(self) -> int:
    """See base class."""
    return self.found.extra_ids

  @property
  def vocab_size(self) -> int:
    """See base class."""
    options = Options()
    choice = options.path or options.name or self._default
    if isinstance(choice, str) and choice in PUBLISHED_SIZES:
      return PUBLISHED_SIZES[choice]
    return self.found.vocab_size

  @property
  def _base_vocab_size(self) -> int:
    return self.found._base_vocab_size

  def _encode(self, s):
    return self.found._encode(s)

  def _decode(self, ids):
    return self.found._decode(ids)

  def _encode_tf(self, s):
    return self.found._encode_tf(s)

  def _decode_tf(self, ids):
    return self.found._decode_tf(ids)


@gin.configurable("vocabulary", module="tasks")
@dataclasses.dataclass(frozen=True)
class Options:
  """Options of the vocabulary of all tasks of a run, set with gin.

  Attributes:
    name: "t5" (cc_all.32000, 32,100 ids with the sentinels), "mt5" (250,100
      ids), "embedded" (trained on the embedded corpus) or "bytes"; None for
      each task's own.
    path: a SentencePiece model to use instead, local or remote: a copy of T5's
      or the user's own. Its ids of padding, end and unknown must be 0, 1, 2.
    size: the number of pieces of a trained vocabulary, without the sentinels;
      fewer if the text is short.
  """

  name: str | None = None
  path: str | None = None
  size: int = DEFAULT_SIZE


def _find(
    default: str | Callable[[], prepared_text.PreparedText],
) -> seqio.Vocabulary:
  """Returns the vocabulary that gin selects.

  Args:
    default: as for LateVocabulary.

  Raises:
    DataError: there is no such vocabulary, or it cannot be trained.
  """
  options = Options()
  if options.path is not None:
    return _sentencepiece(options.path)
  choice = default if options.name is None else options.name
  if choice == "bytes":
    return seqio.ByteVocabulary(extra_ids=NUM_SENTINELS)
  if choice == "embedded":
    choice = corpus.docstrings
  if callable(choice):
    return _sentencepiece(trained_on(choice(), options.size))
  if choice not in PUBLISHED:
    raise errors.DataError(
        f"vocabulary.name = {choice!r} is not known; use "
        f"{', '.join(map(repr, PUBLISHED))}, 'embedded' or 'bytes', or set "
        "vocabulary.path."
    )
  return _sentencepiece(PUBLISHED[choice], choice)


@functools.cache
def _sentencepiece(
    path: str, published: str | None = None
) -> seqio.SentencePieceVocabulary:
  """Returns the vocabulary of a SentencePiece model that T5 can use.

  Args:
    path: local or remote.
    published: its key in PUBLISHED, unless the path is from gin.

  Raises:
    DataError: there is no usable model at the path.
  """
  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      model = sentencepiece.SentencePieceProcessor(model_proto=file.read())
  except (tf.errors.OpError, RuntimeError) as error:
    if published:
      raise errors.DataError(
          f"The vocabulary {published!r} cannot be read from {path}; set "
          "vocabulary.path to a copy of it, or vocabulary.name = 'embedded' or "
          "'bytes' to do without."
      ) from error
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
  # The pieces of mT5's model include the sentinels.
  last_piece = model.id_to_piece(model.get_piece_size() - 1)
  has_sentinels = "<extra_id_0>" in last_piece
  return seqio.SentencePieceVocabulary(
      path, extra_ids=0 if has_sentinels else NUM_SENTINELS
  )


def trained_on(text: prepared_text.PreparedText, size: int) -> str:
  """Returns the path of a model trained on a text; trains it if missing.

  Args:
    text: the text, of which the training split is used.
    size: the number of pieces, without the sentinels.

  Raises:
    DataError: the vocabulary cannot be trained.
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
  """Yields lines from all of the training split, about `num_bytes` in total."""
  limit = 2**32 * num_bytes / max(1, text.num_bytes("train"))
  for document in text.documents("train"):
    for line in document.splitlines():
      if line and zlib.crc32(line.encode("utf-8")) < limit:
        yield line


def train(lines: Iterable[str], size: int) -> bytes:
  """Trains a SentencePiece model.

  Args:
    lines: the text; the result depends on their order.
    size: the largest number of pieces.

  Returns:
    the model, the same bytes for the same arguments: a unigram model in which,
    as in T5's, padding is 0, the end is 1 and unknown is 2.

  Raises:
    DataError: the vocabulary cannot be trained.
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
