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

from collections.abc import Callable, Hashable, Mapping, Sequence
import dataclasses
import functools
import hashlib
import pathlib
import re
from typing import Any, NamedTuple

import gin
from google.protobuf import message
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
import seqio
import tensorflow.compat.v1 as tf

from tasks import charsmap
from tasks import corpus
from tasks import errors
from tasks import paths
from tasks import prepared_text
from tasks import vocabulary_training

# The number of sentinels in T5; their ids follow those of the pieces.
NUM_SENTINELS = 100

_SENTINEL = re.compile(r"\u2581?<extra_id_(\d+)>")

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

# Functions that return the text that a vocabulary is trained on, by its name.
_TEXTS: dict[str, Callable[[], prepared_text.PreparedText]] = {
    "embedded": corpus.docstrings
}


def add_text(name: str, text: Callable[[], prepared_text.PreparedText]):
  """Adds a text that a vocabulary can be trained on, by vocabulary.name.

  Args:
    name: of the text.
    text: returns it.
  """
  _TEXTS[name] = text


class _Kept(NamedTuple):
  """The vocabulary that a run goes on with.

  Attributes:
    path: of its SentencePiece model.
    description: the run's record of it; None if the model is its own record.
  """

  path: str
  description: Mapping[str, Any] | None = None


# By `_choice`.
_kept: dict[Hashable, _Kept] = {}


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
    if not isinstance(other, LateVocabulary):
      return False
    return _is_chosen(Options()) or self._default == other._default

  def __getattr__(self, name: str):
    """Returns attributes of some vocabularies only, such as the tokenizer."""
    if name.startswith("_"):
      raise AttributeError(name)
    return getattr(self.found, name)

  @property
  def found(self) -> seqio.Vocabulary:
    """The vocabulary that gin selects; trained now if missing."""
    return _find(self._default)

  def keep_to(self, description: Mapping[str, Any], copy: str | None = None):
    """Goes on with the vocabulary of a run, where gin's choice can be it.

    The run's machine may have been another one: what it read is not there, and
    its text may be another. Versions up to 0.2.0 trained another vocabulary on
    the same text.

    Args:
      description: the run's record of its vocabulary: "sha256", "path" and, of
        one that was trained, "training".
      copy: the path of a copy of its SentencePiece model; None without one.
    """
    if copy is not None:
      if _can_be(self._default, description):
        _kept[_choice(self._default)] = _Kept(copy, description)
      return
    # Those of later versions are found by what they were trained on.
    is_earlier = description["path"] and "training" not in description
    if not (is_earlier and _is_trained(self._default)):
      return
    text, size = _training_text(self._default), Options().size
    for train in (
        vocabulary_training.trained_before,
        vocabulary_training.trained_on,
    ):
      path = train(text, size)
      if _sha256(path) == description["sha256"]:
        _kept[_choice(self._default)] = _Kept(path)
        return

  @property
  def path(self) -> str | None:
    """The model that gin selects, local or remote; None if it is made here."""
    return None if _is_trained(self._default) else _path_of(self._default)

  @property
  def is_at_hand(self) -> bool:
    """Whether its first use trains nothing: it is a file, a copy or bytes."""
    is_kept = _choice(self._default) in _kept
    return is_kept or not _is_trained(self._default)

  @property
  def kept_description(self) -> Mapping[str, Any] | None:
    """The record of the run whose copy is used; None without one."""
    kept = _kept.get(_choice(self._default))
    return kept and kept.description

  @property
  def training_report(self) -> dict[str, Any] | None:
    """What vocabulary_training found out; None if it trained no such model."""
    if _training_text(self._default) is None:
      return None
    return vocabulary_training.report_of(self.found.sentencepiece_model_file)

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
      ids), "embedded" (trained on the embedded corpus), "mc4" (trained on the
      chosen languages of mC4) or "bytes"; None for each task's own.
    path: a SentencePiece model to use instead, local or remote: a copy of T5's
      or the user's own. Its ids of padding, end and unknown must be 0, 1, 2.
      Sentinels are added unless its last 100 pieces are <extra_id_99> to
      <extra_id_0>, as in mT5's; others are refused.
    size: the number of pieces of a trained vocabulary, without the sentinels;
      fewer if the text is short.
  """

  name: str | None = None
  path: str | None = None
  size: int = DEFAULT_SIZE


def _is_chosen(options: Options) -> bool:
  """Returns whether gin selects one vocabulary for all tasks."""
  return options.path is not None or options.name is not None


def is_of_pieces() -> bool:
  """Returns whether a vocabulary turns line breaks into spaces; not bytes."""
  options = Options()
  return options.path is not None or options.name != "bytes"


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
  kept = _kept.get(_choice(default))
  if kept is not None:
    return load(kept.path)
  if options.path is not None:
    return load(options.path)
  text = _training_text(default)
  if text is not None:
    return load(vocabulary_training.trained_on(text, options.size))
  choice = default if options.name is None else options.name
  if choice == "bytes":
    return of_bytes()
  if choice not in PUBLISHED:
    raise errors.DataError(
        f"vocabulary.name = {choice!r} is not known; use "
        f"{', '.join(map(repr, [*PUBLISHED, *_TEXTS]))} or 'bytes', or set "
        "vocabulary.path."
    )
  return load(PUBLISHED[choice], choice)


def _choice(default) -> Hashable:
  """All that decides which vocabulary a task has."""
  return default, repr(Options())


def _is_trained(default) -> bool:
  """Whether gin's vocabulary is trained on a text, which is not prepared."""
  options = Options()
  choice = default if options.name is None else options.name
  return options.path is None and (callable(choice) or choice in _TEXTS)


