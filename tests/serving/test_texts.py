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

"""Texts to ids and back in graphs, beside the vocabularies in Python."""

import mtf_switch  # isort: skip  # noqa: F401
import random

import numpy as np
import pytest
import seqio
import tensorflow.compat.v2 as tf

from mtf_switch import errors
from mtf_switch.serving import texts
from mtf_switch.training import inputs
from tests.serving import made_model

_LETTERS = "the swich 01<extra_id_3>\u00e9\u2028\t\n\ufb01\u4e2d\U0001f389_\xa0"


@pytest.fixture(scope="module")
def lines():
  """Texts with sentinels, and letters in any order."""
  draws = random.Random(0)
  return [
      "",
      "the <extra_id_0> switch<extra_id_9> <extra_id_12>s.",
      "to one expert " * 10,
      *(
          "".join(draws.choices(_LETTERS, k=draws.randrange(30)))
          for _ in range(300)
      ),
  ]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
  path = made_model.train_pieces(tmp_path_factory.mktemp("pieces"))
  return seqio.SentencePieceVocabulary(str(path), extra_ids=10)


@pytest.fixture(params=["pieces", "bytes", "bytes and sentinels"])
def vocabulary(request, pieces):
  return {
      "pieces": pieces,
      "bytes": seqio.ByteVocabulary(),
      "bytes and sentinels": seqio.ByteVocabulary(5),
  }[request.param]


@pytest.mark.filterwarnings("ignore::mtf_switch.errors.UserNotice")
@pytest.mark.parametrize("add_eos", [True, False])
def test_ids_are_those_of_the_vocabulary(vocabulary, lines, add_eos):
  in_graph = texts.of(vocabulary)
  ids, lengths = in_graph.encode(tf.constant(lines), 20, add_eos)
  expected = inputs.encode_lines(
      dict(enumerate(lines)), vocabulary, 20, add_eos, "inputs"
  )
  np.testing.assert_array_equal(ids, expected)
  assert lengths.numpy().tolist() == [
      len(vocabulary.encode(x)) + add_eos for x in lines
  ]
  ids, lengths = in_graph.encode(tf.constant([], tf.string), 20, add_eos)
  assert (ids.shape, lengths.shape) == ((0, 20), (0,))


def test_texts_are_those_of_the_vocabulary(vocabulary):
  draws = np.random.RandomState(0)
  ids = draws.randint(0, vocabulary.vocab_size + 20, [600, 15])
  ids[:200] = draws.randint(3 + 0x80, 3 + 256, [200, 15])  # Broken UTF-8.
  ids[200:400, 6] = 1
  decoded = texts.of(vocabulary).decode(tf.constant(ids, tf.int32))
  expected = [vocabulary.decode(row.tolist()) for row in ids]
  assert [x.decode() for x in decoded.numpy()] == expected


def test_blank_texts_are_those_of_python():
  every = [chr(i) for i in range(0x3100)]
  every += [f"a{x}" for x in every[:64]] + ["", " \t\u3000"]
  are_blank = texts.are_blank(tf.constant(every)).numpy()
  assert are_blank.tolist() == [not x.strip() for x in every]


def test_other_vocabularies_are_refused():
  with pytest.raises(errors.UserError, match="is a PassThroughVocabulary, and"):
    texts.of(seqio.PassThroughVocabulary(10))
