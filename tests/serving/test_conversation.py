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

"""Conversations with a model that gives its questions back."""

import mtf_switch  # isort: skip  # noqa: F401
import numpy as np
import pytest
import seqio
import tensorflow.compat.v2 as tf

from mtf_switch import errors
from mtf_switch.serving import conversation as conversation_lib
from mtf_switch.serving import decodings
from mtf_switch.serving import sentinels
from tests.serving import made_model

LENGTH = 40


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
  path = made_model.train_pieces(tmp_path_factory.mktemp("pieces"))
  return seqio.SentencePieceVocabulary(str(path), extra_ids=10)


@pytest.fixture(params=["pieces", "bytes"])
def vocabulary(request, pieces):
  return pieces if request.param == "pieces" else seqio.ByteVocabulary(5)


class Model:
  """What a conversation is with; it gives back what it is asked.

  Attributes:
    built: the decodings that were built.
    seeds: of the calls.
  """

  def __init__(self, vocabulary, is_lm=False):
    self.built = []
    self.seeds = []
    self.conversation = conversation_lib.Conversation(
        (vocabulary, vocabulary),
        LENGTH,
        is_lm,
        decodings.Decoding(),
        self._build,
        seed=7,
    )

  def _build(self, decoding):
    self.built.append(decoding)

    def decode(features, seed):
      self.seeds.append(int(seed))
      return tf.constant(features["inputs"])

    return decode


def test_sentinels_are_typed_and_fill_the_text(vocabulary):
  model = Model(vocabulary)
  answer = model.conversation.answer("<extra_id_1> to _ one _")
  # The next free ones.
  assert answer.text == "<extra_id_1> to <extra_id_0> one <extra_id_2>"
  assert answer.filled is not None and answer.note is None
  parts = [part.strip() for part in answer.filled.split(" ")]
  assert [x for x in parts if x] == ["to", "to", "one", "one"]
  assert model.conversation.answer("no such_ one").filled is None


def test_ids_of_sentinels_are_the_last_ones(vocabulary):
  found = sentinels.Sentinels(vocabulary)
  last = vocabulary.vocab_size - 1
  ids = found.encode("to <extra_id_0> one <extra_id_3>")
  assert (ids[-1], ids.count(last)) == (last - 3, 1)
  assert found.decode([*ids, 1, 5]).endswith("<extra_id_3>")
  # Those that an answer lacks stay.
  ids = [last, *vocabulary.encode("expert"), last - 2]
  filled = found.filled("<extra_id_0> <extra_id_1> <extra_id_99>", ids)
  assert filled == "expert <extra_id_1> <extra_id_99>"


def test_a_model_may_have_sentinels_of_its_own(pieces):
  class Own(seqio.PassThroughVocabulary):
    """As mT5's, which adds none."""

    def __init__(self):
      super().__init__(pieces.vocab_size, eos_id=1)

    def decode(self, ids):
      return pieces.decode(ids)

  assert sentinels.Sentinels(Own()).count == 10
  assert sentinels.Sentinels(seqio.ByteVocabulary()).count == 0


def test_without_sentinels_an_underscore_is_one(pieces):
  model = Model(seqio.ByteVocabulary())
  answer = model.conversation.answer("a _ <extra_id_0>")
  assert (answer.text, answer.filled) == ("a _ <extra_id_0>", None)
  # A language model fills nothing.
  answer = Model(pieces, is_lm=True).conversation.answer("the _ to")
  assert answer.filled is None and "extra_id" not in answer.text


def test_a_blank_line_and_one_that_is_too_long():
  model = Model(seqio.ByteVocabulary())
  assert model.conversation.answer(" \t").text == ""
  assert not model.built
  answer = model.conversation.answer("x" * LENGTH)
  assert answer.text == "x" * (LENGTH - 1)
  assert answer.note == (
      "the text has 41 tokens, and the model takes 40: it is cut."
  )


def test_each_decoding_is_built_once(pieces):
  model = Model(pieces)
  talk = model.conversation
  talk.answer("to")
  assert talk.command("/temperature 0.7") == "samples at temperature 0.7"
  assert model.built == [decodings.Decoding()]
  talk.answer("to")
  assert talk.command("/top_k 5") == (
      "samples of the 5 most probable tokens at temperature 0.7"
  )
  assert talk.command("/beams 4") == "beam search with 4 beams"
  talk.answer("to")
  assert talk.command("/beams 1") == "greedy decoding"
  talk.answer("to")
  assert talk.command("/options") == "greedy decoding"
  assert model.built == [
      decodings.Decoding(),
      decodings.Decoding(temperature=0.7),
      decodings.Decoding(beam_size=4),
  ]
  # Each answer has noise of its own.
  assert model.seeds == [7, 8, 9, 10]


@pytest.mark.parametrize(
    "line, message",
    [
        ("/temperature", "/temperature is followed by a number, as in /temp"),
        ("/temperature -1", "temperature = -1.0 must be a number of at least"),
        ("/temperature nan", "temperature = nan must be a number"),
        ("/top_k 0.5", "/top_k is followed by a whole number, as in /top_k 4"),
        ("/beams 0", "beam_size = 0 must be at least 1"),
        ("/what", "/what is not known; /help has what is"),
    ],
)
def test_a_wrong_command_changes_nothing(pieces, line, message):
  talk = Model(pieces).conversation
  with pytest.raises(errors.UserError, match=message):
    talk.command(line)
  assert talk.command("/options") == "greedy decoding"


def test_a_language_model_has_no_beams(pieces):
  talk = Model(pieces, is_lm=True).conversation
  with pytest.raises(errors.UserError, match="no beam search for an 'lm'"):
    talk.command("/beams 2")


def test_help_and_the_end(pieces):
  talk = Model(pieces).conversation
  assert "/temperature T" in talk.command("/help")
  with pytest.raises(conversation_lib.Ended):
    talk.command("/quit")
  assert np.all([len(x) <= 80 for x in conversation_lib.HELP.splitlines()])