def _can_be(default, description: Mapping[str, Any]) -> bool:
  """Whether gin's choice can be a vocabulary that was made elsewhere.

  Args:
    default: as for LateVocabulary.
    description: as for LateVocabulary.keep_to.

  Returns:
    whether it is one of that size trained on a text, or the same file, which is
    not here.
  """
  options = Options()
  if _is_trained(default):
    report = description.get("training") or {}
    return report.get("size", options.size) == options.size
  path = _path_of(default)
  return path == description["path"] is not None and (
      "://" in path or not tf.io.gfile.exists(path)
  )


def _path_of(default) -> str | None:
  """The path of gin's vocabulary that is not trained; None for bytes."""
  options = Options()
  choice = default if options.name is None else options.name
  return options.path or PUBLISHED.get(choice)


def _training_text(default) -> prepared_text.PreparedText | None:
  """Returns the text that gin's vocabulary is trained on; None for others."""
  if not _is_trained(default):
    return None
  name = Options().name
  choice = default if name is None else name
  return _TEXTS.get(choice, choice)()


def _sha256(path: str) -> str:
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def of_bytes() -> seqio.Vocabulary:
  """Returns ByT5's vocabulary of bytes, with the sentinels."""
  return seqio.ByteVocabulary(extra_ids=NUM_SENTINELS)


@functools.cache
def load(
    path: str, published: str | None = None
) -> seqio.SentencePieceVocabulary:
  """Returns the vocabulary of a SentencePiece model that T5 can use.

  Args:
    path: local or remote.
    published: its key in PUBLISHED, unless the path is from gin.

  Raises:
    DataError: there is no usable model at the path.
  """
  problem = paths.problem(path)
  if problem and not published:
    raise errors.DataError(f"vocabulary.path = {path!r} {problem}.")
  try:
    if problem:
      raise ValueError(problem)
    model, pieces = _read(path)
  except (tf.errors.OpError, ValueError, RuntimeError) as error:
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
  return seqio.SentencePieceVocabulary(
      path, extra_ids=_num_missing_sentinels(path, pieces)
  )


def _read(
    path: str,
) -> tuple[sentencepiece.SentencePieceProcessor, Sequence[Any]]:
  """Returns the model in a file, and its pieces.

  Raises:
    OpError: there is no file.
    ValueError or RuntimeError: there is no whole model in it.
  """
  with tf.io.gfile.GFile(path, "rb") as file:
    content = file.read()
  try:
    proto = sentencepiece_model_pb2.ModelProto.FromString(content)
  except message.DecodeError as error:
    raise ValueError("no model") from error
  # SentencePiece takes an empty file for a model and then crashes. The
  # specifications follow the pieces: without them the file has been cut.
  if not (proto.HasField("trainer_spec") and proto.HasField("normalizer_spec")):
    raise ValueError("no whole model")
  if not charsmap.is_whole(proto.normalizer_spec.precompiled_charsmap):
    raise ValueError("no whole map of characters")
  model = sentencepiece.SentencePieceProcessor(model_proto=content)
  return model, proto.pieces


def _num_missing_sentinels(path: str, pieces: Sequence[Any]) -> int:
  """Returns how many sentinels a model needs: none, or all.

  Args:
    path: the model's, for the message.
    pieces: its pieces.

  Raises:
    DataError: it has some, but not as T5 counts them, from the last id down.
  """
  found = {
      number: int(match[1])
      for number, piece in enumerate(pieces)
      if (match := _SENTINEL.fullmatch(piece.piece))
  }
  if not found:
    return NUM_SENTINELS
  user_defined = sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED
  last = len(pieces) - 1
  if set(range(NUM_SENTINELS)) <= set(found.values()) and all(
      last - number == sentinel and pieces[number].type == user_defined
      for number, sentinel in found.items()
  ):
    return 0
  raise errors.DataError(
      f"vocabulary.path = {path!r} has {len(found)} sentinels of its own, "
      f"<extra_id_{found[min(found)]}> as id {min(found)} to "
      f"<extra_id_{found[max(found)]}> as id {max(found)} of {len(pieces)}; "
      f"T5 needs <extra_id_0> to <extra_id_{NUM_SENTINELS - 1}> as ids "
      f"{last} down to {last + 1 - NUM_SENTINELS}, as user-defined symbols: "
      "train the model without sentinels, and they are added."
  )
