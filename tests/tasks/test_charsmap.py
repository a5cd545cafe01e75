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

"""Damaged maps of characters are refused before they end the process."""

import os
import random

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from tasks import charsmap
from tasks import vocabulary_training

# Texts of the kinds that the map changes.
TEXTS = [
    "".join(map(chr, range(first, first + 256)))
    for first in (0x20, 0xA0, 0x1E00, 0x2000, 0x2460, 0x3300, 0xF900, 0xFF00)
]


@pytest.fixture(scope="module")
def model():
  content = vocabulary_training.train(["the array of a model"] * 9, 20)
  return sentencepiece_model_pb2.ModelProto.FromString(content)


def test_a_map_that_has_its_parts(model):
  whole = model.normalizer_spec.precompiled_charsmap
  assert charsmap.is_whole(whole)
  assert charsmap.is_whole(b"")
  for cut in (1, 4, 5, 9999, len(whole) - 1):
    assert not charsmap.is_whole(whole[:cut])
  assert not charsmap.is_whole(b"\xff" + whole[1:])


def test_no_damage_ends_the_process(model):
  """Of 80 damages, a third would."""
  whole = model.normalizer_spec.precompiled_charsmap
  child = os.fork()
  if not child:
    draws = random.Random(0)
    for _ in range(80):
      damaged = bytearray(whole)
      for _ in range(draws.choice([1, 5, 50])):
        damaged[draws.randrange(len(damaged))] = draws.randrange(256)
      if charsmap.is_whole(bytes(damaged)):
        model.normalizer_spec.precompiled_charsmap = bytes(damaged)
        sentencepiece.SentencePieceProcessor(
            model_proto=model.SerializeToString()
        ).encode(TEXTS)
    os._exit(0)
  assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
