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

"""Answers to what people type, with a decoding that they may change."""

from collections.abc import Callable, Sequence
import dataclasses
from typing import NamedTuple

import seqio
import tensorflow.compat.v2 as tf

from mtf_switch import errors
from mtf_switch.serving import decodings
from mtf_switch.serving import sentinels

HELP = """\
A line is a text to answer. Sentinels are typed as <extra_id_0>, or as a lone _.
/temperature T  draw samples at temperature T; 0 for the most probable tokens
/top_k K        draw from the K most probable tokens; -1 for all
/beams N        search with N beams; 1 for none
/options        say how texts are answered now
/help           say this
/quit           end, as Ctrl-D does; Ctrl-C cancels a line
//...           a text that begins with a slash"""


class Answer(NamedTuple):
  """An answer.

  Attributes:
    text: what the model has decoded.
    filled: the question with its sentinels filled; None without sentinels.
    note: what to know of the question; None for nothing.
  """

  text: str
  filled: str | None = None
  note: str | None = None


class Ended(Exception):
  """Whoever types has asked for the end."""


class Conversation:
  """A model's answers. Each way of decoding is built when it is first used."""

  def __init__(
      self,
      vocabularies: Sequence[seqio.Vocabulary],
      length: int,
      is_lm: bool,
      decoding: decodings.Decoding,
      build: Callable[[decodings.Decoding], Callable],
      seed: int,
  ):
    """Builds nothing yet.

    Args:
      vocabularies: of inputs and targets.
      length: the most ids of a question.
      is_lm: whether the model is an "lm", which continues texts.
      decoding: the first way of decoding.
      build: makes what Functions.decode does.
      seed: of the first answer's noise; each answer has the next.
    """
    of_inputs, of_targets = map(sentinels.Sentinels, vocabularies)
    self._inputs, self._targets = of_inputs, of_targets
    self._eos_id = vocabularies[0].eos_id
    self._length = length
    self._is_lm = is_lm
    self._decoding = decoding
    self._build = build
    self._built = {}
    self._seed = seed

  def prepare(self):
    """Builds the decoding that is chosen, if it is not built yet."""
    if self._decoding not in self._built:
      self._built[self._decoding] = self._build(self._decoding)

  def answer(self, question: str) -> Answer:
    """Returns the model's answer.

    Args:
      question: a text; a blank one has a blank answer.
    """
    if not question.strip():
      return Answer("")
    if not self._is_lm:
      question = self._inputs.numbered(question)
    ids = self._inputs.encode(question)
    # An "lm" continues its inputs.
    end = [] if self._is_lm else [self._eos_id]
    count, note = len(ids) + len(end), None
    if count > self._length:
      note = (
          f"the text has {count} tokens, and the model takes {self._length}: it"
          " is cut."
      )
    self.prepare()
    ids = ids[: self._length - len(end)] + end
    outputs = self._built[self._decoding](
        {"inputs": tf.constant([ids], tf.int32)}, tf.constant(self._seed)
    )
    self._seed += 1
    outputs = outputs.numpy()[0].tolist()
    filled = None if self._is_lm else self._targets.filled(question, outputs)
    return Answer(self._targets.decode(outputs), filled, note)

  def command(self, line: str) -> str:
    """Obeys a command.

    Args:
      line: it, which begins with a slash.

    Returns:
      what to say.

    Raises:
      UserError: it is not known, or its number makes no sense; nothing has
        changed.
      Ended: the end is asked for.
    """
    name, _, value = line.partition(" ")
    if name in ("/temperature", "/top_k", "/beams"):
      changed = _CHANGES[name](self._decoding, _number(name, value))
      changed.check(self._is_lm)
      self._decoding = changed
    elif name == "/help":
      return HELP
    elif name == "/quit":
      raise Ended
    elif name != "/options":
      raise errors.UserError(
          f"{errors.shown(name)} is not known; /help has what is."
      )
    return self._decoding.described


def _with_temperature(decoding, temperature):
  return dataclasses.replace(decoding, beam_size=1, temperature=temperature)


def _with_top_k(decoding, top_k):
  return dataclasses.replace(decoding, beam_size=1, sampling_keep_top_k=top_k)


def _with_beams(unused_decoding, beams):
  return decodings.Decoding(beam_size=beams)


_CHANGES = {
    "/temperature": _with_temperature,
    "/top_k": _with_top_k,
    "/beams": _with_beams,
}


def _number(name: str, value: str) -> float:
  """The number of a command."""
  try:
    return float(value) if name == "/temperature" else int(value)
  except ValueError:
    kind = "a number" if name == "/temperature" else "a whole number"
    raise errors.UserError(
        f"{name} is followed by {kind}, as in {name} "
        f"{0.7 if name == '/temperature' else 4}."
    ) from None
